"""Our events, sent as user events to other ARI applications on the same PBX.

    catalogue ──▶ POST /ari/events/user/{type}?application=… ──▶ a ChannelUserevent at each

A user event has the `event_id`, the `at` and the data of our event, all as text. An application
that is not connected misses the event, like every event of ARI. After a failure an application may
get an event twice, with the same id. Only the owner of the PBX sends.
"""

import json
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import structlog

from recorder.ari import Ari, AriError, AriNotFound
from recorder.background import running_in_background
from storage.catalogue import events
from storage.catalogue.engine import Catalogue
from storage.catalogue.events import Notifications
from storage.errors import EarwitnessError
from storage.records import EventRecord

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
AT_ONCE = 1000


class UserEventSender:
    """Sends the events of one PBX to these applications, beginning with the next event."""

    def __init__(
        self, catalogue: Catalogue, client: Ari, pbx: str, applications: Collection[str]
    ) -> None:
        self._catalogue = catalogue
        self._ari = client
        self._pbx = pbx
        self._applications = tuple(applications)
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
        for event in new:
            if event.data.get("pbx") == self._pbx:
                variables = build_variables(event)
                for application in self._applications:
                    try:
                        self._ari.post_user_event(
                            event.type, application=application, variables=variables
                        )
                    except AriNotFound:  # no such application is connected
                        log.debug("user-event.missed", pbx=self._pbx, application=application)
            self._last_id = event.id


@contextmanager
def sending_user_events(
    catalogue: Catalogue, client: Ari, pbx: str, applications: Collection[str]
) -> Iterator[None]:
    """Send user events in a thread for as long as this context lasts."""
    if not applications:
        yield
        return
    sender = UserEventSender(catalogue, client, pbx, applications)
    with running_in_background(sender.run, f"user-events-{pbx}"):
        yield


def build_variables(event: EventRecord) -> Mapping[str, str]:
    """Return the event's data as texts, without the fields that are empty.

    Example: of the data `{"state": "live", "heard": [], "agent": None}` the variables are
    `{"state": "live", "heard": "[]", "event_id": "…", "at": "…"}`.
    """
    texts = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in event.data.items()
        if value is not None
    }
    return {**texts, "event_id": event.id, "at": event.at.isoformat()}
