"""The person in the claims of an identity provider."""

from typing import Any

import pytest

from api.claims import Identity, find_claim, lacks, parse_person
from api.errors import NotAdmitted
from api.settings import OidcSettings

ROLES = {"admin": frozenset({"admin", "root"}), "agent": frozenset({"staff"})}
SETTINGS = OidcSettings(
    issuer="https://login.example",
    client_id="earwitness",
    client_secret="",
    name="login",
    scopes=("openid",),
    username_claim="name",
    role_claim="access.roles",
    team_claim="team",
    roles=ROLES,
)


def claims(**changed: Any) -> dict[str, Any]:
    """Return the claims of an agent."""
    access = {"roles": ["staff", "x"]}
    return {"sub": "7", "name": "2001", "access": access, "team": "sales", **changed}


@pytest.mark.parametrize(
    ("changed", "person"),
    [
        ({}, Identity("7", "2001", "agent", "sales")),
        ({"access": {"roles": "root"}}, Identity("7", "2001", "admin", "sales")),
        ({"access": {"roles": ["staff", "admin"]}}, Identity("7", "2001", "admin", "sales")),
        ({"access": {"roles": ["staff", 7, None, {}]}}, Identity("7", "2001", "agent", "sales")),
        ({"team": ["sales"]}, Identity("7", "2001", "agent", "sales")),
        ({"team": "", "access": {"roles": "root"}}, Identity("7", "2001", "admin", None)),
        ({"team": [], "access": {"roles": "root"}}, Identity("7", "2001", "admin", None)),
        ({"name": ["Zoë Ångström"]}, Identity("7", "Zoë Ångström", "agent", "sales")),
    ],
)
def test_a_person(changed: dict[str, Any], person: Identity) -> None:
    """A person has the first role that matches, a name, and a team if there is one."""
    assert parse_person(claims(**changed), SETTINGS) == person


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"name": None}, "a name in the claim name"),
        ({"name": ""}, "a name in the claim name"),
        ({"name": 2001}, "a name in the claim name"),
        ({"name": ["2001", "2002"]}, "a name in the claim name"),
        ({"name": "20\u202e01"}, "a name in the claim name"),
        ({"name": "2001\0"}, "a name in the claim name"),
        ({"name": " 2001"}, "a name in the claim name"),
        ({"name": "x" * 101}, "a name in the claim name"),
        ({"access": None}, "no role of ours in the claim access.roles"),
        ({"access": {"roles": ["agent"]}}, "no role of ours in the claim access.roles"),
        ({"access": {"roles": {"staff": 1}}}, "no role of ours in the claim access.roles"),
        ({"team": None}, "no team in the claim team"),
        ({"team": ""}, "no team in the claim team"),
        ({"team": []}, "no team in the claim team"),
        ({"team": ["a", "b"]}, "one team in the claim team"),
        ({"team": 7}, "one team in the claim team"),
        ({"team": {"sales": True}}, "one team in the claim team"),
    ],
)
def test_a_missing_claim_refuses_the_person(changed: dict[str, Any], reason: str) -> None:
    """A missing, unclear or ambiguous claim refuses the person, with the reason."""
    with pytest.raises(NotAdmitted, match=reason) as refused:
        parse_person(claims(**changed), SETTINGS)
    assert refused.value.subject == "7"
    assert str(refused.value).isprintable()


def test_finding_a_claim() -> None:
    """A whole name with dots has precedence over a nested claim."""
    claimed = {"a.b": 1, "a": {"b": 2, "c": {"d": 3}, "e.f": 4}, "https://x.test/roles": 5}
    found = {name: find_claim(claimed, name) for name in ("a.b", "a.c.d", "a.e.f", "a.b.c", "z")}
    assert found == {"a.b": 1, "a.c.d": 3, "a.e.f": 4, "a.b.c": None, "z": None}
    assert find_claim(claimed, "https://x.test/roles") == 5


def test_missing_claims_are_listed() -> None:
    """A configured claim that is missing counts as left out."""
    assert lacks(claims(team=None), SETTINGS)
    assert not lacks(claims(), SETTINGS)
    assert lacks({"sub": "7", "team": "sales", "name": "2001"}, SETTINGS)
