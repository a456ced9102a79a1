"""Read the name, role and team of a person from the claims of an identity provider."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.errors import NotAdmitted
from api.settings import OidcSettings

Claims = Mapping[str, Any]
# If teams are configured, a supervisor or agent without a team would see every call.
OF_TEAMS = frozenset({"supervisor", "agent"})
LONGEST = 100  # characters of a name or a team


@dataclass(frozen=True, slots=True)
class Identity:
    """A person who may sign in; `subject` is the provider's own id for the person."""

    subject: str
    name: str
    role: str
    team: str | None


def parse_person(claims: Claims, settings: OidcSettings) -> Identity:
    """Return the person of these claims, which include `sub`. Raises NotAdmitted."""
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
    if len(teams) > 1 or not all(map(_is_usable, teams)):  # a wrong team would show foreign calls
        raise refuse(f"expected one team in the claim {settings.team_claim}")
    if settings.team_claim and not teams and role in OF_TEAMS:
        raise refuse(f"no team in the claim {settings.team_claim}, which oidc.team_claim names")
    return Identity(subject, names[0], role, teams[0] if teams else None)


def lacks(claims: Claims, settings: OidcSettings) -> bool:
    """Whether a configured claim is missing."""
    wanted = (settings.username_claim, settings.role_claim, settings.team_claim)
    return any(find_claim(claims, name) is None for name in wanted if name)


def find_claim(claims: Claims, name: str) -> Any:
    """Return a claim, also one inside another, such as `realm_access.roles`; None if missing."""
    if name in claims:
        return claims[name]
    outer, _, inner = name.partition(".")
    within = claims.get(outer)
    return find_claim(within, inner) if inner and isinstance(within, Mapping) else None


def _values(claims: Claims, name: str) -> list[Any]:
    """Return the values of a claim, a single value as a list; [] if it is missing or empty."""
    found = find_claim(claims, name) if name else None
    return [one for one in (found if isinstance(found, list) else [found]) if one not in (None, "")]


def _is_usable(word: Any) -> bool:
    return (
        isinstance(word, str)
        and word.isprintable()
        and word == word.strip()
        and len(word) <= LONGEST
    )
