"""A cluster's head in a process of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Head:
    """A cluster that runs. `url`: of its dashboard. `address`: as `muster run --address` takes it. `environment`: of a
    process that may use it. `sessions`: of its nodes' processes. `folder`: Ray's."""

    url: str
    address: str
    environment: dict[str, str]
    sessions: tuple[int, ...]
    folder: Path

    def workers(self) -> list[int]:
        """Processes that are Muster's worker actors."""
        return [pid for pid in processes("ray::_Actor") if os.getsid(pid) in self.sessions]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """`ray start --head` and a second node. Ended by their process groups: `ray stop` would end every Ray there is."""
    folder = tempfile.mkdtemp(prefix="muster-", dir="/tmp")  # sockets in it must have short names
    port, dashboard = free_port(), free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH")},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": os.environ["RAY_AUTH_TOKEN"],
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    own = ["--num-cpus=1", "--object-store-memory=80000000", "--metrics-export-port=0"]
    own += ["--dashboard-agent-listen-port=0", "--dashboard-agent-grpc-port=0"]
    first = ["--head", f"--port={port}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    first += [f"--ray-client-server-port={free_port()}", f"--temp-dir={folder}"]
    nodes: list[subprocess.Popen[bytes]] = []
    try:
        with open(f"{folder}/output", "wb") as output:
            for options in (first, [f"--address=127.0.0.1:{port}"]):
                command = [str(BIN / "ray"), "start", "--block", *own, *options]
                nodes.append(
                    subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
                )
                until(lambda: Path(f"{folder}/output").read_bytes().count(b"--block") == len(nodes))
        yield Head(
            f"http://127.0.0.1:{dashboard}",
            f"127.0.0.1:{port}",
            environment,
            tuple(node.pid for node in nodes),
            Path(folder),
        )
    finally:
        for node in reversed(nodes):
            with suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
            node.wait()
        until(lambda: not processes(folder))
        shutil.rmtree(folder, ignore_errors=True)


def processes(text: str) -> list[int]:
    """Processes whose command line has this text."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if text.encode() in file.read_bytes():
                found.append(int(file.parent.name))
    return found


def until(condition: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return value
