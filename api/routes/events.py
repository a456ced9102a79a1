"""What happens, as it happens: server-sent events."""

import time
from collections.abc import Callable, Iterator

from flask import Response, request

from api.auth import Principal, principal, principal_finder
from api.errors import Busy, Forbidden, NotAuthenticated
from api.feed import Feed
from api.operation import Operations, Reply
from api.permissions import EVENTS, EVENTS_READ
from api.services import services
from storage import states
from storage.catalogue import events, spies
from storage.errors import BadCursor, CatalogueUnavailable
from storage.records import EventRecord

Sight = Callable[[EventRecord], bool]

operations = Operations("/api/v1", tag="events")

# So often who asks is found out anew: a right may have been taken away, or a team have changed.
HEARTBEAT_S = 15.0
RETRY_MS = 2000
# What comes sooner goes along with the next: very many wake-ups cost more than what they bring.
AT_MOST_EVERY_S = 0.2
# More than anybody listens to; of the calls beyond these only new events of their spies tell.
MOST_OWN_SPIES = 100
HEADERS = {"X-Accel-Buffering": "no"}  # nginx would keep events back
EVENT_STREAM = "text/event-stream"


@operations.get(
    "/events",
    EVENTS_READ,
    {200: Reply("Events, until the client goes.", media_types=(EVENT_STREAM,))},
    errors=(BadCursor, Busy),
)
def follow_events() -> Response:
    """Follow what happens, as server-sent events.

    `event` is the type: `call.ringing`, `call.up`, `call.changed`, `call.ended`, and `call.left`
    where `agent` has the call no longer (who may still see it is told `call.changed` next);
    `recording.` and a recording's state; `spy.requested`, `spy.ringing`, `spy.live`, `spy.switched`
    (its mode), `spy.moved` (to another call), `spy.ended`. `data` is `{"type", "at", "data"}`,
    where `data` holds the thing's `id`, its `state` and little more, but of a call all that a list
    of calls shows: ask for the rest by its id.

    Only what the token may see is told: of each kind with `calls.read`, `recordings.read` and
    `spies.read`, of the calls of its agents, of its own spies, and of the calls that these are on.
    Events come in one order for everybody. A client that comes back with the header `Last-Event-ID`
    misses nothing: events are kept for three days. Where that event is no longer kept the stream
    begins with the event `events.lost`: list what you show again. Without the header it begins with
    what happens next.

    A line of comment comes at least every 15 s. Within that time the stream ends where the token is
    revoked, the person signed out, or the right taken away.
    """
    if request.method == "HEAD":
        return Response(mimetype=EVENT_STREAM)
    feed = services().feed
    with services().catalogue.begin() as tx:
        last = request.headers.get("Last-Event-ID")
        lost = last is not None and not events.has_event(tx, last)
        after = last if last is not None and not lost else events.newest_event_id(tx)
        own = spies.list_spies(
            tx, states=states.SPY_LIVE, limit=MOST_OWN_SPIES, agents=(), supervisor=principal().name
        )
    feed.enter()
    find_asker, listens_to = principal_finder(), {str(spy.id): spy.call_id for spy in own.items}
    told = _stream(feed, after, lambda: _sight_of(find_asker(), listens_to), lost=lost)
    answered = Response(told, mimetype=EVENT_STREAM, headers=HEADERS)
    answered.call_on_close(feed.leave)
    return answered


def _stream(feed: Feed, after: str, look: Callable[[], Sight], *, lost: bool) -> Iterator[str]:
    yield f"retry: {RETRY_MS}\nid: {after}\n\n"
    if lost:
        yield f"id: {after}\nevent: events.lost\ndata: {{}}\n\n"
    due_at = time.monotonic()
    while not feed.is_closed:
        try:
            if (now := time.monotonic()) >= due_at:
                sees, due_at = look(), now + HEARTBEAT_S
            found = feed.read_after(after, timeout_s=due_at - now)
        except (CatalogueUnavailable, NotAuthenticated, Forbidden):
            return
        after = found[-1].event.id if found else after
        shown = "".join(told.text for told in found if sees(told.event))
        # The id goes along, so that what was not shown is not read again.
        yield shown or f": nothing\nid: {after}\n\n"
        time.sleep(AT_MOST_EVERY_S)


def _sight_of(who: Principal, listens_to: dict[str, str]) -> Sight:
    """What this asker may see; to be asked of each event in turn.

    `listens_to` holds the call of each of its live spies, and follows them. Raises Forbidden where
    the right to follow events is gone.
    """
    if EVENTS_READ not in who.permissions:
        raise Forbidden(f"{who.name} may follow events no more")
    kinds = {kind for kind, needed in EVENTS.items() if needed in who.permissions}

    def sees(event: EventRecord) -> bool:
        kind, about = event.type.partition(".")[0], event.data
        is_own = about.get("supervisor") == who.name
        if is_own and about["state"] == "ended":
            listens_to.pop(about["id"], None)
        elif is_own:
            listens_to[about["id"]] = about["call_id"]
        if kind not in kinds:
            return False
        if who.agents is None or event.agent in who.agents or is_own:
            return True
        return kind == "call" and about["id"] in listens_to.values()

    return sees
