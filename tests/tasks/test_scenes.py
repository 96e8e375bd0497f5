"""tasks/scenes.py: the sun, the rule of who speaks, and the task with the weights that are shipped."""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muster.pipeline.work.choice import TaskChoice
from muster.storage import tables
from muster.storage.library import open_library
from muster.storage.manifest import scan
from muster.tasks.base import Image, Task
from muster.tasks.scenes import (
    SCHEMA,
    SceneParameters,
    agreed,
    from_pixels,
    from_sun,
    sun_elevation,
    sun_range,
    thumbnail,
)

RULE = SceneParameters()
MEAN_SUN = np.zeros(1)


@pytest.fixture(scope="module")
def task() -> Task:
    return TaskChoice(name="scenes").load(torch.device("cpu"), None)


def elevation(clock: datetime, latitude: float) -> float:
    return float(sun_elevation(clock, np.array([latitude]), MEAN_SUN)[0])


def test_declination() -> None:
    """Seen from the pole the sun is as high as its declination: Meeus, Astronomical Algorithms, example 25.a."""
    assert elevation(datetime(1992, 10, 13), 90) == pytest.approx(-7.785, abs=0.3)


@pytest.mark.parametrize(
    ("day", "minutes"),
    [
        (datetime(1992, 10, 13), -13.7),  # Meeus, example 28.a: the equation of time is 13 min 42.6 s
        (datetime(2026, 11, 3), -16.4),  # its extremes of the year
        (datetime(2026, 2, 11), 14.2),
    ],
)
def test_noon_by_the_sun(day: datetime, minutes: float) -> None:
    ahead = np.linspace(-0.5, 0.5, 721)  # hours
    highest = sun_elevation(day + timedelta(hours=12), np.array([30.0]), ahead).argmax()
    assert -ahead[highest] * 60 == pytest.approx(minutes, abs=0.7)


@pytest.mark.parametrize(
    ("clock", "latitude", "degrees"),
    [
        (datetime(2026, 6, 21, 12), 51.48, 90 - 51.48 + 23.44),
        (datetime(2026, 12, 21, 12), 51.48, 90 - 51.48 - 23.44),
        (datetime(2026, 12, 21, 12), -33.9, 90 - 33.9 + 23.44),
        (datetime(2026, 6, 21, 0), 51.48, 51.48 + 23.44 - 90),
    ],
)
def test_the_solstices(clock: datetime, latitude: float, degrees: float) -> None:
    assert elevation(clock, latitude) == pytest.approx(degrees, abs=0.3)


def test_a_clock_ahead_of_the_sun() -> None:
    late = sun_elevation(datetime(2026, 3, 20, 18), np.array([40.0]), np.array([2.0]))
    assert late[0] == pytest.approx(elevation(datetime(2026, 3, 20, 16), 40.0), abs=0.05)


@pytest.mark.parametrize(
    ("taken_at", "latitude", "label"),
    [
        (datetime(2026, 6, 21, 13, 5), 48.9, "day"),
        (datetime(2026, 6, 21, 16, 5), 48.9, "day"),
        (datetime(2026, 6, 21, 16, 5), None, None),  # in Ushuaia the sun may be down by then
        (datetime(2026, 3, 20, 13, 5), None, "day"),
        (datetime(2026, 3, 20, 1, 30), None, "night"),
        (datetime(2026, 1, 10, 23, 10), 48.9, "night"),
        (datetime(2026, 1, 10, 17, 10), 48.9, None),  # dusk
        (datetime(2026, 6, 21, 1, 10), 69.6, "day"),  # the midnight sun of Tromsø
        (datetime(2026, 12, 21, 12, 30), 69.6, None),  # noon there in the polar night is twilight
        (datetime(2026, 6, 21, 1, 10), -33.9, "night"),
        (datetime(2026, 6, 21), -33.9, None),  # midnight to the second: a date alone
        (datetime(2026, 3, 20, 12), 48.9, None),
        (None, 48.9, None),
    ],
)
def test_what_the_clock_says(taken_at: datetime | None, latitude: float | None, label: str | None) -> None:
    low, high = sun_range(taken_at, latitude, RULE)
    assert from_sun(low, high, RULE) == label
    assert (low is None) == (high is None) == (taken_at is None or taken_at.second == taken_at.minute == 0)


def test_where_the_latitude_is_not_known_more_is_possible() -> None:
    for hour in range(24):
        clock = datetime(2026, 9, 1, hour, 30)
        low, high = sun_range(clock, None, RULE)
        at_home = sun_range(clock, 47.0, RULE)
        assert low is not None
        assert high is not None
        assert low <= at_home[0] <= at_home[1] <= high


def test_the_band_in_which_the_network_is_not_sure() -> None:
    said = [from_pixels(p, RULE) for p in (0.0, RULE.night_below, 0.5, RULE.day_above, 1.0)]
    assert said == ["night", "night", None, "day", "day"]


@pytest.mark.parametrize(
    ("pixels", "exif", "answer"),
    [
        ("day", "day", ("day", "both")),
        ("night", "night", ("night", "both")),
        ("day", None, ("day", "pixels")),
        (None, "night", ("night", "exif")),
        ("night", "day", (None, "none")),  # indoors, or a wrong clock: who is right cannot be told
        ("day", "night", (None, "none")),
        (None, None, (None, "none")),
    ],
)
def test_who_speaks(pixels: str | None, exif: str | None, answer: tuple[str | None, str]) -> None:
    assert agreed(pixels, exif) == answer


def test_a_thumbnail_is_the_mean_of_areas() -> None:
    blocks = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    large = blocks.repeat(3, 0).repeat(5, 1).astype(int)
    large[::3] += 9  # and a pattern that is gone in the mean
    large[1::3] -= 9
    small = thumbnail(large.clip(0, 255).astype(np.uint8))
    inner = (blocks > 9) & (blocks < 246)
    assert np.abs(small.astype(int) - blocks)[inner].max() <= 1
    assert (thumbnail(np.full((1, 1, 3), 77, np.uint8)) == 77).all()
    assert thumbnail(blocks) is blocks


def test_rows(task: Task) -> None:
    """A pale sky over something chequered, and darkness with a lamp. The clock agrees, is silent, and contradicts."""
    day = np.full((90, 160, 3), (200, 220, 250), np.uint8)
    day[45:] = np.random.default_rng(0).integers(30, 190, (15, 40, 1)).repeat(3, 0).repeat(4, 1)
    night = np.full((90, 160, 3), 6, np.uint8)
    night[40:48, 70:80] = (255, 210, 140)
    noon = datetime(2026, 3, 20, 13, 5)
    rows = task(
        [
            Image("a", day, 1.0, (160, 90), noon, 48.9, 2.3),
            Image("b", night, 1.0, (160, 90)),
            Image("c", night, 1.0, (160, 90), noon),
        ]
    )
    assert rows.schema == SCHEMA
    assert rows["source"].to_pylist() == ["both", "pixels", "none"]
    assert rows["label"].to_pylist() == ["day", "night", None]
    assert rows["exif_label"].to_pylist() == ["day", None, "day"]
    assert rows["p_day"].to_pylist() == pytest.approx(sorted(rows["p_day"].to_pylist(), reverse=True), abs=1e-6)
    assert rows["sun_low"].to_pylist()[1] is None


def test_a_run_hands_the_camera_s_clock_on(
    data: Path, tmp_path: Path, weights: Path, work: Callable[..., list[dict[str, Any]]]
) -> None:
    (tmp_path / "photos").mkdir()
    shutil.copy(data / "photos/phone/Apple_iPhone_6_plus.jpg", tmp_path / "photos")
    scan(open_library(tmp_path / "library", create=True), [str(tmp_path / "photos")])
    work(tmp_path / "library", weights, tasks=("scenes",))
    library = open_library(tmp_path / "library")
    (fingerprint,) = (key for key, facts in tables.descriptions(library).items() if facts["task"] == "scenes")
    found = tables.read(library, "scenes", fingerprint)
    assert found is not None
    (row,) = found.to_pylist()
    assert (row["label"], row["source"], row["exif_label"]) == ("day", "both", "day")
    assert 10 < row["sun_low"] <= row["sun_high"] < 30  # 31 October in London, 13:32
