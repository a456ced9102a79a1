"""The time to evaluate a thousand rules for a call, compared with functions of Python.

Only the last rule matches, so all of them are evaluated. The bar: 5 ms. Then the most expensive
conditions that are accepted, each alone, with the longest facts. The bar: 10 ms.

    python bench/rules.py [--rules 1000] [--rounds 200]
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from recorder.rules import Facts, RuleSet, compile_rule
from storage.records import RuleRecord

BAR_S = 0.005
WORST_BAR_S = 0.010
NUMBERS = "[" + ",".join(["1"] * 300) + "]"
LONGEST = Facts(
    at=datetime(2026, 11, 24, 12, tzinfo=UTC),
    answered=True,
    did="a" * 256,
    variables={"V": "a" * 1024},
)
WORST = (
    f"{NUMBERS}.map(a, a).size() == 1",
    f"{NUMBERS}.all(a, variables.all(b, variables.V == variables.V))",
    'variables.V.matches("(a?){90}a{90}b")',
    'did.matches("^\\\\pL{1}b")',
    " || ".join(['did.matches("[acegikmoqsuwy]b")'] * 25),
    "[did+did].all(a, [a+a].all(b, [b+b].all(c, [c+c].all(d, [d+d].all(e, e != e)))))",
)
FACTS = Facts(
    at=datetime(2026, 11, 24, 12, tzinfo=UTC),
    answered=True,
    direction="inbound",
    did="3999",
    queue="support",
    agent="2001",
)


def main() -> int:
    """Measure both; return exit status 0 if the bar is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    dids = [str(3999 - arguments.rules + 1 + number) for number in range(arguments.rules)]
    rules = RuleSet([rule(place, did) for place, did in enumerate(dids)])
    decision = rules.decide(FACTS, "main-1.0")
    assert decision.rule is not None
    assert len(decision.answers) == arguments.rules
    functions = [as_function(did) for did in dids]
    ours = median_s(lambda: rules.decide(FACTS, "main-1.0"), arguments.rounds)
    peer = median_s(lambda: [function(FACTS, 12) for function in functions], arguments.rounds)
    print(
        f"{arguments.rules} rules: {1000 * ours:.2f} ms (bar {1000 * BAR_S:.0f}),"
        f" functions of Python {1000 * peer:.2f} ms: {ours / peer:.1f} times"
    )
    worst = max(measure_condition(when, arguments.rounds) for when in WORST)
    print(f"the most expensive condition: {1000 * worst:.2f} ms (bar {1000 * WORST_BAR_S:.0f})")
    return 0 if ours < BAR_S and worst < WORST_BAR_S else 1


def measure_condition(when: str, rounds: int) -> float:
    """Return the median duration of one evaluation of a condition."""
    record = rule(0, "").replace(when=when, variables=("V",))
    compile_rule(record)
    rules = RuleSet([record])
    took = median_s(lambda: rules.decide(LONGEST, "main-1.0"), rounds)
    print(f"{1000 * took:6.2f} ms  {when[:70]}")
    return took


def rule(place: int, did: str) -> RuleRecord:
    """Return a rule for calls to one number, in the hours of an office."""
    when = f'direction == "inbound" && did == "{did}" && hour >= 8 && queue in ["support", "sales"]'
    return RuleRecord(
        id=f"r{place:04}",
        version=1,
        name=f"rule {place}",
        when=when,
        action="record",
        priority=place,
        origin="api",
    )


def as_function(did: str) -> Callable[[Facts, int], bool]:
    """Return the condition of the same rule as a function."""
    return lambda facts, hour: (
        facts.direction == "inbound"
        and facts.did == did
        and hour >= 8
        and facts.queue in {"support", "sales"}
    )


def median_s(work: Callable[[], object], rounds: int) -> float:
    """Return the median duration of a round."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


if __name__ == "__main__":
    sys.exit(main())
