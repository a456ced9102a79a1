"""Wire the HTTP application: all operations and pages, on one page."""

from functools import partial

from flask import Flask, Response, current_app, request
from flask_babel import Babel
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter

from api.compression import compress_answers
from api.errors import TooManyAttempts
from api.feed import Feed
from api.health import StoreProbe
from api.limits import Limits
from api.metrics import Metrics
from api.oidc import Provider
from api.operation import find_operation
from api.pages import audit, library, live, shared, sign_in, single_sign_on, system
from api.pages import campaigns as campaign_pages
from api.pages import conferences as conference_pages
from api.pages import people as people_pages
from api.pages import rules as rule_pages
from api.pages.page import choose_language, require_sign_in, show_problem
from api.present_rights import PresentRights
from api.problems import answer_problem, build_problem, register_problems
from api.routes import (
    agents,
    assurance,
    bulk,
    callbacks,
    calls,
    campaigns,
    conferences,
    dialplan,
    do_not_call,
    docs,
    events,
    jobs,
    keeping,
    links,
    media,
    operational,
    people,
    recordings,
    rules,
    spies,
    static,
    webhooks,
)
from api.routes import system as system_routes
from api.services import EXTENSION, Services
from api.settings import ApiSettings
from api.turns import Turns
from recorder.ari.pbxs import Pbxs
from recorder.conferences.conferences import Conferences
from recorder.dialling.callbacks import Callbacks, CallbackSettings
from recorder.dialling.campaigns import Campaigns
from recorder.dialling.dialler import Dialler
from recorder.dialling.numbers import DialPolicy
from recorder.programs.programs import Programs
from recorder.recording.capture import Capture
from recorder.rules.book import RuleBook
from recorder.spy.spies import Spies
from recorder.work.webhooks import Sender
from storage.catalogue.engine import Catalogue
from storage.objects.store import ObjectStore
from storage.records import Hours

__all__ = ["ApiSettings", "build_app"]

# The OpenAPI document lists the tags in this order.
OPERATIONS = (
    calls,
    agents,
    callbacks,
    campaigns,
    do_not_call,
    conferences,
    recordings,
    assurance,
    keeping,
    links,
    bulk,
    media,
    spies,
    rules,
    dialplan,
    events,
    webhooks,
    system_routes,
    people,
    jobs,
    operational,
    docs,
    static,
)
PAGES = (
    live,
    conference_pages,
    campaign_pages,
    library,
    shared,
    rule_pages,
    audit,
    system,
    people_pages,
    sign_in,
    single_sign_on,
)
LONGEST_BODY_BYTES = 1024 * 1024
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class TextConverter(BaseConverter):
    """A part of a path that is not an id; PostgreSQL stores no text with NUL."""

    regex = r"[^/\0]+"


class CallIdConverter(BaseConverter):
    """A call's id in a path: the PBX's name and Asterisk's linkedid, such as main-1795424777.0.

    A linkedid is the id of a channel, which may hold any character, a slash too: `main-a%2Fb`.
    """

    regex = r"[^\0]{1,200}"
    part_isolating = False


def build_app(
    catalogue: Catalogue,
    objects: ObjectStore,
    capture: Capture,
    spies: Spies,
    settings: ApiSettings,
    *,
    dialler: Dialler | None = None,
    callbacks: Callbacks | None = None,
    campaigns: Campaigns | None = None,
    conferences: Conferences | None = None,
    programs: Programs | None = None,
) -> Flask:
    """Build the application of one process.

    Without a dialler it cannot dial, and without conferences it holds none, on any PBX.
    """
    app = Flask("api", static_folder=None, template_folder="templates")
    # Trust only X-Forwarded-For, and of it only the configured number of proxies.
    app.wsgi_app = ProxyFix(app.wsgi_app, settings.proxies, 0, 0, 0, 0)  # type: ignore[method-assign]
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    compress_answers(app)
    Babel(app, locale_selector=choose_language)
    app.config["MAX_CONTENT_LENGTH"] = LONGEST_BODY_BYTES
    app.url_map.converters["default"] = TextConverter
    app.url_map.converters["call_id"] = CallIdConverter
    app.url_map.merge_slashes = False
    dialler = dialler or Dialler(catalogue, Pbxs({}), {}, DialPolicy())
    callbacks = callbacks or Callbacks(catalogue, dialler, CallbackSettings(Hours(), (), {}))
    conferences = conferences or Conferences(catalogue, Pbxs({}), {})
    metrics = Metrics(catalogue, settings)
    app.extensions[EXTENSION] = Services(
        catalogue,
        objects,
        capture,
        spies,
        dialler,
        callbacks,
        campaigns or Campaigns(catalogue, Pbxs({}), dialler, {}),
        conferences,
        programs or Programs(catalogue, dialler, callbacks, conferences, ()),
        settings,
        StoreProbe(objects),
        metrics,
        Feed(catalogue),
        PresentRights(catalogue),
        RuleBook(catalogue, settings.rules, settings.default_action),
        partial(Sender, allow_private_addresses=settings.allow_private_addresses),
        Provider(settings.oidc) if settings.oidc is not None else None,
    )
    metrics.register(app)
    Turns().register(app)
    app.before_request(require_sign_in)
    app.after_request(_protect)
    app.after_request(show_problem)
    register_problems(app)
    _register_operations(app)
    _limit_failures(app, catalogue)
    return app


def _limit_failures(app: Flask, catalogue: Catalogue) -> None:
    limits = Limits(app, catalogue, _answer_too_often)
    sign_in.limit(limits)
    single_sign_on.limit(limits)
    people.limit(limits)


def _answer_too_often(wait_s: int) -> Response:
    """Answer a request after too many failures, by a problem or by the form."""
    if find_operation(current_app, request.endpoint) is not None:
        return answer_problem(build_problem(TooManyAttempts(wait_s)))
    return sign_in.answer_too_often(wait_s)


def _register_operations(app: Flask) -> None:
    for module in OPERATIONS:
        module.operations.register(app)
    for shown in PAGES:
        shown.pages.register(app)


def _protect(answered: Response) -> Response:
    """Add the headers that keep answers out of caches, frames and pages of other sites."""
    for name, value in HEADERS.items():
        answered.headers.setdefault(name, value)
    return answered
