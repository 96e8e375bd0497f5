"""The service at a real socket, before a gallery that is played: clients who are slow, too many, or gone."""

import contextlib
import http.client
import json
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client.parser import text_string_to_metric_families

from helpers.certificates import certificate, written
from muster.storage.certificates import Served
from muster.storage.gallery import keys
from muster.storage.library import LibraryFiles, open_library
from muster.web.door import app as door_app
from muster.web.door import bodies, serving
from muster.web.door.app import app
from muster.web.live.serving import listening


@dataclass
class Seen:
    """Of a photo without a face."""

    faces: tuple[()] = ()
    size: tuple[int, int] = (640, 480)


@dataclass
class Played:
    """A service whose photos are looked at when the test says so, if `slow`."""

    slow: bool = False
    looking: list["Future[Any]"] = field(default_factory=list)
    looked: threading.Event = field(default_factory=threading.Event)
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    problems: int = 0
    waiting: int = 0

    def look(self, image: bytes) -> "Future[Any]":
        future: Future[Any] = Future()
        self.looking.append(future)
        self.looked.set()
        if not self.slow:
            future.set_result(Seen())
        return future

    def note(self, action: str, noted: dict[str, Any]) -> "Future[Any]":
        self.lines.append((action, noted))
        return done(None)

    def problem(self) -> str:
        self.problems += 1
        return ""


def done(value: Any) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_result(value)
    return future


@dataclass
class At:
    port: int
    service: Played
    server: Any
    held: Callable[[], int]
    key: str

    def ask(
        self, method: str = "POST", path: str = "/v1/detect", body: bytes = b"x", **headers: str
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            given = {"Authorization": f"Bearer {self.key}", "Content-Type": "image/jpeg", **headers}
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, json.loads(data) if "json" in answer.headers["content-type"] else data.decode()
        finally:
            connection.close()

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def head(self, *headers: str, start: str = "POST /v1/detect HTTP/1.1") -> bytes:
        lines = [start, "Host: door", f"Authorization: Bearer {self.key}", "Content-Type: image/jpeg", *headers]
        return "\r\n".join([*lines, "", ""]).encode()

    def said(self, *headers: str, body: bytes = b"", start: str = "POST /v1/detect HTTP/1.1") -> tuple[int, str]:
        """Status and text of what is answered, whether it was read whole or not."""
        with self.raw() as asking:
            asking.sendall(self.head(*headers, start=start) + body)
            return answered(asking)


def answered(asking: socket.socket) -> tuple[int, str]:
    answer = http.client.HTTPResponse(asking)
    answer.begin()
    return answer.status, answer.read().decode()


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return open_library(tmp_path / "library", create=True)


@pytest.fixture
def serve(library: LibraryFiles, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., At]]:
    """serve(service, served): a service in a thread, until the test ends."""
    servers: list[Any] = []
    started, startup = threading.Event(), serving._Server.startup

    async def noted(self: Any, sockets: Any = None) -> None:
        await startup(self, sockets)
        servers.append(self)
        started.set()

    monkeypatch.setattr(serving._Server, "startup", noted)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    threads = []

    def start(service: Played | None = None, served: Served | None = None) -> At:
        service = service or Played()
        made, bound = app(library, service, 1e9), listening("127.0.0.1", None)  # type: ignore[arg-type]
        said: list[str] = []
        port = bound.getsockname()[1]
        arguments = (made, bound, lambda: None, served, said.append)
        threads.append(threading.Thread(target=serving.answer, args=arguments))
        threads[-1].start()
        assert started.wait(20)
        key = keys.made(library, "test", "asks")[1]
        return At(port, service, servers[-1], lambda: made.state.door.bodies.held, key)

    yield start
    for server in servers:
        server.should_exit = True
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_an_answer_does_not_wait_for_more_to_send(serve: Callable[..., At]) -> None:
    """Its head and its body are two writes: with Nagle's algorithm the second waits 40 ms for the first's receipt."""
    at = serve()
    with at.raw():
        until(lambda: at.server.server_state.connections)
        [connection] = at.server.server_state.connections
        taken = connection.transport.get_extra_info("socket")
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# ---- slow, and gone --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET /v1/health HTTP/1.1\r\nX-Slow: a"])
def test_who_does_not_send_a_request_is_left(serve: Callable[..., At], monkeypatch: Any, sent: bytes) -> None:
    monkeypatch.setattr(serving, "REQUEST", 0.3)
    at = serve()
    with at.raw() as asking:
        asking.sendall(sent)
        asking.settimeout(0.05)
        for _ in range(100):  # a letter now and then does not help
            with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
                if sent:
                    asking.sendall(b"a")
                if asking.recv(1000) == b"":
                    break
            if asking.fileno() < 0:
                break
        else:
            pytest.fail("it waits still")
    assert at.ask("GET", "/v1/health")[0] == 200


def test_a_request_that_takes_long_to_answer_is_not_left(serve: Callable[..., At], monkeypatch: Any) -> None:
    monkeypatch.setattr(serving, "REQUEST", 0.1)
    at = serve(Played(slow=True))
    with at.raw() as asking:
        asking.sendall(at.head("Content-Length: 1") + b"x")
        assert at.service.looked.wait(20)
        time.sleep(0.3)
        at.service.looking[0].set_result(Seen())
        assert answered(asking)[0] == 200


def test_a_body_that_does_not_come_is_not_waited_for(serve: Callable[..., At], monkeypatch: Any) -> None:
    monkeypatch.setattr(bodies, "SECONDS", 0.2)
    at = serve()
    status, text = at.said("Content-Length: 1000", body=b"some")
    assert (status, json.loads(text)["error"]["code"]) == (408, "timeout")
    assert at.held() == 0


def test_who_goes_away_in_the_middle_leaves_nothing(serve: Callable[..., At]) -> None:
    at = serve()
    for _ in range(20):
        with at.raw() as asking:
            asking.sendall(at.head("Content-Length: 100000") + b"x" * 50_000)
            until(at.held)
        until(lambda: at.held() == 0)
    assert at.service.looking == []
    assert 'code="gone",operation="detect"} 20.0' in metrics_of(at)


def test_who_goes_away_while_their_photo_is_looked_at_holds_nothing(serve: Callable[..., At]) -> None:
    at = serve(Played(slow=True))
    with at.raw() as asking:
        asking.sendall(at.head("Content-Length: 4") + b"abcd")
        assert at.service.looked.wait(20)
        assert at.held() == 4
    at.service.looking[0].set_result(Seen())
    until(lambda: at.held() == 0)


def test_a_thousand_who_say_nothing_do_not_stop_the_others(serve: Callable[..., At]) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit[1] < 4000:
        pytest.skip(f"this process may have {limit[1]} files open")
    at = serve()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4000, limit[1]))
    with contextlib.ExitStack() as opened:
        for _ in range(1000):
            opened.enter_context(at.raw())
        until(lambda: len(at.server.server_state.connections) >= 1000)
        for _ in range(10):
            assert at.ask()[0] == 200
    until(lambda: len(at.server.server_state.connections) == 0)


@pytest.mark.parametrize("encrypted", [False, True])
def test_more_connections_than_files_are_not_taken(
    serve: Callable[..., At], monkeypatch: Any, tmp_path: Path, encrypted: bool
) -> None:
    """An answer is a line of the log, which is a file."""
    at = serve(None, Served(*of_now(tmp_path), datetime.now(UTC)) if encrypted else None)
    with at.raw() as first:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        monkeypatch.setattr(serving, "OWN_FILES", files - first.fileno() - 20)
        with contextlib.ExitStack() as opened:
            for _ in range(20):
                last = opened.enter_context(at.raw())
                last.settimeout(0.1)
                with contextlib.suppress(TimeoutError):
                    if last.recv(1) == b"":
                        break
            else:
                pytest.fail("all are taken")
    if encrypted:
        return
    until(lambda: len(at.server.server_state.connections) == 0)
    assert at.ask("GET", "/v1/health")[0] == 200


# ---- too much --------------------------------------------------------------------------------------------------------


def test_what_is_too_long_is_refused_by_its_header(serve: Callable[..., At]) -> None:
    at = serve()
    for length in (bodies.MOST_IMAGE + 1, 10**11, 10**18):
        status, text = at.said(f"Content-Length: {length}", "Expect: 100-continue")
        assert (status, json.loads(text)["error"]["code"]) == (413, "too_large")
    assert at.held() == 0


@pytest.mark.parametrize("headers", [("Transfer-Encoding: chunked",), ()])
def test_a_body_without_a_length_is_refused(serve: Callable[..., At], headers: tuple[str, ...]) -> None:
    status, text = serve().said(*headers, body=b"5\r\nhello\r\n0\r\n\r\n" if headers else b"")
    assert (status, json.loads(text)["error"]["code"]) == (411, "no_length")


def test_a_body_is_no_longer_than_its_limit_whatever_its_header_says(
    serve: Callable[..., At], monkeypatch: Any
) -> None:
    """Of both lengths, HTTP takes that of the chunks (RFC 9112, section 6.3)."""
    monkeypatch.setattr(bodies, "MOST_IMAGE", 1000)
    monkeypatch.setattr(door_app, "MOST_IMAGE", 1000)
    at = serve()
    chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    status, text = at.said("Content-Length: 10", "Transfer-Encoding: chunked", body=chunk * 3 + b"0\r\n\r\n")
    assert status in (400, 413), text
    assert (at.service.looking, at.held()) == ([], 0)


def test_who_has_no_key_sends_nothing(serve: Callable[..., At]) -> None:
    at = serve()
    with at.raw() as asking:
        head = at.head("Content-Length: 9000000", "Expect: 100-continue").replace(at.key.encode(), b"muster_x")
        asking.sendall(head)
        status, text = answered(asking)
    assert (status, json.loads(text)["error"]["code"]) == (401, "bad_key")
    assert [(action, noted["refused"]) for action, noted in at.service.lines] == [("refused", "bad_key")]


def test_what_is_held_is_held_until_it_is_answered(serve: Callable[..., At], monkeypatch: Any) -> None:
    monkeypatch.setattr(bodies, "IN_HAND", 1000)
    at = serve(Played(slow=True))
    with at.raw() as asking:
        asking.sendall(at.head("Content-Length: 800") + b"x" * 800)
        assert at.service.looked.wait(20)
        status, said = at.ask(body=b"x" * 300)
        assert (status, said["error"]["code"], at.held()) == (503, "busy", 800)
        at.service.looking[0].set_result(Seen())
        assert answered(asking)[0] == 200
    at.service.slow = False
    assert at.ask(body=b"x" * 300)[0] == 200
    assert at.held() == 0


def test_a_length_that_is_said_and_not_sent_is_not_held(serve: Callable[..., At], monkeypatch: Any) -> None:
    monkeypatch.setattr(bodies, "IN_HAND", 1000)
    at = serve()
    with at.raw() as asking:
        asking.sendall(at.head("Content-Length: 900") + b"x")
        until(at.held)
        assert at.ask(body=b"x" * 900)[0] == 200


def test_json_of_very_many_values_is_refused_before_it_is_read(serve: Callable[..., At]) -> None:
    body = b'{"images": [' + b"1," * bodies.MOST_COMMAS + b"1, 2]}"
    status, said = serve().ask(body=body, **{"Content-Type": "application/json"})
    assert (status, said["error"]["message"]) == (400, f"more than {bodies.MOST_COMMAS} values")


# ---- odd addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "status"),
    [
        ("POST /v1/detect/ HTTP/1.1", 404),
        ("GET //v1/health HTTP/1.1", 404),
        ("GET http://elsewhere/v1/health HTTP/1.1", 404),
        ("GET /v1/health/../people HTTP/1.1", 404),
        ("GET /v1%2Fhealth HTTP/1.1", 200),  # as every server takes it
        ("PUT /v1/health HTTP/1.1", 405),
        ("GET /v1/people HTTP/1.1", 403),
        ("GET /v1/people/../health HTTP/1.1", 403),  # somebody's of that name: it is no folder
        ("GET /v1/people/%2e%2e%2f%2e%2e%2fetc%2fpasswd/face HTTP/1.1", 403),
        ("GET /v1/people/\x00 HTTP/1.1", 400),
        ("nonsense", 400),
    ],
)
def test_an_address_is_what_it_says(serve: Callable[..., At], start: str, status: int) -> None:
    at = serve()
    assert at.said("Content-Length: 0", start=start)[0] == status
    assert at.ask()[0] == 200


def test_a_websocket_is_no_way_in(serve: Callable[..., At]) -> None:
    at = serve()
    said = at.said("Upgrade: websocket", "Connection: Upgrade", start="GET /v1/people HTTP/1.1")
    assert said[0] == 403


def test_two_keys_in_one_request_are_one(serve: Callable[..., At]) -> None:
    at = serve()
    status, said = at.ask("GET", "/v1/metrics", b"", Authorization=f"Bearer muster_x, Bearer {at.key}")
    assert (status, said["error"]["code"]) == (401, "bad_key")


def test_who_has_no_key_does_not_make_the_log_busy(serve: Callable[..., At]) -> None:
    at = serve()
    assert {at.ask("GET", "/v1/health", b"", Authorization="")[0] for _ in range(50)} == {200}
    assert at.service.problems < 10  # one in a second
    assert {at.ask(Authorization="Bearer muster_x")[0] for _ in range(50)} == {401}
    assert len(at.service.lines) < 20


def metrics_of(at: At) -> str:
    status, text = at.ask("GET", "/v1/metrics", b"")
    assert status == 200
    return str(text)


def test_what_was_asked_is_counted(serve: Callable[..., At]) -> None:
    at = serve()
    for _ in range(3):
        at.ask()
    at.ask(Authorization="")
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics_of(at))
        for sample in family.samples
    }
    assert found["muster_door_requests_total", "detect", "ok"] == 3
    assert found["muster_door_requests_total", "detect", "no_key"] == 1
    assert found["muster_door_seconds_count", "detect"] == 4
    assert found[("muster_door_waiting",)] == 0


def test_what_was_asked_is_answered_when_it_ends(serve: Callable[..., At]) -> None:
    at = serve(Played(slow=True))
    with at.raw() as asking:
        asking.sendall(at.head("Content-Length: 1") + b"x")
        assert at.service.looked.wait(20)
        at.server.handle_exit(signal.SIGINT, None)
        until(lambda: not at.server.servers[0].is_serving())
        with pytest.raises(ConnectionRefusedError):
            at.ask()
        at.service.looking[0].set_result(Seen())
        assert answered(asking)[0] == 200


# ---- certificates ----------------------------------------------------------------------------------------------------


def over_tls(port: int, trusted: Path) -> tuple[int, bytes]:
    """Status, and the certificate that was shown."""
    context = ssl.create_default_context(cafile=str(trusted))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is trusted
    connection = http.client.HTTPSConnection("localhost", port, timeout=20, context=context)
    try:
        connection.request("GET", "/v1/health")
        shown = connection.sock.getpeercert(binary_form=True)
        return connection.getresponse().status, shown
    finally:
        connection.close()


def of_now(folder: Path) -> tuple[Path, Path]:
    now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
    day = timedelta(days=1)
    return written(folder, key, certificate(key, now - day, now + 90 * day))


def test_a_certificate_is_served_and_a_new_one_is_taken_up(
    serve: Callable[..., At], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(serving, "LOOK", 0.05)
    files = of_now(tmp_path)
    at = serve(None, Served(*files, datetime.now(UTC)))
    status, first = over_tls(at.port, files[0])
    assert status == 200
    with at.raw() as plain:  # who does not encrypt is not answered
        plain.sendall(b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/1.1 200" not in plain.recv(1000)
    of_now(tmp_path)

    def is_new() -> bool:
        with contextlib.suppress(ssl.SSLCertVerificationError):
            return over_tls(at.port, files[0]) != (200, first)
        return False

    until(is_new)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--host", "0.0.0.0"], "can be reached by others"),
        (["--certificate", "{ended}/door.crt", "--certificate-key", "{ended}/door.key"], "ended on"),
        (["--certificate", "{ended}/door.crt"], "give both"),
        (["--rate", "0"], "above 0"),
    ],
)
def test_what_cannot_be_served_is_refused_at_the_start(
    muster: Callable[..., Any], tmp_path: Path, library: LibraryFiles, options: list[str], text: str
) -> None:
    now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
    day = timedelta(days=1)
    written(tmp_path, key, certificate(key, now - 9 * day, now - day))
    given = [option.format(ended=tmp_path) for option in options]
    outcome = muster("serve", "--gallery", "-l", library.path, *given)
    assert outcome.code == 2
    assert text in outcome.error


def test_the_command_serves_with_a_certificate_and_ends_at_ctrl_c(
    calibrated: Path, weights: Path, tmp_path: Path
) -> None:
    files = of_now(tmp_path)
    command = [
        sys.executable,
        "-m",
        "muster",
        "serve",
        "--gallery",
        "-l",
        calibrated,
        "--weights-dir",
        weights,
        "--json",
    ]
    options = ["--device", "cpu", "--certificate", files[0], "--certificate-key", files[1]]
    with subprocess.Popen([*map(str, [*command, *options])], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = json.loads(process.stdout.readline())["port"]
            assert over_tls(port, files[0])[0] == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(30) in (0, 130)
        finally:
            process.kill()
