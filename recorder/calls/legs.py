"""Questions about the legs of a call. Pure.

A *leg* is a channel that belongs to a person: neither a Local half nor one of Asterisk's helpers.
`CallRecord.channels` lists every channel of the call; `legs_of` gives the legs among them.
"""

from collections.abc import Collection
from datetime import datetime

from storage.records import CallRecord, LegRecord

LOCAL = "Local"
# Channels that carry audio to and from a program. In a bridge with a person the program is a party.
MEDIA = frozenset({"AudioSocket", "UnicastRTP", "WebSocket"})


def legs_of(call: CallRecord) -> tuple[LegRecord, ...]:
    """Return the legs of a call in the order in which they appeared."""
    return tuple(leg for leg in call.channels if is_person(leg))


def live_legs(call: CallRecord) -> tuple[LegRecord, ...]:
    """Return the legs that have not hung up, in the same order."""
    return tuple(leg for leg in legs_of(call) if leg.alive)


def ever_joined_legs(call: CallRecord) -> tuple[LegRecord, ...]:
    """Return the legs that have joined the conversation, also those that have left since."""
    return tuple(leg for leg in legs_of(call) if leg.joined_at is not None)


def audible_legs(call: CallRecord) -> tuple[LegRecord, ...]:
    """Return the live legs that have joined a conversation, or have early media.

    Until two people have talked, add those that are up, for example a caller in a menu. When the
    call is answered, one party joins before the other: meanwhile the other can still be heard.
    """
    talked = have_talked(call)
    return tuple(
        leg
        for leg in live_legs(call)
        if leg.joined_at is not None
        or leg.media_at is not None
        or (leg.state == "Up" and not talked)
    )


def has_media(call: CallRecord) -> bool:
    """Whether people can be heard before the answer: a phone sent early media."""
    return any(leg.media_at is not None for leg in legs_of(call))


def is_person(leg: LegRecord) -> bool:
    """Whether the channel belongs to a person: a Local half does not."""
    return leg.name.partition("/")[0] != LOCAL


def have_talked(call: CallRecord) -> bool:
    """Whether two people have talked, even if one of them has left since, as in a transfer.

    Rows of older versions have no `talked_at`.
    """
    return call.talked_at is not None or len(ever_joined_legs(call)) > 1


def has_customer(call: CallRecord) -> bool:
    """Whether a customer is, or was, in the call."""
    return any(leg.party == "customer" for leg in call.channels)


def people_behind(call: CallRecord, channel_ids: Collection[str]) -> frozenset[str]:
    """Return the legs of a call that these channels carry: the channels that are legs themselves.

    A Local channel carries the people of its call whom it leads to: everybody but itself.

    Example: a conference has called a number through `Local/1202…@out`. The channel in its bridge
    is a half of the Local channel, and the person is on the trunk's channel behind it.
    """
    found = {leg.id for leg in legs_of(call) if leg.id in channel_ids}
    halves = (leg for leg in call.channels if not is_person(leg))
    if any(half.id in channel_ids for half in halves):
        found |= {leg.id for leg in legs_of(call)}
    return frozenset(found)


def is_agent(leg: LegRecord) -> bool:
    """Whether the leg is an agent's: a program is on the agents' side, and is no agent."""
    return leg.party == "agent" and leg.name.partition("/")[0] not in MEDIA


def precedence_of(call: CallRecord) -> tuple[bool, datetime, str]:
    """Return a key by which calls own the recording of their conversation: customers' calls first.

    Among equals the older call comes first.
    """
    return not has_customer(call), call.started_at, call.id


def is_over(call: CallRecord) -> bool:
    """Whether the call has ended or has no live leg left."""
    return call.state == "ended" or not live_legs(call)


def joined_or_created_at(leg: LegRecord) -> datetime:
    """Return when the leg joined the conversation; before that, when its channel was created."""
    return leg.joined_at or leg.created_at


def endpoint_of(leg: LegRecord) -> str:
    """Return the channel's name without its serial number.

    Example: a leg named `PJSIP/2001-0000000a` has the endpoint `PJSIP/2001`.
    """
    return leg.name.rpartition("-")[0] or leg.name


def extension_of(leg: LegRecord) -> str:
    """Return the endpoint without its technology: `2001` for `PJSIP/2001-0000000a`."""
    return endpoint_of(leg).partition("/")[2]
