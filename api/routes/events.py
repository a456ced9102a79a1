"""Stream events to clients as server-sent events."""

import time
from collections.abc import Callable, Iterator
from functools import partial

from flask import Response, request

from api.auth import principal
from api.errors import Busy, Forbidden, TooManyStreams
from api.feed import Feed
from api.operation import Operations, Reply
from api.services import services
from storage import states
from storage.catalogue import conferences, events, spies
from storage.catalogue.rights import Rights
from storage.errors import BadCursor, CatalogueUnavailable
from storage.permissions import EVENTS_READ
from storage.records import EventRecord
from storage.visibility import is_own, kind_of, sees

Visibility = Callable[[EventRecord], bool]

operations = Operations("/api/v1", tag="events")

# A comment line is sent at this interval at least.
HEARTBEAT_S = 15.0
# The caller's rights and team may have changed: look at them again at this interval.
RIGHTS_EVERY_S = 1.0
RETRY_MS = 2000
# Events that arrive sooner are sent together: wake-ups cost more than the events.
AT_MOST_EVERY_S = 0.2
# Nobody has more spies at a time. Of the calls of further spies only new events show.
MOST_OWN_SPIES = 100
# Of further conferences only new events about own agents show.
MOST_CONFERENCES = 200
HEADERS = {"X-Accel-Buffering": "no"}  # nginx would buffer events
EVENT_STREAM = "text/event-stream"


@operations.get(
    "/events",
    EVENTS_READ,
    {200: Reply("Events, until the client disconnects.", media_types=(EVENT_STREAM,))},
    errors=(BadCursor, Busy, TooManyStreams),
)
def follow_events() -> Response:
    """Follow events as they happen, as server-sent events.

    `event` is the type: `call.ringing`, `call.up`, `call.changed`, `call.ended`, and `call.left`
    when `agent` leaves the call (a client that still sees the call gets `call.changed` next);
    `call.dial-changed` (of a call that we dialled); `recording.` and a recording's state;
    `spy.requested`, `spy.ringing`, `spy.live`, `spy.switched` (its mode), `spy.moved` (to another
    call), `spy.unheard` and `spy.heard-again`, `spy.ended`; `conference.opened`,
    `conference.changed`, `conference.ended`, and of a member `conference.joined`,
    `conference.left` and others; `callback.` and `campaign.` with their states. `data` is
    `{"type", "at", "data"}`. For a call the inner `data` has the fields of a list of calls; for
    anything else only `id`, `state` and little more: get the rest by the id.

    The stream has only events that the token may see. Each kind needs a permission of its own, such
    as `calls.read` or `conferences.read`. A member of a team sees the calls of its agents, its own
    spies and the calls on which they are, the conferences and campaigns that it made, and the
    conferences with its agents. Events have one order for everybody. They are kept for three days,
    so a client that reconnects with the header `Last-Event-ID` loses none. If that event is older,
    the stream starts with the event `events.lost`: list everything again. Without the header the
    stream starts with the next event.

    A comment line is sent at least every 15 s. The stream ends within 5 s when the token is
    revoked, the session ends, or the right is withdrawn.
    """
    if request.method == "HEAD":
        return Response(mimetype=EVENT_STREAM)
    feed = services().feed
    with services().catalogue.begin() as tx:
        last = request.headers.get("Last-Event-ID")
        lost = last is not None and not events.has_event(tx, last)
        after = last if last is not None and not lost else events.newest_event_id(tx)
        own = spies.list_spies(
            tx, states=states.SPY_LIVE, limit=MOST_OWN_SPIES, agents=(), maker_id=principal().id
        )
        meetings = conferences.list_conferences(
            tx,
            states=["open"],
            limit=MOST_CONFERENCES,
            agents=principal().agents or (),
            owner_id=principal().id,
        )
    caller_id = principal().id
    feed.enter(caller_id)
    owner_id, present = principal().token.id, services().rights
    listens_to = {str(spy.id): spy.call_id for spy in own.items}
    meets = {str(one.id) for one in meetings.items}
    stream = _stream(
        feed, after, lambda: _visibility(present.find(owner_id), listens_to, meets), lost=lost
    )
    answered = Response(stream, mimetype=EVENT_STREAM, headers=HEADERS)
    answered.call_on_close(partial(feed.leave, caller_id))
    return answered


def _stream(
    feed: Feed, after: str, visibility: Callable[[], Visibility], *, lost: bool
) -> Iterator[str]:
    yield f"retry: {RETRY_MS}\nid: {after}\n\n"
    if lost:
        yield f"id: {after}\nevent: events.lost\ndata: {{}}\n\n"
    look_at = time.monotonic()
    beat_at = look_at + HEARTBEAT_S
    while not feed.is_closed:
        try:
            if (now := time.monotonic()) >= look_at:
                is_shown, look_at = visibility(), now + RIGHTS_EVERY_S
            found = feed.read_after(after, timeout_s=look_at - now)
        except (CatalogueUnavailable, Forbidden):
            return
        if not found and time.monotonic() < beat_at:
            continue
        after = found[-1].event.id if found else after
        shown = "".join(one.text for one in found if is_shown(one.event))
        # Send the id of hidden events too, so that a reconnect does not read them again.
        yield shown or f": nothing\nid: {after}\n\n"
        beat_at = time.monotonic() + HEARTBEAT_S
        time.sleep(AT_MOST_EVERY_S)


def _visibility(who: Rights | None, listens_to: dict[str, str], meets: set[str]) -> Visibility:
    """Return a test whether this caller may see an event; pass it every event in order.

    The test keeps two things up to date: `listens_to`, the call of each live spy of the caller, and
    `meets`, the conferences with an agent of the caller. Raises Forbidden if the caller may no
    longer follow events.
    """
    if who is None or not who.may(EVENTS_READ):
        raise Forbidden("the right to follow events was withdrawn")

    def sees_next(event: EventRecord) -> bool:
        kind, about = kind_of(event.type), event.data
        if kind == "spy" and is_own(who, event):
            if about["state"] == "ended":
                listens_to.pop(about["id"], None)
            else:
                listens_to[about["id"]] = about["call_id"]
        if kind == "conference" and who.agents is not None and event.agent in who.agents:
            meets.add(about["id"])
        return sees(who, event, calls=listens_to.values(), conferences=meets)

    return sees_next
