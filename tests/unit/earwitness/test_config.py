"""The configuration: file, environment, secrets and faults."""

import json
from pathlib import Path

import pytest

from earwitness.config import Config, load_config
from earwitness.wiring import check_rules, oidc_settings
from storage.errors import ConfigurationInvalid


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty configuration file, in an environment without our variables."""
    for name in ("EARWITNESS_SERVER__PORT", "EARWITNESS_PBX", "EARWITNESS_DATABASE__URL"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "config.toml"
    file.touch()
    return file


def fault(path: Path, text: str) -> str:
    """Return the message about this configuration, after the name of the file."""
    path.write_text(text)
    with pytest.raises(ConfigurationInvalid) as caught:
        load_config(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    return said.removeprefix(f"{path}: ")


def test_an_empty_file_gives_the_defaults(path: Path) -> None:
    """Every key has a default that works on one machine."""
    config = load_config(path)
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8080)
    assert (config.objects.kind, config.database.url.get_secret_value()) == ("embedded", "")
    assert config.pbx == ()


def test_the_environment_beats_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any key can come from the environment; lists are JSON."""
    path.write_text('[server]\nport = 9000\nhost = "0.0.0.0"\n[[pbx]]\nname = "file"')
    monkeypatch.setenv("EARWITNESS_SERVER__PORT", "9001")
    monkeypatch.setenv("EARWITNESS_PBX", json.dumps([{"name": "one"}, {"name": "two"}]))
    config = load_config(path)
    assert (config.server.host, config.server.port) == ("0.0.0.0", 9001)  # noqa: S104
    assert [pbx.name for pbx in config.pbx] == ["one", "two"]


def test_secrets_come_from_files(path: Path, tmp_path: Path) -> None:
    """`<secret>_file` names the file of a secret; a missing file is an error."""
    secret = tmp_path / "ari"
    secret.write_text("hush\n")
    path.write_text(f'[[pbx]]\npassword_file = "{secret}"')
    assert load_config(path).pbx[0].password.get_secret_value() == "hush"
    secret.unlink()
    said = fault(path, path.read_text())
    assert said == f"pbx.0: password_file: cannot read {secret}: No such file or directory"


def test_secrets_do_not_show(path: Path) -> None:
    """A secret is neither in the representation nor in an error."""
    path.write_text('[database]\nurl = "postgresql://me:hush@db/calls"\n[[pbx]]\npassword = "hush"')
    config = load_config(path)
    assert "hush" not in repr(config)
    assert "hush" not in fault(path, '[database]\nurl = "mysql://me:hush@db/calls"')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sever]", "sever: unknown key"),
        ("[server]\nprot = 1", "server.prot: unknown key"),
        ("[server]\nport = 70000", "server.port: less than or equal to 65535"),
        ('[objects]\nkind = "s4"', "objects.kind: 'embedded' or 's3'"),
        ('[objects]\nobject_lock = "governance"', "objects: object_lock: this version knows only"),
        ('[database]\nurl = "db"', "database.url: expected postgresql://user:password@host"),
        ('[[pbx]]\nname = "Main"', "pbx.0.name: expected 1 to 31 of a-z, 0-9 and _, a letter or"),
        ('[[pbx]]\nurl = "pbx:8088"', "pbx.0.url: expected a URL such as http://127.0.0.1:8088"),
        ('[[pbx]]\nurl = "http://me:pw@pbx:8088"', "pbx.0.url: expected a URL such as http://127"),
        ('[[pbx]]\nurl = ""', "pbx.0.url: String should have at least 1 character"),
        ("[[pbx]]\n[[pbx]]", "pbx: two [[pbx]] have the same name"),
        ("[server", "Expected ']'"),
    ],
)  # fmt: skip
def test_a_fault_is_a_line_that_names_the_key(path: Path, text: str, said: str) -> None:
    """Each fault names its key and the expectation."""
    assert fault(path, text).startswith(said)


def test_one_message_names_all_faults(path: Path) -> None:
    """One message names all faults."""
    said = fault(path, "[server]\nprot = 1\n[data]\ndir = 2")
    assert said == "server.prot: unknown key; data.dir: unknown key"


def test_a_misspelt_variable_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of ours with an unknown section is an error."""
    monkeypatch.setenv("EARWITNESS_SEVER__PORT", "9000")
    assert fault(path, "").startswith("environment variable EARWITNESS_SEVER__PORT names no")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A typo in --config must not start a service on defaults."""
    with pytest.raises(ConfigurationInvalid, match=r"confg\.toml: no such file"):
        load_config(tmp_path / "confg.toml")


def test_the_configuration_cannot_change() -> None:
    """A checked configuration is frozen."""
    with pytest.raises(ValueError, match="frozen"):
        Config().server.port = 1


ISSUER = '[oidc]\nissuer = "https://login.example/"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ISSUER, "oidc: client_id: expected what the issuer calls Earwitness"),
        (f'{ISSUER}client_id = "a"\nscopes = ["profile"]', 'oidc.scopes: expected "openid"'),
        (f'{ISSUER}client_id = "a"\nrole_claim = ""', "oidc.role_claim: "),
        (f'{ISSUER}client_id = "a"\n[oidc.roles]\nservice = ["x"]', "oidc.roles.service: unknown"),
        ('[oidc]\nissuer = "http://login.example"\nclient_id = "a"', "oidc.issuer: expected https"),
        ('[oidc]\nissuer = "https://a/?b"\nclient_id = "a"', "oidc.issuer: expected a URL without"),
        ('[oidc]\nissuer = "login"\nclient_id = "a"', "oidc.issuer: expected a URL such as"),
        ("[oidc]\npasswords = false", "oidc: passwords: without an issuer nobody could sign in"),
    ],
)  # fmt: skip
def test_faults_of_the_identity_provider(path: Path, text: str, said: str) -> None:
    """A provider at which nobody could sign in, or everybody, is an error."""
    assert fault(path, text).startswith(said)


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("", {role: {role} for role in ("admin", "compliance", "supervisor", "agent")}),
        ('[oidc.roles]\nagent = ["a", "b"]\nadmin = ["c"]', {"admin": {"c"}, "agent": {"a", "b"}}),
    ],
)
def test_the_configuration_gives_the_roles(
    path: Path, text: str, roles: dict[str, set[str]]
) -> None:
    """By default a role's name gives the role; configured values replace all names, the strongest
    role first."""
    path.write_text(f'{ISSUER}client_id = "a"\nclient_secret = "hush"\n{text}')
    settings = oidc_settings(load_config(path))
    assert settings is not None
    assert list(settings.roles.items()) == list(roles.items())
    assert settings.issuer == "https://login.example/"
    assert "hush" not in repr(settings)


RULE = '[[rule]]\nname = "one"\naction = "record"\n'


def test_rules_in_the_order_of_the_file(path: Path) -> None:
    """The priority of a rule follows from its place, unless it has its own."""
    path.write_text(f"{RULE}{RULE}priority = 7\n{RULE}")
    rules = load_config(path).rules
    assert [(one.id, one.priority, one.origin) for one in rules] == [
        ("config-1", 100, "config"),
        ("config-2", 7, "config"),
        ("config-3", 300, "config"),
    ]


@pytest.mark.parametrize(
    ("text", "action"),
    [("", "never"), ('default = "on_demand"', "on_demand"), ("record_all = true", "record")],
)
def test_the_default_action_is_a_key(path: Path, text: str, action: str) -> None:
    """The default action is a key; `record_all` is short for "record"."""
    path.write_text(f"[recording]\n{text}")
    assert load_config(path).default_action == action


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[rule]]\nname = "x"\naction = "maybe"', "rule.0.action: "),
        ('[[rule]]\nname = "x"', "rule.0.action: "),
        (f"{RULE}wen = 1", "rule.0.wen: unknown key"),
        (f"{RULE}sample_percent = 101", "rule.0.sample_percent: "),
        ('[recording.dtmf]\ntoggle = "*1"\npause = "*12"', "recording.dtmf: pause begins"),
        ('[recording.dtmf]\ntoggle = "+1"', "recording.dtmf.toggle: "),
        ('[recording]\nlayout = "tracks"\nformat = "mp3"', "recording: mp3 has two channels"),
        (f'{RULE}layout = "tracks"\nformat = "mp3"', "rule.0: mp3 has two channels"),
        ('[recording]\npause_listeners = "mute"', "recording.pause_listeners: 'deaf' or 'hear'"),
    ],
)
def test_faults_of_rules_and_keys(path: Path, text: str, said: str) -> None:
    """A fault of a rule or a DTMF key names its key."""
    assert fault(path, text).startswith(said)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("when = 'que == \"x\"'", "rule.0.when ('one'): undeclared"),
        ('timezone = "Mars"', "rule.0.timezone ('one'): there is no time zone"),
        ('variables = ["SHELL(id)"]', "rule.0.variables ('one'): 'SHELL(id)' cannot be named"),
        ('headers = ["a,b"]', "rule.0.headers ('one'): "),
        ('announcement = "http://x"', "rule.0.announcement ('one'): "),
    ],
)
def test_an_invalid_condition_stops_the_start(path: Path, more: str, said: str) -> None:
    """An invalid condition stops the start, with position and hint."""
    path.write_text(RULE + more)
    with pytest.raises(ConfigurationInvalid) as caught:
        check_rules(load_config(path).rules)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("host", "proxies", "lacks"),
    [("127.0.0.1", 0, False), ("::1", 0, False), ("0.0.0.0", 0, True), ("0.0.0.0", 1, False)],  # noqa: S104
)
def test_an_open_address_needs_a_front(host: str, proxies: int, lacks: bool) -> None:
    """A server that other machines reach without a named proxy lacks its front."""
    assert (
        Config.model_validate({"server": {"host": host, "proxies": proxies}}).server.lacks_front
        is lacks
    )
