"""Passwords: which may be used, and their argon2 hashes, which say how they were made."""

import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from storage.errors import UserInvalid

SHORTEST = 12  # characters
LONGEST_BYTES = 1024  # of UTF-8

_hasher = PasswordHasher()


def hash_password(password: str) -> str:
    """What is kept of a password. Raises UserInvalid for one that may not be used."""
    return _hasher.hash(_require_usable(password))


def is_password(password: str, kept: str | None) -> bool:
    """Whether this is the password of which `kept` is the hash.

    None stands for a user whom nobody knows: False, after the same time as for a wrong password.
    """
    against = _nobodys()  # made before it is needed, so that who needs it waits no longer
    try:
        given = _require_usable(password)
    except UserInvalid:
        given, kept = b"", None
    try:
        _hasher.verify(kept or against, given)
    except VerifyMismatchError:
        return False
    return kept is not None


def is_outdated(kept: str) -> bool:
    """Whether a hash was made with other parameters than hashes are made with now."""
    return _hasher.check_needs_rehash(kept)


@cache
def _nobodys() -> str:
    return _hasher.hash(b"nobody's password")


def _require_usable(password: str) -> bytes:
    """The bytes that are hashed: keyboards differ in how they compose the same character."""
    composed = unicodedata.normalize("NFC", password)
    try:
        given = composed.encode()
    except UnicodeEncodeError as error:
        raise UserInvalid("the password is not valid UTF-8") from error
    if "\0" in composed:
        raise UserInvalid("the password holds a NUL character")
    if len(composed) < SHORTEST:
        raise UserInvalid(f"the password is too short: expected at least {SHORTEST} characters")
    if len(given) > LONGEST_BYTES:
        raise UserInvalid(f"the password is too long: expected at most {LONGEST_BYTES} bytes")
    return given
