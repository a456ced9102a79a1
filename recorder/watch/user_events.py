"""Our events, told to other ARI applications on the same PBX as user events.

catalogue's events ──▶ POST /ari/events/user/{type}?application=… ──▶ their ChannelUserevent

Each has the `event_id` and `at` of the event, and what it tells, as text. An application that is
not connected misses them, as it misses everything of ARI; one that is may see an event twice, with
the same id, after a failure. Only the owner of the PBX tells.
"""

import json
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import structlog

from recorder.ari import Ari, AriError, AriNotFound
from storage.catalogue import events
from storage.catalogue.engine import Catalogue
from storage.catalogue.events import Notifications
from storage.errors import EarwitnessError
from storage.records import EventRecord

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
AT_ONCE = 1000


@contextmanager
def telling(
    catalogue: Catalogue, ari: Ari, pbx: str, applications: Collection[str]
) -> Iterator[None]:
    """While this is open a thread tells the applications what happens on the PBX from now on."""
    if not applications:
        yield
        return
    stop = threading.Event()
    teller = _Teller(catalogue, ari, pbx, applications)
    thread = threading.Thread(target=teller.run, args=(stop,), name=f"tell-{pbx}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)


class _Teller:
    def __init__(
        self, catalogue: Catalogue, ari: Ari, pbx: str, applications: Collection[str]
    ) -> None:
        self._catalogue = catalogue
        self._ari = ari
        self._pbx = pbx
        self._applications = tuple(applications)
        self._told: str | None = None  # the newest event that was told

    def run(self, stop: threading.Event) -> None:
        """Until it is told to stop; what fails is tried again with the next look."""
        with Notifications(self._catalogue) as notifications:
            seen = 0
            while not stop.is_set():
                try:
                    self._tell_news()
                except (AriError, EarwitnessError) as error:
                    log.warning("user-events.postponed", pbx=self._pbx, error=str(error))
                    stop.wait(LOOK_EVERY_S)
                seen = notifications.wait(seen, timeout_s=LOOK_EVERY_S)

    def _tell_news(self) -> None:
        with self._catalogue.begin() as tx:
            if self._told is None:
                self._told = events.newest_event_id(tx)
            news = events.list_events(tx, self._told, AT_ONCE)
        for one in news:
            if one.data.get("pbx") == self._pbx:
                self._tell(one)
            self._told = one.id

    def _tell(self, one: EventRecord) -> None:
        variables = _as_text(one)
        for application in self._applications:
            try:
                self._ari.post_user_event(one.type, application=application, variables=variables)
            except AriNotFound:  # nobody is connected as this application
                log.debug("user-events.no-application", pbx=self._pbx, application=application)


def _as_text(one: EventRecord) -> Mapping[str, str]:
    """What the event tells; of its data nothing that is not known."""
    told = {name: value for name, value in one.data.items() if value is not None}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in told.items()
    }
    return {**texts, "event_id": one.id, "at": one.at.isoformat()}
