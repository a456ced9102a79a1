"""Sign in by a password, and sign out."""

from typing import Any

import structlog
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
from storage.catalogue import audit, refusals, users
from storage.naming import LONGEST
from storage.passwords import hash_password, is_outdated, is_password
from storage.records import Actor, UserRecord

log = structlog.get_logger()
pages = Pages()

BEGIN = "session.begin"

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
    if is_foreign():
        return _refused("other-site", 403, _("This was refused"))
    if not services().settings.passwords:
        return _refused("no-passwords", 403, _("Passwords are not accepted here: use the button."))
    name, password = request.form.get("name", ""), request.form.get("password", "")
    with services().catalogue.begin() as tx:
        found = users.find_user_as_typed(tx, name)
    kept = found.password_hash if found is not None else None
    known = is_password(password, kept)  # an unknown name takes as long as a wrong password
    if found is None or kept is None or not known:
        return _refused("wrong-password", 401, _("Name or password is wrong."), found)
    with services().catalogue.begin() as tx:
        if is_outdated(kept):
            users.keep_hash(tx, found.id, hash_password(password))
        secret = users.begin_session(tx, found)
        audit_sign_in(tx, found)
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
    """Limit the number of refused sign-ins.

    Those that another site makes a browser send count apart: they lock nobody out.
    """
    limits.limit_failures(
        sign_in.__name__,
        lambda answered: answered.status_code == 403,
        {FAILURES_PER_ADDRESS: lambda: f"other site {address()}"},
        concerns=is_foreign,
    )
    limits.limit_failures(
        sign_in.__name__,
        lambda answered: answered.status_code in {401, 403},
        {
            FAILURES_PER_NAME: _name,
            FAILURES_PER_NAME_AND_ADDRESS: lambda: f"{address()} {_name()}",
            FAILURES_PER_ADDRESS: address,
        },
        concerns=lambda: not is_foreign(),
    )


def answer_too_often(wait_s: int) -> Response:
    """Show the form, and the time to wait."""
    with services().catalogue.begin() as tx:
        audit_refusal(tx, "too-many-attempts")
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


def audit_sign_in(tx: Connection, who: UserRecord, **detail: Any) -> None:
    """Write to the audit trail that this person started a session."""
    audit.add_audit(
        tx,
        actor=Actor("user", who.name),
        action=BEGIN,
        subject=request.path,
        outcome="done",
        detail={"address": request.remote_addr} | detail,
    )


def audit_refusal(
    tx: Connection, reason: str, who: UserRecord | None = None, **detail: Any
) -> None:
    """Write the refusal of a sign-in to the log, and to the audit trail.

    The entry holds nothing that the stranger chose: what is typed as a name may be a password. It
    names the user whose name it was, if there is such a user. The log has each refusal, the trail
    has the first ones.
    """
    user = {"user": who.name} if who is not None else {}
    log.info("sign-in.refused", reason=reason, address=address(), **user)
    refusals.add_refusal(
        tx,
        actor=SIGN_IN,
        action=BEGIN,
        subject=request.path,
        address=address(),
        about=f"{reason} {_name()} {detail.get('subject', '')}",
        detail={"address": address(), "reason": reason} | user | detail,
    )


def _refused(reason: str, status: int, fault: str, who: UserRecord | None = None) -> Response:
    with services().catalogue.begin() as tx:
        audit_refusal(tx, reason, who)
    return show_form(status, fault)


def _name() -> str:
    return f"name {request.form.get('name', '')[:LONGEST].casefold()}"


def _signed_out() -> Response:
    answered = make_response(redirect("/sign-in", 303))
    delete_secret_cookie(answered)
    return answered
