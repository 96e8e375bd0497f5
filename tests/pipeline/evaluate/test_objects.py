import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.runs import config_of
from muster.errors import InputError
from muster.pipeline.evaluate.objects import evaluate, find_labels

PHOTOS = 6


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


@pytest.fixture(scope="module")
def run_evaluate(part: Path, weights: Path, ray_cluster: None) -> Callable[..., dict[str, Any]]:
    """run_evaluate(annotations): on the six photos, whose work is kept in a library."""
    config = config_of(part / "library", "objects", workers=1, weights_dir=weights)

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
            str(tmp_path / "images"),
            part / "instances.json",
            config_of(tmp_path / "L", "objects", workers=1, weights_dir=weights),
            lambda progress: None,
        )


def test_annotations_lie_in_the_folder_or_beside_it(part: Path, tmp_path: Path) -> None:
    assert find_labels(str(part)) == find_labels(str(part / "images")) == part / "instances.json"
    with pytest.raises(InputError, match=r"no instances\.json in it or beside it; name the COCO file"):
        find_labels(str(tmp_path / "images" / "more"))
