"""Who somebody is, by the claims of an identity provider."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.errors import NotAdmitted
from api.settings import OidcSettings

Claims = Mapping[str, Any]
# Where there are teams a supervisor without one would see all.
OF_TEAMS = frozenset({"supervisor", "agent"})
LONGEST = 100  # characters of a name or a team


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who may sign in; `subject` is the provider's own word for them."""

    subject: str
    name: str
    role: str
    team: str | None


def parse_person(claims: Claims, settings: OidcSettings) -> Identity:
    """Whom the claims tell of; `sub` is among them. Raises NotAdmitted."""
    subject = str(claims["sub"])
    names = _values(claims, settings.username_claim)

    def refuse(reason: str) -> NotAdmitted:
        return NotAdmitted(reason, name=str(names[0]) if names else subject, subject=subject)

    if len(names) != 1 or not _is_usable(names[0]):
        raise refuse(f"expected a name in the claim {settings.username_claim}")
    given = [one for one in _values(claims, settings.role_claim) if isinstance(one, str)]
    role = next((role for role, words in settings.roles.items() if words & {*given}), None)
    if role is None:
        raise refuse(f"no role of ours in the claim {settings.role_claim}")
    teams = _values(claims, settings.team_claim)
    if len(teams) > 1 or not all(map(_is_usable, teams)):  # who has no team may see all
        raise refuse(f"expected one team in the claim {settings.team_claim}")
    if settings.team_claim and not teams and role in OF_TEAMS:
        raise refuse(f"no team in the claim {settings.team_claim}, which oidc.team_claim names")
    return Identity(subject, names[0], role, teams[0] if teams else None)


def lacks(claims: Claims, settings: OidcSettings) -> bool:
    """Whether the claims leave out any that we look for."""
    wanted = (settings.username_claim, settings.role_claim, settings.team_claim)
    return any(find_claim(claims, name) is None for name in wanted if name)


def find_claim(claims: Claims, name: str) -> Any:
    """A claim of this name, or one inside others, as in `realm_access.roles`; None without it."""
    if name in claims:
        return claims[name]
    outer, _, inner = name.partition(".")
    within = claims.get(outer)
    return find_claim(within, inner) if inner and isinstance(within, Mapping) else None


def _values(claims: Claims, name: str) -> list[Any]:
    """What a claim holds, be it one or a list; nothing where it is missing or empty."""
    found = find_claim(claims, name) if name else None
    return [one for one in (found if isinstance(found, list) else [found]) if one not in (None, "")]


def _is_usable(word: Any) -> bool:
    return (
        isinstance(word, str)
        and word.isprintable()
        and word == word.strip()
        and len(word) <= LONGEST
    )
