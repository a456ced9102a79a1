"""Foreign channels in the place of a supervisor's phone, or in a bridge of a spy.

A supervisor's phone is an ordinary phone, and its transfer key works. A blind REFER would put a
Local channel into the phone's place in our bridge and dial any number; we let Asterisk refuse it
(`STAYS_HERE` in `recorder/spy/destination.py`). A REFER with Replaces joins our bridge with another
call of the phone, whose far end would hear the call from the next frame on:

    outside ── bridge ── Local;2 ═ Local;1 ── listening bridge ── snoop ── the call spied on

The event stream announces such a channel before it enters the bridge. Hang up `Local;1` at once,
then the rest of the way to the outside, and look again at every check.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

import structlog

from recorder import ari, names
from recorder.ari import Ari, Bridge, Channel
from recorder.calls.legs import LOCAL

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Intruder:
    """A channel that is not ours and could hear a call through us.

    `spy_id` is the spy whose phone it replaced, or in whose talking bridge it is; None if it is in
    a bridge of several spies.
    """

    channel_id: str
    name: str
    spy_id: UUID | None = None


def find_intruder(
    item: ari.Event | ari.Connected | ari.Disconnected, application: str
) -> Intruder | None:
    """Return the intruder that this event announces. Pure.

    A phone that was forwarded brings the arguments of the phone: its id.
    """
    match item:
        case ari.StasisStart(channel=channel, replace_channel=Channel(id=replaced)) if (
            part := names.parse_spy_part(replaced)
        ) is not None:
            return Intruder(channel.id, channel.name, part.spy_id)
        case ari.StasisStart(channel=channel, args=(wanted, *_)) if wanted != channel.id:
            part = names.parse_spy_part(wanted)
            return Intruder(channel.id, channel.name, part.spy_id) if part is not None else None
        case ari.ChannelEnteredBridge(channel=channel, bridge=bridge) if not names.is_ours(
            channel.id
        ):
            part = _part_of_bridge(bridge, application)
            return Intruder(channel.id, channel.name, part.spy_id) if part is not None else None
    return None


def list_intruders(pbx: Ari) -> list[Intruder]:
    """Return the foreign channels in our bridges, and the Local channels in our application.

    No dialplan sends a Local channel to us. It stays in our application when its bridge is gone.
    Raises AriError.
    """
    found: dict[str, Intruder] = {}
    for bridge in pbx.list_bridges():
        part = _part_of_bridge(bridge, pbx.application)
        foreign = [id_ for id_ in bridge.channel_ids if not names.is_ours(id_)]
        for id_ in foreign if part is not None else ():
            channel = pbx.find_channel(id_)
            if channel is not None:
                found[id_] = Intruder(id_, channel.name, part.spy_id if part is not None else None)
    for channel in pbx.list_own_channels():
        is_person = names.parse_person_id(channel.id) is not None  # a member whom we called
        if channel.technology == LOCAL and not (is_person or names.is_ours(channel.id)):
            found.setdefault(channel.id, Intruder(channel.id, channel.name))
    return list(found.values())


def expel(pbx: Ari, intruder: Intruder) -> None:
    """Hang up an intruder, then the other channels on its way to the outside. Raises AriError."""
    pbx.hang_up(intruder.channel_id)
    for id_ in find_far_ends(intruder, pbx.list_channels(), pbx.list_bridges()):
        pbx.hang_up(id_)


def find_far_ends(
    intruder: Intruder, channels: Iterable[Channel], bridges: Iterable[Bridge]
) -> list[str]:
    """Return the other half of a Local channel, and the channels in a bridge with it. Pure.

    Example: for `Local/1@agents-0;1` return `Local/1@agents-0;2`, and the leg that hears it.
    """
    stem, _, half = intruder.name.rpartition(";")
    wanted = f"{stem};{'2' if half == '1' else '1'}"
    other = next((one.id for one in channels if stem and one.name == wanted), None)
    if other is None:
        return []
    company = next((one.channel_ids for one in bridges if other in one.channel_ids), ())
    return [other, *(id_ for id_ in company if id_ != other and not names.is_ours(id_))]


def _part_of_bridge(bridge: Bridge, application: str) -> names.SpyPart | None:
    """Return the part of spies that the bridge is; None for a bridge that is not ours."""
    part = names.parse_spy_part(bridge.id)
    is_another = part is not None and part.instance not in (None, application)
    return None if is_another else part
