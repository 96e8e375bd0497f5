import datetime
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.url_server import UrlServer, serving
from helpers.urls import private, quick, web
from muster.errors import ImageError
from muster.storage.http import fetch, requests
from muster.storage.http.addresses import is_private, names_private, private_addresses

LIMIT = 1 << 20
__all__ = ["private", "quick", "web"]


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("http://host/a.jpg", "host", "/a.jpg"),
        (" HTTPS://HOST:443/a b.jpg?x=1#t=2 ", "host", "/a%20b.jpg?x=1"),
        ("http://host:8080", "host:8080", "/"),
        ("http://host.//a//b.jpg", "host", "//a//b.jpg"),
        ("http://[2606:4700::1111]:80/a", "[2606:4700::1111]", "/a"),
    ],
)
def test_where_a_url_leads(url: str, authority: str, target: str) -> None:
    place = requests.place(url)
    assert (place.authority, place.target) == (authority, target)


@pytest.mark.parametrize(
    ("url", "kind", "text"),
    [
        ("http:///a.jpg", "unsupported", "not a URL"),
        ("http://host:99999/a.jpg", "unsupported", "not a URL"),
        ("http://a b/a.jpg", "unsupported", "not a URL"),
        ("ftp://host/a.jpg", "unsupported", "not a URL of http"),
        ("http://anna:secret@host/a.jpg", "unsupported", "a user name in it"),
        ("http://127.0.0.1/a.jpg", "private", "private network"),
        ("http://localhost/a.jpg", "private", "`allow_private` is not set"),
    ],
)
def test_what_is_not_asked(url: str, kind: str, text: str) -> None:
    with pytest.raises(ImageError, match=text) as caught:
        requests.place(url)
    assert caught.value.kind == kind
    assert "secret" not in str(caught.value)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]", "169.254.169.254"])
def test_this_machine_is_not_asked_however_it_is_written(web: UrlServer, host: str) -> None:
    with pytest.raises(ImageError, match="private network") as caught:
        fetch.read(f"http://{host}:{web.port}/good/{host}.jpg", LIMIT)
    assert caught.value.kind == "private"
    assert not any(host in path for path in web.counts)


@pytest.fixture
def outside(quick: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """A host of the Internet, or so it seems."""
    known = "photos.example"
    look_up = socket.getaddrinfo

    def mine(host: str, *rest: Any, **named: Any) -> Any:
        return look_up("127.0.0.1" if host == known else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", mine)
    monkeypatch.setattr(requests, "is_private", lambda address: address != "127.0.0.1" and is_private(address))
    return known


@pytest.mark.parametrize(
    "there", ["http://169.254.169.254/latest/", "http://127.0.0.1:{port}/good/secret", "http://0/", "//localhost/a"]
)
def test_no_redirect_leads_into_a_private_network(
    web: UrlServer, outside: str, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://{outside}:{web.port}"
    assert fetch.read(f"{url}/to?{url}/good/a.jpg", LIMIT) == web.data
    if there == "http://0/":  # by a look-up alone; 0.0.0.0 is this machine
        assert not names_private("0")
    with pytest.raises(ImageError, match="private network") as caught:
        fetch.read(f"{url}/to?{there.format(port=web.port)}", LIMIT)
    assert caught.value.kind == "private"
    assert web.counts["/good/secret"] == 0


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    web: UrlServer, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that stands for another address at the next look-up is not looked up again."""
    asked = []
    look_up = socket.getaddrinfo

    def rebinding(host: str, *rest: Any, **named: Any) -> Any:
        asked.append(host)
        return look_up("127.0.0.1" if host == "rebind.example" else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with private_addresses(True):
        for number in range(3):
            assert fetch.read(f"http://rebind.example:{web.port}/good/{number}.jpg", LIMIT) == web.data
    assert asked.count("rebind.example") == 1
    assert set(asked) <= {"rebind.example", "127.0.0.1"}


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], None),
        (["noai"], "noai"),
        (["nofollow, NoImageIndex"], "noimageindex"),
        (["muster: noindex"], "noindex"),
        (["otherbot: noai"], None),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST"], None),
        (["all", "noimageai"], "noimageai"),
        ([""], None),
    ],
)
def test_robots_directives_are_those_of_img2dataset(values: list[str], found: str | None) -> None:
    assert requests._disallowed(values) == found


@pytest.mark.usefixtures("private")
def test_robots_directives_have_words_of_their_own(web: UrlServer) -> None:
    with pytest.raises(ImageError, match=r"robots directives disallow it \(X-Robots-Tag: noindex\)"):
        fetch.read(f"{web.home}/robots/noindex/a.jpg", LIMIT)


def certificate(folder: Path) -> tuple[Path, Path]:
    """Of localhost, signed by itself; and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.usefixtures("private")
def test_certificates_are_those_of_the_name_and_nothing_leads_back_to_http(
    web: UrlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    with serving(b"by TLS", tls) as server:
        with pytest.raises(ImageError, match="certificate is not valid"):
            fetch.read(f"https://localhost:{server.port}/good/a.jpg", LIMIT)
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert fetch.read(f"https://localhost:{server.port}/good/a.jpg", LIMIT) == b"by TLS"
        with pytest.raises(ImageError, match="certificate is not valid"):
            fetch.read(f"https://127.0.0.1:{server.port}/good/a.jpg", LIMIT)
        with pytest.raises(ImageError, match="from https to http") as caught:
            fetch.read(f"https://localhost:{server.port}/to?{web.home}/good/b.jpg", LIMIT)
        assert caught.value.kind == "refused"
        secure = f"https://localhost:{server.port}/good/a.jpg"
        assert fetch.read(f"{web.home}/to?{secure}", LIMIT) == b"by TLS"
