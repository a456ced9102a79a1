"""Replay past calls with other rules: which would have been recorded, and for how long. Pure.

The rules are evaluated on the facts of each moment at which the rules in force were evaluated. Then
the call's conversations are replayed: a recording starts at the first moment at which two people
talk and the decisions of their calls, taken together, want it.

    moments of the call and of those that it met ──▶ decisions ──▶ talks ──▶ recorded from … to …
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from recorder.calls.conversations import Talk, talks_of
from recorder.calls.legs import precedence_of
from recorder.rules.decide import Decision, RuleSet
from recorder.rules.facts import past_facts, time_of
from recorder.rules.strength import RECORDS, Strength, strength_of
from storage.records import CallRecord, DecisionRecord


@dataclass(frozen=True, slots=True)
class Replayed:
    """The recording that the rules would have made of a call.

    `rule` names the rule, `default` without one; None means no recording. `audio_s` is 0 where the
    recording would have belonged to another call of the conversation.
    """

    talked: bool
    rule: str | None = None
    audio_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Moment:
    """A decision, and the time from which it holds.

    `answered` means that two people had talked, `audible` that somebody could be heard.
    """

    since: datetime
    decision: Decision
    answered: bool
    audible: bool

    @property
    def records(self) -> bool:
        """Whether the rules would record the call now; the default records talks only."""
        may_begin = self.answered or (self.audible and self.decision.rule is not None)
        return may_begin and self.decision.action in RECORDS


class Replay:
    """Replays calls with one set of rules.

    `calls` holds the calls to replay with those that they met, `decisions` their stored decisions.
    """

    def __init__(
        self,
        rules: RuleSet,
        calls: Mapping[str, CallRecord],
        decisions: Mapping[str, DecisionRecord],
    ) -> None:
        self._rules = rules
        self._calls = calls
        self._decisions = decisions
        self._moments: dict[str, tuple[_Moment, ...]] = {}

    def replay(self, call: CallRecord) -> Replayed:
        """Return the recording that the rules would have made of this call."""
        met = [self._calls[one] for one in call.met if one in self._calls]
        call_of = {leg.id: one for one in (*met, call) for leg in one.channels}
        own = {leg.id for leg in call.channels}
        talks = [talk for talk in talks_of([call, *met]) if own & talk.leg_ids]
        ended_at = call.ended_at or call.started_at
        begun = self._before_talks(call, talks, ended_at)
        owner = call
        if begun is None:
            for talk in talks:
                among = {one.id: one for one in (call_of[id_] for id_ in talk.leg_ids)}
                begun = self._in_talk(talk, among.values(), ended_at)
                if begun is not None:
                    owner = min(among.values(), key=precedence_of)
                    break
        talked = bool(talks) or any(one.answered for one in self._moments_of(call))
        if begun is None:
            return Replayed(talked)
        since, decision = begun
        until = self._forbidden_after(call, since) or ended_at
        audio_s = max((until - since).total_seconds(), 0.0) if owner.id == call.id else 0.0
        return Replayed(talked, _name(decision), audio_s)

    def _before_talks(
        self, call: CallRecord, talks: Sequence[Talk], ended_at: datetime
    ) -> tuple[datetime, Decision] | None:
        """Return the start of a recording before the first talk, for example while it rings.

        An older call says that it was answered, and has no bridges from which its talks are known.
        """
        until = talks[0].from_at if talks else ended_at
        for moment in self._moments_of(call):
            is_in_talk = bool(talks) and moment.answered
            if moment.records and moment.since <= until and not is_in_talk:
                return max(moment.since, _audible_at(call) or moment.since), moment.decision
        return None

    def _in_talk(
        self, talk: Talk, among: Iterable[CallRecord], ended_at: datetime
    ) -> tuple[datetime, Decision] | None:
        """Return the start of a recording in a talk, or None if the decisions want none."""
        timelines = [self._moments_of(one) for one in among]
        to_at = talk.to_at or ended_at
        times = {
            one.since for line in timelines for one in line if talk.from_at < one.since < to_at
        }
        for at in (talk.from_at, *sorted(times)):
            decision = min((_decision_at(line, at) for line in timelines), key=_strength)
            if decision.action in RECORDS:
                return at, decision
        return None

    def _forbidden_after(self, call: CallRecord, since: datetime) -> datetime | None:
        """Return the first time after the start at which a rule forbids to record the call."""
        forbidden = (
            one.since
            for one in self._moments_of(call)
            if one.since > since and one.decision.action == "never" and one.decision.rule
        )
        return next(forbidden, None)

    def _moments_of(self, call: CallRecord) -> Sequence[_Moment]:
        if call.id not in self._moments:
            self._moments[call.id] = tuple(self._decide(call))
        return self._moments[call.id]

    def _decide(self, call: CallRecord) -> Iterator[_Moment]:
        kept = self._decisions.get(call.id)
        stored = kept.moments if kept is not None else ()
        for place, facts in enumerate(past_facts(call, kept)):
            since = time_of(stored[place]) if place < len(stored) else facts.at
            decision = self._rules.decide(facts, call.id)
            yield _Moment(since, decision, facts.answered, _audible_at(call) is not None)


def _audible_at(call: CallRecord) -> datetime | None:
    """Return when somebody could be heard first: by an answer, or by early media before it."""
    times = [leg.media_at for leg in call.channels if leg.media_at is not None]
    return min([*times, *([call.answered_at] if call.answered_at else ())], default=None)


def _decision_at(line: Sequence[_Moment], at: datetime) -> Decision:
    """Return the decision that holds at this time; before the first one, that one."""
    return next((one.decision for one in reversed(line) if one.since <= at), line[0].decision)


def _strength(decision: Decision) -> Strength:
    rule = decision.rule
    return strength_of(decision.action, rule.priority if rule is not None else None)


def _name(decision: Decision) -> str:
    return decision.rule.name if decision.rule is not None else "default"
