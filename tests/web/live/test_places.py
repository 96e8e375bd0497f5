import subprocess
import sys

import numpy as np
import pytest

from muster.web.live import places
from muster.web.live.places import names_of

LISBON, SEA, UNKNOWN = (38.697, -9.206), (0.5, -30.0), (np.nan, np.nan)


def points(*each: tuple[float, float]) -> list[np.ndarray]:
    return list(np.array(each).T)


def test_a_place_is_called_by_its_city_and_by_all_that_is_known() -> None:
    assert names_of(*points(LISBON, SEA, UNKNOWN)) == [("Lisbon", "Ajuda, Lisbon, Portugal"), ("", ""), ("", "")]


def test_pages_of_many_photos_do_not_wait_for_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    names_of(*points(LISBON))  # has it read
    assert names_of(*points(LISBON), wait=False)[0][0] == "Lisbon"
    monkeypatch.setattr(places, "_reading", lambda: type("NotYet", (), {"done": lambda self: False})())
    assert names_of(*points(LISBON), wait=False) == [("", "")]


def test_nothing_is_read_where_no_photo_has_a_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_reading", lambda: pytest.fail("read"))
    assert names_of(*points(UNKNOWN, UNKNOWN)) == [("", ""), ("", "")]
    code = "import sys, muster.web.live.timeline; print('scipy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n", "a server that starts does not wait for scipy"
