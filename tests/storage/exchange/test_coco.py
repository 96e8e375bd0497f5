import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycocotools import mask
from pycocotools.coco import COCO

from helpers.exchange import CATEGORIES, DOG, SKY, a_mask, photo
from muster.errors import InputError
from muster.storage.exchange.coco import read_coco, write_coco

Coco = dict[str, Any]


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: [1, 2], "not COCO JSON of boxes"),
        (lambda c: {**c, "images": None}, "not COCO JSON of boxes"),
        (lambda c: {k: v for k, v in c.items() if k != "annotations"}, "not COCO JSON of boxes: no 'annotations'"),
        (lambda c: {**c, "annotations": [{"image_id": 1, "category_id": 1}]}, "no 'bbox'"),
        (lambda c: {**c, "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2]}]}, "not COCO JSON"),
        (lambda c: {**c, "annotations": [{**c["annotations"][0], "image_id": 7}]}, "image id 7, and no image has"),
        (
            lambda c: {**c, "annotations": [{**c["annotations"][0], "category_id": 7}]},
            "category id 7, and there is none",
        ),
        (lambda c: {**c, "images": [*c["images"], {"id": 1, "file_name": "2.jpg"}]}, "two of its images have one id"),
        (lambda c: {**c, "annotations": [{**c["annotations"][0], "bbox": [1, 1, float("nan"), 3]}]}, "a box of"),
        (lambda c: {**c, "images": [{"id": [1], "file_name": "1.jpg"}]}, "not COCO JSON of boxes"),
        (lambda c: {**c, "images": [*c["images"], {"id": 2, "file_name": "b/1.jpg"}]}, "names 1.jpg twice"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, change: Callable[[Coco], Any], text: str) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a/1.jpg"}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    }
    labels = read_coco(write(tmp_path / "good.json", content), {})
    assert (labels.images, labels.categories) == ({"1.jpg": 1}, {"dog": 1})
    assert labels.of_photos() == {"1.jpg": [labels.annotations[0]]}
    assert read_coco(write(tmp_path / "spelt.json", content), {"dog": "hound"}).categories == {"hound": 1}
    assert labels.annotations[0] | {"area": 12.0, "iscrowd": 0, "id": 1} == labels.annotations[0]
    with pytest.raises(InputError, match=text):
        read_coco(write(tmp_path / "bad.json", change(content)), {})


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("name", ["a/Zoë é.jpg", "a\\b\\Zoë é.jpg", "C:\\a\\Zoë é.jpg", "Zoe\u0308 e\u0301.jpg"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_as_other_programs_write_it(tmp_path: Path, codec: str, name: str, end: str) -> None:
    """With a byte order mark, backslashes, accents in either form, other encodings and line ends, and blank lines."""
    content = {"images": [{"id": 1, "file_name": name}], "categories": [], "annotations": []}
    text = json.dumps(content, indent=1, ensure_ascii=codec == "cp1252" and "\u0308" in name)
    (tmp_path / "c.json").write_bytes((text.replace("\n", end) + 3 * end).encode(codec))
    assert read_coco(tmp_path / "c.json", {}).images == {"Zoë é.jpg": 1}


def test_what_is_no_json_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(b'\xef\xbb\xbf{\r\n "images": [,]\r\n}')
    with pytest.raises(InputError, match=r"c.json: not COCO JSON of boxes: .*line 2 column 13"):
        read_coco(tmp_path / "c.json", {})


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.json: no such file"):
        read_coco(tmp_path / "none.json", {})
    (tmp_path / "text.json").write_bytes(b"\xff\xfe not json")
    with pytest.raises(InputError, match="not COCO JSON of boxes"):
        read_coco(tmp_path / "text.json", {})


# ---- writing ---------------------------------------------------------------------------------------------------------


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
