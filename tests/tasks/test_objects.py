from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from muster.errors import TaskError
from muster.pipeline.work.weights import load_weights
from muster.tasks import base, objects, registry
from muster.tasks.base import Image
from muster.tasks.models import coco_labels, zoo
from muster.tasks.models.fastestdet import FastestDet
from muster.tasks.models.yolo import Yolo, decode
from muster.tasks.models.zoo import objects as zoo_objects
from muster.tasks.objects import Found, ObjectParameters, Objects, choose, parse_classes, select, thresholds
from muster.training.recipes.objects import suppressed

CPU = torch.device("cpu")
Load = Callable[..., Objects]


@pytest.fixture(scope="module")
def load(weights: Path) -> Load:
    """load(**options): FastestDet with them."""
    state = load_weights(zoo.ENTRIES["fastestdet"], weights)

    def create(**options: Any) -> Objects:
        task = Objects(None, **options)
        task.load(CPU, {"fastestdet": state})
        return task

    return create


@pytest.fixture(scope="module")
def photos(data: Path) -> list[Image]:
    files = sorted((data / "coco128/images").iterdir())[:12]
    return [image(file.stem, np.array(PillowImage.open(file).convert("RGB"))) for file in files]


def image(name: str, pixels: np.ndarray[Any, Any], size: tuple[int, int] | None = None) -> Image:
    width, height = size or (pixels.shape[1], pixels.shape[0])
    return Image(name, pixels, pixels.shape[1] / width, (width, height))


def boxes_of(table: pa.Table) -> np.ndarray[Any, Any]:
    return np.array(table["box_xyxy"].to_pylist(), np.float64).reshape(-1, 4)


def test_a_photo_of_a_giraffe(load: Load, data: Path) -> None:
    """The annotations of this one say: box 385, 60, 600, 357 and box 53, 356, 185, 411."""
    pixels = np.array(PillowImage.open(data / "coco128/images/000000000025.jpg").convert("RGB"))
    best = load()([image("giraffes", pixels)]).to_pylist()[0]
    assert (best["image_id"], best["label"], coco_labels.NAMES[best["label_id"]]) == ("giraffes", "giraffe", "giraffe")
    assert best["score"] > 0.65
    np.testing.assert_allclose(best["box_xyxy"], [385, 60, 600, 357], atol=35)


def test_rows_are_best_first_and_inside(load: Load, photos: list[Image]) -> None:
    rows = load(min_score=0.01)(photos)
    assert rows.schema.equals(objects.SCHEMA)
    rows.validate(full=True)
    for photo in photos:
        mine = rows.filter(pa.compute.equal(rows["image_id"], photo.image_id))
        scores, boxes = mine["score"].to_pylist(), boxes_of(mine)
        assert scores == sorted(scores, reverse=True)
        assert 0 < len(scores) <= 100
        assert boxes.min() >= 0
        assert (boxes[:, 2:] <= photo.size).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert rows["label"].to_pylist() == [coco_labels.NAMES[i] for i in rows["label_id"].to_pylist()]


def test_boxes_are_in_full_size_pixels(load: Load, photos: list[Image]) -> None:
    """What was decoded at half its size is asked about in the pixels of the whole."""
    photo = photos[1]
    alone = load()([photo])
    double = load()([image("double", photo.pixels, (2 * photo.size[0], 2 * photo.size[1]))])
    np.testing.assert_allclose(boxes_of(double), 2 * boxes_of(alone), atol=1e-3)
    large = np.asarray(PillowImage.fromarray(photo.pixels).resize((2 * photo.size[0], 2 * photo.size[1])))
    np.testing.assert_allclose(boxes_of(load()([image("large", large)]))[0], 2 * boxes_of(alone)[0], atol=30)


def test_the_batch_does_not_matter(load: Load, photos: list[Image]) -> None:
    task = load(min_score=0.3)
    alone = pa.concat_tables([task([photo]) for photo in photos])
    together = task(photos)
    assert alone.drop(["score", "box_xyxy"]).equals(together.drop(["score", "box_xyxy"]))
    np.testing.assert_allclose(alone["score"].to_numpy(), together["score"].to_numpy(), atol=1e-5)
    np.testing.assert_allclose(boxes_of(alone), boxes_of(together), atol=0.01)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30000), (30000, 1), (480, 640)])
def test_black_and_of_any_shape(load: Load, photos: list[Image], shape: tuple[int, int]) -> None:
    black = image("black", np.zeros((*shape, 3), np.uint8))
    task = load(min_score=0.01)
    boxes = boxes_of(task([black, photos[0]]).filter(pa.compute.field("image_id") == "black"))
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= (shape[1], shape[0])).all()
    assert not load()([black]).num_rows


def test_chosen_classes_are_those_of_all(load: Load, photos: list[Image]) -> None:
    every = load(min_score=0.2)(photos)
    chosen = load(classes=parse_classes("person=0.5,motorbike"), min_score=0.2)(photos)
    assert set(chosen["label"].to_pylist()) >= {"person"}
    wanted = [
        row
        for row in every.to_pylist()
        if row["label"] == "motorcycle" or (row["label"] == "person" and row["score"] >= 0.5)
    ]
    assert chosen.to_pylist() == wanted


def test_options_become_parameters() -> None:
    assert tuple(registry.options_of("objects")) == ("classes", "min_score")
    task = registry.create("objects", None, {"classes": {"dog": 0.25, "cat": None}, "min_score": 0.5})
    assert task.parameters == {
        "max_overlap": 0.45,
        "classes": {"cat": 0.5, "dog": 0.25},
        "most": 100,
    }
    assert registry.create("objects").parameters.items() >= {"classes": {}, "min_score": 0.65}.items()
    same = [registry.create("objects", None, {"classes": classes}) for classes in ({"sofa": None}, {"couch": 0.65})]
    assert same[0].parameters == same[1].parameters


@pytest.mark.parametrize("classes", [["dog"], 3, {"dog"}])
def test_classes_that_are_none(classes: object) -> None:
    with pytest.raises(
        TaskError, match=r"^objects\.classes=.*: give names with their least scores, such as \{'person'"
    ):
        registry.create("objects", None, {"classes": classes})


def test_an_unknown_class_names_the_nearest() -> None:
    with pytest.raises(TaskError, match=r"no class 'persom'; the nearest of the 80 .*: person, "):
        Objects(classes={"dog": None, "persom": 0.5})
    with pytest.raises(TaskError, match="known: fastestdet, ssdlite, fasterrcnn, fasterrcnn-v2, retinanet, fcos"):
        Objects("nonsense")


def test_thresholds() -> None:
    least = thresholds(ObjectParameters(0.5, 0.45, choose({"b": 0.25, "c": None}, "abc", 0.5)), "abc")
    assert least.tolist() == [float("inf"), 0.25, 0.5]
    assert thresholds(ObjectParameters(0.5, 0.45), "abc").tolist() == [0.5, 0.5, 0.5]


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(1, 3000), st.integers(1, 3000))
def test_what_is_kept_and_what_is_not(seed: int, count: int, width: int, height: int) -> None:
    from torchvision.ops import batched_nms, box_iou

    generator = torch.Generator().manual_seed(seed)
    low, sides, scores = (torch.rand(count, n, generator=generator) for n in (2, 2, 1))
    found = Found(
        torch.cat([low - 0.3, low + sides], 1), scores[:, 0], torch.randint(0, 3, (count,), generator=generator)
    )
    parameters = ObjectParameters(0.3, 0.45, most=10)
    least = torch.tensor([0.3, 0.6, float("inf")])
    kept = select(found, (width, height), least, parameters, batched_nms)
    assert (kept.scores >= least[kept.labels]).all()
    assert (kept.scores.diff() <= 0).all()
    assert ((kept.boxes >= 0) & (kept.boxes <= torch.tensor([width, height] * 2))).all()
    apart = kept.labels[:, None] != kept.labels
    assert (apart | (box_iou(kept.boxes, kept.boxes) <= 0.4501) | torch.eye(len(kept.labels), dtype=torch.bool)).all()
    if len(kept.scores) < parameters.most:  # whoever is missing has a reason
        everything = select(found, (width, height), least, ObjectParameters(0.3, 1.0, most=1000), batched_nms)
        same = everything.labels[:, None] == kept.labels
        better = kept.scores >= everything.scores[:, None]
        overlap = box_iou(everything.boxes, kept.boxes) >= 0.4499
        assert (same & better & overlap).any(1).all()


def test_every_network_has_its_family() -> None:
    assert objects._FAMILIES.keys() == {entry.name for entry in zoo_objects.ENTRIES}
    for model in zoo.MODELS["objects"]:
        task = Objects(model)
        assert task.max_side in (416, 640, 1333)
        assert task.family.classes == coco_labels.NAMES


def test_a_torchvision_network_through_the_task(tmp_path: Path, photos: list[Image]) -> None:
    """With weights drawn at random: its own finds, in full-size pixels."""
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    torch.manual_seed(0)
    network = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
    torch.save(network.state_dict(), tmp_path / "ssdlite.pth")
    task = Objects("ssdlite", min_score=0.0109)
    task.load(CPU, {"ssdlite": torch.load(tmp_path / "ssdlite.pth", weights_only=True)})
    images = [photos[0], image("long", np.zeros((1, 30000, 3), np.uint8)), image("dot", np.zeros((1, 1, 3), np.uint8))]
    rows = task(images)
    assert rows.equals(pa.concat_tables([task([each]) for each in images]))
    network.score_thresh = 0.0109
    with torch.inference_mode():
        [theirs] = network([torch.tensor(photos[0].pixels).permute(2, 0, 1) / 255])
    known = torch.tensor(coco_labels.INDEX)[theirs["labels"]] >= 0
    mine = rows.filter(pa.compute.field("image_id") == photos[0].image_id)
    assert mine.num_rows == min(100, int(known.sum())) > 0
    np.testing.assert_allclose(mine["score"].to_numpy(), theirs["scores"][known][:100], atol=1e-6)
    np.testing.assert_allclose(boxes_of(mine)[0], theirs["boxes"][known][0], atol=0.01)


def test_our_own_through_the_task(photos: list[Image]) -> None:
    """As its training looks at photos: at 416 pixels, RGB in -1..1, padded with black."""
    torch.manual_seed(0)
    network = Yolo(80).eval()
    for head in network.heads:
        head.get_parameter("1.bias").data[4::85] += 2.0
    task = Objects("own", min_score=0.4)
    task.load(CPU, {"muster-yolo": {name: value.half().float() for name, value in network.state_dict().items()}})
    network = zoo.ENTRIES["muster-yolo"].build({name: value.half() for name, value in network.state_dict().items()})
    images = [photos[0], image("long", np.zeros((1, 30000, 3), np.uint8)), image("dot", np.zeros((1, 1, 3), np.uint8))]
    rows = task(images)
    assert rows.equals(pa.concat_tables([task([each]) for each in images]))
    mine = rows.filter(pa.compute.field("image_id") == photos[0].image_id)
    small = base.shrink(photos[0], 416).pixels
    padded = np.zeros((-(-small.shape[0] // 32) * 32, 416, 3), np.uint8)
    padded[: small.shape[0], : small.shape[1]] = small
    with torch.inference_mode():
        decoded = decode(network.eval()(torch.tensor(padded).permute(2, 0, 1)[None].float() / 127.5 - 1))
    boxes, scores, _ = suppressed((decoded[0][0], decoded[1][0], decoded[2][0]), 0.4)
    assert mine.num_rows == len(scores) > 0
    np.testing.assert_allclose(mine["score"].to_numpy(), scores, atol=1e-4)
    full = np.array([*photos[0].size] * 2)
    expected = (boxes * full / ([small.shape[1], small.shape[0]] * 2)).clip(0, full)
    np.testing.assert_allclose(boxes_of(mine)[0], expected[0], atol=0.1)


def test_weights_for_another_number_of_classes() -> None:
    with pytest.raises(TaskError, match="know 20 classes, not the 80"):
        Objects().load(CPU, {"fastestdet": FastestDet(classes=20).state_dict()})
