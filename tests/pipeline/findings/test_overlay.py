"""pipeline/findings/overlay.py: what is drawn where, and which photos."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.findings import STREETS, commit, dog, face, scanned, sky
from helpers.profiles import PROPHOTO
from muster.colour import in_srgb
from muster.errors import InputError
from muster.pipeline.findings.annotations import annotations_of
from muster.pipeline.findings.overlay import SIDES, TILE, _pixels, colour_of, drawn, overlay, sample, sheet, within
from muster.pipeline.work.choice import TaskChoice
from muster.storage.exchange.photo import AnnotatedPhoto, Finding
from muster.storage.library import LibraryFiles
from muster.storage.photos.reader import Reader
from muster.tasks.geometry import rle


@pytest.fixture
def photos(tmp_path: Path, make_photos: Callable[..., Path]) -> Path:
    return make_photos(tmp_path / "photos", range(20))


@pytest.fixture
def found(tmp_path: Path, photos: Path) -> LibraryFiles:
    library = scanned(tmp_path / "library", photos)
    commit(library, TaskChoice(name="objects").description, lambda i: [dog()])
    commit(library, STREETS, lambda i: [sky()])
    commit(library, TaskChoice(name="faces").description, lambda i: [face(i)])
    commit(library, TaskChoice(name="scenes").description, lambda i: [{"label": None, "source": "image"}])
    return library


def photo(width: int, height: int, *findings: Finding) -> AnnotatedPhoto:
    return AnnotatedPhoto("x", "/x.jpg", "x.jpg", width, height, findings)


def near(pixel: np.ndarray, colour: tuple[int, int, int]) -> bool:  # type: ignore[type-arg]
    return bool(np.abs(pixel.astype(int) - colour).max() < 3)


@pytest.mark.parametrize("ground", [0, 255])
def test_boxes_on_light_and_dark(ground: int) -> None:
    pixels = np.full((300, 400, 3), ground, np.uint8)
    thing = Finding("objects", "dog", 0.9, (100, 80, 300, 200))  # of a photo twice as large
    there = np.asarray(drawn(pixels, photo(800, 600, thing)))
    line = there[90, :, :]  # left and right side at x = 50 and 150
    for x in (51, 149):
        assert near(line[x], colour_of("dog"))
    for x in (49, 151):
        assert near(line[x], (0, 0, 0))
    assert (line[60:140] == ground).all()
    label = there[20:39, 50:80]  # above the box: black on the colour, or white
    assert any(near(pixel, colour_of("dog")) for pixel in label.reshape(-1, 3))
    assert len(np.unique(label.reshape(-1, 3), axis=0)) > 2


def test_masks_are_tinted_and_have_an_outline() -> None:
    pixels = np.full((120, 160, 3), 100, np.uint8)
    mask = np.zeros((60, 80), bool)
    mask[20:50, 20:60] = True
    thing = Finding("masks", "sky", None, (0, 0, 1, 1), rle.encode(mask))
    there = np.asarray(drawn(pixels, photo(160, 120, thing)))
    tint = 0.65 * 100 + 0.35 * np.array(colour_of("sky"))
    assert near(there[70, 80], tuple(tint))
    assert near(there[70, 40], colour_of("sky"))
    assert near(there[70, 39], (0, 0, 0))
    assert (there[110, 10] == 100).all()
    assert (pixels == 100).all()


def test_landmarks_and_scenes() -> None:
    pixels = np.full((300, 400, 3), 128, np.uint8)
    points = [(200.0, 150.0)]
    things = [
        Finding("faces", "face", 0.9, (150, 100, 250, 200), landmarks=points),
        Finding("scenes", "night", None, (0,) * 4, whole=True),
    ]
    there = np.asarray(drawn(pixels, photo(400, 300, *things)))
    assert near(there[150, 200], colour_of("face"))
    assert near(there[6, 6], (0, 0, 0))


def test_texts_lie_beside_one_another() -> None:
    """Three boxes in one place: each text has its own."""
    pixels = np.full((400, 400, 3), 128, np.uint8)
    labels = ("cat", "dog", "sheep")
    there = np.asarray(
        drawn(pixels, photo(400, 400, *(Finding("objects", n, 0.5, (100, 100, 300, 300)) for n in labels)))
    )
    grounds = [(np.abs(there.astype(int) - colour_of(name)).max(2) < 3).sum() for name in labels[:2]]
    assert min(grounds) > 300  # of the boxes under the last one nothing but the text is left


number = st.floats(-50, 2000)
things = st.lists(
    st.builds(
        Finding,
        task=st.sampled_from(["objects", "faces", "scenes"]),
        label=st.text(max_size=20),
        score=st.none() | st.floats(0, 1),
        box=st.tuples(number, number, number, number),
        landmarks=st.lists(st.tuples(number, number), max_size=5),
        whole=st.booleans(),
    ),
    max_size=6,
)


@settings(max_examples=50)
@given(st.integers(1, 300), st.integers(1, 300), things)
@example(
    1,
    1,
    [*[Finding("objects", "", None, (0, 0, 0, 0))] * 3, Finding("objects", "", None, (0, -2.999999999999993, 0, 0))],
)
@example(1, 2000, [Finding("objects", "dog", 0.5, (0, 0, 1, 2000))])
@example(2000, 1, [Finding("objects", "dog", 0.5, (0, 0, 2000, 1))])
def test_anything_can_be_drawn(width: int, height: int, found: list[Finding]) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    assert drawn(within(pixels, 1, TILE), photo(width, height, *found)).width <= TILE


def test_sizes_of_pictures() -> None:
    for (height, width), (tall, wide) in {
        (300, 400): (480, 640),
        (1000, 900): (1000, 900),
        (3, 9000): (1, 1280),
    }.items():
        assert within(np.zeros((height, width, 3), np.uint8), *SIDES).shape == (tall, wide, 3)


def test_a_class_has_one_colour() -> None:
    assert colour_of("dog") == colour_of("dog") != colour_of("cat")
    assert colour_of("person") == (203, 255, 38)  # of one version and the next


def test_the_sheet() -> None:
    assert sheet([]).size == (TILE, TILE)
    assert sheet([Image.new("RGB", (TILE, 9))] * 5).size == (3 * TILE, 2 * TILE)


def test_the_sample_is_random_and_always_the_same(found: LibraryFiles) -> None:
    annotations = annotations_of(found, ("objects",), {})
    first, second, other = ([p.name for p in sample(annotations, 8, seed)] for seed in (0, 0, 1))
    assert first == second == sorted(first) != other
    assert len(set(first)) == 8
    assert len(sample(annotations, 100, 0)) == 20


def test_overlay(found: LibraryFiles, photos: Path, tmp_path: Path, snapshot: Callable[[Path], object]) -> None:
    for path in sorted(photos.iterdir())[:2]:
        path.unlink()
    before = snapshot(photos), snapshot(tmp_path / "library")
    facts = overlay(found.uri, tmp_path / "out", (), {}, 20, 0)
    assert (facts["images"], facts["things"], len(facts["unreadable"])) == (18, 4 * 18, 2)
    assert "no such file" in facts["unreadable"][0]["error"]
    assert {source["task"] for source in facts["sources"]} == {"scenes", "masks", "objects", "faces"}
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == [*(f"{i:03d}-{i + 1:04d}.jpg" for i in range(1, 19)), "overview.jpg"]
    with Image.open(tmp_path / "out" / "001-0002.jpg") as picture:
        assert picture.size == (640, 480)
    with Image.open(facts["overview"]) as picture:
        assert picture.size == (5 * TILE, 4 * TILE)
    assert (snapshot(photos), snapshot(tmp_path / "library")) == before
    with pytest.raises(InputError, match="is not overwritten"):
        overlay(found.uri, tmp_path / "out", (), {}, 20, 0)


def test_nothing_to_draw(photos: Path, tmp_path: Path) -> None:
    library = scanned(tmp_path / "library", photos)
    with pytest.raises(InputError, match="has nothing to draw yet: `run` first"):
        overlay(library.uri, tmp_path / "out", (), {}, 20, 0)
    assert not (tmp_path / "out").exists()


def test_a_photo_is_drawn_upon_in_the_colours_that_its_profile_means(tmp_path: Path) -> None:
    path = tmp_path / "wide.jpg"
    Image.new("RGB", (40, 30), (150, 120, 100)).save(path, quality=95, icc_profile=PROPHOTO)
    drawing = replace(photo(40, 30), uri=str(path))
    pixels = _pixels(Reader(), drawing)
    assert near(pixels[0, 0], tuple(in_srgb(np.full((1, 1, 3), (150, 120, 100), np.uint8), PROPHOTO)[0, 0]))
    assert not near(pixels[0, 0], (150, 120, 100))
