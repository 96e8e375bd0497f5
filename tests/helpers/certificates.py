"""Certificates as tests want them."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
ISSUER = ec.generate_private_key(ec.SECP256R1())


def certificate(
    key: Key, begins: datetime = NOW - DAY, ends: datetime = NOW + 90 * DAY, names: tuple[str, ...] = ("localhost",)
) -> bytes:
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "door")])
    made = x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends)
    if names:
        each = [*map(x509.DNSName, names), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        made = made.add_extension(x509.SubjectAlternativeName(each), critical=False)
    return made.sign(ISSUER, SHA256()).public_bytes(Encoding.PEM)


def written(folder: Path, key: Key, text: bytes | None = None, passphrase: bytes | None = None) -> tuple[Path, Path]:
    """The files of a certificate and its key, in the place of those that are there."""
    file, key_file = folder / "door.crt", folder / "door.key"
    file.write_bytes(text or certificate(key))
    hidden = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    key_file.unlink(missing_ok=True)
    key_file.touch(0o600)
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden))
    return file, key_file
