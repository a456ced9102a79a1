"""Trials of draft rules: how past calls would have been recorded, and which of them change."""

import math
import time
from collections.abc import Collection, Iterator, Sequence
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
# The bytes of a second of dual Opus: an estimate for an empty store.
USUAL_BYTES_PER_S = 4000.0

Past = tuple[CallRecord, DecisionRecord | None, Sequence[RecordingRecord]]


@dataclass(frozen=True, slots=True)
class TrialChange:
    """A call that the draft rules treat differently; None means that it is not recorded."""

    call_id: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of a trial, on `calls` calls that ended between `from_at` and `to_at`.

    It is not `complete` if there were too many calls: then `from_at` is the start of its oldest
    call. `changes` are the first of `changed` changes; audio is in seconds, storage in bytes.
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
    changes: tuple[TrialChange, ...]


@dataclass(slots=True)
class _Totals:
    """The counts of a trial so far."""

    calls: int = 0
    recorded: int = 0
    recorded_before: int = 0
    audio_s: float = 0.0
    changes: list[TrialChange] = field(default_factory=list)

    def add(
        self, call: CallRecord, recordings: Sequence[RecordingRecord], after: str | None
    ) -> None:
        """Add a call with its recordings; `after` is the draft rule that records it, or None."""
        before = recordings[0].rule or recordings[0].trigger if recordings else None
        self.calls += 1
        self.recorded_before += before is not None
        if after is not None:
            self.recorded += 1
            if call.answered_at is not None and call.ended_at is not None:
                self.audio_s += (call.ended_at - call.answered_at).total_seconds()
        if (before is None) != (after is None) or (after and before not in {after, "rule"}):
            self.changes.append(TrialChange(call.id, before, after))


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
    """Evaluate draft rules for the calls of a time span, at each moment of their own evaluations.

    `agents` limits the trial to the calls of these agents; None means all calls. A call without any
    evaluation is evaluated as it was when it was answered. The newest calls come first; stop once
    `within_s` seconds are over. Raises CatalogueUnavailable.
    """
    rule_set, totals, complete = RuleSet(rules, default), _Totals(), True
    deadline = time.monotonic() + within_s
    for page, goes_on in _iter_past(catalogue, from_at, to_at, agents):
        for call, decision, made in page:
            after = None
            for facts in past_facts(call, decision):
                found = rule_set.decide(facts, call.id)
                if found.action in ("force", "record"):
                    after = found.rule.name if found.rule is not None else "default"
                    break
            totals.add(call, made, after)
        if goes_on and (time.monotonic() > deadline or totals.calls >= MOST_CALLS):
            from_at, complete = page[-1][0].started_at, False
            break
    month = totals.audio_s * (MONTH / max(to_at - from_at, timedelta(seconds=1)))
    with catalogue.begin() as tx:
        bytes_per_s = recordings.mean_bytes_per_second(tx) or USUAL_BYTES_PER_S
    return Trial(
        from_at=from_at,
        to_at=to_at,
        complete=complete,
        calls=totals.calls,
        recorded=totals.recorded,
        recorded_before=totals.recorded_before,
        audio_s=totals.audio_s,
        audio_s_per_month=month,
        bytes_per_month=round(month * bytes_per_s),
        changed=len(totals.changes),
        changes=tuple(totals.changes[:MOST_CHANGES]),
    )


def _iter_past(
    catalogue: Catalogue, from_at: datetime, to_at: datetime, agents: Collection[str] | None
) -> Iterator[tuple[Sequence[Past], bool]]:
    """Yield the ended calls, `AT_ONCE` at a time, and whether more follow.

    Each call comes with its decision and its recordings that were not aborted.
    """
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
            decided = {one.call_id: one for one in decisions.list_decisions(tx, ids)}
            made: dict[str, list[RecordingRecord]] = {}
            for one in recordings.list_recordings_of_calls(tx, ids):
                if one.state != "aborted":
                    made.setdefault(one.call_id, []).append(one)
        cursor = page.next_cursor
        yield (
            [(call, decided.get(call.id), made.get(call.id, ())) for call in page.items],
            cursor is not None,
        )
        if cursor is None:
            return
