import json
from collections.abc import Callable
from pathlib import Path

from helpers.fixtures import Outcome
from helpers.packets import bag, image_with, mwg, packet
from muster.pipeline.cli.tags import REMARKS
from muster.storage import manifest
from muster.storage.library import open_library

Muster = Callable[..., Outcome]
BOX = (0.25, 0.125, 0.5, 0.375)


def library_of(place: Path, *packets: bytes) -> str:
    (place / "photos").mkdir(parents=True)
    for i, xmp in enumerate(packets):
        (place / "photos" / f"{i}.jpg").write_bytes(image_with(xmp, size=(400 + i, 300)))
    opened = open_library(place / "L", create=True)
    manifest.scan(opened, [str(place / "photos")])
    return str(place / "L")


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
