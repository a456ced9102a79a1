"""The identity provider, by OpenID Connect: who it is that signs in, with a code and PKCE.

What the provider says of itself is asked for once an hour; its keys also when one is unknown.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.base_client import BaseApp, OAuth2Mixin, OpenIDMixin
from authlib.integrations.requests_client import OAuth2Session
from joserfc.errors import JoseError

from api.claims import Claims, Identity, lacks, parse_person
from api.errors import ProviderUnavailable, SignInUnproven
from api.settings import OidcSettings
from storage.errors import EarwitnessError
from storage.records import SignInRecord

DISCOVERY = "/.well-known/openid-configuration"
TIMEOUT_S = 5.0  # of each request to the provider
KNOWN_FOR_S = 3600.0
AWAY_FOR_S = 5.0  # after a failure nobody waits for another
CLOCKS_DIFFER_S = 60
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
# A key that both sides know would let whoever has the client's secret sign.
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "Ed25519"),
)
UNREADABLE = (AuthlibBaseError, JoseError, LookupError, TypeError, ValueError)


class Provider:
    """The identity provider of one process; safe to share between threads.

    Raises ProviderUnavailable where it does not answer as it should.
    """

    def __init__(
        self, settings: OidcSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._client: _Client | None = None
        self._away: ProviderUnavailable | None = None
        self._until = 0.0

    def begin(self, redirect_uri: str, wanted: str) -> tuple[str, SignInRecord]:
        """Where the browser has to go, and what to keep until it is back."""
        told = self._known().create_authorization_url(redirect_uri)
        record = SignInRecord(told["state"], told["nonce"], told["code_verifier"], wanted)
        return str(told["url"]), record

    def finish(self, code: str, begun: SignInRecord, redirect_uri: str) -> Identity:
        """Who has come back with this code. Raises SignInUnproven, NotAdmitted."""
        client = self._known()
        with _translated(SignInUnproven):
            token = client.fetch_access_token(
                redirect_uri, code=code, code_verifier=begun.code_verifier
            )
            claims = client.verify(token, begun.nonce)
            if lacks(claims, self._settings):
                claims = client.complete(claims, token)
        return parse_person(claims, self._settings)

    def check(self) -> str:
        """How it signs; for `doctor`."""
        return ", ".join(self._known().server_metadata["id_token_signing_alg_values_supported"])

    def _known(self) -> "_Client":
        """The client, once it has read what the provider says of itself."""
        with self._lock:
            if self._clock() >= self._until:
                self._client, self._away = self._discover()
                self._until = self._clock() + (KNOWN_FOR_S if self._client else AWAY_FOR_S)
            if self._client is None:
                raise ProviderUnavailable(str(self._away)) from self._away
            return self._client

    def _discover(self) -> "tuple[_Client | None, ProviderUnavailable | None]":
        try:
            return _Client(self._settings), None
        except ProviderUnavailable as error:
            return None, error


class _Client(OAuth2Mixin, OpenIDMixin, BaseApp):  # type: ignore[misc]  # the library has no types
    """Authlib's own client, without a framework's session."""

    client_cls = OAuth2Session

    def __init__(self, settings: OidcSettings) -> None:
        super().__init__(
            None,
            client_id=settings.client_id,
            client_secret=settings.client_secret or None,
            server_metadata_url=settings.issuer.rstrip("/") + DISCOVERY,
            client_kwargs={
                "scope": " ".join(settings.scopes),
                "code_challenge_method": "S256",
                "default_timeout": TIMEOUT_S,
            },
        )
        with _translated(ProviderUnavailable):
            told = super().load_server_metadata()
        self.server_metadata = parse_metadata(told, settings)

    def load_server_metadata(self) -> dict[str, Any]:
        """What was read at the start."""
        return self.server_metadata

    def verify(self, token: Mapping[str, Any], nonce: str) -> Claims:
        """The claims of the token's id_token. Raises SignInUnproven where there is none."""
        issuer, audience = self.server_metadata["issuer"], self.client_id
        claims = self.parse_id_token(
            token,
            nonce,
            claims_options={
                "iss": {"essential": True, "value": issuer},
                "aud": {"essential": True, "value": audience},
                "sub": {"essential": True},
            },
            leeway=CLOCKS_DIFFER_S,
        )
        if claims is None:
            raise SignInUnproven("no id_token came along")
        return dict(claims)

    def complete(self, claims: Claims, token: Mapping[str, Any]) -> Claims:
        """With what the provider tells at another place, where it has one."""
        if "userinfo_endpoint" not in self.server_metadata:
            return claims
        more = self.userinfo(token=token)
        if more.get("sub") != claims["sub"]:
            raise SignInUnproven("userinfo tells of somebody else")
        return {**more, **claims}


def parse_metadata(told: Mapping[str, Any], settings: OidcSettings) -> dict[str, Any]:
    """What we use of the provider's own document, checked. Raises ProviderUnavailable."""
    if told.get("issuer") != settings.issuer:
        raise ProviderUnavailable(f"it calls itself {told.get('issuer')!r}: see oidc.issuer")
    urls = {name: told.get(name) for name in ENDPOINTS}
    if "userinfo_endpoint" in told:
        urls["userinfo_endpoint"] = told["userinfo_endpoint"]
    for name, url in urls.items():
        if not _is_safe(url, settings.issuer):
            raise ProviderUnavailable(f"{name}: expected a URL that begins as oidc.issuer does")
    named = told.get("id_token_signing_alg_values_supported") or ["RS256"]
    signs = [one for one in named if one in ALGORITHMS]
    if not signs:
        raise ProviderUnavailable(f"it signs by none of {', '.join(ALGORITHMS)}")
    methods = told.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    by_post = settings.client_secret and "client_secret_basic" not in methods
    return {
        **urls,
        "issuer": settings.issuer,
        "id_token_signing_alg_values_supported": signs,
        "token_endpoint_auth_method": "client_secret_post" if by_post else None,
    }


def _is_safe(url: object, issuer: str) -> bool:
    """Over TLS, unless the issuer itself is on this machine."""
    return isinstance(url, str) and url.startswith(("https://", issuer.partition("//")[0] + "//"))


@contextmanager
def _translated(unreadable: type[EarwitnessError]) -> Iterator[None]:
    """The libraries' errors as ours; `unreadable` is for an answer that says what it must not."""
    try:
        yield
    except OSError as error:  # as every error of the network is
        raise ProviderUnavailable(f"{type(error).__name__}: {error}") from error
    except UNREADABLE as error:
        raise unreadable(f"{type(error).__name__}: {error}") from error
