from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image as PillowImage
from torchvision.models import get_model

from muster.errors import TaskError
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.weights import load_weights
from muster.tasks import base
from muster.tasks.geometry import rle
from muster.tasks.masks import Masks, normalised, segment
from muster.tasks.models import sinet, zoo
from muster.tasks.models.fuse import for_inference
from muster.tasks.models.segmenter import Segmenter
from muster.tasks.models.zoo.masks import FORMS, STREETS, STREETS_LABELS, Semantic

CPU = torch.device("cpu")
Pixels = np.ndarray[Any, Any]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As in a worker; on busy cores several wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def image(name: str, pixels: Pixels) -> base.Image:
    return base.Image(name, pixels, 1.0, (pixels.shape[1], pixels.shape[0]))


def stripes(height: int, width: int) -> Pixels:
    return np.random.default_rng(height).integers(0, 255, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def sinet_task(weights: Path) -> Masks:
    task = Masks("sinet")
    task.load(CPU, {"sinet-portrait": load_weights(zoo.ENTRIES["sinet-portrait"], weights)})
    return task


@pytest.fixture(scope="module")
def photo(data: Path) -> Pixels:
    return np.asarray(PillowImage.open(data / "person_masks/images/001.jpg").convert("RGB"))


@pytest.fixture(scope="module")
def random_task(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Masks]:
    """random_task(model, builder, change): with random weights, read from a file as published ones are."""

    def make(model: str, builder: str, change: Callable[[Any], None] = lambda network: None, **options: Any) -> Masks:
        torch.manual_seed(0)
        count = 91 if "rcnn" in builder else 21
        aux = {"aux_loss": True} if "deeplab" in builder else {}
        network = get_model(builder, weights=None, weights_backbone=None, num_classes=count, **aux)
        change(network)
        file = tmp_path_factory.mktemp("weights") / "random.pth"
        torch.save(network.state_dict(), file)
        task = Masks(model, **options)
        task.load(CPU, {task.models["segmenter"]: torch.load(file, weights_only=True)})
        return task

    return make


def test_a_person(sinet_task: Masks, photo: Pixels, data: Path) -> None:
    """Its only person is found, and the row says of its mask what is true."""
    [row] = sinet_task([image("one", photo)]).to_pylist()
    assert (row["label"], row["label_id"]) == ("person", 1)
    assert (row["height"], row["width"]) == photo.shape[:2]
    mask = rle.decode({"size": [row["height"], row["width"]], "counts": row["rle"]})
    truth = np.asarray(PillowImage.open(data / "person_masks/masks/001.png")) > 127
    assert (truth & (mask == 1)).sum() / (truth | (mask == 1)).sum() > 0.85
    y, x = np.nonzero(mask)
    assert row["area"] == mask.sum()
    assert row["box_xyxy"] == [x.min(), y.min(), x.max() + 1, y.max() + 1]
    assert 0.9 < row["score"] <= 1


def test_boxes_are_in_full_size_pixels_and_masks_in_decoded_ones(sinet_task: Masks, photo: Pixels) -> None:
    height, width = photo.shape[:2]
    [small] = sinet_task([image("one", photo)]).to_pylist()
    [row] = sinet_task([base.Image("one", photo, 0.1, (width * 10, height * 10))]).to_pylist()
    assert row["box_xyxy"] == pytest.approx([10 * side for side in small["box_xyxy"]])
    assert {**row, "box_xyxy": small["box_xyxy"]} == small
    [large] = sinet_task([image("one", np.asarray(PillowImage.fromarray(photo).resize((1600, 1200))))]).to_pylist()
    assert (large["width"], large["height"]) == (640, 480)  # max_side
    assert max(large["box_xyxy"]) > 640


@pytest.mark.parametrize("size", [(1, 1), (1, 30_000), (30_000, 1), (64, 64), (3, 700)])
def test_sizes(sinet_task: Masks, size: tuple[int, int]) -> None:
    for pixels in (np.zeros((*size, 3), np.uint8), stripes(*size)):
        for row in sinet_task([image("one", pixels)]).to_pylist():
            x0, y0, x1, y1 = row["box_xyxy"]
            assert 0 <= x0 < x1 <= size[1] + 0.01
            assert 0 <= y0 < y1 <= size[0] + 0.01
            assert 1 <= row["area"] <= row["height"] * row["width"]


def test_scores_and_classes_that_are_asked_for(weights: Path, sinet_task: Masks, photo: Pixels) -> None:
    [row] = sinet_task([image("one", photo)]).to_pylist()
    for options, rows in (({"min_score": 0.999}, 0), ({"classes": {"person": 0.999}}, 0), ({"min_score": 0.5}, 1)):
        task = Masks("sinet", **options)  # type: ignore[arg-type]
        task.network, task.device = sinet_task.network, sinet_task.device
        assert task([image("one", photo)]).num_rows == rows
    assert 0.9 < row["score"] < 0.999
    assert TaskChoice(name="masks").description != TaskChoice(name="masks", options={"min_score": 0.5}).description


def test_a_class_that_nobody_knows() -> None:
    with pytest.raises(TaskError, match=r"`classes` persn: no such class of masks=person; nearest: person$"):
        Masks(classes={"persn": None})
    with pytest.raises(TaskError, match=r"`classes` hrose: .* masks=lraspp; nearest: horse"):
        Masks("lraspp", {"dog": None, "hrose": 0.5})
    assert Masks("lraspp", {"sofa": 0.5}).least == Masks("lraspp", {"couch": 0.5}).least == {18: 0.5}
    assert Masks("maskrcnn", {"aeroplane": None}).least == {4: 0.5}
    with pytest.raises(TaskError, match="`classes` background"):
        Masks(classes={"background": None})
    with pytest.raises(TaskError, match="task 'masks' has no model 'nonsense'; known: person, streets, sinet"):
        Masks("nonsense")


@pytest.mark.parametrize(
    ("model", "builder"), [("lraspp", "lraspp_mobilenet_v3_large"), ("deeplabv3", "deeplabv3_mobilenet_v3_large")]
)
def test_semantic_models_of_torchvision(random_task: Callable[..., Masks], model: str, builder: str) -> None:
    """Rows are disjoint, leave the background out, and are what torchvision's network and plain argmax give."""
    task = random_task(model, builder)
    pixels = np.repeat(np.repeat(stripes(6, 9), 16, 0), 16, 1)
    images = [image("a", pixels), image("b", np.zeros((1, 1, 3), np.uint8)), image("c", stripes(1, 900))]
    table = task(images)
    rows = [row for row in table.to_pylist() if row["image_id"] == "a"]
    masks = [rle.decode({"size": [96, 144], "counts": row["rle"]}) for row in rows]
    assert sum(masks).max() <= 1  # type: ignore[union-attr]
    assert 0 not in [row["label_id"] for row in rows]
    form: Any = FORMS[task.models["segmenter"]]
    x = normalised(pixels, form)
    assert x.shape[2:] == (520, 780)
    with torch.inference_mode():
        logits = F.interpolate(task.network(x), (520, 780), mode="bilinear", align_corners=False)
        labels = F.interpolate(logits, (96, 144), mode="bilinear", align_corners=False)[0].argmax(0).numpy()
    for row, mask in zip(rows, masks, strict=True):
        assert row["label"] == form.classes[row["label_id"]]
        assert np.array_equal(mask == 1, labels == row["label_id"])
    assert sum(row["area"] for row in rows) == (labels != 0).sum()


def test_streets_are_rows_of_every_class(photo: Pixels) -> None:
    """As muster's own segmenter: no background, any size, padded to multiples of 32."""
    form = Semantic(STREETS, STREETS_LABELS, 480, None, (0.5,) * 3, (0.5,) * 3, multiple=32)
    network = for_inference(Segmenter(11, (8, 8, 8, 8, 8)), CPU, torch.float32)
    with torch.inference_mode():
        for pixels in (photo, photo[:1, :1], photo[:1]):
            labels, chances = segment(network, pixels, form, CPU)
            assert labels.shape == chances.shape == pixels.shape[:2]
            assert chances.min() >= 1 / 11 - 1e-6
            x = F.pad(normalised(pixels, form), (0, -pixels.shape[1] % 32, 0, -pixels.shape[0] % 32))
            whole = network(x)[0, :, : pixels.shape[0], : pixels.shape[1]]
            assert torch.equal(labels, whole.argmax(0))


def test_mask_r_cnn(random_task: Callable[..., Masks]) -> None:
    """One row per instance, of COCO's classes, at most 100, from the least score on."""

    def sure(network: Any) -> None:
        network.roi_heads.box_predictor.cls_score.weight.data.zero_()
        network.roi_heads.box_predictor.cls_score.bias.data[[1, 12]] = 6.0  # person, and an id that COCO left out
        network.roi_heads.mask_predictor.mask_fcn_logits.bias.data += 1.0

    task = random_task("maskrcnn", "maskrcnn_resnet50_fpn", sure, min_score=0.3)
    task.network.rpn._post_nms_top_n["testing"] = 12  # of 1,000, to be quick
    narrow, wide = image("narrow", stripes(20, 200)), image("wide", stripes(1, 30_000))
    table = task([narrow, wide])
    rows = [row for row in table.to_pylist() if row["image_id"] == "narrow"]
    assert 1 <= len(rows) <= 100
    assert {(row["label"], row["label_id"]) for row in rows} == {("person", 0)}
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert min(row["score"] for row in rows) >= 0.3
    for row in rows:
        mask = {"size": [20, 200], "counts": row["rle"]}
        assert row["area"] == rle.area(mask) > 0
        assert row["box_xyxy"] == list(rle.box(mask))
    assert task([narrow]).to_pylist() == rows
    chosen = Masks("maskrcnn", {"dog": None})
    chosen.network, chosen.device = task.network, task.device
    assert chosen([narrow]).num_rows == 0


def test_a_model_is_fit_for_its_form() -> None:
    network = sinet.SINet().eval()
    form: Any = FORMS["sinet-portrait"]
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, *form.size)).shape[1] == len(form.classes)
    for form in FORMS.values():
        if isinstance(form, Semantic):
            assert {label for label in form.labels.values() if label is not None} == set(range(len(form.classes)))


def test_equal_choices_are_one_choice() -> None:
    same = [Masks("person", classes) for classes in (None, {"person": None}, {"person": 0.0})]
    assert [task.parameters for task in same] == [{"least": 0.0}] * 3
    spelt = [Masks("lraspp", {name: 0.5, "dog": None}, 0.4).parameters for name in ("motorbike", "motorcycle")]
    assert spelt == [{"least": {"dog": 0.4, "motorbike": 0.5}}] * 2


@pytest.mark.parametrize("model", ["person", "streets"])
def test_our_own_pad_with_black_as_they_were_trained(model: str) -> None:
    """What is cut to a multiple of 32 by hand, with black around it, is decided the same."""
    task = Masks(model)
    entry = zoo.ENTRIES[task.models["segmenter"]]
    task.load(CPU, {entry.name: load_weights(entry, None)})
    pixels = np.asarray(PillowImage.fromarray(stripes(6, 8)).resize((200, 150)))
    black = np.zeros((160, 224, 3), np.uint8)
    black[:150, :200] = pixels
    with torch.inference_mode():
        alone, chances = segment(task.network, pixels, task.form, CPU)
        within, others = segment(task.network, black, task.form, CPU)
    assert alone.equal(within[:150, :200])
    torch.testing.assert_close(chances, others[:150, :200], atol=1e-4, rtol=1e-4)
