"""Sign in by a password, and sign out."""

from typing import Any

from flask import Response, make_response, redirect, request
from flask_babel import gettext as _
from sqlalchemy import Connection

from api.auth import delete_secret_cookie, is_foreign, principal, set_secret_cookie
from api.limits import Limits, address
from api.operation import OPEN, SIGNED_IN
from api.pages.page import Pages, local_path, show
from api.services import services
from recorder.withdrawal import withdraw
from storage.actors import SIGN_IN
from storage.catalogue import audit, users
from storage.passwords import hash_password, is_outdated, is_password
from storage.records import Actor, Outcome

pages = Pages()

# Behind a proxy everybody has the same address, unless `server.proxies` counts the proxy.
FAILURES_PER_ADDRESS = "30 per minute"
FAILURES_PER_NAME_AND_ADDRESS = "10 per 15 minutes"
# From all addresses: an attacker can use these up, and so lock the owner of the name out.
FAILURES_PER_NAME = "200 per 15 minutes"


@pages.get("/sign-in", OPEN)
def show_sign_in() -> Response:
    """Show the form."""
    return show_form(200)


@pages.post("/sign-in", OPEN)
def sign_in() -> Response:
    """Start a session if name and password are right."""
    name, password = request.form.get("name", ""), request.form.get("password", "")
    if is_foreign():
        return _refused(name, 403, _("This was refused"))
    if not services().settings.passwords:
        return _refused(name, 403, _("Passwords are not accepted here: use the button."))
    with services().catalogue.begin() as tx:
        found = users.find_user(tx, name) if "\0" not in name else None
    kept = found.password_hash if found is not None else None
    known = is_password(password, kept)
    if found is None or kept is None or not known:
        return _refused(name, 401, _("Name or password is wrong."))
    with services().catalogue.begin() as tx:
        if is_outdated(kept):
            users.keep_hash(tx, found.id, hash_password(password))
        secret = users.begin_session(tx, found)
        audit_sign_in(tx, name, "done")
    return signed_in(secret, request.form.get("next", "/"))


@pages.post("/sign-out", SIGNED_IN)
def sign_out() -> Response:
    """End this session, and the spies that were started in it."""
    session_id = principal().token.id
    with services().catalogue.begin() as tx:
        users.end_session(tx, session_id)
        withdrawn = withdraw(tx, session_id, by=principal().actor)
    services().spies.take_down(withdrawn.spy_ids)
    return _signed_out()


@pages.post("/sign-out-everywhere", SIGNED_IN)
def sign_out_everywhere() -> Response:
    """End all sessions and all spies of this person."""
    user_id = principal().token.user_id
    if user_id is not None:
        with services().catalogue.begin() as tx:
            users.end_sessions(tx, user_id)
            withdrawn = withdraw(tx, user_id, by=principal().actor)
        services().spies.take_down(withdrawn.spy_ids)
    return _signed_out()


def limit(limits: Limits) -> None:
    """Limit the number of wrong passwords."""
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
    """Show the form, and the time to wait."""
    answered = show_form(429, _("Too many attempts. Wait some minutes, then try again."))
    answered.headers["Retry-After"] = str(wait_s)
    return answered


def show_form(status: int, fault: str = "", *, wanted: str | None = None) -> Response:
    """Show the ways to sign in, and the fault; `wanted` is the page to show afterwards."""
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
    """Set the session's cookie, and redirect to the wanted page."""
    answered = make_response(redirect(local_path(wanted), 303))
    set_secret_cookie(answered, secret)
    return answered


def audit_sign_in(tx: Connection, name: str, outcome: Outcome, **detail: Any) -> None:
    """Write to the audit trail that this person started a session, or was refused one."""
    audit.add_audit(
        tx,
        actor=SIGN_IN if outcome == "refused" else Actor("user", name),
        action="session.begin",
        subject=request.path,
        outcome=outcome,
        detail={"address": request.remote_addr} | detail,
    )


def _refused(name: str, status: int, fault: str) -> Response:
    with services().catalogue.begin() as tx:
        audit_sign_in(tx, name, "refused")
    return show_form(status, fault)


def _name() -> str:
    return request.form.get("name", "").casefold()


def _signed_out() -> Response:
    answered = make_response(redirect("/sign-in", 303))
    delete_secret_cookie(answered)
    return answered
