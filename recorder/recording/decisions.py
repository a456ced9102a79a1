"""The decisions about every call of one PBX.

    changed call ──▶ facts ──▶ rules ──▶ decision, saved with the call ──▶ next step

The rules are evaluated when a call starts, and again whenever one of its facts changes. The owner
of the PBX does so, in the lane of the call: one piece of work at a time for each call. A step is
for all people of a conversation, so it may concern a recording of another call.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from recorder.ari import AriError
from recorder.calls.legs import is_over
from recorder.recording.announce import Announcer
from recorder.recording.capture import Capture
from recorder.recording.coverage import find_starter, is_forbidding
from recorder.recording.fact_reader import FactReader
from recorder.recording.gate import read_scene, summary_of
from recorder.recording.next_step import next_step
from recorder.recording.terms import apply_terms, trigger_of
from recorder.rules import Decision, Facts
from recorder.rules.book import RuleBook
from recorder.rules.strength import RECORDS
from storage.actors import RULES
from storage.catalogue import decisions, terms
from storage.catalogue.engine import Catalogue
from storage.errors import EarwitnessError
from storage.records import Actor, CallRecord, DecisionRecord, RuleRecord, shallow

log = structlog.get_logger()

LOCK_WITHIN_S = 30.0
SUMMARY = ("action", "rule", "reason")
# Time zones differ by multiples of 15 minutes: `hour` and `weekday` change on a quarter hour only.
QUARTER_HOUR_S = 900
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Evaluated:
    """The last evaluation of the rules for a call, as of its `changed_at`."""

    facts: Facts
    decision: Decision
    terms: RuleRecord | None
    changed_at: datetime | None

    def holds_for(
        self, facts: Facts, terms: RuleRecord | None, changed_at: datetime | None
    ) -> bool:
        """Whether nothing has changed since but the time."""
        known = self.changed_at, self.terms, _timeless(self.facts)
        return known == (changed_at, terms, _timeless(facts))


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

    def reopen_changed_terms(self, pbx: str) -> None:
        """Open the calls of the PBX whose request wants other terms than at their last evaluation.

        A conference may be recorded, or not, from any moment on, and no event of a call says so.
        Raises CatalogueUnavailable.
        """
        with self._catalogue.begin() as tx:
            wanted = terms.list_live_terms(tx, pbx)
        last = dict(self._last)
        self._open.update(id_ for id_, one in last.items() if one.terms != wanted.get(id_))

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

    def reconsider(self, call_ids: Collection[str]) -> None:
        """Consider these calls again although no fact of them changed: their company did."""
        self._open.update(call_ids)

    def apply_decision(self, call: CallRecord) -> bool:
        """Take the next step for the people of a call. Return True if nothing is left to do.

        Raises CatalogueUnavailable.
        """
        known_of = [self._last.get(id_) for id_ in (call.id, *call.joined)]
        if known_of[0] is None:
            return False
        # This spares the queries for most calls. A joined call without a decision yet reopens this
        # one when it gets its own.
        if not any(one is not None and _is_binding(one.decision) for one in known_of):
            return True
        with self._catalogue.begin() as tx:
            scene = read_scene(tx, call.id)
        if any(self._is_outdated(one) for one in scene.calls.values()):
            return False  # its next evaluation is on the way
        rules = {id_: self._last[id_].decision.rule for id_ in scene.calls if id_ in self._last}
        step = next_step(
            scene,
            call.id,
            rules,
            announced={id_ for one in scene.decisions.values() for id_ in one.announced},
            announcing={id_ for id_ in scene.calls if self._announcer.is_announcing(id_)},
        )
        match step.action:
            case "start":
                return self._start(step.call_id, step.rule, first=min(scene.calls))
            case "announce" if step.rule is not None:
                start = partial(self._start, step.call_id, step.rule)
                sound = step.rule.announcement or ""
                self._announcer.announce(step.call_id, sound, step.channel_ids, start)
            case "settle":
                for recording_id in step.recording_ids:
                    try:
                        self._capture.settle(recording_id)
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
        changed_at = {call.id: call.changed_at for call in living}
        with self._catalogue.begin() as tx:
            asked_for = terms.find_terms(tx, list(changed_at))
        for call in living:
            last = self._last.get(call.id)
            before = last.facts if last is not None else None
            try:
                facts = self._facts.read(call, rules, before)
            except AriError as error:
                log.warning("call.not-evaluated", call=call.id, reason=str(error))
                self._open.add(call.id)
                continue
            wanted = asked_for.get(call.id)
            holds = last is not None and last.holds_for(facts, wanted, call.changed_at)
            if holds and not follows_time:
                continue
            decision = apply_terms(rules.decide(facts, call.id), wanted, facts)
            found[call.id] = _Evaluated(facts, decision, wanted, call.changed_at)
            cause = _cause(before, facts)
            is_timed = last is not None and last.changed_at == call.changed_at and cause == "time"
            if last is None or not is_timed or decision != last.decision:
                moments[call.id] = _moment(cause, call, facts, decision)
        if moments:
            rows = [
                DecisionRecord(
                    id_,
                    moments=(moment,),
                    as_of=changed_at[id_],
                    **{name: moment[name] for name in SUMMARY},
                )
                for id_, moment in moments.items()
            ]
            with self._catalogue.begin() as tx:
                decisions.save_decisions(tx, rows)
        for id_, moment in moments.items():
            last, summary = self._last.get(id_), summary_of(found[id_].decision)
            if last is None or summary_of(last.decision) != summary:
                log.info("call.decided", call=id_, moment=moment["moment"], **summary)
        self._open.update(moments)
        for call in living:  # a decision holds for the people of joined calls too
            if call.id in moments:
                self._open.update(call.joined)
        self._last |= found

    def _apply(self, living: Sequence[CallRecord], *, forbidden: bool) -> None:
        """Apply the decision of each open call: either those that forbid, or all others."""
        for call in living:
            last = self._last.get(call.id)
            if call.id not in self._open or last is None:
                continue
            if (last.decision.action == "never") is not forbidden:
                continue
            # Close the call before looking at it: a change meanwhile opens it again.
            self._open.discard(call.id)
            is_done = False
            try:
                is_done = self.apply_decision(call)
            except EarwitnessError as error:
                log.warning("decision.not-applied", call=call.id, reason=str(error))
            finally:
                if not is_done:
                    self._open.add(call.id)

    def _is_outdated(self, call: CallRecord) -> bool:
        """Whether a fact of the call has changed since its last evaluation."""
        last = self._last.get(call.id)
        if last is None or last.changed_at is None or call.changed_at is None:
            return False
        return call.changed_at > last.changed_at

    def _start(self, call_id: str, rule: RuleRecord | None, *, first: str | None = None) -> bool:
        """Start a recording, unless these people have one. Return False if it did not start.

        The lock is against the lanes of joined calls, and against an earlier owner of the PBX,
        whose announcement may end only now. Its name is the `first` of the calls in alphabetical
        order; without it, look which that is.
        """
        try:
            if first is None:
                with self._catalogue.begin() as tx:
                    first = min(read_scene(tx, call_id).calls)
            with self._catalogue.lock(f"begin {first}", wait_s=LOCK_WITHIN_S):
                with self._catalogue.begin() as tx:
                    scene = read_scene(tx, call_id)
                starters = [find_starter(scene, one) for one in scene.conversations_with(call_id)]
                if any(one is not None and one.id == call_id for one in starters):
                    trigger = trigger_of(rule)
                    by = Actor("rule", rule.name) if rule is not None else RULES
                    self._capture.start(call_id, by=by, trigger=trigger, rule=rule, scene=scene)
        except EarwitnessError as error:
            log.warning("recording.not-started", call=call_id, reason=str(error))
            return False
        return True


def _is_binding(decision: Decision) -> bool:
    """Whether the decision starts or forbids a recording; the default never forbids one."""
    return decision.action in RECORDS or is_forbidding(decision)


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


def _moment(cause: str, call: CallRecord, facts: Facts, decision: Decision) -> dict[str, Any]:
    """Return one evaluation as JSON: its time, its cause, the facts and each rule's answer.

    `since` is the time of the change by the PBX's clock: from then on the decision holds.
    """
    seen = shallow(facts)
    del seen["at"]
    since = facts.at if cause == "time" or call.changed_at is None else call.changed_at
    return {
        "at": facts.at.isoformat(),
        "since": min(since, facts.at).isoformat(),
        "moment": cause,
        "facts": seen,
        "asked": [shallow(answer) for answer in decision.answers],
        **summary_of(decision),
    }
