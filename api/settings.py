"""The settings of the API."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from storage.records import Action, RuleRecord


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The identity provider for single sign-on.

    `name` is its name on the page. The three claims hold a person's name, role and team. `roles`
    maps each of our roles, the mightiest first, to the values of the role claim that give it.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str
    scopes: tuple[str, ...]
    username_claim: str
    role_claim: str
    team_claim: str
    roles: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The settings of the API, from the configuration.

    `public_url`: the start of links in answers; "" takes the address of each request.
    `pbxs`: the names of the PBXs that must be connected for the service to be ready.
    `media_url`: the address of the media server for browsers; "" is `media_port` of our own host.
    `rules`, `default_action`: the configured rules, and the action for a call that no rule matches.
    `dialplan_addresses`: the IP addresses of each PBX whose dialplan needs no token.
    `proxies`: the number of proxies before us, so of trusted addresses in X-Forwarded-For.
    `allow_private_addresses`: whether a webhook may have a private address.
    `oidc`: the identity provider, if any. `passwords`: whether people may sign in by a password.
    """

    public_url: str = ""
    pbxs: tuple[str, ...] = ()
    media_url: str = ""
    media_port: int = 8081
    rules: tuple[RuleRecord, ...] = ()
    default_action: Action = "never"
    dialplan_addresses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    proxies: int = 0
    allow_private_addresses: bool = False
    oidc: OidcSettings | None = None
    passwords: bool = True
