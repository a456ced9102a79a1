"""Passwords, kept as Argon2id hashes with the parameters of RFC 9106."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from storage.errors import UserInvalid

SHORTEST, LONGEST = 12, 1024  # characters, bytes
_hasher = PasswordHasher()
# Of no password: who does not exist takes as long to refuse as who does.
_NOBODY = _hasher.hash("nobody")


def hash_password(password: str) -> str:
    """The hash to keep. Raises UserInvalid for a password that will not do."""
    if len(password) < SHORTEST:
        raise UserInvalid(f"the password is shorter than {SHORTEST} characters")
    if len(password.encode("utf-8", "replace")) > LONGEST or "\0" in password:
        raise UserInvalid(f"the password is longer than {LONGEST} bytes, or contains NUL")
    return _hasher.hash(password)


def is_password(password: str, kept: str | None) -> bool:
    """Whether the password is the one of which this hash was kept; None is nobody's."""
    try:
        matches = _hasher.verify(kept or _NOBODY, password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
    return matches and kept is not None
