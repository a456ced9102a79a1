"""What happens, as it happens: server-sent events."""

import time
from collections.abc import Callable, Iterator

from flask import Response, request

from api.auth import Asker, asker
from api.errors import Busy
from api.feed import Feed
from api.operation import Operations, Told
from api.parts import parts
from api.permissions import CALLS_READ, EVENTS_READ, RECORDINGS_READ, RULES_READ, SPIES_READ
from storage.catalogue import events
from storage.errors import BadCursor, CatalogueUnavailable
from storage.records import EventRecord

operations = Operations("/api/v1", tag="events")

HEARTBEAT_S = 15.0
RETRY_MS = 2000
# What comes sooner goes along with the next: very many wake-ups cost more than what they bring.
AT_MOST_EVERY_S = 0.2
# Who is asking is found out anew by then: the client comes back and goes on where it was.
STREAM_ENDS_AFTER_S = 3600.0
# The permission that shows the events of each kind.
SHOWN_BY = {
    "call": CALLS_READ,
    "recording": RECORDINGS_READ,
    "spy": SPIES_READ,
    "rule": RULES_READ,
}
HEADERS = {"X-Accel-Buffering": "no"}  # nginx would keep events back
EVENT_STREAM = "text/event-stream"


@operations.get(
    "/events",
    EVENTS_READ,
    {200: Told("Events, until the client goes.", media_types=(EVENT_STREAM,))},
    errors=(BadCursor, Busy),
)
def follow_events() -> Response:
    """Follow what happens, as server-sent events.

    `event` is the type: `call.ringing`, `call.up`, `call.changed`, `call.ended`;
    `recording.` and a recording's state; `spy.requested`, `spy.ringing`, `spy.live`, `spy.switched`
    (its mode), `spy.moved` (to another call), `spy.ended`. `data` is `{"type", "at", "data"}`,
    where `data` holds the thing's `id`, its `state` and little more, but of a call all that a list
    of calls shows: ask for the rest by its id.

    Only what the token may see is told: of each kind with `calls.read`, `recordings.read` and
    `spies.read`, of the calls of its agents, and of its own spies. Events come in one order for
    everybody. A client that comes back with the header `Last-Event-ID` misses nothing: events are
    kept for three days. Where that event is no longer kept the stream begins with the event
    `events.lost`: list what you show again. Without the header it begins with what happens next.

    A line of comment comes at least every 15 s; the stream ends after an hour, to be opened again.
    """
    if request.method == "HEAD":
        return Response(mimetype=EVENT_STREAM)
    feed = parts().feed
    with parts().catalogue.begin() as tx:
        last = request.headers.get("Last-Event-ID")
        lost = last is not None and not events.has_event(tx, last)
        after = last if last is not None and not lost else events.newest_event_id(tx)
    feed.enter()
    answered = Response(
        _stream(feed, after, _sight_of(asker()), lost=lost), mimetype=EVENT_STREAM, headers=HEADERS
    )
    answered.call_on_close(feed.leave)
    return answered


def _stream(
    feed: Feed, after: str, sees: Callable[[EventRecord], bool], *, lost: bool
) -> Iterator[str]:
    yield f"retry: {RETRY_MS}\nid: {after}\n\n"
    if lost:
        yield f"id: {after}\nevent: events.lost\ndata: {{}}\n\n"
    ends_at = time.monotonic() + STREAM_ENDS_AFTER_S
    while not feed.is_closed and time.monotonic() < ends_at:
        try:
            found = feed.read_after(after, timeout_s=HEARTBEAT_S)
        except CatalogueUnavailable:
            return
        after = found[-1].event.id if found else after
        shown = "".join(told.text for told in found if sees(told.event))
        # The id goes along, so that what was not shown is not read again.
        yield shown or f": nothing\nid: {after}\n\n"
        time.sleep(AT_MOST_EVERY_S)


def _sight_of(who: Asker) -> Callable[[EventRecord], bool]:
    """What this asker may see."""
    kinds = {kind for kind, needed in SHOWN_BY.items() if needed in who.permissions}

    def sees(event: EventRecord) -> bool:
        if event.type.partition(".")[0] not in kinds:
            return False
        if who.agents is None or event.agent in who.agents:
            return True
        return event.data.get("supervisor") == who.name

    return sees
