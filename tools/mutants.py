"""Change the deciding modules one small piece at a time, and list the changes that no test notices.

    python tools/mutants.py [MODULE.py …]

`[tool.mutmut]` in pyproject.toml names the modules and their unit tests. A changed module is a
*mutant*; a mutant *survives* when every test still passes. mutmut changes the functions; this
program drops each element of each table of a module, such as `LIVE = {"requested", "recording"}`.

`tests/mutants.toml` gives the reason for each survivor that is tolerated. The command fails when a
survivor has no reason, when a reason has no survivor any more, or when more than 5 % survive.
"""

import ast
import json
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

WORK = Path("mutants")
REASONS = Path("tests/mutants.toml")
SETTINGS = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
COPIED = ("api", "earwitness", "lab", "recorder", "storage", "tests")
AT_ONCE = 2
MOST_SURVIVORS_PERCENT = 5.0
# A test that never ends on a mutant notices it, too.
KILLED = {"killed", "timeout", "caught by type check"}


@dataclass(frozen=True, order=True)
class Mutant:
    """A changed `module`: the changed lines before and after, or a table and its lost element."""

    module: str
    was: str
    now: str


def main(named: Sequence[str]) -> int:
    """Run the mutants of these modules, or of all; return the exit status."""
    modules = list(named) or SETTINGS["only_mutate"]
    missing = [module for module in modules if not Path(module).is_file()]
    if missing:
        print(f"no such module: {', '.join(missing)}", file=sys.stderr)
        return 2
    shutil.rmtree(WORK, ignore_errors=True)
    counts: Counter[str] = Counter()
    survivors: list[Mutant] = []
    for mutant, is_alive in (*run_function_mutants(modules), *run_table_mutants(modules)):
        counts[mutant.module] += 1
        survivors += [mutant] if is_alive else []
    reasons = {
        Mutant(row["module"], row["was"], now): row["reason"]
        for row in tomllib.loads(REASONS.read_text(encoding="utf-8"))["tolerated"]
        for now in row["now"]
        if row["module"] in modules
    }
    for module in modules:
        alive = sum(one.module == module for one in survivors)
        print(f"{module}: {alive} of {counts[module]} survive")
    unexplained = sorted(one for one in survivors if not reasons.get(one))
    stale = sorted(set(reasons) - set(survivors))
    for title, found in (("survives without a reason", unexplained), ("is killed now", stale)):
        for one in found:
            print(f"\n{one.module}: {title}\n  was {one.was}\n  now {one.now}")
    percent = 100 * len(survivors) / max(counts.total(), 1)
    print(f"\n{len(survivors)} of {counts.total()} mutants survive ({percent:.1f} %)")
    is_unmutated = any(not counts[module] for module in modules)
    return int(bool(unexplained or stale) or is_unmutated or percent > MOST_SURVIVORS_PERCENT)


def run_function_mutants(modules: Sequence[str]) -> Iterator[tuple[Mutant, bool]]:
    """Yield each mutant of mutmut, and whether it survives."""
    names = [module.removesuffix(".py").replace("/", ".") + ".*" for module in modules]
    run = subprocess.run(
        [Path(sys.executable).with_name("mutmut"), "run", "--max-children", str(AT_ONCE), *names],
        stdout=None if sys.stdout.isatty() else subprocess.PIPE,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        sys.exit(f"{(run.stdout or '')[-4000:]}\nmutmut failed")
    for module in modules:
        meta = json.loads((WORK / f"{module}.meta").read_text(encoding="utf-8"))
        for name, code in meta["exit_code_by_key"].items():
            lines = get_diff_for_mutant(name, path=module).splitlines()[3:]
            was, now = (
                " ".join(line[1:].strip() for line in lines if line.startswith(sign))
                for sign in "-+"
            )
            yield Mutant(module, was, now), status_by_exit_code[code] not in KILLED


def run_table_mutants(modules: Sequence[str]) -> Iterator[tuple[Mutant, bool]]:
    """Yield each mutant that lacks an element of a table, and whether it survives."""
    trees: SimpleQueue[Path] = SimpleQueue()
    for number in range(AT_ONCE):
        tree = WORK / f"tables-{number}"
        for name in COPIED:
            shutil.copytree(name, tree / name)
        shutil.copy("pyproject.toml", tree)
        trees.put(tree)

    def run(changed: tuple[Mutant, str]) -> tuple[Mutant, bool]:
        mutant, source = changed
        tree = trees.get()
        target = tree / mutant.module
        target.write_text(source, encoding="utf-8")
        beside = f"tests/unit/{Path(mutant.module).parent}"
        tests = [
            path
            for path in SETTINGS["pytest_add_cli_args_test_selection"]
            if path == beside or path.startswith(f"{beside}/")
        ]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
            cwd=tree,
            capture_output=True,
            check=False,
        )
        shutil.copy(mutant.module, target)
        trees.put(tree)
        return mutant, done.returncode == 0

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(run, [one for module in modules for one in drop_elements(module)])


def drop_elements(module: str) -> Iterator[tuple[Mutant, str]]:
    """Yield a mutant, and its source, for each element of each table on the module's top level."""
    tree = ast.parse(Path(module).read_text(encoding="utf-8"))
    for statement in tree.body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        table = ast.unparse(targets[0])
        for node in find_tables(statement.value):
            lists: list[list[Any]] = (
                [node.keys, node.values] if isinstance(node, ast.Dict) else [node.elts]
            )
            for place in range(len(lists[0])):
                dropped = [one.pop(place) for one in lists]
                element = ": ".join(ast.unparse(part) for part in dropped if part)
                yield Mutant(module, f"{table} with {element}", "without"), ast.unparse(tree)
                for one, part in zip(lists, dropped, strict=True):
                    one.insert(place, part)


def find_tables(value: ast.expr) -> Iterator[ast.Dict | ast.Set | ast.List | ast.Tuple]:
    """Yield the displays of an expression, without those in types such as `tuple[str, int]`."""
    if isinstance(value, ast.Subscript):
        return
    if isinstance(value, ast.Dict | ast.Set | ast.List | ast.Tuple):
        yield value
    for child in ast.iter_child_nodes(value):
        if isinstance(child, ast.expr):
            yield from find_tables(child)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
