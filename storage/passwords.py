"""Passwords: their rules, and their argon2 hashes, which contain their parameters."""

import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from storage.errors import UserInvalid

SHORTEST = 12  # characters
LONGEST_BYTES = 1024  # of UTF-8

_hasher = PasswordHasher()


def hash_password(password: str) -> str:
    """Return the hash of a password. Raises UserInvalid for a password that breaks a rule."""
    return _hasher.hash(_require_usable(password))


def is_password(password: str, kept: str | None) -> bool:
    """Return whether `kept` is the hash of this password.

    `kept` is None for an unknown user: then return False, after the time that a wrong password
    takes.
    """
    against = _nobodys()  # first, so that an unknown user takes no longer
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
    """Return whether a hash has other parameters than new hashes have."""
    return _hasher.check_needs_rehash(kept)


@cache
def _nobodys() -> str:
    return _hasher.hash(b"nobody's password")


def _require_usable(password: str) -> bytes:
    """Return the bytes to hash, in NFC, because keyboards compose the same character
    differently."""
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
