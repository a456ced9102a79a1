"""Write the SBOM, the list of everything that the product is made of: make sbom

CycloneDX 1.6 in JSON: the Python packages of requirements-embedded.txt for this Python and machine,
and the npm packages of the pages, with versions, licences and their dependencies on each other.
Packages for tests are left out. The same pins make the same file, byte for byte.

A package is one entry, with everything that is in its wheel: PyAV has FFmpeg, for example.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from tools.audit import list_python

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "requirements-embedded.txt"
FILE = Path(".cache/sbom.cdx.json")
BIN = Path(sys.executable).parent
Document = dict[str, Any]


def build_sbom() -> Document:
    """Return the SBOM of the product: the Python part, and the npm part in it."""
    python, pages = _run_cyclonedx(), _run_npm()
    wanted = {name for _, name, _ in list_python(PINS.read_text())}
    kept = [one for one in python["components"] if canonicalize_name(one["name"]) in wanted]
    missing = wanted - {canonicalize_name(one["name"]) for one in kept}
    if missing:
        raise SystemExit(f"not installed here, so their licences are unknown: {sorted(missing)}")
    root, root_of_pages = python["metadata"]["component"], pages["metadata"]["component"]
    components = sorted(kept + pages["components"], key=lambda one: str(one["bom-ref"]))
    refs = {root["bom-ref"], *(one["bom-ref"] for one in components)}
    dependencies = [
        {"ref": one["ref"], "dependsOn": sorted(refs.intersection(one.get("dependsOn", ())))}
        for one in python["dependencies"] + pages["dependencies"]
        if one["ref"] in refs or one["ref"] == root_of_pages["bom-ref"]
    ]
    by_ref = {one["ref"]: one for one in dependencies}
    of_pages = by_ref.pop(root_of_pages["bom-ref"])
    by_ref[root["bom-ref"]]["dependsOn"] += of_pages["dependsOn"]
    tools = python["metadata"]["tools"]
    made: Document = {
        "$schema": python["$schema"],
        "bomFormat": "CycloneDX",
        "specVersion": python["specVersion"],
        "version": 1,
        "metadata": {"component": root, "tools": tools},
        "components": components,
        "dependencies": [by_ref[ref] for ref in sorted(by_ref)],
    }
    made["serialNumber"] = f"urn:uuid:{uuid5(NAMESPACE_URL, json.dumps(made, sort_keys=True))}"
    return made


def write_json(document: Document) -> str:
    """Return the text of the file, and raise SystemExit if it is not valid CycloneDX."""
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        raise SystemExit(f"the SBOM is not valid: {fault}")
    return text


def _run_cyclonedx() -> Document:
    options = ["--output-reproducible", "--no-validate", "--of", "JSON", "--sv", "1.6"]
    command = [BIN / "cyclonedx-py", "environment", *options, "--pyproject", "pyproject.toml"]
    found: Document = json.loads(_run([*map(str, command), sys.executable]))
    return found


def _run_npm() -> Document:
    options = ["--sbom-format", "cyclonedx", "--package-lock-only", "--omit", "dev"]
    found: Document = json.loads(_run([str(BIN / "npm"), "sbom", *options]))
    return found


def _run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = re.sub(r"\n+", "\n", done.stderr).strip().splitlines()
        raise SystemExit(f"{Path(command[0]).name}: {lines[-1] if lines else done.returncode}")
    return done.stdout


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(write_json(build_sbom()), encoding="utf-8")
    print(target)
