"""The rules for passwords, and their hashes."""

import pytest
from argon2 import PasswordHasher

from storage.errors import UserInvalid
from storage.passwords import hash_password, is_outdated, is_password

GOOD = "correct horse battery"


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("eleven char", "too short"),
        ("", "too short"),
        ("é" * 513, "too long"),
        ("a" * 1025, "too long"),
        ("a password with \0 in it", "NUL"),
        ("not UTF-8: \udcff\udcfe", "UTF-8"),
    ],
)
def test_an_error_names_the_broken_rule(password: str, message: str) -> None:
    """The error names the broken rule, and not the password."""
    with pytest.raises(UserInvalid, match=message) as raised:
        hash_password(password)
    assert not password or password not in str(raised.value)


@pytest.mark.parametrize("password", ["twelve chars", "é" * 512, "a" * 1024, "  spaces count  "])
def test_a_password_is_known_by_its_hash(password: str) -> None:
    """The hash matches its password alone, and does not contain it."""
    kept = hash_password(password)
    assert kept.startswith("$argon2id$")
    assert password not in kept
    assert is_password(password, kept)
    assert not is_password(password + "!", kept)
    assert not is_password(password[:-1] + "x", kept)


@pytest.mark.parametrize("password", [GOOD, "short", "a" * 10_000, "\0" * 12, "\udcff" * 12])
def test_an_unknown_user_has_no_password(password: str) -> None:
    """Every password of an unknown user is wrong, and never an error."""
    assert not is_password(password, None)
    assert not is_password("nobody's password", None)


@pytest.mark.parametrize("password", ["short", "a" * 10_000, "\0" * 12, "\udcff" * 12])
def test_a_forbidden_password_is_wrong(password: str) -> None:
    """A password that breaks a rule is wrong, and never an error."""
    assert not is_password(password, hash_password(GOOD))
    assert not is_password("nobody's password", hash_password(GOOD))


def test_a_character_is_the_same_however_it_is_typed() -> None:
    """One keyboard sends é, another e and an accent: it is the same password."""
    assert is_password("cafe\u0301 au lait!", hash_password("caf\u00e9 au lait!"))


def test_a_hash_of_other_parameters_is_outdated() -> None:
    """A hash with other parameters is outdated; a new one is not."""
    assert not is_outdated(hash_password(GOOD))
    weaker = PasswordHasher(time_cost=1, memory_cost=1024).hash(GOOD)
    assert is_outdated(weaker)
    assert is_password(GOOD, weaker)
