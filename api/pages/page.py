"""Declare pages with the permission of each; a visitor without a session has to sign in.

    pages = Pages()

    @pages.get("/", CALLS_READ)
    def show_live() -> Response: …

The permissions are those of the API.
"""

import secrets
from collections.abc import Callable
from functools import partial, wraps
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, current_app, g, make_response, redirect, render_template, request
from flask_babel import get_locale
from flask_babel import gettext as _
from markupsafe import Markup
from werkzeug.exceptions import MethodNotAllowed

from api.auth import authenticate, authorise, principal
from api.csrf import mask_csrf
from api.errors import Forbidden, NotAuthenticated
from api.links import media_origin
from api.operation import OPEN, SIGNED_IN, require_token
from api.pages.words import in_words, shell_words
from api.problems import MEDIA_TYPE as PROBLEM
from api.routes.static import static_path
from api.services import services
from storage.permissions import (
    AUDIT_READ,
    CALLS_DIAL,
    CALLS_READ,
    CAMPAIGNS_READ,
    CONFERENCES_READ,
    MODES,
    RECORDINGS_READ,
    RULES_READ,
    SYSTEM_READ,
)
from storage.records import Mode

Handler = Callable[..., Any]

LANGUAGES = ("en", "ar")
# No page has a path that starts like these.
NO_PAGES = ("/api/", "/static/", "/health/")
ICON = Markup('<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>')


class Pages:
    """The pages of one module."""

    def __init__(self) -> None:
        self._pages: list[tuple[str, str, str, Handler]] = []

    def get(self, rule: str, needs: str, *, acts: bool = False) -> Callable[[Handler], Handler]:
        """Declare a page; one that `acts` answers no HEAD, which must change nothing."""

        def declared(handler: Handler) -> Handler:
            return self._declare("GET", rule, needs)(_get_only(handler) if acts else handler)

        return declared

    def post(self, rule: str, needs: str) -> Callable[[Handler], Handler]:
        """Declare the target of a form."""
        return self._declare("POST", rule, needs)

    def register(self, app: Flask) -> None:
        """Serve all pages of this module."""
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
    """Redirect a page to the sign-in form; require a token for every other request."""
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
        if "HX-Request" in request.headers:  # redirect the whole page, not a part of it
            return Response(status=401, headers={"HX-Redirect": form})
        return make_response(redirect(form, 303))
    return None


def show_problem(answered: Response) -> Response:
    """Replace a problem document by a page if a person sees the answer."""
    if answered.mimetype != PROBLEM or _needs_of_page() is None or not _wants_page():
        return answered
    status = answered.status_code
    title, text = _("This was refused"), _("Go back, reload the page, and try again.")
    if status in (404, 405):
        title, text = _("There is no such page"), _("Use the pages above.")
    elif status == 503:
        title = _("This is not available now")
        text = _("A part of the service does not answer or is busy. Reload the page in a minute.")
    elif status >= 500:
        title = _("Something went wrong on our side")
        text = _("Try again. If it fails again, tell your administrator: the log says why.")
    shown = show_notice(title, text, status)
    if "Retry-After" in answered.headers:
        shown.headers["Retry-After"] = answered.headers["Retry-After"]
    return shown


def _needs_of_page() -> str | None:
    """Return the permission of the requested page; None if it is not a page.

    A browser's request for an unknown path counts as a page.
    """
    if request.endpoint is None:
        return SIGNED_IN if _wants_page() and not request.path.startswith(NO_PAGES) else None
    needs: str | None = getattr(current_app.view_functions[request.endpoint], "needs", None)
    return needs


def _wants_page() -> bool:
    """Whether a browser shows the answer as a page; `Accept: */*` alone is a program's."""
    if "HX-Request" in request.headers:
        return request.headers.get("HX-Target") == "page"
    return request.accept_mimetypes.best_match([PROBLEM, "text/html"]) == "text/html"


def choose_language() -> str | None:
    """Return the first language of the browser for which there is a translation, or English."""
    return request.accept_languages.best_match(LANGUAGES)


def wants_next_part() -> bool:
    """Whether the request wants only the next part of a list."""
    return request.headers.get("HX-Target") == "more"


def form_fields() -> dict[str, str]:
    """Return the fields of the form that are not empty."""
    return {name: value for name, value in request.args.items() if value.strip()}


def local_path(wanted: str) -> str:
    """Return the wanted path if it is local, else the first page."""
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if is_ours and wanted.isprintable() else "/"


def show(template: str, status: int = 200, **values: Any) -> Response:
    """Render a page, with the values that every page shows."""
    nonce = secrets.token_urlsafe(16)
    who = principal() if "principal" in g else None
    permissions = who.permissions if who is not None else frozenset()
    may_dial = CALLS_DIAL in permissions
    # The entries of the menu: path, name and permission.
    places = [
        ("/", _("Live"), CALLS_READ),
        ("/conferences", _("Conferences"), CONFERENCES_READ),
        ("/campaigns", _("Campaigns"), CAMPAIGNS_READ),
        ("/library", _("Library"), RECORDINGS_READ),
        ("/rules", _("Rules"), RULES_READ),
        ("/audit", _("Audit"), AUDIT_READ),
        ("/system", _("System"), SYSTEM_READ),
    ]
    if may_dial and CAMPAIGNS_READ not in permissions:
        places.insert(2, ("/my-campaigns", _("My campaigns"), CALLS_DIAL))
    modes: list[tuple[Mode, str]] = [
        ("listen", _("Listen")),
        ("whisper", _("Whisper")),
        ("barge", _("Barge")),
    ]
    page = render_template(
        template,
        person=who.name if who is not None else None,
        own_phone=f"PJSIP/{who.name}" if who is not None and who.token.role == "agent" else "",
        csrf=mask_csrf(who.token.csrf or "") if who is not None else "",
        permissions=permissions,
        dialling=services().dialler.list_pbxs() if may_dial else (),
        places=[(path, name) for path, name, needs in places if needs in permissions],
        modes=[(mode, name) for mode, name in modes if MODES[mode] in permissions],
        icon=partial(ICON.format, static_path("icons.svg")),
        static=static_path,
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
    # Without a referrer browsers send `Origin: null` with a form.
    answered.headers["Referrer-Policy"] = "same-origin"
    return answered


def show_notice(
    title: str, text: str, status: int, *, way: tuple[str, str] | None = None
) -> Response:
    """Render a page with a message, and a way to go on: a path and its name."""
    return show("notice.html", status, title=title, text=text, way=way)


def _view(needs: str, handler: Handler) -> Handler:
    @wraps(handler)  # a limit of failures is counted by the view's name
    def view(**arguments: Any) -> Any:
        try:
            if needs not in (OPEN, SIGNED_IN):
                authorise(needs)
        except Forbidden:
            text = _("Ask your administrator for the right, or use the pages above.")
            return show_notice(_("You may not see this page"), text, 403)
        return handler(**arguments)

    return view


def _get_only(handler: Handler) -> Handler:
    @wraps(handler)
    def get(**arguments: Any) -> Any:
        if request.method == "HEAD":
            raise MethodNotAllowed(["GET"])
        return handler(**arguments)

    return get


def _length(seconds: float) -> str:
    """Return a duration as text: 65.4 s is 1:05, 3665 s is 1:01:05."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _policy(nonce: str) -> str:
    """Return the page's Content-Security-Policy: only our files, and the media server's audio.

    Styles that a module creates carry the page's nonce.
    """
    return (
        "default-src 'none'; script-src 'self'; worker-src 'self'; img-src 'self' data:;"
        f" style-src 'self' 'nonce-{nonce}';"
        f" connect-src 'self' {media_origin()};"
        " media-src 'self' blob:; font-src 'self'; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'"
    )
