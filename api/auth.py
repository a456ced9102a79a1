"""Authenticate a caller by a bearer token, by HTTP Basic or by a session, and check its rights.

Basic carries the token as its password, with any user name: the address bar of a browser cannot
send a bearer token. A browser sends it by itself with every request, also when the page of another
site makes the request. A request that changes something is therefore refused unless its `Origin` is
ours. The same holds for a session's cookie; such a request must also carry the CSRF token.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import structlog
from flask import Response, g, request
from sqlalchemy import Connection
from werkzeug.datastructures import Authorization

from api.csrf import is_csrf
from api.errors import Forbidden, NotAuthenticated
from api.services import services
from recorder.errors import PbxUnavailable
from storage.catalogue import audit
from storage.catalogue.engine import Catalogue
from storage.catalogue.rights import Rights, find_rights, find_rights_of_secret
from storage.catalogue.tokens import note_use
from storage.errors import CatalogueUnavailable, EarwitnessError
from storage.permissions import permissions_of
from storage.records import Outcome, TokenRecord

log = structlog.get_logger()

Seen = TypeVar("Seen")

SESSION = "earwitness_session"
CSRF_HEADER, CSRF_FIELD = "X-CSRF-Token", "csrf"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def authenticate() -> None:
    """Find the caller of this request; raise NotAuthenticated without a valid token.

    Raises Forbidden for the token of a dialplan, which opens `/dialplan/*` alone.
    """
    g.principal = find_principal(services().catalogue, read_secret())
    if g.principal.token.pbx is not None:
        refuse("requests other than a dialplan's")
    if request.method in SAFE_METHODS:
        return
    if g.principal.is_person:
        given = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
        if is_foreign() or not is_csrf(given, g.principal.token.csrf or ""):
            refuse("requests of other sites")
    if is_basic() and is_foreign():
        refuse("requests of other sites")


def principal() -> Rights:
    """Return the caller of an authenticated request."""
    found: Rights = g.principal
    return found


def read_secret() -> str:
    """Return the secret of the request: a token or a session. Raises NotAuthenticated."""
    if request.authorization is None and (session := find_secret_cookie()):
        return session
    given = request.authorization or Authorization("")
    secret = given.token if given.type == "bearer" else given.password if is_basic() else None
    if not secret:
        raise NotAuthenticated("send a token: Authorization: Bearer TOKEN")
    return secret


def authorise(permission: str) -> None:
    """Raise Forbidden, log it and write it to the audit trail, unless the token permits this."""
    g.wanted = permission
    if permission not in principal().permissions:
        refuse(permission)


def set_secret_cookie(
    answered: Response, secret: str, cookie: str = SESSION, *, lasts: timedelta | None = None
) -> None:
    """Set the cookie with this secret; without `lasts` the browser drops it when it is closed."""
    name, secure = _cookie(cookie)
    answered.set_cookie(name, secret, lasts, secure=secure, httponly=True, samesite="Lax")


def find_secret_cookie(cookie: str = SESSION) -> str | None:
    """Return the secret in the cookie of the request."""
    return request.cookies.get(_cookie(cookie)[0])


def delete_secret_cookie(answered: Response, cookie: str = SESSION) -> None:
    """Delete the cookie."""
    name, secure = _cookie(cookie)
    answered.delete_cookie(name, secure=secure, httponly=True, samesite="Lax")


def audit_done(tx: Connection, action: str, subject: object, **detail: object) -> None:
    """Write to the audit trail that the caller has done this."""
    _note(tx, action, subject, "done", detail)


def audit_refused(tx: Connection, action: str, subject: object, **detail: object) -> None:
    """Write to the audit trail that the caller was refused this."""
    _note(tx, action, subject, "refused", detail)


@contextmanager
def auditing_refusals(
    action: str,
    subject: object,
    *,
    of: tuple[type[EarwitnessError], ...] = (EarwitnessError,),
    **detail: object,
) -> Iterator[None]:
    """Audit the errors `of` the block as refusals of the caller; the recorder audits the success.

    The error of a server that is away is no refusal.
    """
    try:
        yield
    except of as error:
        if not isinstance(error, (PbxUnavailable, CatalogueUnavailable)):
            with services().catalogue.begin() as tx:
                audit_refused(tx, action, subject, **detail, error_id=error.error_id)
        raise


@contextmanager
def holding_rights(*permissions: str) -> Iterator[tuple[Connection, Rights]]:
    """Begin a transaction in which nobody can take the caller's rights away; give both.

    Whatever outlives the request is written in it. So a withdrawal at the same time either waits
    for the row, which it then ends, or comes first: then this refuses the caller. The caller needs
    the permission of the request, and these.

    Example: `with holding_rights(RECORDINGS_HEAR) as (tx, rights): links.create_link(tx, …)`.
    """
    with services().catalogue.begin() as tx:
        rights = find_rights(tx, principal().token.id, lock=True)
        if rights is None:
            raise NotAuthenticated("this token is unknown, or no longer valid")
        missing = {*permissions, g.wanted} - rights.permissions
        if not missing:
            yield tx, rights
    if missing:
        refuse(min(missing))


def require_grant(wanted: TokenRecord, *, who: Rights | None = None) -> None:
    """Refuse a new token or user with more rights, or more visible calls, than the caller.

    `who` are the rights of the caller as `holding_rights` gives them.
    """
    who = who or principal()
    beyond = permissions_of(wanted) - who.permissions
    if beyond:
        refuse(min(beyond))
    if who.agents is None:
        return
    is_in_team = wanted.team == who.token.team and wanted.role != "admin"
    if not is_in_team or (wanted.role == "agent" and wanted.name not in who.agents):
        refuse("calls of other agents")


def get_if_visible(get: Callable[..., Seen], id_: Any) -> Seen:
    """Return the record that `get` finds under this id, if the caller may see it.

    For the caller a record of other agents does not exist: `get` raises its error, such as
    NoSuchCall. The attempt is written to the audit trail.
    """
    return _get_within(get, id_, agents=principal().agents)


def get_if_own(get: Callable[..., Seen], id_: Any) -> Seen:
    """Return the record that `get` finds under this id, if it belongs to the caller.

    For everybody else it does not exist, as in `get_if_visible`.
    """
    return _get_within(get, id_, owner_id=principal().id)


def _get_within(get: Callable[..., Seen], id_: Any, **bounds: Any) -> Seen:
    try:
        with services().catalogue.begin() as tx:
            return get(tx, id_, **bounds)
    except EarwitnessError as error:
        if None not in bounds.values():
            with services().catalogue.begin() as tx, suppress(type(error)):
                get(tx, id_)  # raises, unless the record exists
                audit_refused(tx, g.wanted, id_, method=request.method, error_id=error.error_id)
        raise


def refuse(permission: str) -> NoReturn:
    """Raise Forbidden, log it and write it to the audit trail."""
    with services().catalogue.begin() as tx:
        detail = {"method": request.method, "error_id": Forbidden.error_id}
        audit_refused(tx, permission, request.path, **detail)
    log.warning(
        "request.refused",
        token=principal().name,
        permission=permission,
        method=request.method,
        path=request.path,
    )
    raise Forbidden(f"the token does not permit {permission}")


def _note(
    tx: Connection, action: str, subject: object, outcome: Outcome, detail: dict[str, object]
) -> None:
    audit.add_audit(
        tx,
        actor=principal().actor,
        action=action,
        subject=str(subject),
        outcome=outcome,
        detail=detail,
    )


def _cookie(name: str) -> tuple[str, bool]:
    """Return the cookie's name, and whether it is for TLS alone.

    Over TLS the prefix `__Host-` keeps other hosts of the domain from setting it.
    """
    secure = request.is_secure or services().settings.public_url.startswith("https:")
    return (f"__Host-{name}" if secure else name), secure


def is_basic() -> bool:
    """Whether the request shows a token by HTTP Basic."""
    return request.authorization is not None and request.authorization.type == "basic"


def is_foreign(header: str = "Origin") -> bool:
    """Whether a browser sends this for the page of another site; only browsers send `Origin`."""
    origin = request.headers.get(header)
    if origin is None:
        return False
    ours = {request.host, urlsplit(services().settings.public_url).netloc} - {""}
    try:
        return urlsplit(origin).netloc not in ours
    except ValueError:  # for example http://[
        return True


def find_principal(catalogue: Catalogue, secret: str) -> Rights:
    """Return the rights of the token or session with this secret. Raises NotAuthenticated."""
    with catalogue.begin() as tx:
        found = find_rights_of_secret(tx, secret)
        if found is not None:
            note_use(tx, found.token)
    if found is None:
        raise NotAuthenticated("this token is unknown, or no longer valid")
    return found
