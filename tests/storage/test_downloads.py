"""Weights come from the given folder, the cache or a server; every case of the download runs against a real server."""

import hashlib
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from muster.errors import InputError, MusterError
from muster.storage import downloads
from muster.storage.downloads import WeightsFile, cache_dir, fetch, find, read

BODY = bytes(range(256)) * 8192  # 2 MiB: several chunks
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `body` under any path. `faults` are used up, one per request: see Handler."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = BODY
        self.ranges = True  # whether Range is honoured
        self.faults: list[str] = []
        self.requests: list[str | None] = []  # the Range header of each request
        self.release = threading.Event()

    def weights(self) -> WeightsFile:
        return WeightsFile("net.pt", f"http://127.0.0.1:{self.server_port}/net.pt", SHA256)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.headers["Range"])
        fault = self.server.faults.pop(0) if self.server.faults else ""
        if fault.isdigit():
            return self.send_error(int(fault))
        if fault == "silent":
            self.server.release.wait(20)
            return None
        start = int(self.headers["Range"][6:-1]) if self.headers["Range"] and self.server.ranges else 0
        if start >= len(self.server.body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        body = self.server.body[start:]
        if fault != "unsized":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault in ("cut", "unsized", "reset") else body)
        if fault == "reset":  # closing a socket that lingers for 0 s sends RST
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.wfile.flush()
            self.connection.close()
        return None

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("MUSTER_WEIGHTS", raising=False)
    monkeypatch.setattr(downloads, "PAUSES", (0.0, 0.0, 0.0, 0.0))
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join()


def cached(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "cache" / "weights").iterdir() if p.suffix != ".lock")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_dir() == Path("/a/weights")
    monkeypatch.delenv("MUSTER_CACHE")
    assert cache_dir() == Path("/b/muster/weights")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache/muster/weights"


def test_download_once_with_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    found = fetch(server.weights(), progress=lambda done, total: seen.append((done, total)))
    assert found == read(tmp_path / "cache" / "weights" / "net.pt")
    assert found.data == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert fetch(server.weights()) == found == find(server.weights())
    assert server.requests == [None]
    assert cached(tmp_path) == ["net.pt"]


def test_given_folder_comes_before_cache_and_server(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    fetched = fetch(server.weights(), given)  # not in the folder: downloaded
    (given / "net.pt").write_bytes(BODY)
    assert fetch(server.weights(), given) == read(given / "net.pt")
    assert fetch(server.weights()) == fetched
    monkeypatch.setenv("MUSTER_WEIGHTS", str(given))
    assert fetch(server.weights()) == read(given / "net.pt")
    assert len(server.requests) == 1


def test_given_file_with_other_content_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"other")
    with pytest.raises(InputError) as refused:
        fetch(server.weights(), tmp_path)
    assert SHA256 in str(refused.value)
    assert hashlib.sha256(b"other").hexdigest() in str(refused.value)
    assert str(tmp_path / "net.pt") in str(refused.value)
    with pytest.raises(InputError, match="missing"):
        find(server.weights(), tmp_path / "missing")


def test_damaged_cache_file_is_fetched_again(server: Server) -> None:
    path = fetch(server.weights()).path
    path.write_bytes(BODY[:-1])
    assert find(server.weights()) is None
    assert fetch(server.weights()).data == BODY


@pytest.mark.parametrize("fault", ["cut", "reset", "unsized", "503", "429", "silent"])
def test_passing_fault_is_survived(server: Server, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT", 0.3 if fault == "silent" else 30)
    server.faults = [fault]
    assert fetch(server.weights()).data == BODY
    assert len(server.requests) == 2
    if fault == "cut":
        assert server.requests[1] == f"bytes={len(BODY) // 2}-"
    assert cached(tmp_path) == ["net.pt"]


def test_resumes_after_the_process_gave_up(server: Server, tmp_path: Path) -> None:
    server.faults = ["cut"] * len(downloads.PAUSES)
    with pytest.raises(MusterError, match="cannot download"):
        fetch(server.weights())
    [part] = cached(tmp_path)
    assert part.endswith(".part")
    assert find(server.weights()) is None
    server.requests.clear()
    assert fetch(server.weights()).data == BODY
    [asked] = server.requests
    assert asked == f"bytes={len(BODY) - len(BODY) // 2 ** len(downloads.PAUSES)}-"


def test_server_that_ignores_range_sends_all_again(server: Server) -> None:
    server.ranges = False
    server.faults = ["cut"]
    assert fetch(server.weights()).data == BODY
    assert server.requests == [None, f"bytes={len(BODY) // 2}-"]


@pytest.mark.parametrize("part", [BODY, BODY + b"more", b"x" * 100], ids=["whole", "too long", "other content"])
def test_part_that_cannot_be_continued_starts_anew(server: Server, tmp_path: Path, part: bytes) -> None:
    folder = tmp_path / "cache" / "weights"
    folder.mkdir(parents=True)
    (folder / f"net.pt.{SHA256[:8]}.part").write_bytes(part)
    assert fetch(server.weights()).data == BODY


def test_wrong_content_never_lands_in_the_cache(server: Server, tmp_path: Path) -> None:
    server.body = b"<html>log in first</html>"
    with pytest.raises(MusterError) as failed:
        fetch(server.weights())
    assert SHA256 in str(failed.value)
    assert hashlib.sha256(server.body).hexdigest() in str(failed.value)
    assert cached(tmp_path) == []


@pytest.mark.parametrize("status", [404, 403, 410])
def test_refusal_is_final_and_says_how_to_fetch_by_hand(server: Server, tmp_path: Path, status: int) -> None:
    server.faults = [str(status)] * 9
    with pytest.raises(MusterError) as failed:
        fetch(server.weights())
    assert len(server.requests) == 1
    for needed in (str(status), server.weights().url, SHA256, str(tmp_path / "cache" / "weights"), "`weights_dir`"):
        assert needed in str(failed.value)


def test_offline(server: Server) -> None:
    nowhere = WeightsFile("net.pt", "http://127.0.0.1:9/net.pt", SHA256)  # port 9 (discard): nobody listens
    with pytest.raises(MusterError, match=r"refused[\s\S]*by hand"):
        fetch(nowhere)


def test_cache_that_cannot_be_written(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "file"))
    with pytest.raises(MusterError, match="MUSTER_CACHE"):
        fetch(server.weights())


def test_full_disk(server: Server) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(BODY) // 2, before[1]))  # what is larger cannot be written
    try:
        with pytest.raises(MusterError, match=r"cannot write .*net\.pt: .*File too large.* Set MUSTER_CACHE"):
            fetch(server.weights())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_two_processes_at_once(server: Server, tmp_path: Path) -> None:
    program = (
        "import sys; from muster.storage.downloads import *;"
        "print(fetch(WeightsFile('net.pt', sys.argv[1], sys.argv[2])).path.stat().st_size)"
    )
    command = [sys.executable, "-c", program, server.weights().url, SHA256]
    root = Path(__file__).parents[2]
    both = [subprocess.Popen(command, cwd=root, env=os.environ, stdout=subprocess.PIPE) for _ in range(2)]
    assert [p.communicate(timeout=30)[0].strip() for p in both] == [str(len(BODY)).encode()] * 2
    assert server.requests == [None]
    assert cached(tmp_path) == ["net.pt"]


def test_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert read(path).fits(hashlib.sha256(b"abc").hexdigest().upper())
    assert not read(path).fits(hashlib.sha256(b"abd").hexdigest())
    with pytest.raises(MusterError, match="cannot read"):
        read(tmp_path / "b")


def test_published_weights_are_found(data: Path) -> None:
    yunet = "9c7c9e14a4d60e57491d77e4d8b0d451bd834f300e05c0dea7fd1f6533817b06"
    entry = WeightsFile("yunet_n.pth", "http://127.0.0.1:9/", yunet)
    assert find(entry, data / "weights") == read(data / "weights" / "yunet_n.pth")
