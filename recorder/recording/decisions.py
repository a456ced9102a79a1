"""The decisions about every call of one PBX.

    changed call ──▶ facts ──▶ rules ──▶ decision, saved with the call ──▶ next step

The rules are evaluated when a call starts, and again whenever one of its facts changes. The owner
of the PBX does so, in the lane of the call: one piece of work at a time for each call.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from recorder.ari import Ari, AriError, AriServerError
from recorder.calls.legs import is_over, legs_of
from recorder.recording.announce import Announcer
from recorder.recording.capture import Capture
from recorder.recording.next_step import has_recording, is_binding, next_step
from recorder.rules import Decision, Facts, RuleSet
from recorder.rules.book import RuleBook
from recorder.rules.facts import facts_of, past_facts
from storage.catalogue import decisions, recordings, tokens
from storage.catalogue.engine import Catalogue
from storage.errors import EarwitnessError
from storage.records import CallRecord, DecisionRecord, RecordingRecord, RuleRecord, shallow

log = structlog.get_logger()

BY = "rules"
LOCK_WITHIN_S = 30.0
TEAMS_FOR_S = 5.0
SUMMARY = ("action", "rule", "reason")
# Time zones differ by multiples of 15 minutes: `hour` and `weekday` change on a quarter hour only.
QUARTER_HOUR_S = 900
NEVER = datetime.min.replace(tzinfo=UTC)


class FactReader:
    """Reads the facts of calls: from their records, from the catalogue and from the PBX."""

    def __init__(self, catalogue: Catalogue, client: Ari) -> None:
        self._catalogue = catalogue
        self._ari = client
        # For each agent: until when the team is good, on the monotonic clock, and the team.
        self._teams: dict[str, tuple[float, str]] = {}

    def read_teams(self, agents: Collection[str]) -> None:
        """Read the teams of these agents, unless they were read within the last 5 seconds."""
        now = time.monotonic()
        old = {agent for agent in agents if now >= self._teams.get(agent, (now, ""))[0]}
        if old:
            with self._catalogue.begin() as tx:
                teams = tokens.find_teams(tx, old)
            self._teams |= {agent: (now + TEAMS_FOR_S, teams.get(agent, "")) for agent in old}

    def read(self, call: CallRecord, rules: RuleSet, before: Facts | None) -> Facts:
        """Return the facts of a call now; `before` are its facts at the last evaluation.

        Variables and headers are those of the first channel. After it has left, they stay as they
        were. A channel that is gone reads like one without any variable. So if the values differ
        from `before`, check that the channel still exists. Raises AriError, CatalogueUnavailable.
        """
        _, team = self._teams.get(call.agent or "", (0.0, ""))
        facts = replace(facts_of(call, datetime.now(UTC)), team=team)
        if not rules.variables and not rules.headers:
            return facts
        first = next(iter(legs_of(call)), None)
        if first is not None and first.alive:
            variables = {name: self._ari.find_variable(first.id, name) for name in rules.variables}
            headers = {name: self._find_header(first.id, name) for name in rules.headers}
            read = replace(facts, variables=_set_only(variables), headers=_set_only(headers))
            if before is not None and _values(read) == _values(before):
                return read
            if self._ari.find_channel(first.id) is not None:
                return read
        if before is None:  # another process evaluated the rules before us
            with self._catalogue.begin() as tx:
                kept = decisions.find_decision(tx, call.id)
            before = past_facts(call, kept)[-1]
        return replace(facts, variables=before.variables, headers=before.headers)

    def _find_header(self, channel_id: str, name: str) -> str | None:
        """Return a SIP header. Asterisk answers 500 where there is none, and without PJSIP."""
        try:
            return self._ari.find_variable(channel_id, f"PJSIP_HEADER(read,{name})")
        except AriServerError:
            return None


@dataclass(frozen=True, slots=True)
class _Evaluated:
    """The last evaluation of the rules for a call."""

    facts: Facts
    decision: Decision


class Decisions:
    """Evaluates the rules for the calls of one PBX, and applies the decisions."""

    def __init__(
        self,
        catalogue: Catalogue,
        facts: FactReader,
        book: RuleBook,
        announcer: Announcer,
        capture: Capture,
    ) -> None:
        self._catalogue = catalogue
        self._facts = facts
        self._book = book
        self._announcer = announcer
        self._capture = capture
        self._last: dict[str, _Evaluated] = {}
        self._open: set[str] = set()

    def may_forbid(self) -> bool:
        """Whether a rule in force may forbid a recording that runs."""
        return self._book.current().forbids

    def follows_time(self, before: datetime, now: datetime) -> bool:
        """Whether the rules may answer otherwise at `now` than `before`, without any event."""
        rules = self._book.current()
        is_next = before.timestamp() // QUARTER_HOUR_S != now.timestamp() // QUARTER_HOUR_S
        return rules.follows_duration or (rules.follows_clock and is_next)

    def is_open(self, call_id: str) -> bool:
        """Whether the call has to be considered again, even if nothing happens to it."""
        return call_id in self._open

    def evaluate(self, records: Sequence[CallRecord]) -> None:
        """Evaluate the rules for calls whose facts have changed, and stop forbidden recordings.

        A call whose evaluation fails stays open. Raises CatalogueUnavailable.
        """
        for call in records:
            if is_over(call):
                self._last.pop(call.id, None)
                self._open.discard(call.id)
        living = [call for call in records if not is_over(call)]
        try:
            self._evaluate(living)
        except EarwitnessError:
            self._open.update(call.id for call in living)
            raise
        self._apply(living, forbidden=True)

    def apply_decisions(self, records: Sequence[CallRecord]) -> None:
        """Start or announce the recordings that the rules want, after `evaluate`."""
        self._apply([call for call in records if not is_over(call)], forbidden=False)

    def apply_decision(self, call: CallRecord, decision: Decision) -> bool:
        """Take the next step for a call. Return True if nothing is left to do.

        Raises CatalogueUnavailable.
        """
        if not is_binding(decision):  # this spares a query for most calls
            return True
        is_announcing = self._announcer.is_announcing(call.id)
        made, kept = self._read(call.id)
        step = next_step(
            call, decision, kept, made, is_announcing=is_announcing, now=datetime.now(UTC)
        )
        match step.action:
            case "start":
                return self._start(call.id, decision.rule)
            case "announce":
                start = partial(self._start, call.id, decision.rule)
                self._announcer.announce(call.id, step.media, step.channel_ids, start)
            case "stop":
                for recording_id in step.recording_ids:
                    try:
                        self._capture.stop(recording_id, by=BY)
                    except EarwitnessError as error:  # it ended just now, or the PBX is away
                        log.warning("recording.not-stopped", call=call.id, reason=str(error))
        return step.action == "nothing"

    def _evaluate(self, living: Sequence[CallRecord]) -> None:
        """Evaluate, save each new moment, and log each decision that differs from the last."""
        rules = self._book.current()
        follows_time = rules.follows_clock or rules.follows_duration
        self._facts.read_teams({call.agent for call in living if call.agent})
        found: dict[str, _Evaluated] = {}
        moments: dict[str, dict[str, Any]] = {}
        for call in living:
            last = self._last.get(call.id)
            before = last.facts if last is not None else None
            try:
                facts = self._facts.read(call, rules, before)
            except AriError as error:
                log.warning("call.not-evaluated", call=call.id, reason=str(error))
                self._open.add(call.id)
                continue
            if before is not None and not follows_time and _timeless(before) == _timeless(facts):
                continue
            decision = rules.decide(facts, call.id)
            found[call.id] = _Evaluated(facts, decision)
            cause = _cause(before, facts)
            if last is None or cause != "time" or decision.answers != last.decision.answers:
                moments[call.id] = _moment(cause, facts, decision)
        if moments:
            rows = [
                DecisionRecord(id_, moments=(moment,), **{name: moment[name] for name in SUMMARY})
                for id_, moment in moments.items()
            ]
            with self._catalogue.begin() as tx:
                decisions.save_decisions(tx, rows)
        for id_, moment in moments.items():
            last, summary = self._last.get(id_), _summary(found[id_].decision)
            if last is None or _summary(last.decision) != summary:
                log.info("call.decided", call=id_, moment=moment["moment"], **summary)
        self._open.update(moments)
        self._last |= found

    def _apply(self, living: Sequence[CallRecord], *, forbidden: bool) -> None:
        """Apply the decision of each open call: either those that forbid, or all others."""
        for call in living:
            last = self._last.get(call.id)
            if call.id not in self._open or last is None:
                continue
            if (last.decision.action == "never") is not forbidden:
                continue
            try:
                if self.apply_decision(call, last.decision):
                    self._open.discard(call.id)
            except EarwitnessError as error:
                log.warning("decision.not-applied", call=call.id, reason=str(error))

    def _start(self, call_id: str, rule: RuleRecord | None) -> bool:
        """Start a recording, unless the call has one. Return False if it did not start.

        The lock is against an earlier owner of the PBX, whose announcement may end only now.
        """
        try:
            with self._catalogue.lock(f"begin {call_id}", wait_s=LOCK_WITHIN_S):
                made, kept = self._read(call_id)
                if not has_recording(made, kept):
                    self._capture.start(call_id, by=BY, trigger="rule", rule=rule)
        except EarwitnessError as error:
            log.warning("recording.not-started", call=call_id, reason=str(error))
            return False
        return True

    def _read(self, call_id: str) -> tuple[Sequence[RecordingRecord], DecisionRecord | None]:
        with self._catalogue.begin() as tx:
            made = recordings.list_recordings_of_calls(tx, [call_id])
            return made, decisions.find_decision(tx, call_id)


def _set_only(read: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in read.items() if value}


def _values(facts: Facts) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return facts.variables, facts.headers


def _timeless(facts: Facts) -> Facts:
    """Return the facts without those that change by themselves."""
    return replace(facts, at=NEVER, duration_s=0)


def _cause(before: Facts | None, now: Facts) -> str:
    """Return the name of the event that changed the facts, as a moment keeps it."""
    if before is None:
        return "begin"
    if now.answered and not before.answered:
        return "answer"
    if now.queue != before.queue:
        return "queue"
    if now.agent != before.agent:
        return "transfer" if before.agent else "agent"
    return "change" if _timeless(before) != _timeless(now) else "time"


def _summary(decision: Decision) -> dict[str, Any]:
    """Return the action, the rule and the reason, as the catalogue keeps them."""
    rule = decision.rule
    kept = {"id": rule.id, "version": rule.version, "name": rule.name} if rule else None
    return {"action": decision.action, "rule": kept, "reason": decision.reason}


def _moment(cause: str, facts: Facts, decision: Decision) -> dict[str, Any]:
    """Return one evaluation as JSON: its time, its cause, the facts and each rule's answer."""
    seen = shallow(facts)
    del seen["at"]
    return {
        "at": facts.at.isoformat(),
        "moment": cause,
        "facts": seen,
        "asked": [shallow(answer) for answer in decision.answers],
        **_summary(decision),
    }
