import json
from collections.abc import Callable
from pathlib import Path

from helpers.findings import commit, scanned
from helpers.fixtures import Outcome
from helpers.packets import bag, image_with, mwg, packet
from muster.pipeline.cli.tags import REMARKS
from muster.pipeline.work.choice import TaskChoice
from muster.storage import manifest
from muster.storage.library import open_library

Muster = Callable[..., Outcome]
FACES = TaskChoice(name="faces").description
BOX = (0.25, 0.125, 0.5, 0.375)


def library_of(place: Path, *packets: bytes) -> str:
    opened = open_library(place / "L", create=True)
    manifest.scan(opened, [str(photos_of(place, *packets))])
    return str(place / "L")


def photos_of(place: Path, *packets: bytes) -> Path:
    (place / "photos").mkdir(parents=True)
    for i, xmp in enumerate(packets):
        (place / "photos" / f"{i}.jpg").write_bytes(image_with(xmp, size=(400 + i, 300)))
    return place / "photos"


def test_what_is_read_is_said(muster: Muster, tmp_path: Path) -> None:
    library = library_of(tmp_path, packet(mwg([("Ann", BOX)]) + bag("dc:subject", ["lake", "sea"])), packet())
    done = muster("tags", "-l", library)
    assert (done.code, done.out) == (0, "tags of 1 photo: 1 name, 1 named face, 2 keywords, 0 albums\n")
    facts = json.loads(muster("tags", "-l", library, "--json").out)
    assert (facts["photos"], facts["read"], facts["named"], facts["remarks"]) == (2, 0, 1, {})


def test_what_was_odd_is_said_once(muster: Muster, tmp_path: Path) -> None:
    odd = [packet(mwg([("Ann", BOX)], (100 + 10 * i, 300))) for i in range(REMARKS + 2)]
    library = library_of(tmp_path, b"<subject", b"<subject", *odd)
    done = muster("tags", "-l", library)
    assert "muster: 2 photos: its XMP is broken, and is not read\n" in done.err
    assert done.err.count("\n") == REMARKS
    assert "Ann" not in done.err


def test_a_library_without_tags_has_nothing_to_say(muster: Muster, tmp_path: Path) -> None:
    done = muster("tags", "-l", library_of(tmp_path, packet()))
    assert (done.code, done.out) == (0, "no tags in 1 photo\n")


def test_names_of_any_letters_are_not_printed(muster: Muster, tmp_path: Path) -> None:
    library = library_of(tmp_path, packet(mwg([("\u202e<script>" * 2000, BOX)])))
    done = muster("tags", "-l", library)
    assert (done.code, done.out) == (0, "tags of 1 photo: 1 name, 1 named face, 0 keywords, 0 albums\n")


def test_who_is_where_is_written_for_other_programs(muster: Muster, tmp_path: Path) -> None:
    library = scanned(tmp_path / "L", photos_of(tmp_path, packet(mwg([("Ann", BOX)])), packet(mwg([("Bob", BOX)]))))
    commit(library, FACES)
    assert muster("tags", "-l", library.uri).code == 0
    (tmp_path / "photos/1.jpg.xmp").symlink_to("/etc/hostname")
    done = muster("tags", "-l", library.uri, "--beside", "--csv", str(tmp_path / "names.csv"))
    assert (done.code, done.out) == (0, "2 people in 2 faces of 2 photos; sidecars: 1 new\n")
    assert "muster: no sidecar written for" in done.err
    assert "is a link" in done.err
    assert (tmp_path / "names.csv").read_text().count("\n") == 3
    facts = muster("tags", "-l", library.uri, "--out", str(tmp_path / "out"), "--json").facts
    assert (facts["new"], facts["faces"], facts["other_names"], facts["out"]) == (1, 2, [], str(tmp_path / "out"))


def test_options_that_contradict_each_other_are_said(muster: Muster, tmp_path: Path) -> None:
    library = library_of(tmp_path, packet())
    done = muster("tags", "-l", library, "--out", str(tmp_path / "out"), "--beside")
    assert done.code == 2
    assert "--out" in done.error
    assert "--beside" in done.error
    assert not (tmp_path / "out").exists()


def test_names_before_there_are_faces_need_a_run(muster: Muster, tmp_path: Path) -> None:
    done = muster("tags", "-l", library_of(tmp_path, packet()), "--beside")
    assert (done.code, "muster run" in done.error) == (2, True)
