from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.tasks.photos.best import CHANGED, EQUAL, PASSING, Copy, Shot, best, best_shot

PLAIN = Copy(
    image_id="a",
    uri="/album/a.jpg",
    pixels=12_000_000,
    format="jpeg",
    facts=2,
    size=4_000_000,
    modified=datetime(2019, 5, 4, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("worse", "reason"),
    [
        ({"pixels": 3_000_000}, "largest"),
        ({"format": "png"}, "in a camera's format"),
        ({"facts": 0}, "with date, camera or place"),
        ({"uri": "/album/a-edited.jpg"}, "not named as a copy or edit"),
        ({"uri": "/home/Downloads/a.jpg"}, "in no folder of downloads"),
        ({"size": 3_000_000}, "least compressed"),
        ({"modified": datetime(2020, 1, 1, tzinfo=UTC)}, "oldest file"),
        ({"modified": None}, "oldest file"),
        ({"pixels": 1, "facts": 0}, "largest"),
        ({}, EQUAL),
    ],
)
def test_the_better_copy_and_why(worse: dict, reason: str) -> None:
    other = replace(PLAIN, image_id="b", **worse)
    for copies in ([PLAIN, other], [other, PLAIN]):
        assert best(copies) == (PLAIN, reason)


def test_several_reasons() -> None:
    copies = [PLAIN, replace(PLAIN, image_id="b", pixels=9), replace(PLAIN, image_id="c", facts=0)]
    assert best(copies) == (PLAIN, "largest, with date, camera or place")


def test_raw_formats_of_phones_go_before_what_is_made_of_them() -> None:
    heic = replace(PLAIN, image_id="h", format="heic", size=1_000_000)
    assert best([PLAIN, heic]) == (heic, "in a camera's format")


def test_edges_that_were_cut_make_no_smaller_picture() -> None:
    cut = replace(PLAIN, image_id="b", pixels=int(PLAIN.pixels * 0.99), facts=3)
    assert best([PLAIN, cut]) == (cut, "with date, camera or place")


COPIES = st.builds(
    Copy,
    image_id=st.text("abc", min_size=1, max_size=3),
    uri=st.sampled_from(["/a/1.jpg", "/downloads/1.jpg", "/a/1 (2).jpg", "/a/2.jpg"]),
    pixels=st.integers(1, 100),
    format=st.sampled_from(["jpeg", "heic", "webp"]),
    facts=st.integers(0, 3),
    size=st.none() | st.integers(0, 100),
    modified=st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),
)


@given(st.lists(COPIES, min_size=1, max_size=6, unique_by=lambda copy: copy.image_id))
def test_the_order_does_not_count(copies: Sequence[Copy]) -> None:
    chosen, reason = best(copies)
    assert best(copies[::-1]) == (chosen, reason)
    assert chosen in copies
    assert reason


@pytest.mark.parametrize(
    "name",
    ["a-edited.jpg", "a (1).jpg", "a - Copy.jpg", "Copy of a.jpg", "a-bearbeitet.jpg", "IMG_E1234.JPG", "a_small.png"],
)
def test_names_of_copies(name: str) -> None:
    assert CHANGED.search(f"/album/{name}")


@pytest.mark.parametrize("name", ["Lisbon.jpg", "IMG_1234.jpg", "copyright.jpg", "smallville.jpg", "(1)/a.jpg"])
def test_names_of_originals(name: str) -> None:
    assert not CHANGED.search(f"/album/{name}")


def test_folders_that_photos_pass_through() -> None:
    assert all(PASSING.search(f"/home/{name}/a.jpg") for name in ("Downloads", ".Trash-1000", "WhatsApp Images", "tmp"))
    assert not any(PASSING.search(f"/home/{name}/a.jpg") for name in ("Pictures", "template", "Sentosa"))


SHOT = Shot(image_id="a", uri="/a/1.jpg", faces=1.5, sharpness=10.0)


@pytest.mark.parametrize(
    ("worse", "reason"),
    [
        ({"uri": "/a/IMG_E1.jpg", "sharpness": 99.0}, "not named as a copy or edit"),
        ({"faces": 0.7, "sharpness": 99.0}, "clearest faces"),
        ({"faces": 1.45, "sharpness": 9.0}, "sharpest"),
        ({}, EQUAL),
    ],
)
def test_the_photo_of_a_moment_and_why(worse: dict, reason: str) -> None:
    other = replace(SHOT, image_id="b", **worse)
    assert best_shot([SHOT, other]) == best_shot([other, SHOT]) == (SHOT, reason)
