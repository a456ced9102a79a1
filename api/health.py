"""Check whether the parts of the service work.

The answer needs no token, so it contains no host, no URL and no message of another program; the
log and `doctor` say more.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from storage.catalogue import pbxs
from storage.catalogue.engine import Catalogue
from storage.errors import CatalogueUnavailable, EarwitnessError
from storage.objects.store import ObjectStore
from storage.records import PbxRecord

ASKED_AGAIN_AFTER_S = 5.0
FAILED_ASKED_AGAIN_AFTER_S = 1.0
STALE_AFTER = timedelta(seconds=20)
PROBED_KEY = ".earwitness-check/ready"

_PBX_DETAILS: Mapping[str, str] = {
    "connected": "events and commands work",
    "unreachable": "Asterisk does not answer",
    "unwatched": "no process watches this PBX",
    "unknown": "not known while the database cannot be used",
}


@dataclass(frozen=True, slots=True)
class Check:
    """The state of one part."""

    name: str
    ok: bool
    state: str
    detail: str


class StoreProbe:
    """A probe of the object store, at most every 5 s, and every second after a failure."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._check = Check("objects", False, "unknown", "not asked yet")

    def check(self) -> Check:
        """Return the last result if it is fresh, else a new one."""
        with self._lock:
            fresh_s = ASKED_AGAIN_AFTER_S if self._check.ok else FAILED_ASKED_AGAIN_AFTER_S
            if time.monotonic() - self._asked_at > fresh_s:
                try:
                    self._objects.find(PROBED_KEY)
                    self._check = Check("objects", True, "connected", "the object store answers")
                except EarwitnessError as error:
                    state = error.error_id.removeprefix("store-")
                    self._check = Check("objects", False, state, "the object store cannot be used")
                self._asked_at = time.monotonic()
            return self._check


def check_parts(catalogue: Catalogue, store: StoreProbe, names: Iterable[str]) -> tuple[Check, ...]:
    """Check the database, the store, and each PBX of these names."""
    known: Sequence[PbxRecord] | None = None
    database = Check("database", False, "outdated", "the schema is not this version's yet")
    try:
        if catalogue.is_migrated():
            with catalogue.begin() as tx:
                known = pbxs.list_pbxs(tx)
            database = Check("database", True, "connected", "PostgreSQL answers")
    except CatalogueUnavailable:
        database = Check("database", False, "unavailable", "PostgreSQL does not answer")
    checks = [database, store.check()]
    for name in names:
        state = "unknown" if known is None else pbx_state(name, known, datetime.now(UTC))
        checks.append(Check(f"pbx.{name}", state == "connected", state, _PBX_DETAILS[state]))
    return tuple(checks)


def pbx_state(name: str, known: Iterable[PbxRecord], now: datetime) -> str:
    """Return the state that the watcher reports, or `unwatched` if no watcher reports one."""
    record = next((record for record in known if record.name == name), None)
    if record is None or now - record.seen_at > STALE_AFTER:
        return "unwatched"
    return record.state
