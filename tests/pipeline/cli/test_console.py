"""pipeline/cli/console.py: what goes to stdout, and what does not. Each in a process of its own: descriptors are."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muster.storage.library import open_library
from muster.storage.manifest import scan

COMMAND = [sys.executable, "-P", "-c", "from muster.pipeline.cli.main import main; main()"]
NOISE = """
import ctypes, os, subprocess, sys
print("of Python")
os.write(1, b"of a library\\n")
ctypes.CDLL(None).puts(b"of C")
ctypes.CDLL(None).fflush(None)
subprocess.run(["echo", "of a process"])
subprocess.Popen(["sh", "-c", "sleep 0.3; echo of one that outlives us"])
"""
SAID = ["of Python", "of a library", "of C", "of a process"]


def run(code: str, **streams: Any) -> "subprocess.CompletedProcess[str]":
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    begin = "from muster.pipeline.cli import console\nconsole.prepare()\nconsole.keep_stdout()\n"
    return subprocess.run([sys.executable, "-u", "-c", begin + code], text=True, **streams)


@pytest.mark.parametrize(("as_json", "result"), [(True, '{"a": "\\u00e4"}\n'), (False, "ä\n")], ids=["json", "text"])
def test_results_alone_are_on_stdout(as_json: bool, result: str) -> None:
    done = run(f'{NOISE}\nconsole.report({{"a": "ä"}}, {as_json}, "ä")\n{NOISE}')
    assert (done.returncode, done.stdout) == (0, result)
    assert set(done.stderr.splitlines()) >= {*SAID, "of one that outlives us"}


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(("left", "said"), [(90.4, "90 s left"), (3750.4, "1:02:30 left")])
def test_the_time_left_is_the_same_on_a_terminal_and_elsewhere(terminal: bool, left: float, said: str) -> None:
    code = f"""
from types import SimpleNamespace
with console.progress() as show:
    show(SimpleNamespace(total=1000, images=100, under_way=20, errors=1, rows={{}}, pace=4.0, left={left}))
"""
    reader, writer = os.openpty() if terminal else os.pipe()
    try:
        assert run(code, stderr=writer, env={**os.environ, "TERM": "xterm", "COLUMNS": "150"}).returncode == 0
        text = os.read(reader, 1 << 16).decode()
    finally:
        os.close(reader)
        os.close(writer)
    assert f"120/1,000 images, 4.0/s, 1 error, {said}" in text


def test_the_log_of_a_job_is_a_result_where_no_json_is_asked_for() -> None:
    assert run('console.pass_on("a\\nb", False)').stdout == "a\nb"
    done = run('console.pass_on("a\\nb", True)\nconsole.report({}, True)')
    assert (done.stdout, done.stderr) == ("{}\n", "a\nb")


def test_what_goes_wrong_with_stdout_is_an_exit_code_and_no_traceback() -> None:
    show = [*COMMAND, "models", "list"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(show, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "muster: the result could not be printed: No space left on device\n")
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *show], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "muster: stdout is closed: the result could not be printed\n")
    left, right = os.pipe()
    os.close(left)
    done = subprocess.run(show, stdout=right, stderr=subprocess.PIPE, text=True)
    os.close(right)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_without_stderr_a_command_goes_on(redirected: str) -> None:
    for arguments, code, lines in ((["models", "list", "--json"], 0, 1), (["status", "-l", "/none"], 2, 0)):
        shell = ["sh", "-c", f'exec "$@" {redirected}', "sh", *COMMAND, *arguments]
        done = subprocess.run(shell, stdout=subprocess.PIPE, text=True)
        assert (done.returncode, len(done.stdout.splitlines())) == (code, lines)


def test_no_file_takes_the_place_of_a_descriptor_that_is_closed(tmp_path: Path) -> None:
    """Whatever C prints would go into it."""
    code = f"import os\nwith open({str(tmp_path / 'photo')!r}, 'wb') as file:\n os.write(1, b'noise')"
    script = f"from muster.pipeline.cli import console\nconsole.prepare()\nconsole.keep_stdout()\n{code}"
    subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", script])
    assert (tmp_path / "photo").read_bytes() == b""


def test_help_is_a_result() -> None:
    done = subprocess.run([*COMMAND, "run", "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--retry-errors" in done.stdout


def workers(process: int) -> list[int]:
    """Ray's workers below it."""
    parents, names = {}, {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            begin, _, rest = file.read_text().rpartition(")")
        except OSError:
            continue
        parents[int(file.parent.name)], names[int(file.parent.name)] = int(rest.split()[1]), begin
    return [pid for pid, name in names.items() if "ray::_Actor" in name and parents.get(parents[pid]) == process]


def test_a_worker_that_is_killed_leaves_stdout_to_the_json(tmp_path: Path, make_photos: Callable[..., Path]) -> None:
    """Ray says so there, in colour, with escapes that no JSON has."""
    scan(open_library(tmp_path / "L", create=True), [str(make_photos(tmp_path / "photos", range(24)))])
    command = [*COMMAND, "run", "-l", str(tmp_path / "L"), "--tasks", "previews", "--workers", "1", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        deadline = time.monotonic() + 120
        while not (found := workers(process.pid)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(found[0], signal.SIGKILL)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["images"] == 24
    assert len(out.splitlines()) == 1
