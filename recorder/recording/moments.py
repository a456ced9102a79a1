"""The decisions of the past, joined for the people of one conversation. Pure.

A decision's row keeps a moment for each evaluation of the rules. The people in a conversation bring
the decisions of all their calls: `force` and `never` win over the others, the one of the two whose
rule has the lower priority; then whatever wants a recording.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from storage.records import Action, DecisionRecord

WANTING: frozenset[Action] = frozenset({"force", "record"})
# Rows of older versions keep no priority with the rule; this one is the default of a rule.
USUAL_PRIORITY = 100


@dataclass(frozen=True, slots=True)
class Period:
    """A time in which the joined decision was the same.

    `is_wanted` means that a rule, or the default, wanted a recording; `is_forbidden`, that a rule
    forbade it.
    """

    from_at: datetime
    to_at: datetime
    is_wanted: bool
    is_forbidden: bool


class _Rank(NamedTuple):
    """The rank of a rule that forces or forbids: the lowest one wins."""

    priority: int
    is_force: bool


@dataclass(frozen=True, slots=True)
class _Step:
    """The decision for one call from a moment on; `rank` is None where it binds nobody."""

    at: datetime
    is_wanted: bool
    rank: _Rank | None


class Courses:
    """The decisions about calls through time.

    Example: a call is recorded from 0 s on and forbidden from 5 s on: its periods between 0 and 9 s
    are `Period(0, 5, wanted)` and `Period(5, 9, forbidden)`.
    """

    def __init__(self, decisions: Iterable[DecisionRecord]) -> None:
        self._courses = {one.call_id: _course_of(one.moments) for one in decisions}

    def iter_periods(
        self, call_ids: Iterable[str], from_at: datetime, to_at: datetime
    ) -> Iterator[Period]:
        """Yield the periods between two moments for people of these calls, without a break."""
        if from_at >= to_at:
            return
        courses = [self._courses[id_] for id_ in call_ids if id_ in self._courses]
        changes = {step.at for course in courses for step in course if from_at < step.at < to_at}
        begun: Period | None = None
        for at, until in pairwise([from_at, *sorted(changes), to_at]):
            now = [step for course in courses if (step := _step_at(course, at)) is not None]
            ranks = [step.rank for step in now if step.rank is not None]
            is_forbidden = bool(ranks) and not min(ranks).is_force
            is_wanted = not is_forbidden and any(one.is_wanted for one in now)
            if begun is not None:
                if (begun.is_wanted, begun.is_forbidden) == (is_wanted, is_forbidden):
                    begun = replace(begun, to_at=until)
                    continue
                yield begun
            begun = Period(at, until, is_wanted, is_forbidden)
        if begun is not None:
            yield begun


def time_of(moment: Mapping[str, Any]) -> datetime:
    """Return when the facts of a moment became true, by the PBX's clock where it is known."""
    return datetime.fromisoformat(moment.get("since") or moment["at"])


def _course_of(moments: Sequence[Mapping[str, Any]]) -> list[_Step]:
    steps: list[_Step] = []
    for moment in moments:
        action, rule = moment["action"], moment["rule"]
        binds = rule is not None and action in ("force", "never")
        rank = _Rank(rule.get("priority", USUAL_PRIORITY), action == "force") if binds else None
        at = max([time_of(moment), *(step.at for step in steps[-1:])])
        steps.append(_Step(at, action in WANTING, rank))
    return steps


def _step_at(course: Sequence[_Step], at: datetime) -> _Step | None:
    return next((step for step in reversed(course) if step.at <= at), None)
