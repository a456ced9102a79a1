"""The settings of the API."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from storage.records import Action, RuleRecord


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The identity provider at which people sign in.

    `name` is what the page calls it; the claims are those that tell a person's name, role and team.
    `roles` are the values of the role's claim that give each of our roles, the mightiest first.
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
    """What the API is told by the configuration.

    `public_url` is what links in answers begin with, "" for the address that was asked;
    `pbxs` are the names of the PBXs that have to be connected for the service to be ready.
    `media_url` is where browsers reach the media server, "" for `media_port` of our own host.
    `rules` are those of the configuration, `default_action` is for calls that none matches.
    `pbx_addresses` are the IP addresses of the PBXs: their dialplans need no token.
    `proxies` stand before us: the last of X-Forwarded-For are theirs, the one before the client's.
    `allow_private_addresses` is whether webhooks may lead to such.
    `oidc` is where people sign in, None for here alone; `passwords` says whether here, too.
    """

    public_url: str = ""
    pbxs: tuple[str, ...] = ()
    media_url: str = ""
    media_port: int = 8081
    rules: tuple[RuleRecord, ...] = ()
    default_action: Action = "never"
    pbx_addresses: frozenset[str] = frozenset()
    proxies: int = 0
    allow_private_addresses: bool = False
    oidc: OidcSettings | None = None
    passwords: bool = True
