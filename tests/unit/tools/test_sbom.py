"""The SBOM lists everything that the product is made of, with licences, and is valid."""

import json

from packaging.utils import canonicalize_name

from tools.audit import list_python
from tools.sbom import PINS, build_sbom, write_json


def test_the_sbom_is_whole_and_valid() -> None:
    """It has each pinned package of the product and the pages, a licence for each, no time."""
    made = json.loads(write_json(build_sbom()))  # it refuses an invalid one
    by_name = {canonicalize_name(one["name"]): one for one in made["components"]}
    pinned = {name: version for _, name, version in list_python(PINS.read_text())}
    found = {name: one["version"] for name, one in by_name.items() if "pypi" in one["purl"]}
    assert found == pinned
    assert {"htmx-org", "wavesurfer-js"} <= by_name.keys()
    assert not {"pytest", "eslint", "pip-audit"} & by_name.keys()
    assert [name for name, one in by_name.items() if not one.get("licenses")] == []
    assert "timestamp" not in made["metadata"]
    refs = {one["bom-ref"] for one in made["components"]}
    root = made["metadata"]["component"]["bom-ref"]
    needs = {one["ref"]: set(one["dependsOn"]) for one in made["dependencies"]}
    assert needs.keys() == refs | {root}
    assert {by_name["flask"]["bom-ref"], by_name["htmx-org"]["bom-ref"]} <= needs[root]
    assert set.union(*needs.values()) <= refs
