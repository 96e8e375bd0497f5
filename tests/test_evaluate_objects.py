import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import RunConfig
from pipeline.evaluate_objects import Labels, evaluate, find_labels, judge, read_labels
from storage.errors import InputError

PHOTOS = 6
Coco = dict[str, Any]


@pytest.fixture(scope="module")
def part(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos of coco128 in `images`, and their annotations in `instances.json`."""
    folder = tmp_path_factory.mktemp("part")
    content = json.loads((data / "coco128/instances.json").read_text())
    images = content["images"][:PHOTOS]
    ids = {image["id"] for image in images}
    (folder / "images").mkdir()
    for image in images:
        shutil.copy(data / "coco128/images" / image["file_name"], folder / "images")
    boxes = [annotation for annotation in content["annotations"] if annotation["image_id"] in ids]
    write(folder / "instances.json", {**content, "images": images, "annotations": boxes})
    return folder


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def config_of(library: Path | str, weights: Path) -> RunConfig:
    return RunConfig(str(library), ("objects",), device="cpu", workers=1, weights_dir=weights)


@pytest.fixture(scope="module")
def run_evaluate(part: Path, weights: Path, ray_cluster: None) -> Callable[..., dict[str, Any]]:
    """run_evaluate(annotations): on the six photos, whose work is kept in a library."""
    config = config_of(part / "library", weights)

    def call(annotations: Path, images: Path = part / "images") -> dict[str, Any]:
        return evaluate(str(images), annotations, config, lambda progress: None)

    return call


def test_end_to_end(
    run_evaluate: Callable[..., dict[str, Any]], part: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    facts = run_evaluate(part / "instances.json")
    assert not any(word in "".join(capfd.readouterr()) for word in ("Accumulating", "Average", "index"))
    content = json.loads((part / "instances.json").read_text())
    assert facts["images"] == PHOTOS
    assert facts["boxes"] == sum(not a["iscrowd"] for a in content["annotations"])
    assert (facts["unannotated"], facts["unknown_categories"], facts["errors"]) == (0, [], 0)
    assert 0.1 < facts["ap"] < facts["ap50"] < 1
    assert facts["precision_at_0.5"] > 0.3
    assert facts["recall_at_0.5"] > 0.1
    assert facts["per_class"].keys() == {c["name"] for c in content["categories"]}
    assert facts["per_class"]["toothbrush"]["ap"] is None or facts["per_class"]["toothbrush"]["boxes"]

    # One photo fewer in the file, a category nobody knows, one in another spelling: from the same work.
    gone = content["images"][0]["id"]
    categories = [{"id": 500, "name": "unicorn"}, *content["categories"]]
    renamed = [{**c, "name": {"couch": "sofa"}.get(c["name"], c["name"])} for c in categories]
    fewer = {
        "images": [{**image, "file_name": f"train/{image['file_name']}"} for image in content["images"][1:]],
        "categories": renamed,
        "annotations": [a for a in content["annotations"] if a["image_id"] != gone],
    }
    facts = run_evaluate(write(tmp_path / "fewer.json", fewer))
    assert (facts["images"], facts["unannotated"], facts["unknown_categories"]) == (PHOTOS - 1, 1, ["unicorn"])
    assert "couch" in facts["per_class"]


def test_files_and_photos_that_do_not_fit(
    run_evaluate: Callable[..., dict[str, Any]], part: Path, tmp_path: Path
) -> None:
    content = json.loads((part / "instances.json").read_text())
    names = [image["file_name"] for image in content["images"]]
    other = [{**image, "file_name": f"x{image['file_name']}"} for image in content["images"]]
    with pytest.raises(InputError, match=rf"lacks 6 of the 6 photos .* such as x{names[0]} \(it has \d+\.jpg\)"):
        run_evaluate(write(tmp_path / "other.json", {**content, "images": other}))
    more = [*content["images"], {"id": 10**9, "file_name": "more.jpg"}]
    with pytest.raises(InputError, match=r"lacks 1 of the 7 photos .* such as more.jpg"):
        run_evaluate(write(tmp_path / "more.json", {**content, "images": more}))
    unknown = [{"id": c["id"], "name": f"kind {c['id']}"} for c in content["categories"]]
    with pytest.raises(
        InputError, match="knows none of its categories kind 1, kind 2, kind 3 and 77 more; it knows person"
    ):
        run_evaluate(write(tmp_path / "unknown.json", {**content, "categories": unknown}))


def test_two_photos_of_one_name(part: Path, weights: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        shutil.copytree(part / "images", tmp_path / "images" / folder)
    with pytest.raises(InputError, match="has 2 photos of the name"):
        evaluate(
            str(tmp_path / "images"), part / "instances.json", config_of(tmp_path / "L", weights), lambda progress: None
        )


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
    labels = read_labels(write(tmp_path / "good.json", content))
    assert (labels.images, labels.categories) == ({"1.jpg": 1}, {"dog": 1})
    assert labels.boxes[0] | {"area": 12.0, "iscrowd": 0, "id": 1} == labels.boxes[0]
    with pytest.raises(InputError, match=text):
        read_labels(write(tmp_path / "bad.json", change(content)))


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--annotations .*none.json: no such file"):
        read_labels(tmp_path / "none.json")
    (tmp_path / "text.json").write_bytes(b"\xff\xfe not json")
    with pytest.raises(InputError, match="not COCO JSON of boxes"):
        read_labels(tmp_path / "text.json")


def test_annotations_lie_in_the_folder_or_beside_it(part: Path, tmp_path: Path) -> None:
    assert find_labels(str(part)) == find_labels(str(part / "images")) == part / "instances.json"
    with pytest.raises(InputError, match=r"no instances\.json in it or beside it; name the COCO file"):
        find_labels(str(tmp_path / "images" / "more"))


def labels_of(*boxes: tuple[int, int, list[float], int]) -> Labels:
    """Two photos, two categories; boxes: (image, category, x y width height, crowd)."""
    rows = [
        {"id": i, "image_id": image, "category_id": c, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd}
        for i, (image, c, box, crowd) in enumerate(boxes, 1)
    ]
    return Labels(Path("x.json"), {"a.jpg": 1, "b.jpg": 2}, {"cat": 1, "dog": 2}, rows)


def find(image: int, category: int, box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def test_precision_and_recall_by_hand() -> None:
    near, far = [10, 10, 100, 100], [300, 300, 50, 50]
    labels = labels_of((1, 1, near, 0), (1, 2, far, 0), (2, 1, near, 0), (2, 1, far, 1))
    found = [
        find(1, 1, [12, 10, 100, 100], 0.9),  # right
        find(1, 1, [10, 12, 100, 100], 0.8),  # the same again: wrong
        find(1, 1, far, 0.7),  # another category: wrong
        find(1, 2, far, 0.4),  # right, but not sure
        find(2, 1, far, 0.6),  # a crowd: neither
    ]
    facts = judge(labels, labels.categories, found)
    assert (facts["images"], facts["boxes"]) == (2, 3)
    assert facts["precision_at_0.5"] == pytest.approx(1 / 3, abs=1e-5)
    assert facts["recall_at_0.5"] == pytest.approx(1 / 3, abs=1e-5)
    assert facts["per_class"]["dog"] == {"ap": 1.0, "ap50": 1.0, "boxes": 1}
    assert facts["per_class"]["cat"]["ap50"] == pytest.approx(51 / 101, abs=1e-5)  # one of two, at recalls to 0.5
    only_dogs = judge(labels, {"dog": 2}, found)
    assert (only_dogs["ap"], only_dogs["boxes"], only_dogs["precision_at_0.5"]) == (1.0, 1, None)


def test_nothing_found_and_nothing_to_find() -> None:
    labels = labels_of((1, 1, [0, 0, 50, 50], 0))
    facts = judge(labels, labels.categories, [])
    assert (facts["ap"], facts["ap_large"], facts["precision_at_0.5"], facts["recall_at_0.5"]) == (0.0, None, None, 0.0)
    assert facts["per_class"]["dog"] == {"ap": None, "ap50": None, "boxes": 0}
    nothing = judge(labels_of(), labels.categories, [find(1, 1, [0, 0, 5, 5], 0.9)])
    assert (nothing["ap"], nothing["boxes"], nothing["precision_at_0.5"]) == (None, 0, 0.0)


box = st.tuples(*(st.integers(0, 300),) * 2, *(st.integers(20, 200),) * 2).map(list)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 2), st.integers(1, 2), box, st.just(0)), min_size=1, max_size=8, unique_by=str)
)
def test_the_truth_itself_is_perfect(boxes: list[tuple[int, int, list[float], int]]) -> None:
    labels = labels_of(*boxes)
    facts = judge(labels, labels.categories, [find(image, c, each, 0.9) for image, c, each, _ in boxes])
    assert facts["ap"] == facts["ap50"] == facts["precision_at_0.5"] == facts["recall_at_0.5"] == 1.0
