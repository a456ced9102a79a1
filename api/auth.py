"""Who is asking: a bearer token, the same token as the password of HTTP Basic, or a session.

Basic is for the address bar of a browser, which cannot send a bearer token; the user's name does
not matter. A browser sends it by itself with every request, also with one that another site's
page makes, so requests that change something are refused where their `Origin` is not ours. The
same holds for a session's cookie; such requests must also bring the CSRF token.
"""

import hmac
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from flask import Response, g, request
from sqlalchemy import Connection
from werkzeug.datastructures import Authorization

from api.errors import Forbidden, NotAuthenticated
from api.permissions import permissions_of
from api.services import services
from storage.catalogue import audit, tokens
from storage.catalogue.engine import Catalogue
from storage.errors import EarwitnessError
from storage.records import Outcome, TokenRecord

log = structlog.get_logger()

Seen = TypeVar("Seen")

# Who a PBX's dialplan is.
DIALPLAN = TokenRecord(
    UUID(int=0), "dialplan", "service", None, ("calls.read", "recordings.control")
)
SESSION = "earwitness_session"
CSRF_HEADER, CSRF_FIELD = "X-CSRF-Token", "csrf"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking; `agents` are those whose calls and recordings it may see, None for all."""

    token: TokenRecord
    permissions: frozenset[str]
    agents: frozenset[str] | None

    @property
    def name(self) -> str:
        """The token's name, as it stands in logs and in what was done."""
        return self.token.name

    @property
    def id(self) -> UUID:
        """The person's, in all sessions, or the token's; unlike a name it is never used again."""
        return self.token.user_id or self.token.id

    @property
    def is_person(self) -> bool:
        """Whether somebody has signed in."""
        return self.token.user_id is not None


def authenticate(*, may_be_pbx: bool = False) -> None:
    """Find out who is asking; raises NotAuthenticated where no token of ours comes along.

    `may_be_pbx` says that a PBX's dialplan needs no token: its address is known.
    """
    if may_be_pbx and _is_from_pbx():
        g.principal = Principal(DIALPLAN, permissions_of(DIALPLAN), None)
    else:
        g.principal = _find_principal(services().catalogue, read_secret())
    if may_be_pbx:
        _refuse_browsers()
    if request.method in SAFE_METHODS:
        return
    if g.principal.is_person and not _is_of_our_page(g.principal.token.csrf or ""):
        refuse("requests of other sites")
    if _is_basic() and is_foreign():
        refuse("requests of other sites")


def principal_finder() -> Callable[[], Principal]:
    """Finds out anew, at any time after the request, who asked: raises NotAuthenticated by then."""
    catalogue, secret = services().catalogue, read_secret()
    return lambda: _find_principal(catalogue, secret)


def principal() -> Principal:
    """Who is asking, in a request that was authenticated."""
    found: Principal = g.principal
    return found


def read_secret() -> str:
    """What the request shows for who asks. Raises NotAuthenticated where it is nothing."""
    if request.authorization is None and (session := find_secret()):
        return session
    given = request.authorization or Authorization("")
    secret = given.token if given.type == "bearer" else given.password if _is_basic() else None
    if not secret:
        raise NotAuthenticated("send a token: Authorization: Bearer TOKEN")
    return secret


def authorise(permission: str) -> None:
    """Raise Forbidden, log it and write it to the audit trail, unless the token permits this."""
    g.wanted = permission
    if permission not in principal().permissions:
        refuse(permission)


def keep_secret(
    answered: Response, secret: str, cookie: str = SESSION, *, lasts: timedelta | None = None
) -> None:
    """Let the browser bring the secret along from now on; None is until it is closed."""
    name, secure = _cookie(cookie)
    answered.set_cookie(name, secret, lasts, secure=secure, httponly=True, samesite="Lax")


def find_secret(cookie: str = SESSION) -> str | None:
    """What the browser brings along."""
    return request.cookies.get(_cookie(cookie)[0])


def forget_secret(answered: Response, cookie: str = SESSION) -> None:
    """Let the browser forget it."""
    name, secure = _cookie(cookie)
    answered.delete_cookie(name, secure=secure, httponly=True, samesite="Lax")


def note_done(tx: Connection, action: str, subject: object, **told: object) -> None:
    """Write to the audit trail that who asks has done this."""
    _note(tx, action, subject, "done", told)


def note_refused(tx: Connection, action: str, subject: object, **told: object) -> None:
    """Write to the audit trail that who asks was refused this."""
    _note(tx, action, subject, "refused", told)


def require_grant(wanted: TokenRecord) -> None:
    """Refuse to make one that may more than who makes it, or sees the calls of others."""
    who = principal()
    beyond = permissions_of(wanted) - who.permissions
    if beyond:
        refuse(min(beyond))
    if who.agents is None:
        return
    is_in_team = wanted.team == who.token.team and wanted.role != "admin"
    if not is_in_team or (wanted.role == "agent" and wanted.name not in who.agents):
        refuse("calls of other agents")


def see(get: Callable[..., Seen], id_: Any) -> Seen:
    """What `get` finds in the catalogue of this id, among what who asks may see.

    What is another's does not exist for them, and `get` says so; that it was asked for is written
    to the audit trail.
    """
    agents = principal().agents
    try:
        with services().catalogue.begin() as tx:
            return get(tx, id_, agents=agents)
    except EarwitnessError as error:
        if agents is not None:
            _note_unseen(get, id_, error)
        raise


def refuse(permission: str) -> NoReturn:
    """Raise Forbidden, log it and write it to the audit trail."""
    with services().catalogue.begin() as tx:
        told = {"method": request.method, "error_id": Forbidden.error_id}
        note_refused(tx, permission, request.path, **told)
    log.warning(
        "request.refused",
        token=principal().name,
        permission=permission,
        method=request.method,
        path=request.path,
    )
    raise Forbidden(f"the token does not permit {permission}")


def _note_unseen(get: Callable[..., object], id_: Any, error: EarwitnessError) -> None:
    with services().catalogue.begin() as tx, suppress(type(error)):
        get(tx, id_)
        note_refused(tx, g.wanted, id_, method=request.method, error_id=error.error_id)


def _note(
    tx: Connection, action: str, subject: object, outcome: Outcome, told: dict[str, object]
) -> None:
    audit.add_audit(
        tx,
        actor=principal().name,
        action=action,
        subject=str(subject),
        outcome=outcome,
        detail=told,
    )


def _cookie(name: str) -> tuple[str, bool]:
    """Its name, and whether it goes over TLS alone: then no other host of the domain can set it."""
    secure = request.is_secure or services().settings.public_url.startswith("https:")
    return (f"__Host-{name}" if secure else name), secure


def _is_of_our_page(csrf: str) -> bool:
    given = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD, "")
    return not is_foreign() and hmac.compare_digest(given.encode(), csrf.encode())


def _refuse_browsers() -> None:
    """Where a link acts: anybody can send one, and a page on the PBX's own machine can hold one."""
    if principal().is_person:
        refuse("requests of a dialplan")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        refuse("requests of other sites")


def _is_from_pbx() -> bool:
    """Whether a PBX itself asks, and no proxy that may stand beside it on the same machine."""
    is_direct = "X-Forwarded-For" not in request.headers and "Forwarded" not in request.headers
    return (
        request.authorization is None
        and is_direct
        and request.remote_addr in services().settings.pbx_addresses
    )


def _is_basic() -> bool:
    return request.authorization is not None and request.authorization.type == "basic"


def is_foreign() -> bool:
    """Whether a browser sends this for a page that is not ours; other clients send no Origin."""
    origin = request.headers.get("Origin")
    if origin is None:
        return False
    ours = {request.host, urlsplit(services().settings.public_url).netloc} - {""}
    try:
        return urlsplit(origin).netloc not in ours
    except ValueError:  # such as http://[
        return True


def _find_principal(catalogue: Catalogue, secret: str) -> Principal:
    with catalogue.begin() as tx:
        token = tokens.find_token(tx, secret)
        if token is None:
            raise NotAuthenticated("this token is not known")
        return Principal(token, permissions_of(token), _visible_agents(tx, token))


def _visible_agents(tx: Connection, token: TokenRecord) -> frozenset[str] | None:
    """An agent sees its own; who belongs to a team sees the team's; admin and others see all."""
    if token.role == "agent":
        return frozenset({token.name})
    if token.team is None or token.role == "admin":
        return None
    return tokens.list_agents_of_team(tx, token.team)
