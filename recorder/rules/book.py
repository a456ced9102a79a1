"""The rules as they stand now: those of the configuration, and those of the API."""

import threading
import time
from collections.abc import Sequence

import structlog

from recorder.rules.decide import RuleSet
from storage.catalogue import rules
from storage.catalogue.engine import Catalogue
from storage.records import Action, RuleRecord

log = structlog.get_logger()

# A change of the rules is known to every process within a second.
LOOK_EVERY_S = 0.5


class RuleBook:
    """The rules as they stand now: the configuration's, and those of the API."""

    def __init__(
        self, catalogue: Catalogue, configured: Sequence[RuleRecord], default: Action
    ) -> None:
        self._catalogue = catalogue
        self._configured = tuple(configured)
        self._default: Action = default
        self._lock = threading.Lock()
        self._looked_at = 0.0
        self._revision: int | None = None
        self._rules = RuleSet(self._configured, default)

    def current(self) -> RuleSet:
        """The rules, at most half a second old."""
        with self._lock:
            if time.monotonic() - self._looked_at > LOOK_EVERY_S:
                self._look()
                self._looked_at = time.monotonic()
            return self._rules

    def _look(self) -> None:
        with self._catalogue.begin() as tx:
            revision = rules.rules_revision(tx)
            if revision == self._revision:
                return
            active = rules.list_active_rules(tx)
        self._rules = RuleSet([*self._configured, *active], self._default)
        self._revision = revision
        log.info("rules.read", rules=len(self._configured) + len(active), revision=revision)
