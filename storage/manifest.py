"""The signed manifest beside every object: enough to rebuild the catalogue from the store.

    {"manifest": {"version": 1, "recording": {…}, "segments": […], "waveform": {…}},
     "signature": {"algorithm": "Ed25519", "key_id": "…", "value": "base64url"}}

Canonical JSON throughout: keys sorted, no spaces, UTF-8. The signature covers the canonical bytes
of "manifest"; a document that is not itself canonical is refused, so one manifest has one form.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Self
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from storage.errors import ManifestInvalid

VERSION = 1
ALGORITHM = "Ed25519"


def key_id(key: Ed25519PublicKey) -> str:
    """Return the name of a public key: the first 16 hex digits of the SHA-256 of its 32 raw
    bytes."""
    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The private Ed25519 key of an installation."""

    private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Generate a random key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Read the key that `to_pem` wrote. Raises ValueError for any other text."""
        private = load_pem_private_key(pem, password=None)
        if not isinstance(private, Ed25519PrivateKey):
            raise ValueError("the signing key is not an Ed25519 key")
        return cls(private)

    def to_pem(self) -> bytes:
        """Return the key as PKCS #8 in PEM, unencrypted: keep it where only the service reads."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def public(self) -> Ed25519PublicKey:
        """The public key, which verifies the signatures."""
        return self.private.public_key()

    @property
    def key_id(self) -> str:
        """The name of the public key in the signatures."""
        return key_id(self.public)


def build_manifest(
    recording: Mapping[str, Any],
    segments: Sequence[Mapping[str, Any]],
    waveform: Mapping[str, Any],
) -> dict[str, Any]:
    """Build the body of a manifest, ready to sign, from a recording, its segments and its waveform.

    Aware datetimes become RFC 3339 in UTC, UUIDs become text; the rest must be JSON already.
    """
    body = {
        "version": VERSION,
        "recording": dict(recording),
        "segments": [dict(segment) for segment in segments],
        "waveform": dict(waveform),
    }
    plain: dict[str, Any] = json.loads(canonical_json(body))
    return plain


def sign_manifest(body: Mapping[str, Any], key: SigningKey) -> bytes:
    """Return the document to store: `body`, and the signature of `key` over it."""
    signature = {
        "algorithm": ALGORITHM,
        "key_id": key.key_id,
        "value": _encode(key.private.sign(canonical_json(body))),
    }
    return canonical_json({"manifest": body, "signature": signature})


def verify_manifest(document: bytes, public_keys: Mapping[str, Ed25519PublicKey]) -> dict[str, Any]:
    """Verify the signature of a manifest and return its body.

    `public_keys` are the trusted keys, by key id. Raises ManifestInvalid for an unknown form, an
    unknown key, and any change after the signature.
    """
    parsed = _parse_canonical(document)
    body, signature = parsed.get("manifest"), parsed.get("signature")
    if not isinstance(body, dict) or not isinstance(signature, dict):
        raise ManifestInvalid("The manifest has no body or no signature.")
    if signature.get("algorithm") != ALGORITHM:
        raise ManifestInvalid("The manifest is not signed with Ed25519.")
    public_key = public_keys.get(str(signature.get("key_id")))
    if public_key is None:
        raise ManifestInvalid("The manifest is signed with a key that is not known here.")
    _verify_signature(public_key, signature.get("value"), canonical_json(body))
    if set(parsed) != {"manifest", "signature"} or len(signature) != 3:
        raise ManifestInvalid("The manifest holds more than what was signed.")
    return body


def canonical_json(value: Any) -> bytes:
    """Return the one form in which a value is signed. Raises ValueError for a value outside
    JSON."""
    text = json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
        default=_plain,
    )
    return text.encode("utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, UUID):
        return str(value)
    raise ValueError(f"a manifest cannot hold {type(value).__name__}")


def _parse_canonical(document: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(document.decode("utf-8"))
        canonical = canonical_json(parsed)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid("The manifest is not JSON.") from error
    if not isinstance(parsed, dict) or canonical != document:
        raise ManifestInvalid("The manifest is not in its canonical form.")
    return parsed


def _verify_signature(key: Ed25519PublicKey, value: object, signed: bytes) -> None:
    try:
        signature = urlsafe_b64decode(f"{value}==")
        key.verify(signature, signed)
    except (ValueError, InvalidSignature) as error:
        raise ManifestInvalid("The manifest was changed after it was signed.") from error
    if _encode(signature) != value:  # base64 has spare bits: one signature has one spelling
        raise ManifestInvalid("The manifest's signature is not in its canonical form.")


def _encode(signature: bytes) -> str:
    return urlsafe_b64encode(signature).decode("ascii").rstrip("=")
