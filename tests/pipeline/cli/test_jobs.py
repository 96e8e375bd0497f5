"""`muster submit` and `muster jobs` on a real Ray cluster of two nodes, with a token, on loopback."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from helpers.fixtures import Outcome
from helpers.head import BIN, Head, head, until
from muster.storage.library import open_library
from muster.storage.manifest import scan

pytestmark = pytest.mark.filterwarnings("ignore:ssl=None is deprecated")  # Ray's way to call aiohttp

__all__ = ["head"]  # a fixture

Muster = Callable[..., Outcome]
PHOTOS = 160


@pytest.fixture
def start(head: Head) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """start(*arguments): the command in a process of its own."""
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: object) -> "subprocess.Popen[str]":
        command = [str(BIN / "muster"), *map(str, arguments)]
        pipe = subprocess.PIPE
        running.append(subprocess.Popen(command, env=head.environment, stdout=pipe, stderr=pipe, text=True))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, make_photos: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    scan(open_library(folder / "L", create=True), [str(make_photos(folder / "photos", range(PHOTOS)))])
    return folder / "L"


def test_a_job_is_followed_stopped_and_goes_on(
    muster: Muster, head: Head, library: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    at = ["--address", head.url, "--json"]
    job = ["submit", *at, "--no-wait", "--", "run", "-l", library, "--tasks", "faces", "--workers", 1]
    following = [*job[:4], *job[5:]]
    first = muster(*job)
    assert first.code == 0, first.err
    name = first.facts["name"]
    assert first.facts.items() >= {"new": True, "attempt": 1, "library": str(library)}.items()
    follower = start("jobs", "logs", "-f", name, "--address", head.url)
    until(lambda: muster("status", "-l", library, "--json").facts["pending"] < PHOTOS)
    for worker in head.workers():  # held in the midst of its work, however fast this machine is
        os.kill(worker, signal.SIGSTOP)

    again = muster(*job)
    assert (again.facts["id"], again.facts["new"]) == (name, False)
    left = start(*following)
    assert [left.stderr.readline() for _ in range(2)] == [
        f"job {name} runs already\n",
        f"following job {name}; Ctrl-C leaves it running\n",
    ]
    left.send_signal(signal.SIGINT)
    _, err = left.communicate(timeout=90)
    assert left.returncode == 130, err
    goes_on = f"muster: job {name} goes on: `muster jobs logs -f {name}` follows it, `muster jobs stop {name}` stops it"
    assert goes_on in err.splitlines()
    assert "Traceback" not in err, err
    assert muster("jobs", "status", name, *at).facts["status"] == "RUNNING"

    assert muster("jobs", "stop", name, *at).facts["status"] == "STOPPED"
    out, err = follower.communicate(timeout=90)
    assert follower.returncode == 0, err
    assert f"{PHOTOS} images to process" in out
    done = muster("status", "-l", library, "--json").facts
    assert 0 < done["pending"] < PHOTOS

    resumed = muster(*following)
    assert resumed.code == 0, resumed.err
    assert resumed.facts.items() >= {"id": f"{name}-2", "attempt": 2, "status": "SUCCEEDED", "exit_code": 0}.items()
    assert f"{done['pending']} images to process" in resumed.err
    after = muster("status", "-l", library, "--json").facts
    assert after.items() >= {"images": PHOTOS, "ok": PHOTOS, "errors": 0, "pending": 0}.items()

    [listed] = muster("jobs", "list", *at).facts["jobs"]
    assert (listed["id"], listed["status"]) == (f"{name}-2", "SUCCEEDED")
    assert f"{PHOTOS} images: {PHOTOS} ok" in muster("jobs", "logs", name, "--address", head.url).out
    assert muster("jobs", "stop", name, *at).facts["status"] == "SUCCEEDED"  # there is nothing to stop


class _Forbidding(BaseHTTPRequestHandler):
    """A bucket for which this machine has no credentials."""

    def do_HEAD(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_PUT = do_POST = do_HEAD  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def forbidden() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Forbidding) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        address = f"127.0.0.1:{server.server_address[1]}"
        yield f"s3://bucket/L?endpoint_override={address}&scheme=http&region=us-east-1"
        server.shutdown()


def test_a_job_that_fails_gives_the_command_its_exit_code(
    muster: Muster, head: Head, library: Path, forbidden: str
) -> None:
    at = ["--address", head.url, "--json"]
    closed = muster("submit", *at, "--no-wait", "--", "run", "-l", forbidden)
    assert closed.code == 0
    outcome = muster("submit", *at, "--", "run", "-l", library, "--tasks", "smiles")
    assert outcome.code == 2
    assert (outcome.facts["status"], outcome.facts["exit_code"]) == ("FAILED", 2)
    assert re.search(r"^muster: .*smiles", outcome.err, re.MULTILINE)

    log = muster("jobs", "logs", "-f", closed.facts["name"], *at)
    assert (log.facts["status"], log.facts["exit_code"]) == ("FAILED", 1)
    assert re.search(r"^muster: cannot read library s3://bucket/L.*denied", log.err, re.MULTILINE)
    assert "Traceback" not in log.err


def test_names_that_are_not_there(muster: Muster, head: Head, tmp_path: Path) -> None:
    for command in ("status", "logs", "stop"):
        outcome = muster("jobs", command, "muster-none", "--address", head.url)
        assert (outcome.code, outcome.out) == (2, "")
        assert f"no job muster-none at {head.url}; known: " in outcome.error
    missing = muster("submit", "--address", head.url, "--", "run", "-l", tmp_path / "none")
    assert (missing.code, "no library at" in missing.error) == (2, True)


def test_a_run_on_a_cluster_uses_the_token_that_is_there(
    muster: Muster, head: Head, make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    """Ray itself sends one to an address only where RAY_AUTH_MODE says so."""
    muster("scan", make_photos(tmp_path / "photos", range(4)), "-l", tmp_path / "L")
    environment = {name: value for name, value in head.environment.items() if name != "RAY_AUTH_MODE"}
    command = [str(BIN / "muster"), "run", "-l", str(tmp_path / "L"), "--tasks", "previews", "--address", head.address]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    assert "4 ok" in outcome.stdout


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"RAY_AUTH_TOKEN": "f" * 64}, "refuses the token in RAY_AUTH_TOKEN: use the one its head was started with"),
        (
            {"RAY_AUTH_TOKEN": "", "HOME": "/nonexistent", "RAY_AUTH_MODE": ""},
            "put the one its head was started with into ~/.ray/auth_token",
        ),
        ({"RAY_AUTH_MODE": "disabled"}, "asks for a token, and RAY_AUTH_MODE=disabled: unset it"),
    ],
    ids=["wrong", "missing", "switched off"],
)
def test_tokens_that_do_not_fit(head: Head, changes: dict[str, str], text: str) -> None:
    environment = {name: value for name, value in {**head.environment, **changes}.items() if value}
    command = [str(BIN / "muster"), "jobs", "list", "--address", head.url]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    [line] = outcome.stderr.splitlines()
    assert line.startswith("muster: ")
    assert text in line
