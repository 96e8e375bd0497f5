"""benchmarks/chaos.py in short, examples/plugin too: one seed, 96 photos, one worker killed; not 3, 2,000, eight.

A third of them each is a file, in a tar, and on a web server.
"""

import copy
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import chaos

IMAGES = 96
ROWS: chaos.Rows = {
    ("images/f", "a"): [{"image_id": "a", "status": "ok"}],
    ("images/f", "b"): [{"image_id": "b", "status": "error"}],
}


@pytest.fixture(scope="module")
def facts(data: Path, plugin_site: Path) -> Mapping[str, Any]:
    command = [sys.executable, chaos.__file__, "--short", "--seeds", "1", "--first-seed", "1", "--images", str(IMAGES)]
    command += ["--workers", "1", "--tasks", "faces,previews,colours", "--sources", "folder,tar,http"]
    environment = {**os.environ, "MUSTER_TEST_DATA": str(data), "PYTHONPATH": str(plugin_site)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_no_row_is_lost_nor_one_of_a_plugin_whatever_is_killed(facts: Mapping[str, Any]) -> None:
    assert facts["killed"] == {"workers": 1, "nodes": 1, "drivers": 1}
    assert (facts["lost_rows"], facts["extra_rows"], facts["differing_rows"]) == (0, 0, 0)
    rows = "images, previews and faces of photos that show one face each, and colours of half of them"
    assert facts["rows"] >= 3 * IMAGES - 10 + IMAGES // 2, rows


def test_the_comparison_sees_every_difference() -> None:
    assert chaos.compare(ROWS, copy.deepcopy(ROWS)).total() == 0
    lost, twice, other = copy.deepcopy(ROWS), copy.deepcopy(ROWS), copy.deepcopy(ROWS)
    del lost["images/f", "a"]
    twice["images/f", "a"] *= 2
    other["images/f", "b"][0]["status"] = "ok"
    assert +chaos.compare(ROWS, lost) == {"lost": 1}
    assert +chaos.compare(lost, ROWS) == {"extra": 1}
    assert +chaos.compare(ROWS, twice) == {"extra": 1}
    assert +chaos.compare(ROWS, other) == {"differing": 1}


def test_what_goes_wrong_depends_on_the_seed_alone() -> None:
    plans = [chaos.plan(random.Random(seed), 64, 8) for seed in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]
    for actions in plans:
        names = [action.__name__ for _, action in actions]
        assert sorted(names) == ["add_node", "kill_driver", *["kill_worker"] * 8, "remove_node"]
        assert names.index("remove_node") < names.index("add_node")
        assert max(point for point, _ in actions) < 64
