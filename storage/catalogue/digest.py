"""What is kept of a secret, or of what people type, to know it again: never the text itself."""

import hashlib


def digest_of(text: str) -> bytes:
    """Its SHA-256."""
    return hashlib.sha256(text.encode()).digest()
