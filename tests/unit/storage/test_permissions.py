"""Roles and permissions."""

from uuid import uuid4

import pytest

from storage.permissions import PERMISSIONS, ROLES, modes_of, permissions_of
from storage.records import TokenRecord


@pytest.mark.parametrize(
    ("role", "permissions"),
    [
        ("admin", set(PERMISSIONS)),
        (
            "compliance",
            {
                "calls.read",
                "recordings.read",
                "recordings.hear",
                "recordings.annotate",
                "recordings.hold",
                "recordings.share",
                "recordings.export",
                "audit.read",
                "spies.read",
                "conferences.read",
                "campaigns.read",
                "events.read",
                "rules.read",
            },
        ),
        (
            "supervisor",
            {
                "calls.read",
                "recordings.read",
                "recordings.hear",
                "recordings.control",
                "recordings.annotate",
                "spies.read",
                "spies.listen",
                "spies.whisper",
                "spies.barge",
                "calls.dial",
                "conferences.read",
                "conferences.control",
                "campaigns.read",
                "campaigns.control",
                "events.read",
            },
        ),
        (
            "agent",
            {"calls.read", "calls.dial", "recordings.read", "recordings.hear", "events.read"},
        ),
        ("service", set()),
        ("cleaner", set()),
    ],
)
def test_each_role_has_its_permissions(role: str, permissions: set[str]) -> None:
    """Each role has its permissions, an unknown role none; scopes add none to a role."""
    token = TokenRecord(uuid4(), "t", role, None, () if role == "service" else tuple(PERMISSIONS))
    assert permissions_of(token) == permissions


def test_a_service_has_its_scopes_alone() -> None:
    """A service has the permissions of its scopes; an unknown scope adds none."""
    token = TokenRecord(uuid4(), "t", "service", None, ("recordings.hear", "*", "admin"))
    assert permissions_of(token) == {"recordings.hear"}


def test_roles_name_known_permissions() -> None:
    """Every permission of a role has a description."""
    assert set().union(*ROLES.values()) == set(PERMISSIONS)


def test_a_token_can_lack_permissions_of_its_role() -> None:
    """`without` removes permissions from a role and from scopes."""
    supervisor = TokenRecord(uuid4(), "t", "supervisor", None, (), ("spies.barge",))
    assert permissions_of(supervisor) == ROLES["supervisor"] - {"spies.barge"}
    service = TokenRecord(uuid4(), "t", "service", None, ("calls.read",), ("calls.read",))
    assert permissions_of(service) == set()


def test_each_mode_needs_its_permission() -> None:
    """Each mode needs its own permission."""
    assert modes_of(ROLES["supervisor"]) == ("listen", "whisper", "barge")
    assert modes_of({"spies.barge"}) == ("barge",)
    assert modes_of(ROLES["compliance"]) == modes_of(ROLES["agent"]) == ()
