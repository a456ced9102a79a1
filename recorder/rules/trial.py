"""Trials of draft rules: how past calls would have been recorded, and which of them change."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from recorder.rules import RuleSet
from recorder.rules.replay import Replay, Replayed
from storage.catalogue import calls, decisions, recordings, segments
from storage.catalogue.engine import Catalogue
from storage.catalogue.rights import Rights
from storage.permissions import RULES_READ
from storage.records import CallRecord, RecordingRecord, TrialChange, TrialRecord, TrialResult

MONTH = timedelta(days=30)
MOST_CALLS = 100_000
AT_ONCE = 100
# The bytes of a second of dual Opus: an estimate for an empty store.
USUAL_BYTES_PER_S = 4000.0


@dataclass(frozen=True, slots=True)
class _Page:
    """Calls to examine; `recorded` maps those with a recording to its rule or trigger."""

    calls: Sequence[CallRecord]
    next_cursor: str | None
    replay: Replay
    recorded: Mapping[str, str]


def may_try(rights: Rights | None, agents: Collection[str] | None) -> bool:
    """Whether the owner of these rights may try drafts on the calls of these agents; None: all."""
    if rights is None or not rights.may(RULES_READ):
        return False
    return rights.sees_all(agents) if agents is not None else rights.agents is None


class Trial:
    """Tries the draft rules of a trial on the calls of its time and agents, the newest first.

    It counts conversations, and the calls without one that were recorded or would have been.

        trial = Trial(catalogue, wanted)
        for _ in trial.steps():    # a step for each call: it may end at any of them
            …
        trial.result(), trial.changes
    """

    def __init__(self, catalogue: Catalogue, wanted: TrialRecord) -> None:
        self._catalogue = catalogue
        self._rules = RuleSet(wanted.drafts, wanted.default_action)
        self._from_at = wanted.from_at
        self._to_at = wanted.to_at
        self._agents = wanted.agents
        self._calls = self._recorded = self._recorded_before = 0
        self._audio_s = 0.0
        self._oldest: datetime | None = None
        self._is_complete = False
        self.done = 0
        self.changes: list[TrialChange] = []

    def count(self) -> int:
        """Return the number of calls to examine. Raises CatalogueUnavailable."""
        with self._catalogue.begin() as tx:
            found = calls.count_calls(
                tx,
                states=["ended"],
                agents=self._agents,
                from_at=self._from_at,
                to_at=self._to_at,
            )
        return min(found, MOST_CALLS)

    def steps(self) -> Iterator[int]:
        """Examine call by call, and yield how many are examined. Raises CatalogueUnavailable."""
        cursor: str | None = None
        while True:
            page = self._read_page(cursor)
            cursor = page.next_cursor
            for call in page.calls:
                self._add(call, page.replay.replay(call), page.recorded.get(call.id))
                self.done += 1
                self._oldest = call.started_at
                yield self.done
            self._is_complete = cursor is None
            if cursor is None or self.done == MOST_CALLS:
                return

    def result(self) -> TrialResult:
        """Return the figures of the calls that are examined. Raises CatalogueUnavailable."""
        from_at = self._from_at if self._is_complete else self._oldest or self._to_at
        month = self._audio_s * (MONTH / max(self._to_at - from_at, timedelta(seconds=1)))
        with self._catalogue.begin() as tx:
            bytes_per_s = recordings.mean_bytes_per_second(tx) or USUAL_BYTES_PER_S
        return TrialResult(
            from_at=from_at,
            to_at=self._to_at,
            complete=self._is_complete,
            calls=self._calls,
            recorded=self._recorded,
            recorded_before=self._recorded_before,
            audio_s=self._audio_s,
            audio_s_per_month=month,
            bytes_per_month=round(month * bytes_per_s),
            changed=len(self.changes),
        )

    def _add(self, call: CallRecord, replayed: Replayed, before: str | None) -> None:
        """Count a call; `before` is the rule or the trigger of its recording, or None."""
        after = replayed.rule
        if not (replayed.talked or before or after):
            return
        self._calls += 1
        self._recorded += after is not None
        self._recorded_before += before is not None
        self._audio_s += replayed.audio_s
        if (before is None) != (after is None) or (after and before not in {after, "rule"}):
            self.changes.append(TrialChange(call.id, before, after))

    def _read_page(self, cursor: str | None) -> _Page:
        with self._catalogue.begin() as tx:
            page = calls.list_calls(
                tx,
                states=["ended"],
                limit=min(AT_ONCE, MOST_CALLS - self.done),
                cursor=cursor,
                agents=self._agents,
                from_at=self._from_at,
                to_at=self._to_at,
            )
            known = {call.id: call for call in page.items}
            met = {id_ for call in page.items for id_ in call.met} - known.keys()
            known |= calls.find_calls(tx, met)
            decided = {one.call_id: one for one in decisions.list_decisions(tx, list(known))}
            found = recordings.list_recordings_of_calls(tx, list(known))
            made = [one for one in found if one.state != "aborted"]
            captured = segments.map_captured(tx, [one.id for one in made], running=False)
        replay = Replay(self._rules, known, decided)
        return _Page(
            page.items, page.next_cursor, replay, _find_recorded(page.items, made, captured)
        )


def _find_recorded(
    page: Sequence[CallRecord],
    made: Sequence[RecordingRecord],
    captured: Mapping[UUID, frozenset[str]],
) -> dict[str, str]:
    """Return for each recorded call the rule or the trigger of its recording.

    A call without one of its own may be in the recording of a call that it met.
    """
    found: dict[str, str] = {}
    for call in page:
        channels = {leg.id for leg in call.channels}
        own = [one for one in made if one.call_id == call.id]
        others = [one for one in made if one.call_id in call.met]
        heard = [one for one in others if channels & captured.get(one.id, frozenset())]
        for one in (own or heard)[:1]:
            found[call.id] = one.rule or one.trigger
    return found
