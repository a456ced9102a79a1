"""Draft rules, tried on past calls: what would have been recorded, and what changes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from recorder.asking import facts_then
from recorder.rules import RuleSet
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

    `changes` are the first of `changed`; audio is in seconds, storage in bytes.
    """

    from_at: datetime
    to_at: datetime
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
) -> Trial:
    """Ask the rules about every call of that time, as often as it was asked about then.

    A call that was never asked about is asked as it was at its end. Raises CatalogueUnavailable.
    """
    asked = RuleSet(rules, default)
    count = recorded = before = 0
    audio_s = 0.0
    changes: list[Change] = []
    for call, decision, kept in _past(catalogue, from_at, to_at):
        count += 1
        was = kept[0].rule or kept[0].trigger if kept else None
        would = _decide(asked, call, decision)
        before += was is not None
        if would is not None:
            recorded += 1
            audio_s += _talk_s(call)
        if (was is None) != (would is None) or (would and was not in {would, "rule"}):
            changes.append(Change(call.id, was, would))
    month = audio_s * (MONTH / max(to_at - from_at, timedelta(seconds=1)))
    with catalogue.begin() as tx:
        bytes_per_s = recordings.mean_bytes_per_second(tx) or USUAL_BYTES_PER_S
    return Trial(
        from_at=from_at,
        to_at=to_at,
        calls=count,
        recorded=recorded,
        recorded_before=before,
        audio_s=audio_s,
        audio_s_per_month=month,
        bytes_per_month=round(month * bytes_per_s),
        changed=len(changes),
        changes=tuple(changes[:MOST_CHANGES]),
    )


Past = tuple[CallRecord, DecisionRecord | None, Sequence[RecordingRecord]]


def _past(catalogue: Catalogue, from_at: datetime, to_at: datetime) -> Iterator[Past]:
    """The calls, some at a time: there may be many."""
    cursor: str | None = None
    for _ in range(MOST_CALLS // AT_ONCE):
        with catalogue.begin() as tx:
            page = calls.list_calls(
                tx, states=["ended"], limit=AT_ONCE, cursor=cursor, from_at=from_at, to_at=to_at
            )
            ids = [call.id for call in page.items]
            said = {one.call_id: one for one in decisions.list_decisions(tx, ids)}
            made = _by_call(recordings.list_recordings_of_calls(tx, ids))
        yield from ((call, said.get(call.id), made.get(call.id, ())) for call in page.items)
        cursor = page.next_cursor
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
    for facts in facts_then(call, said):
        decision = rules.decide(facts, call.id)
        if decision.action in ("force", "record"):
            return decision.rule.name if decision.rule is not None else "default"
    return None


def _talk_s(call: CallRecord) -> float:
    if call.answered_at is None or call.ended_at is None:
        return 0.0
    return (call.ended_at - call.answered_at).total_seconds()
