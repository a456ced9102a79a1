"""Take a live call of the dialplan into a conference: move both of its people to our application.

ARI moves no channel that is not ours. So both channels are told to go to the conference's place in
the dialplan when their bridge ends, and then the bridge is ended: a Local channel of ours runs the
extension `take` of the context, and redirects one of the two.

    Ann ── bridge ── Bob        Local ──▶ take@context: ChannelRedirect(Ann, context, NAME, 1)
    Ann ──▶ NAME@context: Stasis(earwitness,conference,NAME)
    Bob ──▶ the same, because his channel was told to go there after his bridge

The captures stay on both channels. A channel that was told where to go is never hung up with its
bridge, so no order of these events loses one of the two.
"""

from collections.abc import Sequence
from uuid import uuid4

from recorder import names
from recorder.ari import Ari
from recorder.calls.conversations import conversations_of
from recorder.errors import CannotTakeIn
from storage.records import CallRecord, LegRecord

# The codec of a Local channel that carries no sound; without it, some builds pick one that they
# cannot translate.
FORMATS = "ulaw"
TAKES_S = 5
TAKE = "take"
AFTER_BRIDGE = "CHANNEL(after_bridge_goto)"
LEG = "__EARWITNESS_LEG"
ROOM = "__EARWITNESS_ROOM"


def find_talkers(call_id: str, company: Sequence[CallRecord]) -> tuple[tuple[LegRecord, str], ...]:
    """Return the legs that talk in this call, each with the id of its own call. Pure.

    `company` are the call and those joined with it. Raises CannotTakeIn unless two people talk.
    """
    talks = [
        one
        for one in conversations_of(company)
        if one.is_talk and call_id in one.call_ids and all(leg.bridge_id for leg in one.legs)
    ]
    if len(talks) != 1:
        raise CannotTakeIn(f"no two people talk in call {call_id} now")
    if any(
        names.parse_conference_bridge_id(leg.bridge_id or "") is not None for leg in talks[0].legs
    ):
        raise CannotTakeIn(f"call {call_id} is in a conference already")
    return tuple((leg, talks[0].calls[leg.id]) for leg in talks[0].legs)


def take(ari: Ari, legs: Sequence[LegRecord], context: str, room: str) -> None:
    """Move these legs of one conversation to `room` in the context. Raises AriError."""
    for leg in legs:
        _send_after_bridge(ari, leg.id, f"{context}^{room}^1")
    first, second = names.build_taking_ids(uuid4())
    ari.originate(
        f"Local/{TAKE}@{context}/n",
        channel_id=first,
        other_channel_id=second,
        formats=FORMATS,
        timeout_s=TAKES_S,
        variables={LEG: legs[0].name, ROOM: room},
    )


def give_back(ari: Ari, channel_ids: Sequence[str]) -> None:
    """Forget where these channels were to go after their bridge. Raises AriError."""
    for channel_id in channel_ids:
        _send_after_bridge(ari, channel_id, "")


def _send_after_bridge(ari: Ari, channel_id: str, place: str) -> None:
    """Set the place in the dialplan to which a channel goes after its bridge; "" for none.

    ARI sets variables of our own channels alone. It reads functions of every channel, and the
    function SET sets what it is given.
    """
    ari.find_variable(channel_id, f"SET({AFTER_BRIDGE}={place})")
