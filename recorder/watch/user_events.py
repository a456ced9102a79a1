"""Our events, sent as user events to other ARI applications on the same PBX, and to AMI.

    catalogue ──▶ POST /ari/events/user/{type}?application=… ──▶ a ChannelUserevent at each

A user event has the `event_id`, the `at` and the data of our event, all as text. Where a program
asked for the call, the conference or the call-back, it has the program's own words too: `request`.
An application that is not connected misses the event, like every event of ARI. After a failure an
application may get an event twice, with the same id. Only the owner of the PBX sends.

Asterisk hands a user event to its manager interface only if the event names a channel that lives.
So AMI gets the events of live calls, and no event without a call.
"""

import json
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

import structlog
from sqlalchemy import Connection

from recorder.ari import Ari, AriBadRequest, AriError, AriNotFound
from recorder.background import running_in_background
from storage.catalogue import calls, events, requests
from storage.catalogue.engine import Catalogue
from storage.catalogue.events import Notifications
from storage.errors import EarwitnessError
from storage.records import EventRecord

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
AT_ONCE = 1000
# The fields of an event that may name the subject of a program's request. A member's event has the
# id of its conference in `id`: the member comes first.
_SUBJECTS = ("member_id", "id", "call_id", "callback_id")


class Outlet:
    """The programs on one PBX that get our user events: ARI applications, and AMI with `to_ami`."""

    def __init__(
        self, client: Ari, pbx: str, applications: Collection[str] = (), *, to_ami: bool = False
    ) -> None:
        self._ari = client
        self._pbx = pbx
        self._applications = tuple(applications)
        self._to_ami = to_ami

    @property
    def is_open(self) -> bool:
        """Whether anybody wants our events."""
        return bool(self._applications) or self._to_ami

    @property
    def needs_channels(self) -> bool:
        """Whether an event needs a channel to arrive everywhere."""
        return self._to_ami

    def post(
        self, name: str, variables: Mapping[str, str], channel_ids: Iterable[str] = ()
    ) -> None:
        """Send a user event; AMI gets it with the first of these channels that lives.

        Raises AriError.
        """
        for application in self._applications:
            try:
                self._ari.post_user_event(name, application=application, variables=variables)
            except AriNotFound:  # no such application is connected
                log.debug("user-event.missed", pbx=self._pbx, application=application)
        if self._to_ami:
            self._post_to_ami(name, variables, channel_ids)

    def _post_to_ami(
        self, name: str, variables: Mapping[str, str], channel_ids: Iterable[str]
    ) -> None:
        """Send it to our own application with a channel, so that Asterisk copies it to AMI.

        A line of AMI is a field: no value may bring line breaks of its own.
        """
        lines = {key: " ".join(text.split()) for key, text in variables.items()}
        for channel_id in channel_ids:
            try:
                self._ari.post_user_event(name, source=f"channel:{channel_id}", variables=lines)
            except AriBadRequest:  # the channel is gone
                continue
            return
        log.debug("user-event.missed", pbx=self._pbx, application="AMI")


class UserEventSender:
    """Sends the events of one PBX, beginning with the next event."""

    def __init__(self, catalogue: Catalogue, pbx: str, outlet: Outlet) -> None:
        self._catalogue = catalogue
        self._pbx = pbx
        self._outlet = outlet
        self._last_id: str | None = None

    def run(self, stop: threading.Event) -> None:
        """Send events until `stop` is set. After a failure, go on with the event that failed."""
        with Notifications(self._catalogue) as notifications:
            seen = 0
            while not stop.is_set():
                try:
                    self.send_new()
                except (AriError, EarwitnessError) as error:
                    log.warning("user-event.postponed", pbx=self._pbx, error=str(error))
                    stop.wait(LOOK_EVERY_S)
                seen = notifications.wait(seen, timeout_s=LOOK_EVERY_S)

    def send_new(self) -> None:
        """Send the events since the last call; the first call sends none.

        Raises AriError, CatalogueUnavailable.
        """
        with self._catalogue.begin() as tx:
            if self._last_id is None:
                self._last_id = events.newest_event_id(tx)
            new = events.list_events(tx, self._last_id, AT_ONCE)
            ours = [one for one in new if one.data.get("pbx") == self._pbx]
            asked = requests.find_requests(tx, {id_ for one in ours for id_ in _subjects(one)})
            channels = self._find_channels(tx, ours)
        for event in new:
            if event.data.get("pbx") == self._pbx:
                words = [asked[id_] for id_ in _subjects(event) if id_ in asked]
                variables = build_variables(event, words[0] if words else "")
                self._outlet.post(event.type, variables, channels.get(event.id, ()))
            self._last_id = event.id

    def _find_channels(
        self, tx: Connection, found: Collection[EventRecord]
    ) -> Mapping[str, list[str]]:
        """Return the channels that live in the calls of these events, by the id of the event."""
        if not self._outlet.needs_channels or not found:
            return {}
        of_event = {one.id: _call_id(one) for one in found}
        known = calls.find_calls(tx, sorted({id_ for id_ in of_event.values() if id_}))
        return {
            event_id: [leg.id for leg in known[call_id].channels if leg.alive]
            for event_id, call_id in of_event.items()
            if call_id in known
        }


@contextmanager
def sending_user_events(catalogue: Catalogue, pbx: str, outlet: Outlet) -> Iterator[None]:
    """Send user events in a thread for as long as this context lasts."""
    if not outlet.is_open:
        yield
        return
    sender = UserEventSender(catalogue, pbx, outlet)
    with running_in_background(sender.run, f"user-events-{pbx}"):
        yield


def build_variables(event: EventRecord, request: str = "") -> Mapping[str, str]:
    """Return the event's data as texts, without the fields that are empty.

    Example: of the data `{"state": "live", "heard": [], "agent": None}` the variables are
    `{"state": "live", "heard": "[]", "event_id": "…", "at": "…"}`. `request` are the words of the
    program that asked for the subject of the event.
    """
    texts = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in event.data.items()
        if value is not None
    }
    asked = {"request": request} if request else {}
    return {**texts, **asked, "event_id": event.id, "at": event.at.isoformat()}


def _subjects(event: EventRecord) -> list[str]:
    """Return the ids in an event for which a program may have asked."""
    return [str(event.data[name]) for name in _SUBJECTS if event.data.get(name)]


def _call_id(event: EventRecord) -> str | None:
    """Return the call of an event, if it is about one."""
    name = "id" if event.type.startswith("call.") else "call_id"
    found = event.data.get(name)
    return str(found) if found else None
