import errno
import gzip
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.url_server import UrlServer, serving
from helpers.urls import private, quick, web
from muster.errors import ImageError
from muster.pipeline.run import TRANSIENT
from muster.storage.http import fetch, hosts, requests
from muster.storage.photos.decode import KINDS

LIMIT = 1 << 20
__all__ = ["private", "quick", "web"]


def kind_of(url: str, limit: int = LIMIT) -> str:
    with pytest.raises(ImageError) as caught:
        fetch.read(url, limit)
    assert caught.value.kind in KINDS
    return caught.value.kind


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize(
    "path", ["good/a.jpg", "good/a%20b.jpg?w=200", "chunked/a.jpg", "busy/2/a.jpg", "throttled/1/a.jpg"]
)
def test_what_there_is_is_read(web: UrlServer, path: str) -> None:
    assert fetch.read(f"{web.home}/{path}", LIMIT) == web.data
    assert fetch.read(f"{web.home}/to?{web.home}/{path}", LIMIT) == web.data


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("missing/a.jpg", "gone"),
        ("gone/a.jpg", "gone"),
        ("forbidden/a.jpg", "refused"),
        ("loop/a.jpg", "refused"),
        ("html/a.jpg", "not_an_image"),
        ("robots/noai/a.jpg", "refused"),
        ("never/a.jpg", "unreadable"),
        ("drop/a.jpg", "unreadable"),
        ("chunked/cut.jpg", "unreadable"),
        ("elsewhere/a.jpg", "refused"),
        ("short/a.jpg", "unreadable"),
        ("stall/a.jpg", "timeout"),
        ("silent/a.jpg", "timeout"),
        ("trickle/a.jpg", "timeout"),
        ("headers/a.jpg", "timeout"),
        ("endless/a.jpg", "too_large"),
    ],
)
def test_what_goes_wrong_has_its_kind_and_its_end(web: UrlServer, path: str, kind: str) -> None:
    began = time.monotonic()
    assert kind_of(f"{web.home}/{path}") == kind
    assert time.monotonic() - began < fetch.ITEM + 1
    final = kind in ("gone", "refused", "not_an_image", "too_large")
    assert (kind in TRANSIENT) != final
    assert web.counts[f"/{path}"] == (
        requests.REDIRECTS + 1 if "loop" in path else 1 if final or kind == "timeout" else 3
    )


@pytest.mark.usefixtures("private")
def test_where_a_server_says_when_attempts_are_bounded_by_time(web: UrlServer) -> None:
    began = time.monotonic()
    assert fetch.read(f"{web.home}/throttled/1/later.jpg", LIMIT) == web.data
    assert 0.9 < time.monotonic() - began < 2
    assert kind_of(f"{web.home}/throttled/100/never.jpg") == "unreadable"
    assert web.counts["/throttled/100/never.jpg"] == 1
    began = time.monotonic()
    assert kind_of(f"{web.home}/good/other.jpg") == "unreadable"  # it asked to be left alone
    assert time.monotonic() - began < 0.2
    assert web.counts["/good/other.jpg"] == 0


@pytest.mark.usefixtures("private")
def test_a_host_is_asked_by_a_few_at_once(web: UrlServer) -> None:
    web.most_at_once = 0
    with ThreadPoolExecutor(40) as pool:
        read = list(pool.map(lambda n: _allowed(f"{web.home}/good/{n}.jpg"), range(200)))
    assert read == [web.data] * 200
    assert 1 < web.most_at_once <= hosts.AT_ONCE


def _allowed(url: str) -> bytes:
    from muster.storage.http.addresses import private_addresses

    with private_addresses(True):
        return fetch.read(url, LIMIT)


@pytest.mark.usefixtures("private")
def test_a_host_that_does_not_answer_is_set_aside_and_one_that_answers_others_is_not(web: UrlServer) -> None:
    with serving(b"") as dead:
        urls = [f"{dead.home}/stall/{n}.jpg" for n in range(200)]
        began = time.monotonic()
        assert {kind_of(url) for url in urls} == {"timeout", "unreadable"}
        assert time.monotonic() - began < 10 * hosts.FAILURES * 0.4
        assert sum(dead.counts.values()) == hosts.FAILURES
    for number in range(2 * hosts.FAILURES):
        assert kind_of(f"{web.home}/stall/x{number}.jpg") == "timeout"
        assert fetch.read(f"{web.home}/good/x{number}.jpg", LIMIT) == web.data


@pytest.fixture
def closed() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.mark.usefixtures("private")
def test_very_many_bad_hosts_take_little_time(closed: int) -> None:
    """Each of its own: 127.0.0.1 to 127.0.7.208 are all of this machine."""
    urls = [f"http://127.0.{n >> 8}.{n & 255}:{closed}/a.jpg" for n in range(1, 2001)]
    urls += [f"http://nobody-{n}.invalid/a.jpg" for n in range(50)]
    began = time.monotonic()
    with ThreadPoolExecutor(32) as pool:
        kinds = set(pool.map(_kind_allowed, urls))
    assert "unreadable" in kinds
    assert kinds <= {"unreadable", "timeout"}  # of a name whose server is slow
    assert time.monotonic() - began < 20
    assert hosts.host_of.cache_info().currsize <= hosts.host_of.cache_info().maxsize


def _kind_allowed(url: str) -> str:
    try:
        _allowed(url)
    except ImageError as error:
        return error.kind
    return "read"


@pytest.mark.usefixtures("quick")
def test_names_whose_servers_do_not_answer_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = threading.Event()

    def stalled(*_: object, **__: object) -> list[object]:
        waits.wait(10)
        raise socket.gaierror(errno.EAGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", stalled)
    began = time.monotonic()
    assert kind_of("http://slow.example/a.jpg") == "timeout"
    assert time.monotonic() - began < fetch.ITEM + 0.5
    waits.set()


@pytest.mark.usefixtures("private")
def test_a_page_is_known_by_what_it_is_and_not_by_what_it_is_called(web: UrlServer) -> None:
    with pytest.raises(ImageError, match="a web page in its place"):
        fetch.read(f"{web.home}/html/b.jpg", LIMIT)


@pytest.mark.usefixtures("private")
def test_the_limit_counts_before_and_while_it_is_read(web: UrlServer) -> None:
    assert kind_of(f"{web.home}/good/a.jpg", len(web.data) - 1) == "too_large"
    assert fetch.read(f"{web.home}/good/a.jpg", len(web.data)) == web.data
    before = sum(web.counts.values())
    assert kind_of(f"{web.home}/endless/b.jpg", 32 * LIMIT) == "too_large"
    assert sum(web.counts.values()) == before + 1


@pytest.mark.usefixtures("private")
def test_what_a_server_compressed_counts_as_it_is_unpacked(web: UrlServer) -> None:
    web.files |= {"a.gz": gzip.compress(bytes(1000)), "bomb.gz": gzip.compress(bytes(200 << 20))}
    assert fetch.read(f"{web.home}/zipped/a.gz", LIMIT) == bytes(1000)
    tracemalloc.start()
    assert kind_of(f"{web.home}/zipped/bomb.gz") == "too_large"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * LIMIT


@pytest.mark.usefixtures("private")
def test_we_say_who_we_are_and_keep_connections(web: UrlServer) -> None:
    before = web.connections
    for number in range(20):
        fetch.read(f"{web.home}/good/kept{number}.jpg", LIMIT)
    assert web.connections <= before + 1
    assert set(web.agents) == {requests.user_agent()}
    assert requests.user_agent().startswith("muster-photos/")


@pytest.mark.usefixtures("private")
def test_facts_and_parts(web: UrlServer) -> None:
    facts = fetch.look(f"{web.home}/good/a.jpg")
    assert (facts.size, facts.parts, facts.version) == (len(web.data), True, 1793700000_000000)
    assert fetch.part(f"{web.home}/good/a.jpg", 3, 10, facts) == web.data[3:13]
    assert fetch.first(f"{web.home}/good/a.jpg", 16) == web.data[:16]
    assert fetch.first(f"{web.home}/noranges/a.jpg", 16) == web.data[:16]
    whole = fetch.look(f"{web.home}/noranges/a.jpg")
    assert (whole.size, whole.parts) == (len(web.data), False)
    assert fetch.look(f"{web.home}/plain/a.jpg").version is None


@pytest.mark.usefixtures("private")
def test_a_file_that_changes_while_it_is_read_is_not_put_together_from_both(web: UrlServer) -> None:
    url = f"{web.home}/good/changing.bin"
    web.files["changing.bin"] = b"a" * 100
    facts = fetch.look(url)
    web.files["changing.bin"] = b"b" * 99
    with pytest.raises(ImageError, match="it was changed while it was read"):
        fetch.part(url, 0, 10, facts)


@pytest.mark.usefixtures("private")
def test_another_part_than_was_asked_for_is_none(web: UrlServer) -> None:
    url = f"{web.home}/elsewhere/a.jpg"
    facts = fetch.look(url)
    with pytest.raises(ImageError, match="other parts than those"):
        fetch.part(url, 3, 10, facts)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "x",
        "Tue, 03 Nov 99999999999999999999 06:00:00 GMT",
        "Tue, 99999999999999999999 Nov 2026 06:00:00 GMT",
        "Tue, 03 Nov 2026 06:00:00 +99999999999999999999",
        "Tue, 03 Nov 2026 06:00:00 +9999999999999",
        "Mon, 01 Jan 0001 00:00:00 +2300",
        "Fri, 31 Dec 9999 23:59:59 -2300",
    ],
)
def test_a_time_that_is_none_is_not_said(said: str) -> None:
    when = fetch._modified({"Last-Modified": said})
    assert when is None or abs(when) < 2**63
    assert fetch._modified({"Last-Modified": "Tue, 03 Nov 2026 06:00:00 GMT"}) == 1793685600_000000


@given(st.text("MonTueJandGMT0123456789:+-, ", max_size=60), st.text("bytes 0123456789-/*", max_size=60))
def test_whatever_a_server_says(modified: str, content_range: str) -> None:
    response: Any = SimpleNamespace(
        status=206, headers={"Last-Modified": modified, "Content-Range": content_range}, length_remaining=None
    )
    facts = fetch._facts(response)
    assert all(each is None or abs(each) < 2**63 for each in (facts.size, facts.modified))


@pytest.mark.parametrize("digits", [19, 30, 5000])
@pytest.mark.parametrize("said", ["bytes 0-0/{}", "bytes {}-{}/10", "bytes */{}"])
def test_a_part_of_an_absurd_length_is_none(said: str, digits: int) -> None:
    headers = {"Content-Range": said.replace("{}", "9" * digits)}
    response: Any = SimpleNamespace(status=206, headers=headers, length_remaining=1)
    assert fetch._facts(response) == fetch.Facts()
    response.headers = {"Content-Range": "bytes 0-0/" + "9" * 18}
    assert fetch._facts(response) == fetch.Facts(10**18 - 1, parts=True)


@given(etags=st.tuples(st.text(max_size=40), st.text(max_size=40)))
def test_an_etag_is_a_version(etags: tuple[str, str]) -> None:
    versions = [fetch.Facts(etag=each).version for each in etags]
    assert (versions[0] == versions[1]) == (etags[0] == etags[1])
    assert all(version is not None and 0 <= version < 2**40 for version in versions)
    assert fetch.Facts(modified=5, etag=etags[0]).version == 5
