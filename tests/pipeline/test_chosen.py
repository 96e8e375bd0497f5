"""pipeline/chosen.py: tasks are run over the photos that a query finds, and over no others."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import muster
from helpers.published import save
from helpers.seen import seen
from helpers.words import seen_by
from muster.errors import InputError, MissingError, NotYetError
from muster.pipeline.chosen import found_by
from muster.storage.library import open_library

WORKERS = muster.Machine(workers=1)


@pytest.fixture
def library(tmp_path: Path, make_photos: Callable[..., Path]) -> muster.Library:
    """Photos 0 to 5, the first three in the folder `beach`."""
    make_photos(tmp_path / "photos" / "beach", range(3))
    make_photos(tmp_path / "photos" / "town", range(3, 6))
    seen(tmp_path / "library", tmp_path / "photos")
    return muster.open(tmp_path / "library")


def names(library: muster.Library) -> set[str]:
    return {Path(uri).name for uri in library.table("manifest")["uri"].to_pylist()}


@pytest.mark.usefixtures("ray_cluster")
def test_a_task_is_run_over_those_that_are_found_and_the_library_stays_as_it_is(
    library: muster.Library, tmp_path: Path
) -> None:
    before = {file: file.read_bytes() for file in sorted((tmp_path / "library").rglob("*")) if file.is_file()}
    chosen = library.choose("beach", tmp_path / "chosen")
    assert names(chosen) == {"0000.jpg", "0001.jpg", "0002.jpg"}
    assert chosen.run(["previews"], machine=WORKERS).rows == {"previews": 3}
    ids = set(chosen.table("previews")["image_id"].to_pylist())
    assert ids == set(library.search("beach").table["image_id"].to_pylist())
    after = {file: file.read_bytes() for file in sorted((tmp_path / "library").rglob("*")) if file.is_file()}
    assert after == before
    again = library.choose("town", tmp_path / "chosen")
    assert names(again) == {"0003.jpg", "0004.jpg", "0005.jpg"}
    assert again.run(["previews"], machine=WORKERS).processed == 3
    both = library.choose("beach", tmp_path / "chosen")
    assert both.run(["previews"], machine=WORKERS).processed == 0, "the rows of before are there"
    assert both.table("previews").num_rows == 3


def test_the_photos_stay_where_they_lie(library: muster.Library, tmp_path: Path) -> None:
    chosen = library.choose("town", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "library")
    sources = chosen.table("manifest", columns="uri")["uri"].to_pylist()
    assert all(Path(uri).is_file() for uri in sources)


def test_what_cannot_be_chosen_writes_nothing(library: muster.Library, tmp_path: Path) -> None:
    out = tmp_path / "chosen"
    for query, error, text in (
        (" ", InputError, "`query` is empty: say which photos"),
        ("beech", InputError, r"`query` beech: no `beech` here; did you mean beach\?"),
        ("beach -0000.jpg -0001.jpg -0002.jpg", MissingError, "no photo is found by it"),
    ):
        with pytest.raises(error, match=text):
            library.choose(query, out)
    assert not out.exists()


def test_photos_are_not_chosen_by_what_they_are_ranked_by(library: muster.Library, tmp_path: Path) -> None:
    files = open_library(tmp_path / "library")
    seen_by(files, save("clip", tmp_path / "clip"))
    assert library.search("zorro", machine=muster.Machine(device="cpu")).table.num_rows == 6
    for query, text in {
        "zorro": r'`query` zorro: photos are ranked by "zorro", which leaves none out: name people, .* or places$',
        "beach looks:sand": 'ranked by "sand"',
        "town zorro no sand": r'ranked by "zorro sand", .*; "no" is not understood: -word leaves photos out',
        "beach or town": 'no photo is found by it; "or" is not understood: search for each by itself',
    }.items():
        with pytest.raises(InputError, match=text):
            library.choose(query, tmp_path / "chosen")
    with pytest.raises(InputError, match="`photos` zorro: photos are ranked by"):
        found_by(files, "zorro", "photos")
    assert not (tmp_path / "chosen").exists()
    assert found_by(files, "beach", "photos").num_rows == 3


def test_a_library_of_another_kind_is_left_alone(
    library: muster.Library, tmp_path: Path, make_photos: Callable[..., Path]
) -> None:
    other = muster.open(tmp_path / "other", create=True)
    other.scan(make_photos(tmp_path / "others", range(6, 9)))
    with pytest.raises(InputError, match="is a library that was not made by `choose`: give a new name"):
        library.choose("beach", tmp_path / "other")
    assert other.table("manifest").num_rows == 3
    for place in (tmp_path / "library", tmp_path / "library" / "inner"):
        with pytest.raises(InputError, match=r"lies in the library .*: give a place outside of it"):
            library.choose("beach", place)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="full"):
        library.choose("beach", tmp_path / "full")


def test_one_that_nobody_has_looked_at_yet(tmp_path: Path, make_photos: Callable[..., Path]) -> None:
    library = muster.open(open_library(tmp_path / "new", create=True).uri)
    library.scan(make_photos(tmp_path / "photos", range(2)))
    with pytest.raises(NotYetError, match="has no photos that were looked at yet: `run` first"):
        library.choose("beach", tmp_path / "chosen")
