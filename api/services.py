"""The services that the views of one application use: the catalogue, the store, the recorder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from flask import current_app

from api.feed import Feed
from api.health import StoreProbe
from api.metrics import Metrics
from api.oidc import Provider
from api.present_rights import PresentRights
from api.settings import ApiSettings
from recorder.conferences.conferences import Conferences
from recorder.dialling.callbacks import Callbacks
from recorder.dialling.campaigns import Campaigns
from recorder.dialling.dialler import Dialler
from recorder.programs.programs import Programs
from recorder.recording.capture import Capture
from recorder.rules.book import RuleBook
from recorder.spy.spies import Spies
from recorder.work.webhooks import Sender
from storage.catalogue.engine import Catalogue
from storage.objects.store import ObjectStore

EXTENSION = "earwitness"


@dataclass(frozen=True, slots=True)
class Services:
    """All services of one application."""

    catalogue: Catalogue
    objects: ObjectStore
    capture: Capture
    spies: Spies
    dialler: Dialler
    callbacks: Callbacks
    campaigns: Campaigns
    conferences: Conferences
    programs: Programs
    settings: ApiSettings
    store_probe: StoreProbe
    metrics: Metrics
    feed: Feed
    rights: PresentRights
    book: RuleBook
    make_sender: Callable[[], Sender]
    provider: Provider | None


def services() -> Services:
    """The parts of the application that serves this request."""
    return cast("Services", current_app.extensions[EXTENSION])
