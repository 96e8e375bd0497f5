"""A certificate of a server and its private key, as PEM files: what they say is looked at before they are served, and
again while they are, because certificates are renewed on the disk, every few weeks."""

import os
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from muster.errors import InputError
from muster.storage.files import open_regular, others_may_read

SOON = 14  # days before its end from which on something is said
MOST = 1 << 20  # bytes of a file that are read: a chain of certificates has some thousand
_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Certificate:
    """`names`: hosts and addresses that it is for (its subject alternative names, RFC 5280, section 4.2.1.6). `begins`,
    `ends`: UTC, both within (section 4.1.2.5)."""

    names: tuple[str, ...]
    begins: datetime
    ends: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days, below 0 where it has ended."""
        return (self.ends - now).days

    def remark(self, now: datetime) -> str:
        """What its owner is to hear of its end; "" where that is far."""
        if now > self.ends:
            return f"the certificate ended on {self.ends:%Y-%m-%d}: whoever asks refuses it; renew it"
        left = self.days_left(now)
        soon = f"in {left} days" if left > 1 else "tomorrow" if left == 1 else "within a day"
        return f"the certificate ends {soon}, on {self.ends:%Y-%m-%d}: renew it" if left < SOON else ""


class Served:
    """A certificate with its key, as a server has them: `context`, with TLS 1.2 and later; `certificate`, what it says.

    Raises InputError where they are not to be served: see `read`. `now`: with its zone, here as in all of this file.
    """

    def __init__(self, file: Path, key_file: Path, now: datetime) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._files, self._stamp = (file, key_file), _stamp(file, key_file)
        self.certificate = self._load(now)

    def look(self, now: datetime) -> str:
        """Take up a certificate that was renewed on the disk, for connections from now on; what is to be said of it,
        and of its end: "" where nothing is.

        What cannot be served is not taken up: the one of before stays, and the files are read again the next time.
        """
        problem = ""
        if (stamp := _stamp(*self._files)) != self._stamp:
            try:
                self.certificate, self._stamp = self._load(now), stamp
            except InputError as error:
                problem = f"{error}. The certificate of before is served still"
        return "; ".join(filter(None, (problem, self.certificate.remark(now))))

    def _load(self, now: datetime) -> Certificate:
        certificate = read(*self._files, now)
        try:
            # First into another: a context that has taken a certificate and not its key serves neither. A password, or
            # OpenSSL asks the terminal for one, if the key was replaced since it was read.
            for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):
                context.load_cert_chain(*self._files, password="")
        except (ssl.SSLError, OSError) as error:
            raise InputError(f"certificate {self._files[0]} cannot be served: {error.strerror or error}") from None
        return certificate


def read(file: Path, key_file: Path, now: datetime) -> Certificate:
    """What the certificate says. InputError, which names the file, where it cannot be read, is no PEM, holds at another
    time, or where the key is another's, can be read by others, or has a passphrase."""
    what = f"certificate {file}"
    data = _bytes(what, file)
    try:
        first = x509.load_pem_x509_certificates(data)[0]  # those of its issuers follow
        certificate = Certificate(_names(first), first.not_valid_before_utc, first.not_valid_after_utc)
        public = _public(first.public_key())
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension):
        raise InputError(f"{what} is no certificate in PEM: give the file with the whole chain") from None
    if now > certificate.ends:
        raise InputError(f"{what} ended on {certificate.ends:%Y-%m-%d}: renew it")
    if now < certificate.begins:
        raise InputError(
            f"{what} holds from {certificate.begins:%Y-%m-%d %H:%M} UTC on, and it is {now:%Y-%m-%d %H:%M}: wait, or"
            " set the clock of this machine"
        )
    if public != _public_of(key_file):
        raise InputError(f"private key {key_file} does not belong to {what}: give the one that it was made with")
    return certificate


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    )


def _public_of(key_file: Path) -> bytes:
    what = f"private key {key_file}"
    data = _bytes(what, key_file, private=True)
    try:
        return _public(load_pem_private_key(data, None).public_key())
    except TypeError:
        raise InputError(f"{what} has a passphrase, which is not taken: give a key without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise InputError(f"{what} is no private key in PEM") from None


def _public(key: CertificatePublicKeyTypes | PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _bytes(what: str, file: Path, private: bool = False) -> bytes:
    try:
        with open_regular(file) as stream:
            if private and others_may_read(stream):
                raise InputError(f"others may read {what}: it must be yours or root's; chmod 600 {file}")
            return stream.read(MOST)
    except OSError as error:
        raise InputError(f"cannot read {what}: {error.strerror or error}") from None


def _stamp(*files: Path) -> _Stamp:
    """By which it is seen that one of them was replaced or written; () where one is not there."""
    try:
        return tuple((status.st_mtime_ns, status.st_ino, status.st_size) for status in map(os.stat, files))
    except OSError:
        return ()
