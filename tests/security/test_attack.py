"""benchmarks/attack.py in short: sixty attempts of two thousand, and what it takes to succeed."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import attack_judge
from benchmarks.attack_run import Outcome
from benchmarks.attack_tables import FORGED

ATTEMPTS = 60


@pytest.fixture(scope="module")
def facts(data: Path) -> Mapping[str, Any]:
    command = [sys.executable, "benchmarks/attack.py", "--attempts", str(ATTEMPTS)]
    environment = {**os.environ, "MUSTER_TEST_DATA": str(data)}
    home = Path(attack_judge.__file__).parents[1]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_every_command_works_where_nobody_attacks(facts: Mapping[str, Any]) -> None:
    assert facts["controls"] > 50
    assert facts["controls_failed"] == []


def test_no_attempt_succeeds(facts: Mapping[str, Any]) -> None:
    assert facts["attempts"] == ATTEMPTS
    assert facts["distinct"] > 0.9 * ATTEMPTS
    assert facts["first"] == []
    assert facts["succeeded"] == 0


def test_what_must_not_be_shown_is_found() -> None:
    """The judge itself can find for the attacker."""
    for text in ("\x1b[2J", "a\rb", "\x9b", "\u202e", "\u2066", "\x7f", "\t", "\udcff"):
        assert list(attack_judge.shown(Outcome(0, f"x {text}\n", ""))), ascii(text)
    assert list(attack_judge.shown(Outcome(0, "", f"muster: photo\n{FORGED[1]}.jpg is gone\n")))
    assert not list(attack_judge.shown(Outcome(0, "José, 照片, 2 images\n", "muster: “x” is gone\n")))


def test_formulas_are_told_from_numbers(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    for cell, bad in (
        ("=1+1", True),
        ("@SUM(1)", True),
        ("-2+3", True),
        ("\t=1", True),
        ("-2.5", False),
        ("'=1", False),
    ):
        file.write_text(f'a,b\n1,"{cell}"\n')
        assert bool(attack_judge.formulas(file)) is bad, cell


@pytest.mark.parametrize(
    ("code", "err", "ended"), [(-11, "", ""), (1, "Traceback (most recent call last):\n", ""), (0, "", "hung")]
)
def test_a_crash_counts(code: int, err: str, ended: str) -> None:
    assert list(attack_judge.broken(Outcome(code, "", err, ended)))
    assert not list(attack_judge.broken(Outcome(2, "", "muster: no library\n")))
