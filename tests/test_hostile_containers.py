"""benchmarks/hostile_containers.py in short: mutants of archives and Parquet files, and what it counts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import hostile_containers


def test_mutants_are_refused_or_have_a_row_for_each_image() -> None:
    command = [sys.executable, hostile_containers.__file__, "--mutants", "12", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True)
    facts = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert set(facts) == set(hostile_containers.KINDS)
    for counts in facts.values():
        assert counts["lost"] == []
        assert counts["rows_wrong"] == 0
        assert counts["refused"] + counts["read"] + counts["errors"] > 12


def test_what_takes_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile_containers.tar(tmp_path / "a.tar")
    monkeypatch.setattr(hostile_containers, "LIMIT", 0)
    assert hostile_containers.through([tmp_path / "a.tar"])[1] == ["a.tar"]
