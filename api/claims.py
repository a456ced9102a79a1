"""Read the name, role and team of a person from the claims of an identity provider."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.errors import NotAdmitted
from api.settings import OidcSettings
from storage.errors import NameInvalid
from storage.naming import parse_name

Claims = Mapping[str, Any]
# If teams are configured, a supervisor or agent without a team would see every call.
OF_TEAMS = frozenset({"supervisor", "agent"})


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

    def refuse(reason: str) -> NotAdmitted:
        return NotAdmitted(reason, subject=subject)

    def read_one(claim: str, wanted: str) -> str | None:
        found = _values(claims, claim)
        try:
            names = [_read(one) for one in found]
        except NameInvalid as error:
            raise refuse(f"expected {wanted} in the claim {claim}: {error}") from error
        if len(names) > 1:
            raise refuse(f"expected {wanted} in the claim {claim}, not several")
        return next(iter(names), None)

    name = read_one(settings.username_claim, "a name")
    if name is None:
        raise refuse(f"expected a name in the claim {settings.username_claim}")
    given = [one for one in _values(claims, settings.role_claim) if isinstance(one, str)]
    role = next((role for role, words in settings.roles.items() if words & {*given}), None)
    if role is None:
        raise refuse(f"no role of ours in the claim {settings.role_claim}")
    team = read_one(settings.team_claim, "one team")  # a wrong team would show foreign calls
    if settings.team_claim and team is None and role in OF_TEAMS:
        raise refuse(f"no team in the claim {settings.team_claim}, which oidc.team_claim names")
    return Identity(subject, name, role, team)


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


def _read(word: Any) -> str:
    """Return a name or a team of the claims. Raises NameInvalid."""
    if not isinstance(word, str):
        raise NameInvalid("it is no text")
    return parse_name(word)
