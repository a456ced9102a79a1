"""Digests that recognise a secret, or a text that a person typed, without storing it."""

import hashlib


def digest_of(text: str) -> bytes:
    """Return the SHA-256 of the text."""
    return hashlib.sha256(text.encode()).digest()
