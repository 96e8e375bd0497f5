"""benchmarks/hostile.py in short: every broken file there is, and some mutants of real photos, through a worker."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import chaos, hostile
from muster.storage.photos.rendered import MAX_MEMORY

MUTANTS = 150
# One image is decoded at a time, within MAX_MEMORY. On top come the images that are ready (at most 32 for the tasks and
# 16 ahead, 512 × 512 here), the files read ahead, and what the allocator does not give back.
MORE_MIB = 256


def run(data: Path, mutants: int, more: Mapping[str, str], *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and figures of the benchmark."""
    command = [sys.executable, hostile.__file__, "--mutants", str(mutants), "--tasks", "previews", *options]
    environment = {**os.environ, "MUSTER_TEST_DATA": str(data), **more}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def facts(data: Path) -> dict[str, Any]:
    return run(data, MUTANTS, {})[1]


def test_no_file_ends_a_worker_and_each_has_one_row(facts: Mapping[str, Any], data: Path) -> None:
    assert (facts["workers_lost"], facts["lost_over"]) == (0, {})
    assert facts["images"] == facts["rows"] == len(list((data / "broken").iterdir())) + MUTANTS
    assert (facts["lost_rows"], facts["extra_rows"]) == (0, 0)
    assert {"ok", "corrupt", "truncated"} <= facts["kinds"].keys()


def test_camera_raw_and_jpeg_xl_too(data: Path) -> None:
    for package in ("rawpy", "pillow_jxl"):
        pytest.importorskip(package, reason=f"{package} is an extra")
    code, facts = run(data, 60, {}, "--of", ".dng,.jxl")
    assert (code, facts["workers_lost"], facts["lost_over"]) == (0, 0, {})
    assert facts["images"] == facts["rows"] == 60
    assert {"ok", "corrupt", "truncated"} <= facts["kinds"].keys()


def test_memory_is_bounded(facts: Mapping[str, Any]) -> None:
    rise = facts["peak_mib"] - facts["started_mib"]
    assert rise > MAX_MEMORY / 2**20 / 2, "the 200 MP photo alone takes that: it was not measured"
    assert rise < MAX_MEMORY / 2**20 + MORE_MIB, f"by {facts['largest']} at last"


def test_the_slowest_image_is_named(facts: Mapping[str, Any], data: Path) -> None:
    assert facts["slowest"] in {path.name for path in (data / "broken").iterdir()} or "-" in facts["slowest"]
    assert 0 < facts["slowest_seconds"] < hostile.LIMIT


def test_mutants_are_other_photos_and_the_same_for_a_seed(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    photo = (make_photos(tmp_path / "photos", range(1)) / "0000.jpg").read_bytes()
    for mutation in (hostile.flip, hostile.cut, hostile.splice):
        mutants = [mutation(photo, photo[::-1], random.Random(seed)) for seed in (1, 1, 2)]
        assert mutants[0] == mutants[1] != mutants[2]
        assert photo not in mutants


def test_a_file_that_ends_a_worker_is_named_and_has_its_row(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    """The measurement itself can fail: here a decoder reads address 0."""
    photos = make_photos(tmp_path / "data/photos/groups", range(12))
    (tmp_path / "data/photos/formats").mkdir()
    (tmp_path / "data/photos/phone").mkdir()
    for name, mark in (("well.jpg", b"well"), ("bad.jpg", chaos.MARKS["crash"])):
        (tmp_path / "data/broken").mkdir(exist_ok=True)
        (tmp_path / "data/broken" / name).write_bytes(chaos.marked((photos / "0001.jpg").read_bytes(), mark))
    (tmp_path / "faults").mkdir()
    code, facts = run(tmp_path / "data", 10, chaos.environment(tmp_path / "faults"))
    assert (code, facts["workers_lost"], facts["lost_over"]) == (1, 1, {"bad.jpg": -signal.SIGSEGV})
    assert (facts["images"], facts["rows"], facts["kinds"]["crash"]) == (12, 12, 1)
