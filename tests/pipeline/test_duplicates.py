import base64
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from helpers.clips import even, write_clip
from helpers.seen import look, seen
from muster.errors import NotYetError
from muster.pipeline import forget
from muster.pipeline.duplicates import find_duplicates
from muster.storage import duplicates, manifest
from muster.storage.encryption import KEY
from muster.storage.library import LibraryFiles, open_library

NOON = datetime(2019, 5, 4, 12, 30)


def scene(seed: int, width: int = 800, height: int = 600) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def save(
    image: Image.Image, path: Path, taken: datetime | None = None, camera: str = "Canon", **options: object
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if taken is not None:
        exif[ExifTags.Base.Model] = camera
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f"{taken:%Y:%m:%d %H:%M:%S}"
    image.save(path, exif=exif, **options)


def groups(library: LibraryFiles, kind: str = "picture") -> list[list[str]]:
    """The names of the files of each group, its best first."""
    rows = find_duplicates(library).table.filter(pc.field("kind") == kind).to_pylist()
    found: dict[int, list[str]] = {}
    for row in rows:
        found.setdefault(row["group"], []).append(os.path.basename(row["uri"]))
    assert all(next(r for r in rows if r["group"] == n)["best"] for n in found)
    return [[names[0], *sorted(names[1:])] for names in found.values()]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A photo and its copies, and others."""
    folder = tmp_path / "photos"
    original = scene(1)
    save(original, folder / "a.jpg", NOON, quality=95)
    save(original.resize((400, 300)), folder / "small.jpg", quality=80)
    save(original, folder / "a.png")
    save(original, folder / "a.webp", quality=50)
    save(original.convert("L"), folder / "grey.jpg")
    save(ImageOps.mirror(original), folder / "mirrored.jpg")
    save(original.rotate(90, expand=True), folder / "side.jpg")
    (folder / "copy").mkdir()
    (folder / "copy" / "exact.jpg").write_bytes((folder / "a.jpg").read_bytes())
    for seed in range(2, 6):
        save(scene(seed), folder / f"other{seed}.jpg")
    return folder


COPIES = ["a.png", "a.webp", "exact.jpg", "grey.jpg", "mirrored.jpg", "side.jpg", "small.jpg"]


def test_copies_of_a_picture_are_found_and_the_original_is_proposed(photos: Path, tmp_path: Path) -> None:
    library = seen(tmp_path / "L", photos)
    assert groups(library) == [["a.jpg", *COPIES]]
    found = find_duplicates(library)
    assert (found.photos, found.pictures, found.copies, found.exact, found.unseen) == (12, 1, 7, 1, 0)
    rows = {os.path.basename(row["uri"]): row for row in found.table.to_pylist()}
    assert rows["a.jpg"]["reason"] == "largest, in a camera's format, with date, camera or place, oldest file"
    turns = {name: row["orientation"] for name, row in rows.items() if row["orientation"] != 1}
    assert turns == {"mirrored.jpg": 2, "side.jpg": 8}
    assert all(row["likeness"] > 0.99 for row in rows.values())
    assert [name for name, row in rows.items() if row["exact"]] == ["a.jpg", "exact.jpg"]
    assert found.bytes == sum(row["size"] for row in rows.values()) - rows["a.jpg"]["size"]
    assert duplicates.require(library).equals(found.table.drop(["uri"]))


def test_a_crop_is_a_copy(tmp_path: Path) -> None:
    save(scene(1), tmp_path / "photos" / "a.jpg")
    save(scene(1).crop((16, 12, 784, 588)), tmp_path / "photos" / "cut.jpg")
    save(scene(2), tmp_path / "photos" / "other.jpg")
    library = seen(tmp_path / "L", tmp_path / "photos")
    assert groups(library) == [["a.jpg", "cut.jpg"]]


def test_without_previews_the_hash_alone_decides(photos: Path, tmp_path: Path) -> None:
    library = seen(tmp_path / "L", photos, previews=False)
    [found] = groups(library)
    assert {"exact.jpg", "a.png", "a.webp", "grey.jpg"} < set(found)
    assert find_duplicates(library).unseen > 0
    assert not any(name.startswith("other") for name in found)


def test_photos_of_other_times_are_not_one_picture(tmp_path: Path) -> None:
    for name, taken in {"a": NOON, "b": NOON + timedelta(hours=1), "c": None}.items():
        save(scene(1), tmp_path / "photos" / f"{name}.jpg", taken, quality=90 + ord(name) % 5)
    assert len(groups(seen(tmp_path / "L", tmp_path / "photos"))[0]) == 2


def test_photos_taken_within_seconds_of_one_scene_are_one_moment(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    wide = scene(1, 1000, 600)
    for number in range(3):
        picture = wide.crop((60 * number, 0, 60 * number + 800, 600))
        save(
            picture if number != 1 else picture.resize((40, 30)).resize((800, 600)),
            folder / f"{number}.jpg",
            NOON + timedelta(seconds=5 * number),
        )
    save(scene(2), folder / "elsewhere.jpg", NOON + timedelta(seconds=15))
    save(wide.crop((0, 0, 800, 600)), folder / "later.jpg", NOON + timedelta(minutes=5))
    library = seen(tmp_path / "L", folder)
    [[best, *others]] = groups(library, "moment")
    assert sorted([best, *others]) == ["0.jpg", "1.jpg", "2.jpg"]
    assert best != "1.jpg"  # the blurred one
    assert groups(library) == []


def test_copies_are_in_no_moment(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    save(scene(1), folder / "a.jpg", NOON)
    save(scene(1).resize((300, 200)), folder / "copy.jpg", NOON)
    save(scene(1).crop((40, 0, 760, 600)), folder / "b.jpg", NOON + timedelta(seconds=3))
    library = seen(tmp_path / "L", folder)
    assert groups(library) == [["a.jpg", "copy.jpg"]]
    assert sorted(groups(library, "moment")[0]) == ["a.jpg", "b.jpg"]


def test_blank_pictures_are_told_by_their_grey(tmp_path: Path) -> None:
    for name, level in {"black": 0, "dark": 3, "white": 255}.items():
        save(Image.new("RGB", (64, 48), (level,) * 3), tmp_path / "photos" / f"{name}.png")
    assert [sorted(names) for names in groups(seen(tmp_path / "L", tmp_path / "photos"))] == [["black.png", "dark.png"]]


def test_forgetting_a_photo_forgets_its_group_too(photos: Path, tmp_path: Path) -> None:
    library = seen(tmp_path / "L", photos)
    find_duplicates(library)
    with forget.locked(library):
        [receipt] = forget.forget(library, [str(photos / "grey.jpg")], forget.ASKED)
    assert receipt.found_afterwards == []
    assert duplicates.require(library).num_rows == 7
    with forget.locked(library):
        [receipt] = forget.forget(library, [str(photos / "a.jpg")], forget.ASKED)  # what the others were compared with
    assert receipt.found_afterwards == []
    assert duplicates.require(library).num_rows == 0


def test_in_an_encrypted_library_the_table_is_encrypted(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, base64.b64encode(bytes(32)).decode())
    library = seen(tmp_path / "L", photos)
    assert groups(library) == [["a.jpg", *COPIES]]
    assert not (tmp_path / "L/duplicates/duplicates.parquet").read_bytes().startswith(b"PAR1")


def test_a_library_that_was_not_run(photos: Path, tmp_path: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    manifest.scan(library, [str(photos)])
    with pytest.raises(NotYetError, match="`run` first"):
        find_duplicates(library)


def test_a_library_without_copies(tmp_path: Path) -> None:
    save(scene(1), tmp_path / "photos" / "a.jpg")
    library = seen(tmp_path / "L", tmp_path / "photos")
    assert groups(library) == groups(library, "moment") == []
    assert duplicates.require(library).num_rows == 0


def test_what_was_found_before_is_replaced(photos: Path, tmp_path: Path) -> None:
    library = seen(tmp_path / "L", photos)
    assert len(groups(library)) == 1
    for path in photos.rglob("*"):
        if path.name in ["a.jpg", *COPIES]:
            path.unlink()
    manifest.scan(library, [str(photos)])
    look(library)
    assert groups(library) == []


CHANGES: list[Callable[[Image.Image], Image.Image]] = [
    lambda image: image,
    lambda image: image.resize((300, 200)),
    lambda image: ImageOps.mirror(image),
    lambda image: image.convert("L"),
]


@settings(max_examples=6)
@given(some=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=7))
def test_groups_do_not_depend_on_the_order_of_photos(
    some: list[tuple[int, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nor on the shards that they are in; and a photo is in at most one group of each kind."""
    found = []
    for parts in ([some], [some[1::2], some[::2]]):
        place = tmp_path_factory.mktemp("order")
        library = open_library(place / "L", create=True)
        for part in parts:
            for seed, change, number in part:
                path = place / "photos" / f"{seed}{change}{number}.jpg"
                save(CHANGES[change](scene(seed, 400, 300)), path, quality=80 + number)
                os.utime(path, (10**9, 10**9))
            manifest.scan(library, [str(place / "photos")])
            look(library)
        found.append({kind: sorted(sorted(names) for names in groups(library, kind)) for kind in duplicates.KINDS})
        for kind in duplicates.KINDS:
            names = [name for group in found[-1][kind] for name in group]
            assert len(names) == len(set(names))
    assert found[0] == found[1]


def test_moments_of_a_video_are_no_copies_of_each_other(tmp_path: Path) -> None:
    pytest.importorskip("av")
    folder = tmp_path / "photos"
    folder.mkdir()
    write_clip(folder / "still.mp4", even(50), frames=[np.asarray(scene(1, 64, 48))] * 50)
    for name in ("a.jpg", "b.jpg"):
        save(scene(1), folder / name)
    assert groups(seen(tmp_path / "L", folder)) == [["a.jpg", "b.jpg"]]
