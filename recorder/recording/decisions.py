"""What the rules say of every call: asked at its moments, written down, obeyed.

changed call ──▶ facts ──▶ rules ──▶ decision, kept with the call ──▶ recording
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from recorder.ari import Ari, AriError, AriServerError
from recorder.calls.legs import is_conversation, is_over, legs_of, legs_to_capture
from recorder.recording.assurance import assure, is_ended_by_rule
from recorder.recording.capture import Capture
from recorder.recording.sounds import BEEP, Sound, Sounds
from recorder.rules import Decision, Facts, RuleSet
from recorder.rules.book import RuleBook
from recorder.rules.facts import facts_of, past_facts
from storage import states
from storage.catalogue import calls, decisions, recordings, segments, tokens
from storage.catalogue.engine import Catalogue
from storage.errors import EarwitnessError
from storage.records import (
    Action,
    Assurance,
    CallRecord,
    DecisionRecord,
    RecordingRecord,
    RuleRecord,
    shallow,
)

log = structlog.get_logger()

BY = "rules"
ASSURED_AT_ONCE = 100
TEAMS_FOR_S = 5.0
# By then whoever found that a call may be recorded has promised to.
BEGUN_WITHIN = timedelta(seconds=3)
# After so long a call is held against its recordings though no worker has finished them.
MEASURED_WITHIN = timedelta(minutes=1)
KEEP: frozenset[Action] = frozenset({"force", "record"})
SUMMARY = ("action", "rule", "reason")
# All clocks of the world begin an hour at a quarter of one.
HOURS_MEET_S = 900
NEVER = datetime.min.replace(tzinfo=UTC)

Read = Mapping[str, str]  # what there is of what the rules name


class Decisions:
    """Asks the rules about the calls of one PBX, and begins the recordings that they want.

    Only the owner of the PBX does so, and one thing at a time for each call.
    """

    def __init__(
        self, catalogue: Catalogue, ari: Ari, sounds: Sounds, capture: Capture, book: RuleBook
    ) -> None:
        self._catalogue = catalogue
        self._ari = ari
        self._sounds = sounds
        self._capture = capture
        self._book = book
        self._asked: dict[str, Facts] = {}
        self._decided: dict[str, Decision] = {}
        self._open: set[str] = set()  # the calls for which something has still to be done
        self._announcing: set[str] = set()
        # Of each agent until when it is good, on the monotonic clock, and the team.
        self._teams: dict[str, tuple[float, str]] = {}
        self._beeps: dict[UUID, float] = {}  # when the next is due, on the monotonic clock

    def ask(self, present: Sequence[CallRecord]) -> None:
        """Ask the rules if anything that they can see has changed; end what they forbid.

        What fails for a call is open still. Raises CatalogueUnavailable.
        """
        for call in present:
            if is_over(call):
                self._forget(call.id)
        living = [call for call in present if not is_over(call)]
        try:
            self._ask(living)
        except EarwitnessError:
            self._open.update(call.id for call in living)
            raise
        self._carry_out(living, lambda decision: decision.action == "never")

    def obey(self, present: Sequence[CallRecord]) -> None:
        """Begin what the rules want, once `ask` has asked them."""
        living = [call for call in present if not is_over(call)]
        self._carry_out(living, lambda decision: decision.action != "never")

    def follow_time(self, before: datetime, now: datetime) -> bool:
        """Whether calls have to be considered again though nothing has happened to them."""
        rules_now = self._book.current()
        is_another = before.timestamp() // HOURS_MEET_S != now.timestamp() // HOURS_MEET_S
        return rules_now.follows_duration or (rules_now.follows_clock and is_another)

    def may_forbid(self) -> bool:
        """Whether there is a rule by which a recording may have to end."""
        return self._book.current().forbids

    def is_open(self, call_id: str) -> bool:
        """Whether something has still to be done for the call, though nothing happens to it."""
        return call_id in self._open

    def _forget(self, call_id: str) -> None:
        self._asked.pop(call_id, None)
        self._decided.pop(call_id, None)
        self._open.discard(call_id)

    def _ask(self, living: Sequence[CallRecord]) -> None:
        rules_now = self._book.current()
        follows_time = rules_now.follows_clock or rules_now.follows_duration
        self._read_teams({call.agent for call in living if call.agent})
        entries: dict[str, dict[str, Any]] = {}
        answers: dict[str, tuple[Facts, Decision]] = {}
        for call in living:
            before = self._asked.get(call.id)
            try:
                facts = self._facts(call, rules_now)
            except AriError as error:
                log.warning("call.not-asked", call=call.id, reason=str(error))
                self._open.add(call.id)
                continue
            if before is not None and not follows_time and _view(before) == _view(facts):
                continue
            decision = rules_now.decide(facts, call.id)
            moment = _moment(before, facts)
            answers[call.id] = facts, decision
            if moment != "time" or decision.answers != self._decided[call.id].answers:
                entries[call.id] = _entry(moment, facts, decision)
        self._keep(entries, answers)
        self._open.update(entries)
        for call_id, (facts, decision) in answers.items():
            self._asked[call_id], self._decided[call_id] = facts, decision

    def _carry_out(self, living: Sequence[CallRecord], is_now: Callable[[Decision], bool]) -> None:
        for call in living:
            decision = self._decided.get(call.id) if call.id in self._open else None
            if decision is not None and is_now(decision) and self._is_done(call, decision):
                self._open.discard(call.id)

    def _is_done(self, call: CallRecord, decision: Decision) -> bool:
        try:
            return self._obey(call, decision)
        except EarwitnessError as error:
            log.warning("call.not-obeyed", call=call.id, reason=str(error))
            return False

    def _facts(self, call: CallRecord, rules_now: RuleSet) -> Facts:
        _, team = self._teams.get(call.agent or "", (0.0, ""))
        variables, headers = self._read(call, rules_now)
        facts = facts_of(call, datetime.now(UTC))
        return replace(facts, team=team, variables=variables, headers=headers)

    def _read(self, call: CallRecord, rules_now: RuleSet) -> tuple[Read, Read]:
        """The variables and headers of the first channel; once it has left, as they were last.

        A channel that is gone reads as one on which nothing is set: what reads as it did before is
        believed, and otherwise that the channel is there still.
        """
        if not rules_now.variables and not rules_now.headers:
            return {}, {}
        first = next(iter(legs_of(call)), None)
        before = self._asked.get(call.id)
        if first is not None and first.alive:
            channel = first.id
            read = (
                _present(
                    (one, self._ari.find_variable(channel, one)) for one in rules_now.variables
                ),
                _present((one, self._header(channel, one)) for one in rules_now.headers),
            )
            is_as_before = before is not None and read == (before.variables, before.headers)
            if is_as_before or self._ari.find_channel(channel) is not None:
                return read
        last = before or self._asked_last(call)
        return last.variables, last.headers

    def _asked_last(self, call: CallRecord) -> Facts:
        """What an owner of the PBX before us put before the rules."""
        with self._catalogue.begin() as tx:
            said = decisions.find_decision(tx, call.id)
        return past_facts(call, said)[-1]

    def _header(self, channel_id: str, name: str) -> str | None:
        """None without one, or where the channel is not of PJSIP: Asterisk answers both by 500."""
        try:
            return self._ari.find_variable(channel_id, f"PJSIP_HEADER(read,{name})")
        except AriServerError:
            return None

    def _read_teams(self, agents: Collection[str]) -> None:
        """Who belongs to whom changes rarely: what is known is good for a while."""
        now = time.monotonic()
        old = {one for one in agents if now >= self._teams.get(one, (now, ""))[0]}
        if old:
            with self._catalogue.begin() as tx:
                teams = tokens.find_teams(tx, old)
            self._teams |= {one: (now + TEAMS_FOR_S, teams.get(one, "")) for one in old}

    def _keep(
        self,
        entries: Mapping[str, dict[str, Any]],
        answers: Mapping[str, tuple[Facts, Decision]],
    ) -> None:
        """Write down, of each call, what was asked, seen and answered."""
        if not entries:
            return
        with self._catalogue.begin() as tx:
            decisions.save_decisions(tx, [_said(id_, entry) for id_, entry in entries.items()])
        for id_, entry in entries.items():
            if not _is_same(self._decided.get(id_), answers[id_][1]):
                told = {name: entry[name] for name in SUMMARY}
                log.info("call.decided", call=id_, moment=entry["moment"], **told)

    def beep(self, pbx: str) -> None:
        """Let the parties hear that they are recorded, where it is time again; not while paused."""
        with self._catalogue.begin() as tx:
            live = recordings.list_live_recordings(tx, pbx)
        beeping = {one.id: one for one in live if one.beep_every_s and one.state == "recording"}
        now = time.monotonic()
        for id_ in self._beeps.keys() - beeping.keys():
            del self._beeps[id_]
        for id_, one in beeping.items():
            if now >= self._beeps.setdefault(id_, now):
                self._beeps[id_] = now + one.beep_every_s
                with self._catalogue.begin() as tx:
                    call = calls.get_call(tx, one.call_id)
                joined = (leg for leg in legs_of(call) if leg.alive and leg.joined_at is not None)
                self._sounds.play_soon([leg.id for leg in joined], BEEP)

    def assure(self, pbx: str, ended_before: datetime) -> None:
        """Hold ended calls against their recordings; what is missing is told."""
        with self._catalogue.begin() as tx:
            ended = decisions.list_unassured(
                tx, pbx, ended_before=ended_before, limit=ASSURED_AT_ONCE
            )
            if not ended:
                return
            known = calls.find_calls(tx, ended)
            made: dict[str, list[RecordingRecord]] = {}
            for one in recordings.list_recordings_of_calls(tx, ended):
                made.setdefault(one.call_id, []).append(one)
            found = {
                said.call_id: _held_against(tx, known[said.call_id], said, ours)
                for said in decisions.list_decisions(tx, ended)
                if not _is_early(known[said.call_id], ours := made.get(said.call_id, []))
            }
            decisions.save_assurances(tx, found)
        for call_id, assured in found.items():
            if assured.cause is not None:
                log.error("recording.missing", call=call_id, **asdict(assured))

    # What comes of it

    def _obey(self, call: CallRecord, decision: Decision) -> bool:
        """Do what was decided; whether nothing is left to do until something happens."""
        forbids = decision.action == "never" and decision.rule is not None
        if decision.action not in KEEP and not forbids:
            return True
        # Asked before the recordings are read: what is announced is begun by who announces it.
        is_announcing = call.id in self._announcing
        known, told = self._made_and_said(call.id)
        if forbids:
            return self._end(known) and not is_announcing and not _is_fresh(told)
        if is_announcing or not _may_begin(call, decision):
            return False
        has_begun = _has_begun(known, told)
        untold = _untold(call, decision.rule, told.announced if told is not None else ())
        if untold and decision.rule is not None:
            self._announce(call.id, decision.rule, untold, begin=not has_begun)
            return False
        return has_begun or self._begin(call.id, decision.rule)

    def _announce(
        self, call_id: str, rule: RuleRecord, untold: Sequence[str], *, begin: bool
    ) -> None:
        """Tell who is recorded, then begin; who joins later is told while the recording runs."""
        self._announcing.add(call_id)
        self._sounds.do(self._tell_and_begin, call_id, rule, untold, begin)

    def _tell_and_begin(
        self, call_id: str, rule: RuleRecord, untold: Sequence[str], begin: bool
    ) -> None:
        try:
            self._tell(call_id, rule, untold)
            if begin:
                self._begin(call_id, rule)
        finally:
            self._announcing.discard(call_id)

    def _tell(self, call_id: str, rule: RuleRecord, untold: Sequence[str]) -> None:
        try:
            with self._catalogue.begin() as tx:  # who was told while this was being asked for
                told = decisions.find_decision(tx, call_id)
            left = [one for one in untold if told is None or one not in told.announced]
            heard = self._sounds.play(left, Sound(rule.announcement or ""))
            if heard:
                log.info("announcement.played", call=call_id, sound=rule.announcement)
                with self._catalogue.begin() as tx:
                    decisions.add_announced(tx, call_id, left)
            else:
                log.warning("announcement.not-heard", call=call_id, sound=rule.announcement)
        except Exception:
            log.exception("announcement.failed", call=call_id, sound=rule.announcement)

    def _begin(self, call_id: str, rule: RuleRecord | None) -> bool:
        """Begin, unless another did: who owned the PBX before us may have announced until now."""
        try:
            with self._catalogue.lock(f"begin {call_id}"):
                if not _has_begun(*self._made_and_said(call_id)):
                    self._capture.start(call_id, by=BY, trigger="rule", rule=rule)
        except EarwitnessError as error:
            log.warning("recording.not-begun", call=call_id, reason=str(error))
            return False
        return True

    def _made_and_said(
        self, call_id: str
    ) -> tuple[Sequence[RecordingRecord], DecisionRecord | None]:
        with self._catalogue.begin() as tx:
            made = recordings.list_recordings_of_calls(tx, [call_id])
            return made, decisions.find_decision(tx, call_id)

    def _end(self, known: Sequence[RecordingRecord]) -> bool:
        """A call that came to where nothing may be recorded: what was recorded before is kept.

        Whether none is left, whoever began it.
        """
        ended = [self._is_ended(one) for one in known if one.state in states.LIVE]
        return all(ended)

    def _is_ended(self, recording: RecordingRecord) -> bool:
        try:
            self._capture.stop(recording.id, by=BY)
        except EarwitnessError as error:  # it ended just now, or the PBX is away
            log.warning("call.not-obeyed", call=recording.call_id, reason=str(error))
            return False
        return True


def _held_against(
    tx: Any, call: CallRecord, said: DecisionRecord, made: Sequence[RecordingRecord]
) -> Assurance:
    parts = [part for one in made for part in segments.list_segments(tx, one.id)]
    return assure(call, said, made, parts)


def _is_early(call: CallRecord, made: Sequence[RecordingRecord]) -> bool:
    """Whether what the recordings hold is being measured still."""
    is_open = any(one.state in states.LIVE or one.state == "captured" for one in made)
    ended_at = call.ended_at or datetime.now(UTC)
    return is_open and datetime.now(UTC) - ended_at < MEASURED_WITHIN


def _is_fresh(said: DecisionRecord | None) -> bool:
    """Whether somebody who saw what was said before may be about to begin still."""
    if said is None or not said.moments:
        return False
    return datetime.now(UTC) - datetime.fromisoformat(said.moments[-1]["at"]) < BEGUN_WITHIN


def _has_begun(made: Sequence[RecordingRecord], said: DecisionRecord | None) -> bool:
    """Whether a rule has its recording, or a person ended it; not what a rule ended."""
    ours = (one for one in made if one.trigger == "rule")
    return any(said is None or not is_ended_by_rule(one, said) for one in ours)


def _may_begin(call: CallRecord, decision: Decision) -> bool:
    """Whether there is anything to record; by default a recording begins with the conversation."""
    begins = decision.rule.begins if decision.rule is not None else "answer"
    return is_conversation(call) if begins == "answer" else bool(legs_to_capture(call))


def _untold(
    call: CallRecord, rule: RuleRecord | None, announced: Collection[str]
) -> tuple[str, ...]:
    """The channels whose parties have still to hear the rule's announcement."""
    if rule is None or rule.announcement is None:
        return ()
    present = (leg for leg in legs_of(call) if leg.alive and leg.joined_at is not None)
    told = (leg for leg in present if rule.announce_to == "both" or leg.party == "customer")
    return tuple(leg.id for leg in told if leg.id not in announced)


def _view(facts: Facts) -> Facts:
    """All but what changes by itself."""
    return replace(facts, at=NEVER, duration_s=0)


def _moment(before: Facts | None, now: Facts) -> str:
    """What happened to the call since the rules were asked last."""
    if before is None:
        return "begin"
    if now.answered and not before.answered:
        return "answer"
    if now.queue != before.queue:
        return "queue"
    if now.agent != before.agent:
        return "transfer" if before.agent else "agent"
    return "change" if _view(before) != _view(now) else "time"


def _present(read: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    return {name: value for name, value in read if value}


def _said(call_id: str, entry: Mapping[str, Any]) -> DecisionRecord:
    """What is kept of a call at one moment."""
    return DecisionRecord(call_id, moments=(entry,), **{name: entry[name] for name in SUMMARY})


def _is_same(before: Decision | None, now: Decision) -> bool:
    """Whether they come to the same, for the same reason."""
    return before is not None and all(
        getattr(before, name) == getattr(now, name) for name in SUMMARY
    )


def _entry(moment: str, facts: Facts, decision: Decision) -> dict[str, Any]:
    """One moment, as it is kept: when and why the rules were asked, what they saw and said."""
    rule, seen = decision.rule, shallow(facts)
    del seen["at"]
    return {
        "at": facts.at.isoformat(),
        "moment": moment,
        "facts": seen,
        "asked": [shallow(one) for one in decision.answers],
        "action": decision.action,
        "rule": {"id": rule.id, "version": rule.version, "name": rule.name} if rule else None,
        "reason": decision.reason,
    }
