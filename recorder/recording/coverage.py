"""The people whom each recording hears now. Pure.

    calls that are joined, their decisions, recordings and pauses  →  what each recording captures

A recording belongs to a call and covers the conversations that hold a leg of this call. Several
recordings of rules may meet in one conversation: one of them owns it, and the others end. A
recording that a person started shares its conversation with any other.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from recorder.calls.conversations import Conversation, conversations_of
from recorder.calls.legs import (
    audible_legs,
    has_customer,
    is_over,
    legs_of,
    people_behind,
    precedence_of,
)
from recorder.rules import Decision
from recorder.rules.strength import RECORDS, priority_of, strength_of
from storage.records import (
    CallRecord,
    DecisionRecord,
    LegRecord,
    PeoplePause,
    RecordingRecord,
    Side,
)


@dataclass(frozen=True)
class Scene:
    """Calls that are joined, and the rows that decide about their recordings.

    `recordings` are the live ones, `pauses` the open ones of these people. `captured` maps a
    recording to the legs that it captures now. `stopped` are calls whose recording by a rule a
    person has ended: newcomers do not start it again. `quiet` are the channels of members of a
    conference whom nobody hears, muted or on hold.
    """

    calls: Mapping[str, CallRecord]
    decisions: Mapping[str, DecisionRecord] = field(default_factory=dict)
    recordings: tuple[RecordingRecord, ...] = ()
    pauses: tuple[PeoplePause, ...] = ()
    captured: Mapping[UUID, frozenset[str]] = field(default_factory=dict)
    stopped: frozenset[str] = frozenset()
    quiet: frozenset[str] = frozenset()
    conversations: tuple[Conversation, ...] = ()

    def __post_init__(self) -> None:
        """Compute the conversations of the calls."""
        object.__setattr__(self, "conversations", conversations_of(self.calls.values()))

    def conversations_with(self, call_id: str) -> tuple[Conversation, ...]:
        """Return the conversations that hold a leg of this call."""
        return tuple(one for one in self.conversations if call_id in one.call_ids)

    def decision_on(self, conversation: Conversation) -> DecisionRecord | None:
        """Return the joined decision about the people of a conversation."""
        found = (self.decisions.get(id_) for id_ in conversation.call_ids)
        return join_decisions(one for one in found if one is not None)

    def forbids(self, conversation: Conversation) -> bool:
        """Whether a rule forbids to record these people."""
        decision = self.decision_on(conversation)
        return decision is not None and is_forbidding(decision)

    def wants(self, conversation: Conversation) -> bool:
        """Whether a rule, or the default, wants these people recorded."""
        decision = self.decision_on(conversation)
        return decision is not None and decision.action in RECORDS

    def pauses_of(self, conversation: Conversation) -> tuple[PeoplePause, ...]:
        """Return the pauses that hold for somebody in the conversation."""
        return tuple(one for one in self.pauses if not conversation.leg_ids.isdisjoint(one.legs))

    def quiet_legs(self) -> frozenset[str]:
        """Return the legs whom nobody hears: no recording may hold them either."""
        if not self.quiet:
            return frozenset()
        return frozenset(
            id_ for call in self.calls.values() for id_ in people_behind(call, self.quiet)
        )

    def find_owner(self, conversation: Conversation) -> RecordingRecord | None:
        """Return the recording by a rule that hears this conversation, or None.

        The recording of a customer's call comes before one of an internal call, an older one before
        a newer one. A recording whose own call is over goes on with the people whom it captures, as
        long as a rule wants them recorded.
        """
        found = [
            one
            for one in self.recordings
            if one.is_by_decision and self._may_hear(one, conversation)
        ]
        return min(found, key=self._precedence, default=None)

    def _may_hear(self, recording: RecordingRecord, conversation: Conversation) -> bool:
        home = self.calls.get(recording.call_id)
        if home is not None and not is_over(home):
            return home.id in conversation.call_ids
        captured = self.captured.get(recording.id, frozenset())
        is_going_on = conversation.is_talk and not captured.isdisjoint(conversation.leg_ids)
        return is_going_on and self.wants(conversation)

    def _precedence(self, recording: RecordingRecord) -> tuple[bool, bool, UUID]:
        home = self.calls.get(recording.call_id)
        if home is None:
            return True, True, recording.id
        return is_over(home), not has_customer(home), recording.id


@dataclass(frozen=True, slots=True)
class Coverage:
    """The present part of one live recording.

    `legs` are the people to capture, each with its side. `pauses` are those that hold for them. At
    most one of three ends is set: `is_over`, because its people are gone; `is_forbidden`, by a
    rule; `continued_in`, because another recording hears all of its people.
    """

    legs: Mapping[str, Side] = field(default_factory=dict)
    call_ids: frozenset[str] = frozenset()
    pauses: tuple[PeoplePause, ...] = ()
    is_over: bool = False
    is_forbidden: bool = False
    continued_in: UUID | None = None

    @property
    def is_ending(self) -> bool:
        """Whether the recording ends now."""
        return self.is_over or self.is_forbidden or self.continued_in is not None


def cover(scene: Scene, recording: RecordingRecord) -> Coverage:
    """Return the people whom a live recording has to hear now.

    Example: Ann's recorded call and Bob's recorded call are joined. Ann is a customer: her
    recording covers both, and Bob's is `continued_in` hers.
    """
    home = scene.calls.get(recording.call_id)
    is_adrift = home is None or is_over(home)
    mine = scene.conversations if is_adrift else scene.conversations_with(recording.call_id)
    if mine and all(scene.forbids(one) for one in mine) and not is_adrift:
        return Coverage(is_forbidden=True)
    owned = mine
    if recording.is_by_decision:
        owners = [(one, scene.find_owner(one)) for one in mine]
        owned = tuple(one for one, owner in owners if owner == recording)
        talks = [owner for one, owner in owners if one.is_talk and owner is not None]
        others = [owner for _, owner in owners if owner is not None and owner != recording]
        is_merged = recording not in talks if talks else not owned
        if others and is_merged and not is_adrift:
            return Coverage(continued_in=(talks or others)[0].id)
    if is_adrift and (not owned or not recording.is_by_decision):
        return Coverage(is_over=True)
    allowed = tuple(one for one in owned if not scene.forbids(one))
    alone = {leg.id for leg in audible_legs(home)} if home is not None else set()
    quiet = scene.quiet_legs()
    legs: dict[str, Side] = {}
    for one in allowed:
        for leg in one.legs:
            if (one.is_talk or leg.id in alone) and leg.id not in quiet:
                legs[leg.id] = side_of(leg, one, home)
    return Coverage(
        legs=legs,
        call_ids=frozenset(id_ for one in allowed for id_ in one.call_ids),
        pauses=tuple(dict.fromkeys(pause for one in owned for pause in scene.pauses_of(one))),
    )


def find_starter(scene: Scene, conversation: Conversation) -> CallRecord | None:
    """Return the call for which a rule has to start a recording of this conversation, or None.

    It is None if nobody wants one, a rule forbids it, a recording hears it, or a person stopped
    every recording that a rule wants.
    """
    if not scene.wants(conversation) or scene.find_owner(conversation) is not None:
        return None
    wanting = [
        scene.calls[id_]
        for id_ in conversation.call_ids - scene.stopped
        if id_ in scene.decisions and scene.decisions[id_].action in RECORDS
    ]
    return min(wanting, key=precedence_of, default=None)


def join_decisions(decisions: Iterable[DecisionRecord]) -> DecisionRecord | None:
    """Return the decision that holds for people about whom these were made; None for none."""
    return min(
        decisions,
        key=lambda one: (strength_of(one.action, priority_of(one.rule)), one.call_id),
        default=None,
    )


def is_forbidding(decision: DecisionRecord | Decision) -> bool:
    """Whether a rule forbids to record; the default `never` only records nothing by itself."""
    return decision.action == "never" and decision.rule is not None


def side_of(leg: LegRecord, conversation: Conversation, home: CallRecord | None) -> Side:
    """Return the side of a dual recording on which a leg is heard.

    Customers are left and everybody else is right. Without a customer, the caller is left. While no
    agent is there, a second customer is right, for example after a transfer to an outside number.
    """
    customers = [one for one in conversation.legs if one.party == "customer"]
    if leg.party == "customer":
        has_agent = len(customers) < len(conversation.legs)
        return "left" if has_agent or leg.id == customers[0].id else "right"
    if customers or home is None or has_customer(home):
        return "right"
    first = next(iter(legs_of(home)), None)
    return "left" if first is not None and first.id == leg.id else "right"


def talk_began_at(conversation: Conversation) -> datetime | None:
    """Return when the second of these people joined; None while nobody hears another."""
    joined = sorted(leg.stays[-1].from_at for leg in conversation.legs if leg.stays)
    return joined[1] if len(joined) > 1 else None


def list_heard(scene: Scene, call_id: str) -> Collection[RecordingRecord]:
    """Return the live recordings that hear the people of a call, oldest first."""
    return [
        one
        for one in scene.recordings
        if one.call_id == call_id
        or any(
            cover(scene, one).legs.keys() & conversation.leg_ids
            for conversation in scene.conversations_with(call_id)
        )
    ]
