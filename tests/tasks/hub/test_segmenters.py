"""Masks of the `transformers` library: as those of its own pipelines, on photos of every shape."""

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.published import NAMES, by_image, loaded, photos, picture, save
from muster.errors import TaskError
from muster.tasks.base import Image
from muster.tasks.geometry import rle
from muster.tasks.masks import Masks
from muster.testing import check_task

LEAST = 0.2


def masks(rows: list[dict[str, object]]) -> list[tuple[str, float, np.ndarray]]:
    """Label, score and mask of each row."""
    coded = [{"size": [row["height"], row["width"]], "counts": row["rle"]} for row in rows]
    return [(row["label"], row["score"], rle.decode(each).astype(bool)) for row, each in zip(rows, coded, strict=True)]


@pytest.mark.parametrize("subtask", ["panoptic", "instance"])
def test_things(subtask: str, tmp_path: Path, data: Path) -> None:
    import transformers as hf

    folder, images = save("mask2former", tmp_path / "m"), photos(data)
    rows = loaded("masks", folder, min_score=LEAST, subtask=subtask)(images)
    run = hf.pipeline("image-segmentation", model=str(folder), device="cpu")
    compared = 0
    for image, ours in zip(images, by_image(rows, images), strict=True):
        theirs = [each for each in run(picture(image), subtask=subtask, threshold=LEAST) if np.any(each["mask"])]
        assert [row["label"] for row in ours] == [each["label"] for each in theirs]
        for (_, score, mask), each in zip(masks(ours), theirs, strict=True):
            assert abs(score - each["score"]) <= 1e-4
            assert np.array_equal(mask, np.asarray(each["mask"]) > 0)
            compared += 1
    assert compared > 40


@pytest.mark.parametrize("kind", ["segformer", "mask2former"])
def test_classes(kind: str, tmp_path: Path, data: Path) -> None:
    import transformers as hf

    folder, images = save(kind, tmp_path / kind), photos(data)
    rows = loaded("masks", folder, subtask="semantic")(images)
    run = hf.pipeline("image-segmentation", model=str(folder), device="cpu")
    compared = 0
    for image, ours in zip(images, by_image(rows, images), strict=True):
        theirs = run(picture(image), subtask="semantic")
        assert [row["label"] for row in ours] == [each["label"] for each in theirs]
        for (_, score, mask), each in zip(masks(ours), theirs, strict=True):
            assert 0 < score <= 1
            assert np.array_equal(mask, np.asarray(each["mask"]) > 0)
            compared += 1
    assert compared >= 40


def test_the_score_of_a_class_is_the_mean_of_its_pixels(tmp_path: Path, data: Path) -> None:
    import transformers as hf

    folder, [image] = save("segformer", tmp_path / "s"), photos(data, 5)[:1]
    rows = loaded("masks", folder)([image]).to_pylist()
    network = hf.AutoModelForSemanticSegmentation.from_pretrained(folder).eval()
    processor = hf.AutoImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        logits = network(**processor(picture(image), return_tensors="pt")).logits
    chances = torch.nn.functional.interpolate(logits, image.pixels.shape[:2], mode="bilinear")[0].softmax(0).numpy()
    for row, (label, score, mask) in zip(rows, masks(rows), strict=True):
        assert score == pytest.approx(chances[NAMES.index(label)][mask].mean(), abs=1e-4), row


@pytest.mark.parametrize("kind", ["sam", "sam2", "sam3_tracker"])
def test_what_lies_in_a_box(kind: str, tmp_path: Path, data: Path) -> None:
    """As the library's network and processor, asked for the boxes that `objects` finds."""
    import transformers as hf

    folder, images = save(kind, tmp_path / kind, 3), photos(data, 8)
    task = loaded("masks", folder, data / "weights", min_score=0.05)
    rows = task(images)
    assert isinstance(task, Masks)
    prompts = by_image(task.prompts(images), images)
    network, processor = (
        hf.AutoModelForMaskGeneration.from_pretrained(folder).eval(),
        hf.AutoProcessor.from_pretrained(folder),
    )
    compared = 0
    for image, ours, boxes in zip(images, by_image(rows, images), prompts, strict=True):
        theirs = []
        for box in boxes:
            inputs = processor(picture(image), input_boxes=[[box["box_xyxy"]]], return_tensors="pt")
            sizes = {name: inputs[name] for name in ("original_sizes", "reshaped_input_sizes") if name in inputs}
            with torch.inference_mode():
                outputs = network(**inputs, multimask_output=False)
            [[[mask]]] = processor.post_process_masks(outputs.pred_masks, **sizes)
            score = box["score"] * min(1, max(0, float(outputs.iou_scores)))
            if mask.any() and score >= 0.05:
                theirs.append((box["label"], score, mask.numpy()))
        assert [label for label, _, _ in masks(ours)] == [label for label, _, _ in theirs]
        for (_, score, mask), (_, other, its) in zip(masks(ours), theirs, strict=True):
            assert abs(score - other) <= 1e-4
            assert np.mean(mask != its) < 1e-3  # several boxes at once: a few pixels at the threshold, by rounding
            compared += 1
    assert compared > 5


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_what_lies_under_points(kind: str, tmp_path: Path, data: Path) -> None:
    import transformers as hf

    folder, small = save(kind, tmp_path / kind, 3), np.array(picture(photos(data, 5)[0]).resize((96, 64)))
    images = [Image("small", small, 1.0, (96, 64))]
    rows = loaded("masks", folder, data / "weights", subtask="points", min_score=0)(images)
    run = hf.pipeline("mask-generation", model=str(folder), device="cpu")
    for image, ours in zip(images, by_image(rows, images), strict=True):
        theirs = run(picture(image))
        kept = [mask for mask in theirs["masks"] if mask.any()]
        assert len(ours) == len(kept)
        assert all(np.array_equal(mask, np.asarray(each)) for (_, _, mask), each in zip(masks(ours), kept, strict=True))


def test_a_subtask_that_it_does_not_do(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="`subtask` panoptic: this model does semantic"):
        loaded("masks", save("segformer", tmp_path / "s"), subtask="panoptic")
    with pytest.raises(TaskError, match="`subtask` boxes: this model does panoptic or instance or semantic"):
        loaded("masks", save("mask2former", tmp_path / "m"), subtask="boxes")


def test_only_some_classes(tmp_path: Path, data: Path) -> None:
    folder, images = save("segformer", tmp_path / "s"), photos(data, 8)
    every = loaded("masks", folder)(images)["label"].to_pylist()
    some = loaded("masks", folder, classes="cat,kite")(images)["label"].to_pylist()
    assert some == [label for label in every if label in ("cat", "kite")]
    assert set(every) - {"cat", "kite"}
    with pytest.raises(TaskError, match="`classes` kit: no such class"):
        loaded("masks", folder, classes="kit")


def test_the_contract_of_a_task(tmp_path: Path, data: Path) -> None:
    model = f"hf:{save('segformer', tmp_path / 's')}"
    check_task(Masks, model=model, options={"min_score": 0.3}, images=photos(data, 6))
