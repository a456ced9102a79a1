"""Find the program on a PBX that makes a request of `/dialplan/*`.

A dialplan asks by `CURL()`, which acts by GET. Its token is in the URL, as `?token=…` or as the
user of `http://TOKEN@host/`, or in the form of a POST, or a bearer token. Without a token only a
PBX with `dialplan_without_token` may ask, from its own address, and neither through a proxy nor
by the page of a browser.
"""

from typing import NoReturn
from uuid import UUID

import structlog
from flask import g, request
from werkzeug.exceptions import MethodNotAllowed

from api.auth import (
    find_principal,
    find_secret_cookie,
    is_basic,
    is_foreign,
    principal,
    read_secret,
    refuse,
)
from api.errors import Forbidden, NotAuthenticated, RequestInvalid
from api.services import services
from storage.catalogue.rights import Rights
from storage.permissions import DIALPLAN_SCOPES, permissions_of
from storage.records import TokenRecord

log = structlog.get_logger()

DIALPLAN_PATHS = "/api/v1/dialplan/"
TOKEN = "token"  # noqa: S105  # the parameter
METHODS = ("GET", "POST")
NO_ID = UUID(int=0)
# Proxies add these headers, or one that begins like these. nginx without a configuration adds
# none, but speaks HTTP/1.0.
PROXY_PREFIXES = (
    *("x-forwarded", "x-original", "x-real-ip", "x-client-ip", "x-cluster-client", "x-envoy"),
    *("x-proxy", "x-amzn", "x-azure", "cf-", "fastly-", "proxy-"),
)
PROXY_HEADERS = frozenset(
    {"forwarded", "via", "client-ip", "true-client-ip", "cdn-loop", "max-forwards"}
)
# Only browsers send these. Over plain HTTP a picture on a foreign page shows nothing but the last.
BROWSER_HEADERS = frozenset({"origin", "referer", "cookie", "dnt", "accept-language"})
BROWSER_PREFIXES = ("sec-",)


def authenticate_dialplan() -> None:
    """Find the caller of this request.

    Raises NotAuthenticated, Forbidden, and MethodNotAllowed for a HEAD, which must not act.
    """
    if request.method not in METHODS:
        raise MethodNotAllowed(METHODS)
    given = request.values.getlist(TOKEN)
    if given:
        g.principal = _find_by_url(given)
    elif is_basic():
        g.principal = _find_by_basic()
    elif request.authorization is not None or find_secret_cookie() is not None:
        g.principal = find_principal(services().catalogue, read_secret())
    else:
        g.principal = _find_by_address()
    _refuse_pages(has_url_token=bool(given))


def find_pbx(wanted: str | None) -> str | None:
    """Return the PBX of this request: the caller's own, or the `wanted` one; None if neither is.

    Raises Forbidden for a PBX other than the caller's own.
    """
    own = principal().token.pbx
    if own is not None and wanted not in (None, own):
        refuse("requests for another PBX")
    return own or wanted


def _find_by_url(given: list[str]) -> Rights:
    if len(given) > 1 or request.authorization is not None:
        raise NotAuthenticated("send one token, in one place")
    return find_principal(services().catalogue, given[0])


def _find_by_basic() -> Rights:
    """Return the owner of the password, or of a dialplan's token in the place of the user."""
    sent = request.authorization
    password, user = (sent.password or "", sent.username or "") if sent is not None else ("", "")
    if password:
        try:
            return find_principal(services().catalogue, password)
        except NotAuthenticated:
            pass
    found = find_principal(services().catalogue, user)
    if found.token.pbx is None:
        raise NotAuthenticated("send this token as the password")
    return found


def _find_by_address() -> Rights:
    """Return the rights of the PBX with the address of this request, if it needs no token."""
    allowed = services().settings.dialplan_addresses
    address = request.remote_addr or ""
    here = [pbx for pbx, addresses in allowed.items() if address in addresses]
    if not here:
        raise NotAuthenticated("send a token: ?token=TOKEN, or http://TOKEN@host/")
    _require_direct()
    wanted = request.values.get("pbx") or (here[0] if len(here) == 1 else None)
    if wanted is None:
        raise RequestInvalid.at("query", "pbx", f"expected one of {', '.join(here)}")
    if wanted not in here:
        _refuse_unknown("requests for another PBX")
    program = TokenRecord(NO_ID, wanted, "service", None, DIALPLAN_SCOPES, pbx=wanted)
    return Rights(program, permissions_of(program), None)


def _require_direct() -> None:
    """Refuse a request without a token that a proxy or a browser sends."""
    names = sorted(name.lower() for name, _ in request.headers)
    for name in names:
        if name in PROXY_HEADERS or name.startswith(PROXY_PREFIXES):
            raise NotAuthenticated(f"send a token: this came through a proxy, which adds {name}")
    if request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
        raise NotAuthenticated("send a token: this came by HTTP/1.0, as proxies send it")
    if any(name in BROWSER_HEADERS or name.startswith(BROWSER_PREFIXES) for name in names):
        _refuse_unknown("requests of a browser")


def _refuse_unknown(reason: str) -> NoReturn:
    """Refuse and log; the audit trail keeps no refusal of a caller that nobody knows."""
    log.warning("request.refused", reason=reason, address=request.remote_addr, path=request.path)
    raise Forbidden(f"without a token we take no {reason}")


def _refuse_pages(*, has_url_token: bool) -> None:
    """Refuse a request of the page of another site, and an ordinary token in a URL.

    A browser sends Basic by itself. Over plain HTTP its GET may name no site at all.
    """
    if has_url_token and principal().token.pbx is None:
        refuse("use in a URL")
    if principal().is_person:
        refuse("requests of a dialplan")
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "none", "same-origin") or is_foreign() or is_foreign("Referer"):
        refuse("requests of other sites")
    is_browsers = "Accept-Language" in request.headers
    if is_basic() and is_browsers and site is None and "Origin" not in request.headers:
        refuse("requests of unnamed sites")
