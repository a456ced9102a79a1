"""What the views of one application work with, and how they reach it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from flask import current_app

from api.feed import Feed
from api.health import StoreProbe
from api.metrics import Metrics
from api.oidc import Provider
from api.settings import ApiSettings, Objects, Recorder, Supervisor
from recorder.rules.book import RuleBook
from recorder.work.webhooks import Sender
from storage.catalogue.engine import Catalogue

EXTENSION = "earwitness"


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a view works with."""

    catalogue: Catalogue
    objects: Objects
    recorder: Recorder
    supervisor: Supervisor
    settings: ApiSettings
    store_probe: StoreProbe
    metrics: Metrics
    feed: Feed
    book: RuleBook
    make_sender: Callable[[], Sender]
    provider: Provider | None


def parts() -> Parts:
    """The parts of the application that serves this request."""
    return cast("Parts", current_app.extensions[EXTENSION])
