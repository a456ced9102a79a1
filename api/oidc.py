"""Sign people in through an identity provider: OpenID Connect with an authorization code and PKCE.

The provider's metadata is loaded once an hour; its keys also when a token names an unknown key.
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
AWAY_FOR_S = 5.0  # after a failure, fail at once for this long
CLOCKS_DIFFER_S = 60
LONGEST_SUBJECT = 255  # characters, as OpenID Connect says
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
# No symmetric algorithm: anyone with the client's secret could sign.
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "Ed25519"),
)
UNREADABLE = (AuthlibBaseError, JoseError, LookupError, TypeError, ValueError)


class Provider:
    """The identity provider of one process; safe to share between threads.

    Raises ProviderUnavailable if it does not answer, or not as the protocol demands.
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
        """Return the address for the browser, and the record to keep until it comes back."""
        made = self._known().create_authorization_url(redirect_uri)
        record = SignInRecord(made["state"], made["nonce"], made["code_verifier"], wanted)
        return str(made["url"]), record

    def finish(self, code: str, begun: SignInRecord, redirect_uri: str) -> Identity:
        """Return the person who came back with this code. Raises SignInUnproven, NotAdmitted."""
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
        """Return the provider's signing algorithms, for `doctor`."""
        return ", ".join(self._known().server_metadata["id_token_signing_alg_values_supported"])

    def _known(self) -> "_Client":
        """Return the client with fresh metadata of the provider."""
        with self._lock:
            if self._clock() >= self._until:
                try:
                    self._client, self._away = _Client(self._settings), None
                except ProviderUnavailable as error:
                    self._client, self._away = None, error
                self._until = self._clock() + (KNOWN_FOR_S if self._client else AWAY_FOR_S)
            if self._client is None:
                raise ProviderUnavailable(str(self._away)) from self._away
            return self._client


class _Client(OAuth2Mixin, OpenIDMixin, BaseApp):  # type: ignore[misc]  # the library has no types
    """The client of Authlib, without the session of a web framework."""

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
            document = super().load_server_metadata()
        self.server_metadata = parse_metadata(document, settings)

    def load_server_metadata(self) -> dict[str, Any]:
        """Return the metadata that was loaded at the start."""
        return self.server_metadata

    def verify(self, token: Mapping[str, Any], nonce: str) -> Claims:
        """Return the verified claims of the id_token. Raises SignInUnproven without one."""
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
            raise SignInUnproven("the provider sent no id_token")
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT:
            raise SignInUnproven("the id_token has no usable subject")
        if not subject.isprintable():
            raise SignInUnproven("the subject of the id_token has a character that nobody sees")
        return dict(claims)

    def complete(self, claims: Claims, token: Mapping[str, Any]) -> Claims:
        """Add the claims of the userinfo endpoint, if the provider has one."""
        if "userinfo_endpoint" not in self.server_metadata:
            return claims
        more = self.userinfo(token=token)
        if more.get("sub") != claims["sub"]:
            raise SignInUnproven("userinfo has the claims of another person")
        return {**more, **claims}


def parse_metadata(document: Mapping[str, Any], settings: OidcSettings) -> dict[str, Any]:
    """Check the provider's metadata, and keep the part that we use. Raises ProviderUnavailable."""
    if document.get("issuer") != settings.issuer:
        raise ProviderUnavailable(f"its issuer is {document.get('issuer')!r}: see oidc.issuer")
    urls = {name: document.get(name) for name in ENDPOINTS}
    if "userinfo_endpoint" in document:
        urls["userinfo_endpoint"] = document["userinfo_endpoint"]
    # TLS, unless the issuer itself is configured without it, as on this machine.
    schemes = ("https://", settings.issuer.partition("//")[0] + "//")
    for name, url in urls.items():
        if not isinstance(url, str) or not url.startswith(schemes):
            raise ProviderUnavailable(f"{name}: expected a URL with the scheme of oidc.issuer")
    named = document.get("id_token_signing_alg_values_supported") or ["RS256"]
    signs = [one for one in named if one in ALGORITHMS]
    if not signs:
        raise ProviderUnavailable(f"it signs with none of {', '.join(ALGORITHMS)}")
    methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    by_post = settings.client_secret and "client_secret_basic" not in methods
    return {
        **urls,
        "issuer": settings.issuer,
        "id_token_signing_alg_values_supported": signs,
        "token_endpoint_auth_method": "client_secret_post" if by_post else None,
    }


@contextmanager
def _translated(unreadable: type[EarwitnessError]) -> Iterator[None]:
    """Raise the errors of the libraries as ours; `unreadable` is for an invalid answer."""
    try:
        yield
    except OSError as error:  # every error of the network is one
        raise ProviderUnavailable(f"{type(error).__name__}: {error}") from error
    except UNREADABLE as error:
        raise unreadable(f"{type(error).__name__}: {error}") from error
