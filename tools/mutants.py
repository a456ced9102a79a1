"""Change the deciding modules one small piece at a time, and list the changes that no test notices.

    python tools/mutants.py [MODULE.py …]

`[tool.mutmut]` in pyproject.toml names the modules and their unit tests. A changed module is a
*mutant*; a mutant *survives* when every test still passes. `tests/mutants.toml` gives the reason
for each survivor that is tolerated. The command fails when a survivor has no reason, when a reason
has no survivor any more, or when more than 5 % survive.
"""

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

WORK = Path("mutants")
REASONS = Path("tests/mutants.toml")
MOST_SURVIVORS_PERCENT = 5.0
# A test that never ends on a mutant notices it, too.
KILLED = {"killed", "timeout", "caught by type check"}


@dataclass(frozen=True, order=True)
class Survivor:
    """A mutant that no test notices: the lines of `module` before and after the change."""

    module: str
    was: str
    now: str


def main(modules: Sequence[str]) -> int:
    """Run the mutants of these modules, or of all; return the exit status."""
    shutil.rmtree(WORK, ignore_errors=True)
    names = [module.removesuffix(".py").replace("/", ".") + ".*" for module in modules]
    run = subprocess.run(
        [Path(sys.executable).with_name("mutmut"), "run", "--max-children", "2", *names],
        stdout=None if sys.stdout.isatty() else subprocess.PIPE,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        print((run.stdout or "")[-4000:], file=sys.stderr)
        return run.returncode
    reasons = {
        Survivor(row["module"], row["was"], now): row["reason"]
        for row in tomllib.loads(REASONS.read_text(encoding="utf-8"))["tolerated"]
        for now in row["now"]
        if not modules or row["module"] in modules
    }
    survivors: list[Survivor] = []
    total = 0
    for path, statuses in read_results(modules):
        alive = [name for name, status in statuses.items() if status not in KILLED]
        survivors += [read_survivor(path, name) for name in alive]
        total += len(statuses)
        print(f"{path}: {len(alive)} of {len(statuses)} survive")
    unexplained = [one for one in survivors if not reasons.get(one)]
    stale = sorted(set(reasons) - set(survivors))
    for title, found in (("survives without a reason", unexplained), ("is killed now", stale)):
        for one in found:
            print(f"\n{one.module}: {title}\n  was {one.was}\n  now {one.now}")
    percent = 100 * len(survivors) / max(total, 1)
    print(f"\n{len(survivors)} of {total} mutants survive ({percent:.1f} %)")
    return int(bool(unexplained or stale) or total == 0 or percent > MOST_SURVIVORS_PERCENT)


def read_results(modules: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Return each module with the status of every mutant by its name."""
    found = []
    for meta in sorted(WORK.rglob("*.py.meta")):
        path = str(meta.relative_to(WORK)).removesuffix(".meta")
        codes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
        if codes and (not modules or path in modules):
            found.append((path, {name: status_by_exit_code[code] for name, code in codes.items()}))
    return found


def read_survivor(path: str, name: str) -> Survivor:
    """Return the lines that a mutant changes, without their indentation."""
    lines = get_diff_for_mutant(name, path=path).splitlines()[3:]
    was, now = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    return Survivor(path, was, now)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
