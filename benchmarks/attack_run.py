"""Commands for `benchmarks/attack.py`, each in a fork that is watched, with workers in the same process."""

import os
import resource
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.attack_world import DATA, HOME, World

LIMIT, IDLE = 60, 10  # seconds of the processor, and without it, after which a command hangs; also 3 * LIMIT in all
MEMORY = 4 << 30  # bytes of address space for a command, beyond what it was forked with
KEY = "bXVzdGVyIGF0dGFjayBiZW5jaG1hcmsga2V5IG9mIDE="
LISTENERS: list[socket.socket] = []  # of this process, at one port


@dataclass(frozen=True)
class Outcome:
    """`code`: negative where a signal ended it. `ended`: why it was stopped from here, if it was."""

    code: int
    out: str
    err: str
    ended: str = ""

    @property
    def said(self) -> set[str]:
        return {line for line in self.err.splitlines() if line.startswith("muster: ")}


def run(world: World, argv: Sequence[str], ray: bool = False) -> Outcome:
    """One command in a fork of this process, watched."""
    streams = [world.root / name for name in ("stdout", "stderr")]
    pid = os.fork()
    if not pid:
        obey(world, argv, streams, ray)
    ended = watch(pid, ray)
    _, status = os.waitpid(pid, 0)
    texts = [stream.read_bytes().decode(errors="surrogateescape") if stream.exists() else "" for stream in streams]
    for stream in streams:
        stream.unlink(missing_ok=True)
    return Outcome(os.waitstatus_to_exitcode(status), *texts, ended)


def watch(pid: int, ray: bool) -> str:
    """Wait for its end; or end it, where it hangs or calls one of the listeners."""
    began, worked, used = time.monotonic(), time.monotonic(), -1
    end = os.pidfd_open(pid)
    try:
        while True:
            ready = select.select([end, *LISTENERS], [], [], 0.5)[0]
            if end in ready:
                return ""
            now, ticks = time.monotonic(), processor_time(pid)
            if ticks != used or ray:
                worked, used = now, ticks
            hangs = now - began > 3 * LIMIT or now - worked > IDLE or ticks > LIMIT * os.sysconf("SC_CLK_TCK")
            if ready or hangs:
                os.killpg(pid, signal.SIGKILL)
                return "connected" if ready else "hung"
    finally:
        os.close(end)
        for listener in LISTENERS:
            drain(listener)


def processor_time(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def listen() -> int:
    """At both loopback addresses; the port."""
    if not LISTENERS:
        LISTENERS.append(socket.create_server(("127.0.0.1", 0)))
        port = LISTENERS[0].getsockname()[1]
        LISTENERS.append(socket.create_server(("::1", port), family=socket.AF_INET6))
        for listener in LISTENERS:
            listener.setblocking(False)
    return int(LISTENERS[0].getsockname()[1])


def drain(listener: socket.socket) -> None:
    try:
        while True:
            listener.accept()[0].close()
    except BlockingIOError:
        pass


def obey(world: World, argv: Sequence[str], streams: Sequence[Path], ray: bool) -> None:
    """In the fork: become that command. Does not return."""
    code = 70
    try:
        os.setsid()
        os.chdir(world.tmp)
        for number, path in zip((0, 1, 2), (Path("/dev/null"), *streams), strict=True):
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC if number else os.O_RDONLY, 0o600)
            os.dup2(file, number)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        surroundings(world)
        if not ray:
            size = 4096 * int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
            work_here()
        code = command(argv)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        os.write(2, traceback.format_exc().encode(errors="backslashreplace"))
    finally:
        os._exit(code)


def surroundings(world: World) -> None:
    os.umask(0o022)
    os.environ.clear()
    os.environ |= {
        "PATH": "/usr/bin:/bin", "PYTHONPATH": str(HOME), "HOME": str(world.home), "TMPDIR": str(world.tmp),
        "MUSTER_CACHE": str(world.cache), "XDG_CACHE_HOME": str(world.cache), "MPLCONFIGDIR": str(world.cache),
        "AWS_ACCESS_KEY_ID": "AKIAVICTIM", "AWS_SECRET_ACCESS_KEY": "victim", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "eu-central-1", "OMP_NUM_THREADS": "1", "TERM": "dumb", "RAY_USAGE_STATS_ENABLED": "0",
        **key_of(world),
    }  # fmt: skip
    if (DATA / "weights").is_dir():
        os.environ["MUSTER_WEIGHTS"] = str(DATA / "weights")
    tempfile.tempdir = None


def key_of(world: World) -> dict[str, str]:
    return {"MUSTER_KEY": KEY} if world.encrypted else {}


def work_here() -> None:
    """Workers in this process instead of in Ray."""

    from muster.errors import MusterError
    from muster.pipeline import run
    from muster.pipeline.distributed import actors
    from muster.pipeline.work.worker import ShardWorker

    def work(library: Any, config: Any, orders: Any, progress: Any, on_progress: Any, trace: Any) -> int:
        progress.ready = time.monotonic()
        worker = ShardWorker(library.uri, config.choices, "cpu", config.machine.weights_dir)
        for order in orders:
            try:
                progress.add(worker.process(order))
            except Exception as error:
                raise MusterError(f"1 of {len(orders)} shards failed; {order.shard}: {error}") from None
        return 1

    run._work = work
    actors.connected, actors.check_reach = lambda *_: nullcontext(), lambda *_: None


def command(argv: Sequence[str]) -> int:
    from muster.pipeline.cli import main

    sys.argv = ["muster", *argv]
    try:
        main.main()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0
