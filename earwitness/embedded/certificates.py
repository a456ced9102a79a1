"""Certificates for the parts of SeaweedFS, and the file that configures them."""

import ipaddress
import secrets
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

AUTHORITY = "earwitness authority"
COMMON_NAME = "earwitness"


def security_toml() -> str:
    """Build the file that requires mutual TLS between all parts, and tokens for volumes."""
    identity = 'cert = "weed.crt"\nkey = "weed.key"\n'
    authority = 'ca = "ca.crt"\n'
    parts = [f"[grpc]\n{authority}"]
    for part in ("master", "volume", "filer", "s3", "client"):
        parts.append(f'[grpc.{part}]\n{identity}allowed_commonNames = "{COMMON_NAME}"\n')
    for part in ("master", "volume", "filer"):
        parts.append(f"[https.{part}]\n{identity}{authority}")
    parts.append(f"[https.client]\nenabled = true\n{identity}{authority}")
    for part in ("signing", "signing.read", "filer_signing", "filer_signing.read"):
        parts.append(f'[jwt.{part}]\nkey = "{secrets.token_hex(32)}"\n')
    return "\n".join(parts)


def make_certificates(host: str) -> dict[str, bytes]:
    """Make a certificate of a new authority whose key is thrown away.

    `host` is an IP address. Return the contents of the files in `security_toml`, by name.
    """
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate(AUTHORITY, authority_key.public_key(), authority_key, host)
    certificate = _certificate(COMMON_NAME, key.public_key(), authority_key, host)
    return {
        "ca.crt": authority.public_bytes(Encoding.PEM),
        "weed.crt": certificate.public_bytes(Encoding.PEM),
        "weed.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }


def _certificate(
    name: str, key: ec.EllipticCurvePublicKey, authority: ec.EllipticCurvePrivateKey, host: str
) -> x509.Certificate:
    """Build a certificate that never expires, because every start replaces it."""
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(host))]
    return (
        x509.CertificateBuilder()
        .subject_name(_common_name(name))
        .issuer_name(_common_name(AUTHORITY))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2999, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=name == AUTHORITY, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .sign(authority, hashes.SHA256())
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
