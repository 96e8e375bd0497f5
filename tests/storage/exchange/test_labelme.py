import json
from pathlib import Path

from helpers.exchange import CATEGORIES, DOG, SKY, SQUARE, photo
from muster.storage.exchange.labelme import write_labelme
from muster.storage.exchange.photo import AnnotatedPhoto


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
    assert json.loads((tmp_path / "out" / "l.parquet" / "3.json").read_text())["imagePath"] == "l.parquet/3"
