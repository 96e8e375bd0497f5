"""storage/exchange/export.py: names, files that appear whole, and four formats, read back by what others read them
with."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask
from pycocotools.coco import COCO

from muster.errors import InputError
from muster.storage.exchange.export import (
    COLUMNS,
    Photo,
    Thing,
    check_out,
    common_folder,
    name_of,
    parts_of,
    public_uri,
    write_coco,
    write_csv,
    write_labelme,
    write_yolo,
)
from muster.storage.library import open_library
from muster.storage.new_files import cell

SQUARE = [(10.0, 20.0), (30.0, 20.0), (30.0, 40.0), (10.0, 40.0)]
CATEGORIES = {"person": 1, "dog": 18, "sky": 91}


def a_mask() -> dict[str, Any]:
    pixels = np.zeros((80, 100), np.uint8, order="F")
    pixels[20:40, 10:30] = 1
    pixels[50, 7] = 1
    coded = mask.encode(pixels)
    return {"size": coded["size"], "counts": coded["counts"].decode()}


DOG = Thing("objects", "dog", 0.5, (10.0, 20.0, 30.0, 40.0))
SKY = Thing("masks", "sky", 0.9, (7.0, 20.0, 30.0, 51.0), a_mask(), [SQUARE, [(7.0, 50.0), (8.0, 50.0), (8.0, 51.0)]])


def photo(name: str, *things: Thing) -> Photo:
    return Photo(f"id of {name}", f"/photos/{name}", name, 100, 80, things)


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/a/b/1.jpg", ("a", "b", "1.jpg")),
        ("/a/50% off?.jpg", ("a", "50% off?.jpg")),
        ("file:///a/%ff%20.jpg", ("a", "\ufffd .jpg")),
        ("s3://bucket/b%20c/1.jpg?region=x", ("bucket", "b c", "1.jpg")),
        ("s3://key:secret@bucket/1.jpg", ("bucket", "1.jpg")),
        ("/a/lfw.parquet#row=7", ("a", "lfw.parquet", "7")),
        ("s3://bucket/lfw.parquet?region=x#row=7", ("bucket", "lfw.parquet", "7")),
        ("gs://bucket/%2e%2e/%2Fetc/a%00.jpg", ("bucket", "etc", "a_.jpg")),
    ],
)
def test_names(uri: str, name: tuple[str, ...]) -> None:
    assert name_of(uri) == name


@given(st.text())
def test_no_name_leads_out_of_a_folder(text: str) -> None:
    for parts in (parts_of(text), name_of(text), name_of(f"s3://b/{text}")):
        assert not {"", ".", ".."} & set(parts)
        assert not any("/" in part or "\0" in part for part in parts)


def test_what_names_have_in_common() -> None:
    assert common_folder([]) == ()
    assert common_folder([("a", "b", "1.jpg")]) == ("a", "b")
    assert common_folder([("a", "b", "1.jpg"), ("a", "bc", "2.jpg")]) == ("a",)
    assert common_folder([("a", "b", "1.jpg"), ("a", "b", "1.jpg", "2.jpg")]) == ("a", "b")
    assert common_folder([("a", "1.jpg"), ("b", "1.jpg")]) == ()


def test_no_password_is_published() -> None:
    assert public_uri("s3://key:secret@bucket/a@b.jpg") == "s3://bucket/a@b.jpg"
    for uri in ("/a@b/c.jpg", "s3://bucket/a@b.jpg", "file:///a@b"):
        assert public_uri(uri) == uri


# ---- files that appear whole -----------------------------------------------------------------------------------------


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    library = open_library(tmp_path / "L", create=True)
    with pytest.raises(InputError, match="lies in the library"):
        check_out(tmp_path / "L" / "look", library, folder=True)
    for name in ("new", "empty"):
        check_out(tmp_path / name, library, folder=True)
    for name in ("file", "full", "link"):
        with pytest.raises(InputError, match="is there already, and is not overwritten: give an empty folder"):
            check_out(tmp_path / name, library, folder=True)
    for name in ("file", "full", "empty", "link"):
        with pytest.raises(InputError, match="give a new name"):
            check_out(tmp_path / name, library, folder=False)
    with pytest.raises(InputError, match="no folder"):
        check_out(tmp_path / "none" / "new", library, folder=False)


# ---- formats ---------------------------------------------------------------------------------------------------------


def test_coco(tmp_path: Path) -> None:
    write_coco([photo("a/1.jpg", DOG, SKY), photo("2.jpg")], tmp_path / "out.json", CATEGORIES, {"by": "me"})
    read = COCO(tmp_path / "out.json")
    assert read.dataset["info"] == {"by": "me"}
    assert [image["file_name"] for image in read.loadImgs([1, 2])] == ["a/1.jpg", "2.jpg"]
    assert read.imgs[1]["muster_id"] == "id of a/1.jpg"
    assert {c["name"]: c["id"] for c in read.dataset["categories"]} == CATEGORIES
    dog, sky = read.loadAnns(read.getAnnIds(imgIds=[1]))
    assert dog == dog | {"id": 1, "category_id": 18, "bbox": [10, 20, 20, 20], "area": 400, "iscrowd": 0, "score": 0.5}
    assert (sky["area"], sky["segmentation"]) == (401, a_mask())
    assert mask.area(read.annToRLE(sky)) == 401
    assert read.getAnnIds(imgIds=[2]) == []


def test_coco_of_nothing(tmp_path: Path) -> None:
    write_coco([], tmp_path / "out.json", {}, {})
    assert json.loads((tmp_path / "out.json").read_text())["annotations"] == []


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@settings(max_examples=40)
@given(st.lists(st.tuples(names, names), min_size=1, max_size=5))
def test_csv_by_pandas(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    out = tmp_path_factory.mktemp("csv") / "out.csv"
    things = [Thing("objects", label, 0.25, (1.5, 2, 3, 4)) for _, label in pairs]
    photos = [Photo("id", f"/x/{name}", name, 6, 5, [t]) for (name, _), t in zip(pairs, things, strict=True)]
    write_csv(photos, out, {}, {})
    table = pandas.read_csv(out, keep_default_na=False, dtype={"file_name": str, "label": str, "uri": str})
    assert tuple(table.columns) == COLUMNS
    assert list(zip(table["file_name"], table["label"], strict=True)) == [tuple(map(cell, pair)) for pair in pairs]
    assert table["uri"].tolist() == [cell(f"/x/{name}") for name, _ in pairs]
    assert table[["width", "height", "score", "x0", "y1"]].values.tolist() == [[6, 5, 0.25, 1.5, 4]] * len(pairs)


def test_csv_of_masks_and_faces_and_names_that_are_no_unicode(tmp_path: Path) -> None:
    face = Thing("faces", "face", 0.9, (1, 2, 3, 4), face_id="f-0")
    write_csv([photo("\udcff.jpg", SKY, face)], tmp_path / "out.csv", {}, {})
    sky, found = pandas.read_csv(tmp_path / "out.csv").to_dict("records")
    assert (sky["file_name"], sky["area"], sky["rle"]) == ("\\udcff.jpg", 401, a_mask()["counts"])
    assert found["face_id"] == "f-0"


def test_yolo(tmp_path: Path) -> None:
    import yaml

    photos = [photo("a/1.jpg", DOG), photo("b/1.jpg"), photo("a/1.png", SKY), photo("a/1.png", DOG)]
    write_yolo(photos, tmp_path / "out", CATEGORIES, {})
    labels = tmp_path / "out" / "labels"
    files = {str(path.relative_to(labels)): path.read_text() for path in labels.rglob("*.txt")}
    assert files.keys() == {"a/1.txt", "b/1.txt", "a/1.png.txt", "a/1.png-2.txt"}
    assert files["a/1.txt"] == files["a/1.png-2.txt"] == "1 0.200000 0.375000 0.200000 0.250000\n"
    assert files["b/1.txt"] == ""
    first, second = files["a/1.png.txt"].splitlines()
    assert first == "2 0.100000 0.250000 0.300000 0.250000 0.300000 0.500000 0.100000 0.500000"
    assert second.startswith("2 0.070000 0.625000")
    content = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    names = {0: "person", 1: "dog", 2: "sky"}
    assert content == {"train": "images.txt", "val": "images.txt", "names": names}


def test_yolo_lists_the_images_whose_labels_are_found(tmp_path: Path) -> None:
    """As Ultralytics' img2label_paths looks for them: the last `/images/` is `/labels/`, the ending `.txt`."""
    names = ["a/1.jpg", "a/1.png", "b.c/1.d.jpeg", "a/images/1.jpg", "images/1.jpg", "l.parquet/3", "\udcff.jpg"]
    names += ["no ending", "two\nlines.jpg"]
    things = [Thing("objects", "dog", 0.5, (i, 0, 100, 80)) for i in range(len(names))]
    photos = [photo(name, thing) for name, thing in zip(names, things, strict=True)]
    photos[5] = replace(photos[5], uri="/photos/l.parquet#row=3")
    write_yolo(photos, tmp_path / "out", CATEGORIES, {})
    listed = (tmp_path / "out" / "images.txt").read_text().splitlines()
    assert listed == [f"./images/{name}" for name in ("a/1.jpg", "b.c/1.d.jpeg", "l.parquet/3.jpg", "\\udcff.jpg")]
    for image, i in zip(listed[:3], (0, 2, 5), strict=True):
        path = "/labels/".join(str(tmp_path / "out" / image).rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt"
        assert float(Path(path).read_text().split()[3]) == (100 - i) / 100


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_yolo([photo("1.jpg", DOG)], tmp_path / "out", CATEGORIES, {})
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "labels" / "1.txt").is_file()


def test_labelme(tmp_path: Path) -> None:
    inline = Photo("x", "/photos/l.parquet#row=3", "l.parquet/3", 100, 80, [])
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


def test_one_format_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def photos() -> Any:
        yield photo("1.jpg", DOG, SKY)
        raise KeyboardInterrupt

    for write in (write_coco, write_csv, write_yolo, write_labelme):
        with pytest.raises(KeyboardInterrupt):
            write(photos(), tmp_path / "out", CATEGORIES, {})
        assert list(tmp_path.iterdir()) == []
