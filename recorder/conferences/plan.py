"""The steps that bring a PBX, and the members' states, to the rows of a conference. Pure.

    rows of the conference and its members + the channels and bridges on the PBX → steps

Members who talk are in the *bridge*. Guests who wait for the owner, and members on hold, are in the
*lobby*: a holding bridge with music, in which nobody hears anybody. `Conferences.settle` carries
the steps out and plans again, until no step is left.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from storage.records import ConferenceRecord, MemberRecord, MemberRole, MemberState

# A channel that we asked for appears within this time, or it never does.
APPEARS_WITHIN = timedelta(seconds=15)
# The channel of a member who has left is released within this time; later the sweep finds it.
RELEASED_WITHIN = timedelta(seconds=60)
# The channel of a member who left with this cause is gone for good.
HUNG_UP = "hung-up"

RoomStepKind = Literal[
    "open-bridge", "open-lobby", "answer", "enter", "wait", "release", "hang-up", "close"
]


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A channel on the PBX: whether it is in our application, and whether it is answered."""

    is_ours: bool
    is_up: bool
    is_ringing: bool = False


@dataclass(frozen=True, slots=True)
class RoomView:
    """The bridge and the lobby of a conference (None: missing), and the members' channels.

    `channels` need not hold the channels that are in one of the two. `foreign` are those in the two
    that belong to no member, for example the phone to which a member transferred his own place.
    """

    bridge: frozenset[str] | None = None
    lobby: frozenset[str] | None = None
    channels: Mapping[str, Whereabouts] = field(default_factory=dict)
    foreign: frozenset[str] = frozenset()

    def find(self, channel_id: str) -> Whereabouts | None:
        """Return a channel; one in the bridge or the lobby is ours and answered."""
        if channel_id in self.inside:
            return Whereabouts(is_ours=True, is_up=True)
        return self.channels.get(channel_id)

    @property
    def inside(self) -> frozenset[str]:
        """The channels in the bridge or the lobby."""
        return (self.bridge or frozenset()) | (self.lobby or frozenset())


@dataclass(frozen=True, slots=True)
class RoomStep:
    """A request to the PBX; `release` returns a channel to its dialplan."""

    kind: RoomStepKind
    channel_id: str = ""


@dataclass(frozen=True, slots=True)
class MemberMove:
    """A move of a member's row."""

    member_id: UUID
    to: MemberState
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class ConferencePlan:
    """Steps on the PBX in their order, then moves of members; `end` is the cause to end it now."""

    steps: tuple[RoomStep, ...] = ()
    moves: tuple[MemberMove, ...] = ()
    end: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the PBX and the rows agree."""
        return not (self.steps or self.moves or self.end)


def plan_conference(
    conference: ConferenceRecord, members: Sequence[MemberRecord], view: RoomView, now: datetime
) -> ConferencePlan:
    """Return the next steps and moves. `members` are all members, those who have left too.

    Example: Ann's phone has answered, and the bridge exists: the steps are to enter her channel
    into the bridge, the move is hers to `in`.
    """
    live = [one for one in members if one.state != "left"]
    steps: list[RoomStep] = []
    moves: list[MemberMove] = []
    if conference.state == "ended":
        moves = [MemberMove(one.id, "left", "conference-ended") for one in live]
        steps = list(_releases(members, view, now))
        if not moves and not steps and (view.bridge is not None or view.lobby is not None):
            steps = [RoomStep("close")]
        return ConferencePlan(tuple(steps), tuple(moves))
    if (cause := _end_cause(conference, members)) is not None:
        return ConferencePlan(end=cause)
    is_open = _is_owner_in(conference, members)
    for member in live:
        member_steps, move = _plan_member(member, view, now, is_open=is_open)
        steps += member_steps
        moves += [move] if move is not None else []
    needed = {step.kind for step in steps}
    first = [RoomStep("open-bridge")] if "enter" in needed and view.bridge is None else []
    first += [RoomStep("open-lobby")] if "wait" in needed and view.lobby is None else []
    steps = [*first, *steps, *_releases(members, view, now)]
    return ConferencePlan(tuple(steps), tuple(moves))


def _is_owner_in(conference: ConferenceRecord, members: Iterable[MemberRecord]) -> bool:
    """Whether guests may talk: the owner is in, or the conference has none."""
    if conference.owner is None:
        return True
    return any(one.role == "owner" and one.state == "in" for one in members)


def choose_role(conference: ConferenceRecord, *names: str | None) -> MemberRole:
    """Return the role of somebody with these names: an endpoint, an extension, a number.

    In a conference with an owner everybody else is a guest, who waits for the owner.
    """
    if conference.owner is None:
        return "member"
    wanted = conference.owner.casefold()
    is_owner = any(name is not None and name.casefold() == wanted for name in names)
    return "owner" if is_owner else "guest"


def _end_cause(conference: ConferenceRecord, members: Sequence[MemberRecord]) -> str | None:
    """Return why the conference ends by itself now, or None."""
    live = [one for one in members if one.state != "left"]
    came = [one for one in members if one.joined_at is not None]
    owners = [one for one in came if one.role == "owner"]
    if conference.owner is not None and owners and not any(one in live for one in owners):
        return "owner-left"
    return "empty" if came and not live else None


def _plan_member(
    member: MemberRecord, view: RoomView, now: datetime, *, is_open: bool
) -> tuple[list[RoomStep], MemberMove | None]:
    channel = view.find(member.channel_id)
    if channel is None or not channel.is_ours:
        return [], _missing(member, channel, now)
    if not channel.is_up:
        return [RoomStep("answer", member.channel_id)], None
    waits = member.role == "guest" and not is_open and member.state != "in"
    if waits or member.on_hold:
        place, kind = view.lobby, "wait"
    else:
        place, kind = view.bridge, "enter"
    steps: list[RoomStep] = []
    if place is None or member.channel_id not in place:
        steps = [RoomStep("wait" if kind == "wait" else "enter", member.channel_id)]
    to: MemberState = "waiting" if waits else "in"
    return steps, MemberMove(member.id, to) if member.state != to else None


def _missing(member: MemberRecord, channel: Whereabouts | None, now: datetime) -> MemberMove | None:
    """Return the move of a member whose channel is not in our application, or None."""
    is_pending = member.state in ("requested", "ringing")
    if channel is not None and is_pending:
        if member.destination is None:  # a call that is taken in
            is_late = now - member.requested_at > APPEARS_WITHIN
            return MemberMove(member.id, "left", "not-taken-in") if is_late else None
        is_new = channel.is_ringing and member.state == "requested"
        return MemberMove(member.id, "ringing") if is_new else None
    if channel is not None:
        return MemberMove(member.id, "left", "moved-away")
    if member.destination is None:  # it was there when it was asked for
        return MemberMove(member.id, "left", HUNG_UP)
    if member.state == "requested" and now - member.requested_at <= APPEARS_WITHIN:
        return None
    return MemberMove(member.id, "left", "no-answer" if is_pending else HUNG_UP)


def _releases(members: Iterable[MemberRecord], view: RoomView, now: datetime) -> Iterator[RoomStep]:
    """Release the channels of members who have left; hang up foreign channels in our bridges."""
    members = tuple(members)
    keeping = {one.channel_id for one in members if one.state != "left"}
    for member in members:
        channel = view.find(member.channel_id)
        if member.channel_id in keeping or channel is None:
            continue
        is_recent = member.left_at is not None and now - member.left_at <= RELEASED_WITHIN
        if channel.is_ours and member.destination is None:
            yield RoomStep("release", member.channel_id)
        elif channel.is_ours or (member.destination is not None and is_recent):
            yield RoomStep("hang-up", member.channel_id)
    for channel_id in sorted(view.foreign):
        yield RoomStep("hang-up", channel_id)
