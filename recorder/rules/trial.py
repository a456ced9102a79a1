"""Draft rules, tried on past calls: what would have been recorded, and what changes."""

import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from recorder.rules import RuleSet
from recorder.rules.facts import past_facts
from storage.catalogue import calls, decisions, recordings
from storage.catalogue.engine import Catalogue
from storage.records import Action, CallRecord, DecisionRecord, RecordingRecord, RuleRecord

MONTH = timedelta(days=30)
MOST_CHANGES = 100
MOST_CALLS = 100_000
AT_ONCE = 500
# What a second of two sides takes in Opus where nothing is stored yet that would tell.
USUAL_BYTES_PER_S = 4000.0


@dataclass(frozen=True, slots=True)
class Change:
    """A call with which something else would have been done; None is not to have recorded it."""

    call_id: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it: of `calls` that ended between `from_at` and `to_at`.

    It is not `complete` where there were more than could be looked at: then `from_at` is when the
    oldest of them began. `changes` are the first of `changed`; audio is in seconds, storage in
    bytes.
    """

    from_at: datetime
    to_at: datetime
    complete: bool
    calls: int
    recorded: int
    recorded_before: int
    audio_s: float
    audio_s_per_month: float
    bytes_per_month: int
    changed: int
    changes: tuple[Change, ...]


def try_rules(
    catalogue: Catalogue,
    rules: Sequence[RuleRecord],
    default: Action,
    *,
    from_at: datetime,
    to_at: datetime,
    agents: Collection[str] | None = None,
    within_s: float = math.inf,
) -> Trial:
    """Ask the rules about every call of that time, as often as it was asked about then.

    `agents` are those whose calls are asked about, None is all. A call that was never asked about
    is asked as it was at its end. The newest come first, and no more once `within_s` are over.
    Raises CatalogueUnavailable.
    """
    asked, found, complete = RuleSet(rules, default), _Found(), True
    ends = time.monotonic() + within_s
    for page, goes_on in _past(catalogue, from_at, to_at, agents):
        for call, decision, kept in page:
            found.add(call, kept, _decide(asked, call, decision))
        if goes_on and (time.monotonic() > ends or found.calls >= MOST_CALLS):
            from_at, complete = page[-1][0].started_at, False
            break
    month = found.audio_s * (MONTH / max(to_at - from_at, timedelta(seconds=1)))
    with catalogue.begin() as tx:
        bytes_per_s = recordings.mean_bytes_per_second(tx) or USUAL_BYTES_PER_S
    return Trial(
        from_at=from_at,
        to_at=to_at,
        complete=complete,
        calls=found.calls,
        recorded=found.recorded,
        recorded_before=found.recorded_before,
        audio_s=found.audio_s,
        audio_s_per_month=month,
        bytes_per_month=round(month * bytes_per_s),
        changed=len(found.changes),
        changes=tuple(found.changes[:MOST_CHANGES]),
    )


@dataclass(slots=True)
class _Found:
    """What has come of the calls so far."""

    calls: int = 0
    recorded: int = 0
    recorded_before: int = 0
    audio_s: float = 0.0
    changes: list[Change] = field(default_factory=list)

    def add(self, call: CallRecord, kept: Sequence[RecordingRecord], would: str | None) -> None:
        """One more: what was kept of it, and by which rule it would have been recorded."""
        was = kept[0].rule or kept[0].trigger if kept else None
        self.calls += 1
        self.recorded_before += was is not None
        if would is not None:
            self.recorded += 1
            self.audio_s += _talk_s(call)
        if (was is None) != (would is None) or (would and was not in {would, "rule"}):
            self.changes.append(Change(call.id, was, would))


Past = tuple[CallRecord, DecisionRecord | None, Sequence[RecordingRecord]]


def _past(
    catalogue: Catalogue, from_at: datetime, to_at: datetime, agents: Collection[str] | None
) -> Iterator[tuple[Sequence[Past], bool]]:
    """The calls, some at a time, for there may be many; and whether more follow."""
    cursor: str | None = None
    while True:
        with catalogue.begin() as tx:
            page = calls.list_calls(
                tx,
                states=["ended"],
                limit=AT_ONCE,
                cursor=cursor,
                agents=agents,
                from_at=from_at,
                to_at=to_at,
            )
            ids = [call.id for call in page.items]
            said = {one.call_id: one for one in decisions.list_decisions(tx, ids)}
            made = _by_call(recordings.list_recordings_of_calls(tx, ids))
        cursor = page.next_cursor
        yield (
            [(call, said.get(call.id), made.get(call.id, ())) for call in page.items],
            cursor is not None,
        )
        if cursor is None:
            return


def _by_call(made: Iterable[RecordingRecord]) -> Mapping[str, list[RecordingRecord]]:
    found: dict[str, list[RecordingRecord]] = {}
    for one in made:
        if one.state != "aborted":
            found.setdefault(one.call_id, []).append(one)
    return found


def _decide(rules: RuleSet, call: CallRecord, said: DecisionRecord | None) -> str | None:
    """The rule by which the call would have been recorded; "default", or None."""
    for facts in past_facts(call, said):
        decision = rules.decide(facts, call.id)
        if decision.action in ("force", "record"):
            return decision.rule.name if decision.rule is not None else "default"
    return None


def _talk_s(call: CallRecord) -> float:
    if call.answered_at is None or call.ended_at is None:
        return 0.0
    return (call.ended_at - call.answered_at).total_seconds()
