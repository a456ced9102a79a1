"""A page: what it needs, said beside its function; who has not signed in is asked to.

    pages = Pages()

    @pages.get("/", CALLS_READ)
    def show_live() -> Response: …

What one may not do is refused by the same permissions as over the API.
"""

import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, current_app, g, make_response, redirect, render_template, request
from flask_babel import get_locale
from flask_babel import gettext as _
from markupsafe import Markup

from api.auth import authenticate, authorise, principal
from api.errors import Forbidden, NotAuthenticated
from api.links import media_origin
from api.operation import OPEN, SIGNED_IN, require_token
from api.pages.words import in_words, shell_words
from api.permissions import AUDIT_READ, CALLS_READ, MODES, RECORDINGS_READ, RULES_READ, SYSTEM_READ
from api.problems import MEDIA_TYPE as PROBLEM

Handler = Callable[..., Any]

LANGUAGES = ("en", "ar")
# Below these nothing is a page.
NO_PAGES = ("/api/", "/static/", "/health/")
ICON = Markup('<svg class="icon" aria-hidden="true"><use href="/static/icons.svg#{}"></use></svg>')


class Pages:
    """The pages of one module."""

    def __init__(self) -> None:
        self._pages: list[tuple[str, str, str, Handler]] = []

    def get(self, rule: str, needs: str) -> Callable[[Handler], Handler]:
        """Declare a page that shows."""
        return self._declare("GET", rule, needs)

    def post(self, rule: str, needs: str) -> Callable[[Handler], Handler]:
        """Declare what a form is sent to."""
        return self._declare("POST", rule, needs)

    def register(self, app: Flask) -> None:
        """Serve them all."""
        for method, rule, needs, handler in self._pages:
            view = _view(needs, handler)
            view.needs = needs  # type: ignore[attr-defined]  # a function takes any attribute
            app.add_url_rule(
                rule, handler.__name__, view, methods=[method], provide_automatic_options=False
            )

    def _declare(self, method: str, rule: str, needs: str) -> Callable[[Handler], Handler]:
        def declared(handler: Handler) -> Handler:
            self._pages.append((method, rule, needs, handler))
            return handler

        return declared


def require_sign_in() -> Response | None:
    """Before every request: a page leads to where one signs in, all else needs a token."""
    needs = _needs_of_page()
    if needs is None:
        require_token()
        return None
    if needs == OPEN:
        return None
    try:
        authenticate()
    except NotAuthenticated:
        wanted = request.full_path.rstrip("?") if request.method == "GET" else "/"
        form = f"/sign-in?next={quote(wanted)}"
        if "HX-Request" in request.headers:  # the whole page goes there, not a part of it
            return Response(status=401, headers={"HX-Redirect": form})
        return make_response(redirect(form, 303))
    return None


def show_problem(answered: Response) -> Response:
    """After every request: what a program is told by a problem, a person is told by a page."""
    if answered.mimetype != PROBLEM or _needs_of_page() is None or not _wants_page():
        return answered
    shown = show_notice(*_notice_of(answered.status_code), answered.status_code)
    if "Retry-After" in answered.headers:
        shown.headers["Retry-After"] = answered.headers["Retry-After"]
    return shown


def _needs_of_page() -> str | None:
    """What the page that is asked for needs; None for what is no page. A person means one."""
    if request.endpoint is None:
        return SIGNED_IN if _wants_page() and not request.path.startswith(NO_PAGES) else None
    needs: str | None = getattr(current_app.view_functions[request.endpoint], "needs", None)
    return needs


def _wants_page() -> bool:
    """Whether a browser shows the answer as a page; programs that take anything get the problem."""
    if "HX-Request" in request.headers:
        return request.headers.get("HX-Target") == "page"
    return request.accept_mimetypes.best_match([PROBLEM, "text/html"]) == "text/html"


def _notice_of(status: int) -> tuple[str, str]:
    """What is said of an error, and what to do next."""
    if status in (404, 405):
        return _("There is no such page"), _("Go on with the pages above.")
    if status == 503:
        return (
            _("That cannot be had now"),
            _("A part of the service does not answer, or has much to do. Reload in a minute."),
        )
    if status >= 500:
        return (
            _("Something went wrong on our side"),
            _("Try it again. If it stays so, tell your administrator: the log says why."),
        )
    return _("This was refused"), _("Go back, reload the page, and try it again.")


def choose_language() -> str | None:
    """The first of the browser's languages that there is a catalogue of; English is in the code."""
    return request.accept_languages.best_match(LANGUAGES)


def is_more() -> bool:
    """Whether a list that is shown goes on, and only its next part is wanted."""
    return request.headers.get("HX-Target") == "more"


def filled_in() -> dict[str, str]:
    """The fields of the form that is asked with, but for the empty ones."""
    return {name: value for name, value in request.args.items() if value.strip()}


def local_path(wanted: str) -> str:
    """Where to go on to: a path of ours; anything else is the first page."""
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if is_ours and wanted.isprintable() else "/"


def show(template: str, status: int = 200, **values: Any) -> Response:
    """A page, with what every page shows of who is asking."""
    nonce = secrets.token_urlsafe(16)
    who = principal() if "principal" in g else None
    permissions = who.permissions if who is not None else frozenset()
    page = render_template(
        template,
        person=who.name if who is not None else None,
        csrf=(who.token.csrf or "") if who is not None else "",
        permissions=permissions,
        places=[(path, name) for path, name, needs in _places() if needs in permissions],
        modes=[(mode, name) for mode, name in _modes() if MODES[mode] in permissions],
        icon=ICON.format,
        length=_length,
        nonce=nonce,
        shell_words=shell_words(),
        in_words=in_words,
        language=str(get_locale()),
        direction=get_locale().text_direction,
        **values,
    )
    answered = make_response(page, status)
    answered.headers["Content-Security-Policy"] = _policy(nonce)
    # With none at all browsers say of a form that it comes from nowhere.
    answered.headers["Referrer-Policy"] = "same-origin"
    return answered


def show_notice(
    title: str, told: str, status: int, *, way: tuple[str, str] | None = None
) -> Response:
    """A page that says why there is nothing else, and where to go on: a path and its name."""
    return show("notice.html", status, title=title, told=told, way=way)


def _view(needs: str, handler: Handler) -> Handler:
    @wraps(handler)  # a limit is kept for each name
    def view(**arguments: Any) -> Any:
        try:
            if needs not in (OPEN, SIGNED_IN):
                authorise(needs)
        except Forbidden:
            told = _("Ask your administrator for the right, or go on with the pages above.")
            return show_notice(_("You may not see this page"), told, 403)
        return handler(**arguments)

    return view


def _length(seconds: float) -> str:
    """65.4 s → 1:05, 3665 s → 1:01:05."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _places() -> list[tuple[str, str, str]]:
    """The pages to which every page leads: path, name, and the permission that each needs."""
    return [
        ("/", _("Live"), CALLS_READ),
        ("/library", _("Library"), RECORDINGS_READ),
        ("/rules", _("Rules"), RULES_READ),
        ("/audit", _("Audit"), AUDIT_READ),
        ("/system", _("System"), SYSTEM_READ),
    ]


def _modes() -> list[tuple[Any, str]]:
    return [("listen", _("Listen")), ("whisper", _("Whisper")), ("barge", _("Barge"))]


def _policy(nonce: str) -> str:
    """Everything comes from us, and the live sound from the media server. Styles that a module
    makes bear the page's nonce."""
    return (
        "default-src 'none'; script-src 'self'; worker-src 'self'; img-src 'self' data:;"
        f" style-src 'self' 'nonce-{nonce}';"
        f" connect-src 'self' {media_origin()};"
        " media-src 'self' blob:; font-src 'self'; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'"
    )
