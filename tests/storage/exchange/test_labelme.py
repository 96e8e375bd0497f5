import json
from pathlib import Path

from helpers.exchange import CATEGORIES, DOG, SKY, SQUARE, photo
from muster.storage.exchange.labelme import write_labelme
from muster.storage.exchange.photo import AnnotatedPhoto, Finding


def test_labelme(tmp_path: Path) -> None:
    inline = AnnotatedPhoto("x", "/photos/l.parquet#row=3", "l.parquet/3", 100, 80, [])
    write_labelme([photo("a/1.jpg", DOG, SKY), inline], tmp_path / "out", CATEGORIES, {})
    read = json.loads((tmp_path / "out" / "a" / "1.json").read_text())
    dog, square, part = read.pop("shapes")
    assert read == {
        "version": "5.5.0",
        "flags": {},
        "imagePath": "/photos/a/1.jpg",
        "imageData": None,
        "imageHeight": 80,
        "imageWidth": 100,
    }
    assert (dog["shape_type"], dog["points"], dog["group_id"]) == ("rectangle", [[10, 20], [30, 40]], None)
    assert (square["shape_type"], square["points"]) == ("polygon", [list(point) for point in SQUARE])
    assert square["group_id"] == part["group_id"] == 2
    assert json.loads((tmp_path / "out" / "l.parquet" / "3.json").read_text())["imagePath"] == "3.jpg", "beside it"


def test_a_name_that_is_too_long_costs_its_own_file(tmp_path: Path) -> None:
    long = "a" * 251 + ".jpg"
    [left_out] = write_labelme(
        [photo("1.jpg", DOG), photo(long, DOG), photo("2.jpg")], tmp_path / "out", CATEGORIES, {}
    )
    assert left_out.photo.name == long
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"1.json", "2.json"}


def test_the_person_of_a_face(tmp_path: Path) -> None:
    faces = [
        Finding("faces", "face", 0.9, (1, 2, 3, 4), face_id=f"f-{i}", person=who) for i, who in ((0, "ab"), (1, None))
    ]
    write_labelme([photo("1.jpg", *faces, DOG)], tmp_path / "out", CATEGORIES, {})
    known, alone, dog = json.loads((tmp_path / "out" / "1.json").read_text())["shapes"]
    assert (known["description"], known["person"], known["face_id"]) == ("ab", "ab", "f-0")
    assert (alone["description"], alone["person"]) == ("", None)
    assert (dog["description"], "person" in dog) == ("", False)
