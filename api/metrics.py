"""Export metrics for Prometheus: counters of the requests, and gauges from the catalogue.

Several processes answer on one port, and a scrape reaches any of them. So each process writes its
counts to a file in the directory that `MULTIPROCESS` names, and a scrape adds up all files: the
multiprocess mode of prometheus-client. The gauges are read from the catalogue at each scrape.
"""

import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.health import pbx_state
from api.settings import ApiSettings
from storage.catalogue import decisions, pbxs, recordings
from storage.catalogue.engine import Catalogue

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
MEDIA_TYPE = "text/plain"
NEWEST = 10_000
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one application."""

    def __init__(self, catalogue: Catalogue, settings: ApiSettings) -> None:
        # The library reads the variable at its import, which may be before we set it.
        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
        self._here = CollectorRegistry()
        self._shared = MULTIPROCESS in os.environ
        labels = ("method", "route", "status")
        self._answered = Counter(
            "earwitness_http_requests", "Answered requests.", labels, registry=self._here
        )
        self._took = Histogram(
            "earwitness_http_request_duration_seconds",
            "Time until the answer started.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self._here,
        )
        self._gauges = CatalogueCollector(catalogue, settings)

    def register(self, app: Flask) -> None:
        """Count every request of the application."""
        app.before_request(self._begin)
        app.after_request(self._count)

    def render(self) -> bytes:
        """Return all metrics as text. Raises CatalogueUnavailable."""
        http = self._here
        if self._shared:
            http = CollectorRegistry()
            MultiProcessCollector(http)  # type: ignore[no-untyped-call]
        catalogue = CollectorRegistry()
        catalogue.register(self._gauges)
        return bytes(generate_latest(http) + generate_latest(catalogue))

    def _begin(self) -> None:
        g.began = time.perf_counter()

    def _count(self, answered: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "unknown"
        method = (
            request.method if request.method in METHODS else "other"
        )  # any client can invent one
        self._answered.labels(method, route, str(answered.status_code)).inc()
        self._took.labels(method, route).observe(time.perf_counter() - g.began)
        return answered


class CatalogueCollector(Collector):
    """Gauges that are read from the catalogue."""

    def __init__(self, catalogue: Catalogue, settings: ApiSettings) -> None:
        self._catalogue = catalogue
        self._pbxs = settings.pbxs

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not query the catalogue."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Read the recordings by state, missing recordings, lost files, and the PBXs' states."""
        with self._catalogue.begin() as tx:
            counts = recordings.count_newest_by_state(tx, NEWEST)
            known = pbxs.list_pbxs(tx)
            lacking = decisions.count_missing(tx)
            lost = recordings.count_lost(tx)
        by_state = GaugeMetricFamily(
            "earwitness_recordings",
            f"Recordings by state, of the newest {NEWEST}.",
            labels=["state"],
        )
        for state, count in counts.items():
            by_state.add_metric([state], count)
        up = GaugeMetricFamily(
            "earwitness_pbx_up", "1 if the PBX is watched and connected.", labels=["pbx"]
        )
        for name in self._pbxs:
            up.add_metric([name], pbx_state(name, known, datetime.now(UTC)) == "connected")
        missing = GaugeMetricFamily(
            "earwitness_recordings_missing",
            "Ended calls whose recording is missing or too short.",
            value=lacking,
        )
        lost_objects = GaugeMetricFamily(
            "earwitness_objects_lost",
            "Files of recordings that the store was found not to hold.",
            value=lost,
        )
        return (by_state, missing, lost_objects, up)
