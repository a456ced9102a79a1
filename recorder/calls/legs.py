"""Questions about the legs of a call. Pure.

A *leg* is a channel that belongs to a person: neither a Local half nor one of Asterisk's helpers.
`CallRecord.channels` lists every channel of the call; `legs_of` gives the legs among them.
"""

from storage.records import CallRecord, LegRecord, Side

LOCAL = "Local"


def legs_of(call: CallRecord) -> tuple[LegRecord, ...]:
    """Return the legs of a call in the order in which they appeared."""
    return tuple(leg for leg in call.channels if is_person(leg))


def is_person(leg: LegRecord) -> bool:
    """Whether somebody can be heard on the channel: a Local half carries no person of its own."""
    return leg.name.partition("/")[0] != LOCAL


def endpoint_of(leg: LegRecord) -> str:
    """Return the channel's name without its serial number.

    Example: a leg named `PJSIP/2001-0000000a` has the endpoint `PJSIP/2001`.
    """
    return leg.name.rpartition("-")[0] or leg.name


def extension_of(leg: LegRecord) -> str:
    """Return the endpoint without its technology: `2001` for `PJSIP/2001-0000000a`."""
    return endpoint_of(leg).partition("/")[2]


def legs_to_capture(call: CallRecord) -> tuple[LegRecord, ...]:
    """Return every leg that has joined the conversation and is still there.

    Before anybody has joined (a caller in a menu), return every leg that is up.
    """
    legs = [leg for leg in legs_of(call) if leg.alive]
    joined = tuple(leg for leg in legs if leg.joined_at is not None)
    return joined or tuple(leg for leg in legs if leg.state == "Up")


def is_conversation(call: CallRecord) -> bool:
    """Whether two people are talking; an automatic recording begins then."""
    return sum(leg.alive and leg.joined_at is not None for leg in legs_of(call)) > 1


def have_talked(call: CallRecord) -> bool:
    """Whether two people have joined, even if one of them has left since, as in a transfer."""
    return sum(leg.joined_at is not None for leg in legs_of(call)) > 1


def is_over(call: CallRecord) -> bool:
    """Whether nobody is left whose voice could be recorded."""
    return call.state == "ended" or not any(leg.alive for leg in legs_of(call))


def side_of(leg: LegRecord) -> Side:
    """Return the side of a dual recording on which the leg is heard."""
    return leg.side or ("left" if leg.party == "customer" else "right")
