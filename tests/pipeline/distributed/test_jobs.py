"""pipeline/distributed/jobs.py: what is submitted, and which clusters are refused before anything is."""

import asyncio
import io
import json
import platform
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import ray

from helpers.fixtures import Outcome
from muster.errors import InputError, MusterError
from muster.pipeline.distributed import jobs, shipped
from muster.pipeline.distributed.jobs import Cluster, Request, _Tail, _url, package

Muster = Callable[..., Outcome]
ELSEWHERE = "203.0.113.7"  # of a range that is nobody's


class Dashboard(ThreadingHTTPServer):
    """Answers like the dashboard of a head that cannot be started here: of another version, on another machine."""

    def __init__(self, version: str = ray.__version__, python: str = platform.python_version()) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.answers: dict[str, Any] = {
            "/api/authentication_mode": {"authentication_mode": "token"},
            "/api/version": {"version": "4", "ray_version": version},
            "/api/v0/cluster_metadata": {"data": {"rayVersion": version, "pythonVersion": python}},
            "/api/v0/nodes": {"data": {"result": {"result": [{"node_ip": ELSEWHERE, "state": "ALIVE"}]}}},
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Dashboard

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        found = self.server.answers.get(self.path)
        body = json.dumps(found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def dashboard() -> Iterator[Callable[..., Dashboard]]:
    running: list[Dashboard] = []

    def start(**facts: str) -> Dashboard:
        server = Dashboard(**facts)
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def request_of(library: str = "s3://bucket/L", *options: str, **identity: object) -> Request:
    return Request(library, options, identity)


def test_a_job_is_known_by_library_and_arguments() -> None:
    request = request_of("s3://bucket/L", "--tasks", "faces", tasks="faces")
    assert request.name == request_of("s3://bucket/L", "--tasks=faces", tasks="faces").name
    assert request.name != request_of("s3://bucket/L", tasks="scenes").name
    assert request.name != request_of("s3://bucket/M", tasks="faces").name
    assert request.name.startswith("muster-")


def test_files_of_weights_are_named_whole() -> None:
    given = Request("s3://b/L", ("--weights", "objects=a.pth"), {}, weights={"objects": "/w/a.pth"})
    assert given.arguments[-6:-4] == ("--weights", "objects=/w/a.pth")


def test_the_command_names_the_library_whole_and_survives_a_shell() -> None:
    arguments = request_of("/a b/$L", "-l", "$L", "--tasks", "faces;rm").arguments
    command = shipped.entrypoint(b"", arguments)
    shown = subprocess.run(["sh", "-c", command.replace("python", "printf '%s\n'", 1)], capture_output=True, text=True)
    assert shown.stdout.splitlines()[-9:] == [
        *("run", "-l", "$L", "--tasks", "faces;rm"),
        *("--library", "/a b/$L", "--address", "auto"),
    ]


def test_the_package_is_code_and_weights_alone(tmp_path: Path) -> None:
    code = package()
    assert code == package()
    with zipfile.ZipFile(io.BytesIO(code)) as archive:
        archive.extractall(tmp_path)
    files = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert {Path(name).parts[0] for name in files} == {"muster"}
    assert {
        "muster/__init__.py",
        "muster/pipeline/cli/main.py",
        "muster/tasks/weights/muster-embedder.safetensors",
    } <= files
    assert not any("__pycache__" in name for name in files)
    shown = subprocess.run([sys.executable, "-m", "muster", "--help"], cwd=tmp_path, capture_output=True)
    assert shown.returncode == 0


def test_a_package_that_ray_does_not_take() -> None:
    with pytest.raises(InputError, match=r"ships at most 0\.1: .* the largest file is .*safetensors"):
        package(limit=100 << 10)


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("auto", "http://127.0.0.1:8265"),
        ("head:8265", "http://head:8265"),
        ("https://head/ray/", "https://head/ray"),
    ],
)
def test_addresses(address: str, url: str) -> None:
    assert _url(address) == url


def test_an_address_of_another_kind() -> None:
    with pytest.raises(InputError, match="ray://head:10001: name the dashboard"):
        _url("ray://head:10001")


def test_nobody_answers() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        with pytest.raises(MusterError, match=r"no Ray cluster answers at http://127.0.0.1:\d+ .*Connection refused"):
            Cluster(f"127.0.0.1:{taken.getsockname()[1]}")


def test_somebody_accepts_and_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(MusterError, match=r"answers at .*timed out"):
        Cluster(f"127.0.0.1:{silent.getsockname()[1]}")


def test_something_else_answers(dashboard: Callable[..., Dashboard]) -> None:
    server = dashboard()
    server.answers = {}
    with pytest.raises(InputError, match=r"not the dashboard of Ray 2\.52 or newer"):
        Cluster(server.url)


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"version": "2.53.0"}, "runs Ray 2.53.0, Muster here Ray"),
        ({"python": "3.9.2"}, "runs Python 3.9, Muster here"),
    ],
    ids=["ray", "python"],
)
def test_a_head_of_another_version(dashboard: Callable[..., Dashboard], facts: dict[str, str], text: str) -> None:
    with pytest.raises(InputError, match=text):
        Cluster(dashboard(**facts).url)


def test_a_library_that_the_workers_cannot_see(
    muster: Muster, dashboard: Callable[..., Dashboard], processed: Path
) -> None:
    server = dashboard()
    for library in (str(processed), processed.as_uri()):
        outcome = muster("submit", "--address", server.url, "--", "run", "-l", library)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.error == (
            f"muster: library {processed} is on this machine, and nodes of the cluster are not ({ELSEWHERE}): use a"
            " bucket such as s3://bucket/library, or a folder that all nodes share, with --shared-library"
        )
    weights = muster("submit", "--address", server.url, "--", "run", "-l", "s3://b/L", "--weights-dir", processed)
    assert (weights.code, f"--weights-dir {processed} is on this machine" in weights.error) == (2, True)
    assert not any(path.startswith("/api/jobs") for path in server.asked)


def test_what_runs_on_a_cluster_is_run(muster: Muster) -> None:
    other = muster("submit", "--", "scan", "photos")
    assert (other.code, "only `muster run` can be submitted" in other.error) == (2, True)
    twice = muster("submit", "--", "run", "--address", "auto")
    assert (twice.code, "the address belongs before --" in twice.error) == (2, True)
    traced = muster("submit", "--", "run", "--trace", "t.json")
    assert (traced.code, "a job keeps no file" in traced.error) == (2, True)
    wrong = muster("submit", "run", "--wrokers", "2")
    assert (wrong.code, "--wrokers" in wrong.err, wrong.out) == (2, True, "")


def test_a_log_that_is_read_again_is_passed_on_once() -> None:
    class Client:
        reads = iter([["one\n", "two\n"], ["one\ntw", "o\nthree\n"], ["one\ntwo\nthree\n"]])

        async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
            for text in next(self.reads):
                yield text

    texts: list[str] = []
    tail, client = _Tail(texts.append), Client()
    for _ in range(3):
        asyncio.run(tail.read(client, "job"))
    assert "".join(texts) == "one\ntwo\nthree\n"
