"""The metadata of an identity provider."""

from dataclasses import replace
from typing import Any

import pytest

from api.errors import ProviderUnavailable
from api.oidc import parse_metadata
from api.settings import OidcSettings

ISSUER = "https://login.example/main"
SETTINGS = OidcSettings(ISSUER, "earwitness", "hush", "login", ("openid",), "n", "r", "t", {})


def discovery_document(**changed: Any) -> dict[str, Any]:
    """Return a discovery document; None removes a name."""
    usual = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": "https://tokens.example/",
        "jwks_uri": f"{ISSUER}/keys",
        "verify": False,
    }
    return {name: value for name, value in (usual | changed).items() if value is not None}


def test_only_known_names_are_kept() -> None:
    """Only known names are kept, and optional ones have defaults."""
    known = parse_metadata(discovery_document(), SETTINGS)
    assert "verify" not in known
    assert "userinfo_endpoint" not in known
    assert known["id_token_signing_alg_values_supported"] == ["RS256"]
    assert known["token_endpoint_auth_method"] is None


def test_signatures() -> None:
    """Only signatures with a private key count."""
    some = ["none", "HS256", "ES256", "PS512"]
    known = parse_metadata(discovery_document(id_token_signing_alg_values_supported=some), SETTINGS)
    assert known["id_token_signing_alg_values_supported"] == ["ES256", "PS512"]


@pytest.mark.parametrize(("secret", "method"), [("hush", "client_secret_post"), ("", None)])
def test_how_the_client_proves_itself(secret: str, method: str | None) -> None:
    """The client uses Basic, or the form if the provider takes only that, or no secret."""
    document = discovery_document(token_endpoint_auth_methods_supported=["client_secret_post"])
    known = parse_metadata(document, replace(SETTINGS, client_secret=secret))
    assert known["token_endpoint_auth_method"] == method


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"issuer": "https://evil.test"}, "its issuer is 'https://evil.test'"),
        ({"issuer": None}, "its issuer is None"),
        ({"token_endpoint": None}, "token_endpoint: "),
        ({"jwks_uri": "http://login.example/keys"}, "jwks_uri: "),
        ({"authorization_endpoint": "javascript:alert()"}, "authorization_endpoint: "),
        ({"userinfo_endpoint": 7}, "userinfo_endpoint: "),
        ({"id_token_signing_alg_values_supported": ["none", "HS256"]}, "it signs with none of"),
    ],
)
def test_a_provider_that_cannot_be_used(changed: dict[str, Any], reason: str) -> None:
    """The error names the fault."""
    with pytest.raises(ProviderUnavailable, match=reason):
        parse_metadata(discovery_document(**changed), SETTINGS)
