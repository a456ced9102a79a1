"""The rules in force: those of the configuration and those of the API."""

import threading
import time
from collections.abc import Sequence

import structlog

from recorder.rules.decide import RuleSet
from storage.catalogue import rules
from storage.catalogue.engine import Catalogue
from storage.records import Action, RuleRecord

log = structlog.get_logger()

# Every process must apply a change of the rules within a second.
LOOK_EVERY_S = 0.5


class RuleBook:
    """The rules in force: those of the configuration and those of the API."""

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
        """Return the rules, at most half a second old."""
        with self._lock:
            if time.monotonic() - self._looked_at > LOOK_EVERY_S:
                with self._catalogue.begin() as tx:
                    revision = rules.rules_revision(tx)
                    is_new = revision != self._revision
                    active = rules.list_active_rules(tx) if is_new else ()
                if is_new:
                    self._rules = RuleSet([*self._configured, *active], self._default)
                    self._revision = revision
                    count = len(self._configured) + len(active)
                    log.info("rules.read", rules=count, revision=revision)
                    for rule_id, fault in self._rules.faults.items():
                        log.warning("rule.failing", rule=rule_id, reason=fault)
                self._looked_at = time.monotonic()
            return self._rules
