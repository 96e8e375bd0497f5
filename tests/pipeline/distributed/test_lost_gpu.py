"""A GPU that is lost in a run, as torch says it: by a task that raises what torch raises, in real workers on CPUs."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import muster
from helpers.packages import write

Run = Callable[..., tuple[subprocess.CompletedProcess[str], Any]]
# As CUDA does: after the first failure all that a process asks of the GPU fails.
TASK = """
import os
from pathlib import Path
import pyarrow as pa
import torch
from muster.tasks.base import IMAGE_ID, Findings, Task

FOLDER, BAD = Path(os.environ["LOST"]), os.environ.get("BAD")
lost = []


def fail():
    (FOLDER / str(os.getpid())).touch()
    lost.append(True)
    raise torch.AcceleratorError("CUDA error: unspecified launch failure")


class Means(Task):
    name = "means"
    version = 1
    schema = pa.schema([IMAGE_ID, pa.field("mean", pa.float32())])
    max_side = 64
    findings = Findings(noun="mean")

    def load(self, device, weights):
        if os.environ.get("GONE") and any(FOLDER.iterdir()):
            raise RuntimeError("No CUDA GPUs are available")

    def __call__(self, images):
        if lost or (not BAD and not any(FOLDER.iterdir())) or any(i.sha256 == BAD for i in images):
            fail()
        return pa.table([[i.image_id for i in images], [float(i.pixels.mean()) for i in images]], self.schema)
"""


@pytest.fixture
def run(tmp_path: Path, make_photos: Callable[..., Path]) -> Run:
    """`muster run` over two photos in a process of its own; how it ended, and the rows of `muster errors`."""
    site = write(tmp_path / "site", "muster-means", {"muster.tasks:means": "muster_means:Means"}, TASK)
    library = muster.open(tmp_path / "L", create=True)
    library.scan(make_photos(tmp_path / "photos", range(2)))
    (tmp_path / "lost").mkdir()

    def both(**environment: str) -> tuple[subprocess.CompletedProcess[str], Any]:
        env = {**os.environ, "PYTHONPATH": str(site), "LOST": str(tmp_path / "lost"), **environment}
        options = ["--tasks", "means", "--device", "cpu", "--workers", "1", "--json"]
        command = [sys.executable, "-m", "muster", "run", "-l", tmp_path / "L", *options]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        return done, library.errors().to_pylist()

    return both


def test_what_the_worker_held_is_done_by_the_next_one(run: Run, tmp_path: Path) -> None:
    done, errors = run()
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert (facts["rows"], facts["errors"], errors) == ({"means": 2}, 0, [])
    assert len(os.listdir(tmp_path / "lost")) == 1


def test_a_photo_that_loses_it_each_time_is_found(run: Run, tmp_path: Path) -> None:
    """By the processes that end: in one that lived on, the other photo would have failed too."""
    bad = tmp_path / "photos" / "0001.jpg"
    done, errors = run(BAD=hashlib.sha256(bad.read_bytes()).hexdigest())
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert (facts["rows"], facts["errors"]) == ({"means": 1}, 1)
    assert {(row["uri"], row["error_kind"]) for row in errors} == {(str(bad), "crash")}
    assert len(os.listdir(tmp_path / "lost")) > 2


def test_a_gpu_that_is_gone_for_good_ends_the_run_and_no_photo_is_blamed(run: Run) -> None:
    done, errors = run(GONE="yes")
    assert (done.returncode, done.stdout, errors) == (1, "", [])
    assert "workers cannot start: " in done.stderr
    assert "No CUDA GPUs are available" in done.stderr
    assert "Traceback" not in done.stderr
