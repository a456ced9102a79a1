"""Signing in and out."""

from typing import Any

from flask import Response, make_response, redirect, request
from flask_babel import gettext as _
from sqlalchemy import Connection

from api.auth import forget_secret, is_foreign, keep_secret, principal
from api.limits import Limits, address
from api.operation import OPEN, SIGNED_IN
from api.pages.page import Pages, local_path, show
from api.services import services
from recorder.spy.trail import dismiss
from storage.catalogue import audit, users
from storage.passwords import hash_password, is_outdated, is_password
from storage.records import Outcome

pages = Pages()

# Behind a proxy everybody comes from one address, unless `server.proxies` says that there is one.
FAILURES_PER_ADDRESS = "30 per minute"
FAILURES_PER_NAME_AND_ADDRESS = "10 per 15 minutes"
# From many addresses; anybody can use these up, and so keep the owner of the name out.
FAILURES_PER_NAME = "200 per 15 minutes"


@pages.get("/sign-in", OPEN)
def show_sign_in() -> Response:
    """Ask who it is."""
    return show_form(200)


@pages.post("/sign-in", OPEN)
def sign_in() -> Response:
    """Begin a session, if it is who it says."""
    name, password = request.form.get("name", ""), request.form.get("password", "")
    if is_foreign():
        return _refused(name, 403, _("This was refused"))
    if not services().settings.passwords:
        return _refused(name, 403, _("Passwords are not taken here: use the button."))
    with services().catalogue.begin() as tx:
        found = users.find_user(tx, name) if "\0" not in name else None
    kept = found.password_hash if found is not None else None
    known = is_password(password, kept)
    if found is None or kept is None or not known:
        return _refused(name, 401, _("There is nobody of this name with this password."))
    with services().catalogue.begin() as tx:
        if is_outdated(kept):
            users.keep_hash(tx, found.id, hash_password(password))
        secret = users.begin_session(tx, found)
        note(tx, name, "done")
    return signed_in(secret, request.form.get("next", "/"))


@pages.post("/sign-out", SIGNED_IN)
def sign_out() -> Response:
    """End this session."""
    with services().catalogue.begin() as tx:
        users.end_session(tx, principal().token.id)
    return _signed_out()


@pages.post("/sign-out-everywhere", SIGNED_IN)
def sign_out_everywhere() -> Response:
    """End all sessions of who asks, and all that is listened to."""
    user_id = principal().token.user_id
    if user_id is not None:
        with services().catalogue.begin() as tx:
            users.end_sessions(tx, user_id)
            dismissed = dismiss(tx, principal().name, by=principal().name)
        services().spies.take_down(dismissed)
    return _signed_out()


def limit(limits: Limits) -> None:
    """Let nobody try passwords for long."""
    limits.limit_failures(
        sign_in.__name__,
        lambda answered: answered.status_code in {401, 403} and not is_foreign(),
        {
            FAILURES_PER_NAME: _name,
            FAILURES_PER_NAME_AND_ADDRESS: lambda: f"{address()} {_name()}",
            FAILURES_PER_ADDRESS: address,
        },
    )


def answer_too_often(wait_s: int) -> Response:
    """The form, and when it can be used again."""
    answered = show_form(429, _("That was tried too often. Wait some minutes, then try again."))
    answered.headers["Retry-After"] = str(wait_s)
    return answered


def show_form(status: int, fault: str = "", *, wanted: str | None = None) -> Response:
    """The ways to sign in, and what was wrong; `wanted` is where to go on to."""
    settings = services().settings
    return show(
        "sign_in.html",
        status,
        fault=fault,
        next=local_path(wanted if wanted is not None else request.values.get("next", "/")),
        name=request.form.get("name", ""),
        provider=settings.oidc.name if settings.oidc is not None else None,
        passwords=settings.passwords,
    )


def signed_in(secret: str, wanted: str) -> Response:
    """The session has begun: on to the page that was wanted."""
    answered = make_response(redirect(local_path(wanted), 303))
    keep_secret(answered, secret)
    return answered


def note(tx: Connection, name: str, outcome: Outcome, **told: Any) -> None:
    """Write down who began a session, or was refused one."""
    audit.add_audit(
        tx,
        actor=name.replace("\0", "")[:200],
        action="session.begin",
        subject=request.path,
        outcome=outcome,
        detail={"address": request.remote_addr} | told,
    )


def _refused(name: str, status: int, told: str) -> Response:
    with services().catalogue.begin() as tx:
        note(tx, name, "refused")
    return show_form(status, told)


def _name() -> str:
    return request.form.get("name", "").casefold()


def _signed_out() -> Response:
    answered = make_response(redirect("/sign-in", 303))
    forget_secret(answered)
    return answered
