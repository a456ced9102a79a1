"""The decisions of the past, joined for the people of one conversation. Pure.

A decision's row keeps a moment for each evaluation of the rules. The people in a conversation bring
the decisions of all their calls, and the strongest one holds (`recorder/rules/strength.py`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from recorder.rules.facts import time_of
from recorder.rules.strength import Strength, priority_of, strength_of
from storage.records import DecisionRecord


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


@dataclass(frozen=True, slots=True)
class _Step:
    """The decision for one call from a moment on."""

    at: datetime
    strength: Strength


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
            strongest = min((step.strength for step in now), default=None)
            is_forbidden = strongest is not None and strongest.forbids
            is_wanted = strongest is not None and strongest.wants
            if begun is not None:
                if (begun.is_wanted, begun.is_forbidden) == (is_wanted, is_forbidden):
                    begun = replace(begun, to_at=until)
                    continue
                yield begun
            begun = Period(at, until, is_wanted, is_forbidden)
        if begun is not None:
            yield begun


def _course_of(moments: Sequence[Mapping[str, Any]]) -> list[_Step]:
    steps: list[_Step] = []
    for moment in moments:
        at = max([time_of(moment), *(step.at for step in steps[-1:])])
        steps.append(_Step(at, strength_of(moment["action"], priority_of(moment["rule"]))))
    return steps


def _step_at(course: Sequence[_Step], at: datetime) -> _Step | None:
    return next((step for step in reversed(course) if step.at <= at), None)
