"""Roles and permissions."""

from uuid import uuid4

import pytest

from api.permissions import PERMISSIONS, ROLES, permissions_of
from storage.records import TokenRecord


@pytest.mark.parametrize(
    ("role", "permissions"),
    [
        ("admin", set(PERMISSIONS)),
        ("compliance", {"calls.read", "recordings.read", "recordings.hear"}),
        (
            "supervisor",
            {"calls.read", "recordings.read", "recordings.hear", "recordings.control"},
        ),
        ("agent", {"calls.read", "recordings.read", "recordings.hear"}),
        ("service", set()),
        ("cleaner", set()),
    ],
)
def test_a_role_permits_what_the_contract_says(role: str, permissions: set[str]) -> None:
    """Each role has its permissions, an unknown one none; scopes add nothing to a role."""
    token = TokenRecord(uuid4(), "t", role, None, () if role == "service" else tuple(PERMISSIONS))
    assert permissions_of(token) == permissions


def test_a_service_has_its_scopes_alone() -> None:
    """A scope is a permission's name; what is none permits nothing."""
    token = TokenRecord(uuid4(), "t", "service", None, ("recordings.hear", "*", "admin"))
    assert permissions_of(token) == {"recordings.hear"}


def test_roles_name_known_permissions() -> None:
    """No role has a permission that is not described."""
    assert set().union(*ROLES.values()) == set(PERMISSIONS)
