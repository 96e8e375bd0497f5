import os
from pathlib import Path

import pytest

from muster.storage.tags.sidecars import Listing, Sidecars, of_folder, stamp


def folder_of(place: Path, *names: str) -> str:
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        (place / name).write_text("{}")
    return str(place)


def names(sidecars: Sidecars) -> tuple[list[str], list[str], str | None]:
    before, after = ([os.path.basename(path) for path in paths] for paths in (sidecars.before, sidecars.after))
    return before, after, sidecars.takeout and os.path.basename(sidecars.takeout)


@pytest.mark.parametrize(
    ("photo", "there", "found"),
    [
        ("a.jpg", ["a.jpg.xmp"], (["a.jpg.xmp"], [], None)),
        ("a.jpg", ["a.xmp", "a.jpg.xmp", "ab.xmp", "a.png.xmp"], (["a.jpg.xmp", "a.xmp"], [], None)),
        ("a.JPG", ["A.XMP", "a.jpg.Xmp", "a.xmp"], (["a.jpg.Xmp", "a.xmp", "A.XMP"], [], None)),
        ("a.jpg", ["a.xmp", "a.jpg.xmp", "a.NEF"], (["a.jpg.xmp"], ["a.xmp"], None)),
        ("a.NEF", ["a.xmp", "a.jpg"], (["a.xmp"], [], None)),
        ("a.jpg", ["a.jpg.json", "a.xmp"], (["a.xmp"], [], "a.jpg.json")),
        ("a(1).jpg", ["a.jpg.json", "a.jpg(1).json"], ([], [], "a.jpg(1).json")),
        ("e\u0301.jpg", ["é.xmp"], (["é.xmp"], [], None)),
        ("noending", ["noending.xmp"], (["noending.xmp"], [], None)),
        ("a.jpg", [], ([], [], None)),
    ],
)
def test_what_belongs_to_a_photo(
    tmp_path: Path, photo: str, there: list[str], found: tuple[list[str], list[str], str | None]
) -> None:
    listing = of_folder(folder_of(tmp_path, photo, *there), [photo])
    assert names(listing.photos[photo]) == found
    assert listing.unread == ""


def test_each_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [f"{i}.jpg" for i in range(50)]
    folder_of(tmp_path, *photos, *(f"{i}.jpg.xmp" for i in range(50)))
    listed: list[object] = []
    plain = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [listed.append(path), plain(path)][1])
    assert all(sidecars.before for sidecars in of_folder(str(tmp_path), photos).photos.values())
    assert listed == [str(tmp_path)]


def test_albums(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "a.jpg", "a.jpg.json", "metadata.json", "other.json")
    assert [os.path.basename(path) for path in of_folder(folder, ["a.jpg"]).albums] == ["metadata.json", "other.json"]
    assert of_folder(folder_of(tmp_path / "b", "b.jpg", "data.json"), ["b.jpg"]).albums == []


def test_a_takeout_of_several_archives(tmp_path: Path) -> None:
    inside = Path("Takeout") / "Google Photos" / "Lake"
    one = folder_of(tmp_path / "takeout-001" / inside, "a.jpg", "b.jpg", "b.jpg.json")
    other = folder_of(tmp_path / "takeout-002" / inside, "a.jpg.json", "b.jpg.json", "a.jpg.xmp")
    (tmp_path / "link").symlink_to(tmp_path / "takeout-002")
    found = of_folder(one, ["a.jpg", "b.jpg"]).photos
    assert found["a.jpg"] == Sidecars([], (), f"{other}/a.jpg.json")
    assert found["b.jpg"] == Sidecars([], (), f"{one}/b.jpg.json")


def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    assert of_folder(str(tmp_path / "gone"), ["a.jpg"]) == Listing(
        {"a.jpg": Sidecars()}, unread="No such file or directory"
    )


def test_a_stamp_changes_with_what_it_is_of(tmp_path: Path) -> None:
    sidecar = tmp_path / "a.xmp"
    sidecar.write_text("one")
    some = Sidecars([str(sidecar)])

    def now(version: int = 1, size: int = 5, sidecars: Sidecars = some) -> str:
        return stamp(version, ("/p/a.jpg", size, None), sidecars)

    first = now()
    assert (first, len(first)) == (now(), 16)
    assert len({first, now(2), now(1, 6), now(sidecars=Sidecars())}) == 4
    sidecar.write_text("longer")
    assert now() != first
    second = now()
    os.utime(sidecar, ns=(1, 1))
    assert now() != second
    sidecar.unlink()
    assert now() not in (first, second)
    assert stamp(1, ("/p/\udcff.jpg",), Sidecars()) != stamp(1, ("/p/\udcfe.jpg",), Sidecars())
