"""Which published networks do which task."""

from typing import Any

import pytest
import transformers as hf

from helpers.published import MODELS
from muster.errors import TaskError
from muster.tasks import registry
from muster.tasks.hub import kinds

TASKS = {
    "objects": ("d_fine", "rt_detr", "rt_detr_v2", "rf_detr", "detr", "detr_timm", "yolos", "owlv2", "grounding_dino"),
    "masks": ("segformer", "mask2former", "sam", "sam2", "sam3_tracker"),
    "labels": ("vit", "convnext"),
    "features": ("dinov2", "clip", "siglip", "siglip2"),
}


def of(kind: str) -> tuple[Any, Any]:
    network, processor = MODELS[kind]()
    network.config.architectures = [type(network).__name__]
    return network.config, processor


@pytest.mark.parametrize(("task", "kind"), [(task, kind) for task in TASKS for kind in TASKS[task]])
def test_a_model_does_its_task_and_no_other(task: str, kind: str) -> None:
    config, _ = of(kind)
    assert kinds.class_of(task, config)[1].__name__ == config.architectures[0]
    for other in TASKS.keys() - {task}:
        with pytest.raises(
            TaskError, match=rf"it is {config.architectures[0]}, and none of the networks that do {other}"
        ):
            kinds.class_of(other, config)


def test_every_task_with_published_models_is_one_of_ours() -> None:
    assert set(kinds.LISTS) <= registry.OWN.keys()


def test_a_model_that_was_saved_without_its_class() -> None:
    config, _ = of("vit")
    config.architectures = None
    assert kinds.class_of("labels", config)[1] is hf.ViTForImageClassification


def test_a_network_for_videos_is_taken_for_its_photos() -> None:
    """As SAM 2 is published."""
    config = hf.Sam2VideoConfig()
    config.architectures = ["Sam2VideoModel"]
    assert kinds.class_of("masks", config)[1] is hf.Sam2Model


@pytest.mark.parametrize(("kind", "side", "longest"), [("d_fine", 96, 640), ("detr", 160, 640), ("clip", 64, 640)])
def test_photos_are_larger_than_what_the_network_sees(kind: str, side: int, longest: int) -> None:
    config, processor = of(kind)
    task = next(task for task, names in TASKS.items() if kind in names)
    assert kinds.kind_of(task, config, processor).side == side
    assert kinds.max_side(side) == longest


@pytest.mark.parametrize(("side", "longest"), [(224, 640), (640, 1280), (1333, 2048)])
def test_the_longest_side(side: int, longest: int) -> None:
    assert kinds.max_side(side) == longest


def test_how_many_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, width in {"dinov2": 32, "clip": 24, "siglip": 32, "siglip2": 32}.items():
        assert kinds.kind_of("features", *of(kind)).width == width
