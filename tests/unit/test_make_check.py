"""`make check`, the hooks before a commit, and `make help` agree."""

import re
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[2]
MAKEFILE = (REPOSITORY / "Makefile").read_text()
HOOKS = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]


def recipe_of(target: str) -> list[str]:
    """Return the commands of a target."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert found is not None
    return [line.removeprefix("\t@") for line in found[1].splitlines()]


def test_a_hook_runs_each_check() -> None:
    """Each command of `make check` is a hook, and each hook is a command of `make check`."""
    names = {"$(BIN)": ".venv/bin", "$(NODE)": ".venv/bin/node"}
    checks = set()
    for command in recipe_of("check"):
        words = [names.get(word, word) for word in command.removesuffix(" .").split()]
        checks.add(" ".join(words).replace("$(BIN)", ".venv/bin"))
    assert {hook["entry"].removesuffix(" --force-exclude") for hook in HOOKS} == checks


def test_help_lists_every_target() -> None:
    """Each target that a person calls has a line of meaning in `make help`."""
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    described = re.findall(r"^([a-z]+):.*  ## \S", MAKEFILE, re.MULTILINE)
    assert sorted(described) == sorted(phony[1].split())
