"""Bring a call model to the channels and bridges that its PBX lists.

Asterisk replays no event. After every connection the watcher therefore assumes nothing: it lists
the PBX and compares. The functions here return the ids of the calls that changed; the session
saves these calls.

The id of a channel's call is its *linkedid*. Where `channelvars` of ari.conf names it, it comes
with each channel; otherwise it costs one request for each channel.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

import structlog

from recorder import ari, names
from recorder.ari import LINKEDID, Ari
from recorder.calls.model import CallModel, belongs_to_call
from storage.catalogue import segments
from storage.catalogue.engine import Catalogue

log = structlog.get_logger()


def reconcile_calls(client: Ari, model: CallModel, lost_at: datetime | None) -> frozenset[str]:
    """List the PBX, bring the model to it, and return the ids of the calls that changed.

    `lost_at` is the moment at which the PBX itself stopped; None where it went on without us.
    Raises AriError and leaves the model as it is: a channel that was not read may still be there.
    """
    listed, bridges = client.list_channels(), client.list_bridges()
    new = {
        channel.id: channel.variables.get(LINKEDID, "")
        for channel in listed
        if belongs_to_call(channel) and model.find_call_of(channel.id) is None
    }
    # The list of channels may be older than a bridge that has given its channels one linkedid.
    bridged = [[id_ for id_ in bridge.channel_ids if id_ in new] for bridge in bridges]
    outdated = {id_ for ids in bridged if len({new[id_] for id_ in ids}) > 1 for id_ in ids}
    known = {id_: one for id_, one in new.items() if one and id_ not in outdated}
    known |= _read_linkedids(client, (id_ for id_ in new if id_ not in known))
    return model.rebuild(
        listed, known, bridges, lost_at or datetime.now(UTC), vanished=lost_at is None
    )


def find_linkedids(client: Ari, model: CallModel, event: ari.Event) -> dict[str, str]:
    """Return the linkedids that the model needs before it can apply this event.

    A phone that we ring may decline before we could ask, but its channel gives the call its id.
    Raises AriError.
    """
    needed = model.linkedids_needed(event)
    if isinstance(event, ari.ChannelCreated) and names.parse_person_id(event.channel.id):
        return {id_: id_ for id_ in needed}
    if isinstance(event, ari.ChannelCreated) and LINKEDID in event.channel.variables:
        return dict.fromkeys(needed, event.channel.variables[LINKEDID])
    return _read_linkedids(client, needed)


def _read_linkedids(client: Ari, channel_ids: Iterable[str]) -> dict[str, str]:
    """Read the linkedids of those channels that still exist. Raises AriError."""
    read = {id_: client.find_variable(id_, LINKEDID) for id_ in channel_ids}
    return {id_: linkedid for id_, linkedid in read.items() if linkedid}


def remove_orphans(client: Ari, catalogue: Catalogue, pbx: str) -> None:
    """Hang up the snoops of ended segments: their recording ended while we were away.

    A snoop without a row is another instance's, because a segment's row comes before its snoop.
    Raises AriError, CatalogueUnavailable.
    """
    channels = client.list_channels(prefix=names.OURS)
    captures = {segment_id for one in channels if (segment_id := names.parse_snoop_id(one.id))}
    with catalogue.begin() as tx:
        ended = segments.find_ended(tx, captures)
    for segment_id in ended:
        log.info("snoop.removed", pbx=pbx, segment=str(segment_id))
        client.hang_up(names.build_snoop_id(segment_id))
