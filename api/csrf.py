"""The CSRF token of a session, in another form on each page.

Pages are compressed, and show text of strangers, such as a caller's name: the lengths of many
answers would otherwise tell a constant token letter by letter (BREACH). A form is a random key, and
the token in XOR with it.
"""

import hmac
import secrets


def mask_csrf(csrf: str) -> str:
    """Return a form of the token that no page had before."""
    key = secrets.token_bytes(len(csrf.encode()))
    return f"{key.hex()}.{_xor(csrf.encode(), key).hex()}" if csrf else ""


def is_csrf(given: str, csrf: str) -> bool:
    """Return whether a request carries the token, in any form or plain."""
    key, dot, masked = given.partition(".")
    try:
        plain = _xor(bytes.fromhex(masked), bytes.fromhex(key)) if dot else given.encode()
    except ValueError:
        return False
    return hmac.compare_digest(plain, csrf.encode())


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
