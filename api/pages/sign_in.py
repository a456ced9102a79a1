"""Signing in and out."""

from typing import Any

from flask import Flask, Response, make_response, redirect, request
from flask_babel import gettext as _
from flask_limiter import Limiter, RateLimitExceeded
from flask_limiter.util import get_remote_address
from sqlalchemy import Connection

from api.auth import asker, begin_session, forget_session, is_foreign
from api.operation import OPEN, SIGNED_IN
from api.pages.page import Pages, local_path, show
from api.parts import parts
from storage.catalogue import audit, users
from storage.passwords import hash_password, is_outdated, is_password

pages = Pages()

# Behind a proxy everybody comes from one address.
FAILURES_PER_ADDRESS = "30 per minute"
FAILURES_PER_NAME = "10 per 15 minutes"


@pages.get("/sign-in", OPEN)
def show_sign_in() -> Response:
    """Ask who it is."""
    return _form(200, "")


@pages.post("/sign-in", OPEN)
def sign_in() -> Response:
    """Begin a session, if it is who it says."""
    name, password = request.form.get("name", ""), request.form.get("password", "")
    with parts().catalogue.begin() as tx:
        found = users.find_user(tx, name) if "\0" not in name else None
    known = is_password(password, found.password_hash if found is not None else None)
    if found is None or not known or is_foreign(request):
        with parts().catalogue.begin() as tx:
            _note(tx, name, "refused")
        return _form(401, _("There is nobody of this name with this password."))
    with parts().catalogue.begin() as tx:
        if is_outdated(found.password_hash):
            users.keep_hash(tx, found.id, hash_password(password))
        secret = users.begin_session(tx, found)
        _note(tx, name, "done")
    answered = make_response(redirect(local_path(request.form.get("next", "/")), 303))
    begin_session(answered, secret)
    return answered


@pages.post("/sign-out", SIGNED_IN)
def sign_out() -> Response:
    """End this session."""
    with parts().catalogue.begin() as tx:
        users.end_session(tx, asker().token.id)
    return _signed_out()


@pages.post("/sign-out-everywhere", SIGNED_IN)
def sign_out_everywhere() -> Response:
    """End all sessions of who asks."""
    user_id = asker().token.user_id
    if user_id is not None:
        with parts().catalogue.begin() as tx:
            users.end_sessions(tx, user_id)
    return _signed_out()


def register(app: Flask) -> None:
    """Serve the pages, and let nobody try passwords for long. Each process counts for itself."""
    pages.register(app)
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
    tried = app.view_functions[sign_in.__name__]
    of_name = limiter.limit(
        FAILURES_PER_NAME,
        key_func=lambda: request.form.get("name", "").casefold(),
        deduct_when=_has_failed,
    )
    of_address = limiter.limit(FAILURES_PER_ADDRESS, deduct_when=_has_failed)
    limited: Any = of_address(of_name(tried))
    limited.needs = OPEN
    app.view_functions[sign_in.__name__] = limited
    app.register_error_handler(RateLimitExceeded, _too_often)


def _has_failed(answered: Response) -> bool:
    return answered.status_code == 401


def _too_often(exceeded: RateLimitExceeded) -> Response:
    answered = _form(429, _("That was tried too often. Wait some minutes, then try again."))
    answered.headers["Retry-After"] = str(exceeded.limit.limit.get_expiry())
    return answered


def _form(status: int, fault: str) -> Response:
    wanted = local_path(request.values.get("next", "/"))
    return show("sign_in.html", status, fault=fault, next=wanted, name=request.form.get("name", ""))


def _signed_out() -> Response:
    answered = make_response(redirect("/sign-in", 303))
    forget_session(answered)
    return answered


def _note(tx: Connection, name: str, outcome: audit.Outcome) -> None:
    audit.add_audit(
        tx,
        actor=name.replace("\0", "")[:200],
        action="session.begin",
        subject=request.path,
        outcome=outcome,
        detail={"address": request.remote_addr},
    )
