"""What a certificate says before it is served, and when it is renewed while it is."""

import contextlib
import ipaddress
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import InputError
from muster.storage.certificates import SOON, Certificate, Served, read

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


def shown(served: Served) -> bytes:
    """The certificate that who connects is shown."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server = asking.wrap_bio(back, there), served.context.wrap_bio(there, back, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert client.version() in ("TLSv1.2", "TLSv1.3")
    der = client.getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


@pytest.fixture
def key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("kind", ["elliptic", "edwards", "rsa"])
def test_a_certificate_is_served_and_says_what_it_is(tmp_path: Path, key: Key, kind: str) -> None:
    others = {"edwards": ed25519.Ed25519PrivateKey.generate, "rsa": lambda: rsa.generate_private_key(65537, 2048)}
    key = others[kind]() if kind in others else key
    files = written(tmp_path, key)
    served = Served(*files, NOW)
    assert served.certificate == Certificate(("localhost", "127.0.0.1"), NOW - DAY, NOW + 90 * DAY)
    assert (served.certificate.days_left(NOW), served.look(NOW)) == (90, "")
    assert shown(served) == files[0].read_bytes()
    assert served.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_certificate_with_its_chain_and_one_without_names(tmp_path: Path, key: Key) -> None:
    files = written(tmp_path, key, certificate(key, names=()) + certificate(ISSUER))
    assert Served(*files, NOW).certificate.names == ()


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("no certificate", "cannot read certificate {0}: No such file or directory"),
        ("no key", "cannot read private key {1}: No such file or directory"),
        ("a folder", "cannot read private key {1}: not a regular file"),
        ("no PEM", "certificate {0} is no certificate in PEM: give the file with the whole chain"),
        ("the key twice", "certificate {0} is no certificate in PEM"),
        ("the certificate twice", "private key {1} is no private key in PEM"),
        ("another key", "private key {1} does not belong to certificate {0}"),
        ("ended", "certificate {0} ended on 2027-02-28: renew it"),
        ("to come", r"certificate {0} holds from 2027-03-02 12:00 UTC on, and it is 2027-03-01 12:00"),
        ("readable", "others may read private key {1}: .*chmod 600 {1}"),
        ("readable by a group", "others may read private key {1}"),
        ("passphrase", "private key {1} has a passphrase, which is not taken: give a key without one"),
        ("short", "certificate {0} cannot be served: .*KEY_TOO_SMALL"),
    ],
)
def test_what_is_not_served(tmp_path: Path, key: Key, what: str, text: str) -> None:
    file, key_file = written(tmp_path, key, passphrase=b"open" if what == "passphrase" else None)
    if what == "no certificate":
        file.unlink()
    elif what in ("no key", "a folder"):
        key_file.unlink()
        if what == "a folder":
            key_file.mkdir()
    elif what == "no PEM":
        file.write_bytes(b"hello")
    elif what == "the key twice":
        file.write_bytes(key_file.read_bytes())
    elif what == "the certificate twice":
        key_file.write_bytes(file.read_bytes())
    elif what == "another key":
        file.write_bytes(certificate(ISSUER))
    elif what == "ended":
        file.write_bytes(certificate(key, NOW - 9 * DAY, NOW - DAY))
    elif what == "to come":
        file.write_bytes(certificate(key, NOW + DAY, NOW + 9 * DAY))
    elif what.startswith("readable"):
        key_file.chmod(0o604 if what == "readable" else 0o640)
    elif what == "short":
        written(tmp_path, rsa.generate_private_key(65537, 1024))
    with pytest.raises(InputError, match=text.format(file, key_file)):
        Served(file, key_file, NOW)


@given(st.datetimes(datetime(2027, 1, 1), datetime(2027, 12, 31)), st.integers(0, 400 * 86400), st.floats(-0.5, 1.5))
def test_what_is_said_of_its_end_and_when_it_is_taken_agree(begins: datetime, seconds: int, part: float) -> None:
    begins = begins.replace(tzinfo=UTC)
    found = Certificate((), begins, begins + timedelta(seconds=seconds))
    now = begins + timedelta(seconds=seconds * part)
    left = found.days_left(now)
    assert timedelta(days=left) <= found.ends - now < timedelta(days=left + 1)
    assert (found.remark(now) == "") == (left >= SOON)
    assert ("ended on" in found.remark(now)) == (now > found.ends)


@given(data=st.binary(max_size=300), which=st.sampled_from(["certificate", "key"]), cut=st.booleans())
def test_no_file_is_taken_for_another_or_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, which: str, cut: bool
) -> None:
    files = written(tmp_path_factory.mktemp("tls"), ISSUER)
    file = files[which == "key"]
    whole = file.read_bytes()
    file.write_bytes(whole[: len(data)] if cut else data)
    with pytest.raises(InputError, match=str(file)):
        read(*files, NOW)


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (timedelta(days=13, hours=5), "the certificate ends in 13 days, on 2027-03-14: renew it"),
        (timedelta(days=1), "the certificate ends tomorrow, on 2027-03-02: renew it"),
        (timedelta(), "the certificate ends within a day, on 2027-03-01: renew it"),
        (timedelta(days=SOON), ""),
    ],
)
def test_an_end_that_is_near_is_said(tmp_path: Path, key: Key, left: timedelta, text: str) -> None:
    served = Served(*written(tmp_path, key, certificate(key, ends=NOW + left)), NOW)
    assert served.look(NOW) == text


def test_one_that_ends_while_it_is_served_is_said_and_served_still(tmp_path: Path, key: Key) -> None:
    served = Served(*written(tmp_path, key), NOW)
    assert served.look(NOW + 91 * DAY) == "the certificate ended on 2027-05-30: whoever asks refuses it; renew it"
    assert shown(served)


def test_one_that_is_renewed_is_taken_up_with_another_key(tmp_path: Path, key: Key) -> None:
    served = Served(*written(tmp_path, key), NOW)
    context, later = served.context, NOW + 80 * DAY
    assert served.look(later).startswith("the certificate ends in 10 days")
    other = ec.generate_private_key(ec.SECP384R1())
    file, _ = written(tmp_path, other, certificate(other, later, later + 90 * DAY))
    assert served.look(later) == ""
    assert served.context is context
    assert (shown(served), served.certificate.days_left(later)) == (file.read_bytes(), 90)


def test_one_that_is_half_renewed_waits_for_its_key(tmp_path: Path, key: Key) -> None:
    """The files are replaced one after the other: between, the one of before is served."""
    file, key_file = written(tmp_path, key)
    served, before, other = Served(file, key_file, NOW), file.read_bytes(), ec.generate_private_key(ec.SECP256R1())
    renewed = certificate(other)
    file.write_bytes(renewed)
    said = served.look(NOW)
    assert said.startswith(f"private key {key_file} does not belong to certificate {file}")
    assert said.endswith("The certificate of before is served still")
    assert (shown(served), served.look(NOW)) == (before, said)
    written(tmp_path, other, renewed)
    assert (served.look(NOW), shown(served)) == ("", renewed)


@pytest.mark.parametrize("what", ["gone", "ended", "short", "short issuer"])
def test_one_that_cannot_be_served_is_not_taken_up(tmp_path: Path, key: Key, what: str) -> None:
    file, key_file = written(tmp_path, key)
    served, before = Served(file, key_file, NOW), file.read_bytes()
    if what == "gone":
        file.unlink()
    elif what == "ended":
        file.write_bytes(certificate(key, NOW - 9 * DAY, NOW - DAY))
    else:  # where OpenSSL refuses the issuer, it has taken the certificate already
        short, other = rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256R1())
        written(tmp_path, *((short, None) if what == "short" else (other, certificate(other) + certificate(short))))
    assert f"certificate {file}" in served.look(NOW)
    assert shown(served) == before


def test_files_that_were_not_touched_are_not_read_again(
    tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = written(tmp_path, key)
    served = Served(*files, NOW)
    monkeypatch.setattr("muster.storage.certificates.read", lambda *_: pytest.fail("read again"))
    assert served.look(NOW) == ""
    monkeypatch.undo()
    os.utime(files[1], ns=(0, 0))
    assert served.look(NOW) == ""
    monkeypatch.setattr("muster.storage.certificates.read", lambda *_: pytest.fail("read again"))
    assert served.look(NOW) == ""
    os.utime(files[0], ns=(0, 0))
    with pytest.raises(pytest.fail.Exception, match="read again"):
        served.look(NOW)
