import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.fixtures import Outcome
from helpers.published import save
from helpers.seen import seen
from helpers.vectors import embeddings_of
from helpers.words import seen_by
from muster.storage.library import open_library

Muster = Callable[..., Outcome]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "Lisbon trip").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0132] = exif.get_ifd(0x8769)[0x9003] = "2019:05:03 10:00:00"
    Image.new("RGB", (40, 30), "red").save(folder / "Lisbon trip" / "beach\x1b.jpg", exif=exif)
    Image.new("RGB", (40, 30), "blue").save(folder / "beach.png")
    seen(tmp_path / "L", folder)
    return tmp_path / "L"


def test_a_line_for_each_photo_and_what_was_understood_beside(muster: Muster, library: Path) -> None:
    outcome = muster("search", "in:lisbon -beach.png", "-l", library)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{library.parent}/photos/Lisbon trip/beach\\x1b.jpg\t2019-05-03 10:00\n"
    assert outcome.err == "muster: 1 photo: folder lisbon, not file beach.png\n"


def test_as_json(muster: Muster, library: Path) -> None:
    facts = json.loads(muster("search", "beach 2019", "-l", library, "--json").out)
    assert (facts["photos"], facts["unknown"]) == (1, [])
    assert [each["meanings"] for each in facts["understood"]] == [
        [{"field": "file", "text": "beach"}],
        [{"field": "date", "text": "2019"}],
    ]
    assert facts["results"][0]["taken_at"] == "2019-05-03 10:00:00"


def test_a_wrong_word_names_the_nearest(muster: Muster, library: Path) -> None:
    outcome = muster("search", "lisbom", "-l", library)
    assert (outcome.code, outcome.out) == (1, "")
    assert "no `lisbom` here; did you mean `lisbon`?" in outcome.err
    outcome = muster("search", "lisbom", "-l", library, "--json")
    assert (outcome.code, json.loads(outcome.out)["unknown"][0]["suggestions"]) == (1, ["lisbon"])


def test_words_of_logic_say_what_to_type_instead(muster: Muster, library: Path) -> None:
    outcome = muster("search", "beach without 2019", "-l", library)
    assert (outcome.code, outcome.out) == (1, "")
    assert 'muster: "without" is not understood: -word leaves photos out\n' in outcome.err


def test_a_query_that_begins_with_a_minus_comes_last(muster: Muster, library: Path) -> None:
    assert muster("search", "-l", library, "--", "-2019").out == f"{library.parent}/photos/beach.png\n"


def test_bad_input(muster: Muster, library: Path, tmp_path: Path) -> None:
    for arguments, text in {
        ("x " * 65, "-l", library): "at most 64",
        ("x", "-l", tmp_path / "none"): "`muster scan",
        ("-l", library): "say what to look for: QUERY, or --like PHOTO",
        ("x", "--like", "beach.png", "-l", library): "--tasks features` first",
        ("--like", "beach.png", "--most", 0, "-l", library): "--most 0: at least 1",
    }.items():
        outcome = muster("search", *arguments)
        assert outcome.code == 2
        assert text in outcome.err


def test_before_a_run(muster: Muster, library: Path, tmp_path: Path) -> None:
    assert muster("scan", library.parent / "photos", "-l", tmp_path / "new").code == 0
    outcome = muster("search", "x", "-l", tmp_path / "new")
    assert outcome.code == 2
    assert "`muster run" in outcome.err


def test_photos_like_one(muster: Muster, library: Path) -> None:
    assert embeddings_of(open_library(library), lambda name: np.array([1, 0.5 * name.endswith("png")], np.float32))
    outcome = muster("search", "--like", "beach.png", "-l", library)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"1.000\t{library.parent}/photos/Lisbon trip/beach\\x1b.jpg\t2019-05-03 10:00\n"
    facts = json.loads(muster("search", "beach", "--like", "beach.png", "-l", library, "--json").out)
    assert [row["similarity"] for row in facts["results"]] == [1.0]
    assert muster("search", "beach.png", "--like", "beach.png", "-l", library).code == 1


def test_photos_that_look_as_words_say(muster: Muster, library: Path, tmp_path: Path) -> None:
    seen_by(open_library(library), save("clip", tmp_path / "clip"))
    outcome = muster("search", "children in the snow 2019", "-l", library, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    assert outcome.err.endswith("muster: 1 photo: looks like children in the snow, date 2019\n")
    assert outcome.out.endswith(f"\t{library.parent}/photos/Lisbon trip/beach\\x1b.jpg\t2019-05-03 10:00\n")
    facts = json.loads(muster("search", "looks:beach", "-l", library, "--device", "cpu", "--most", 1, "--json").out)
    assert facts["understood"][0]["meanings"] == [{"field": "looks", "text": "beach"}]
    assert -1 < facts["results"][0]["similarity"] < 1
    for arguments, text in {
        ("snow", "--like", "beach.png"): "--like beach.png: ",
        ("--", "-looks:snow"): "`-looks:` there is not",
    }.items():
        outcome = muster("search", "-l", library, "--device", "cpu", *arguments)
        assert (outcome.code, text in outcome.err) == (2, True), outcome.err


def test_without_a_model_of_words_it_says_what_to_run(muster: Muster, library: Path) -> None:
    outcome = muster("search", "children in the snow", "-l", library)
    assert outcome.code == 1
    assert "`muster run` with --tasks features and --model features=siglip2-b16 (`muster models pin`" in outcome.err
    assert "no `children` here\n" in outcome.err
    assert "siglip2" not in muster("search", '"no name"', "-l", library).err
