"""Their published weights are too large to be kept beside the tests: real networks, with weights drawn at random."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from muster.errors import TaskError
from muster.tasks.models import coco_labels, zoo
from muster.tasks.models.torchvision_detectors import detect, set_min_score

BUILDERS = {
    "ssdlite": "ssdlite320_mobilenet_v3_large",
    "fasterrcnn": "fasterrcnn_resnet50_fpn",
    "fasterrcnn-v2": "fasterrcnn_resnet50_fpn_v2",
    "retinanet": "retinanet_resnet50_fpn_v2",
    "fcos": "fcos_resnet50_fpn",
}
FROZEN = ("fasterrcnn", "fcos")  # published without the counters of batch norm, which is no parameter of theirs


def untrained(name: str, classes: int = coco_labels.OUTPUTS) -> nn.Module:
    from torchvision.models import get_model

    torch.manual_seed(0)
    return get_model(BUILDERS[name], weights=None, weights_backbone=None, num_classes=classes).eval()


def published(name: str, folder: Path, **options: Any) -> dict[str, torch.Tensor]:
    """A file as torchvision publishes it, read as Muster reads it."""
    state = untrained(name, **options).state_dict()
    if name in FROZEN:
        state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(state, folder / "weights.pth")
    return torch.load(folder / "weights.pth", "cpu", weights_only=True)


@pytest.mark.parametrize("name", BUILDERS)
def test_entries_are_torchvisions_own(name: str) -> None:
    from torchvision.models import get_model_weights

    weights, entry = get_model_weights(BUILDERS[name])["COCO_V1"], zoo.ENTRIES[name]
    assert entry.url == weights.url
    assert entry.url.endswith(f"-{entry.sha256}.pth")
    assert len(entry.sha256) == 8
    assert entry.licence == "BSD-3-Clause"
    assert weights.transforms().__class__.__name__ == "ObjectDetection"  # 0..1, all else by the network


@pytest.mark.parametrize("name", BUILDERS)
def test_the_network_is_the_published_one(name: str, tmp_path: Path) -> None:
    from torchvision.models import get_model_weights

    network = zoo.ENTRIES[name].build(published(name, tmp_path)).eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if name in FROZEN:
        parameters -= sum(parameter.numel() for norm in norms for parameter in norm.parameters())
    assert parameters == get_model_weights(BUILDERS[name])["COCO_V1"].meta["num_params"]
    assert (name == "fasterrcnn") == all(norm.eps == 0 for norm in norms)
    network.transform.max_size = 256  # so that it does not take long
    pixels = torch.randint(0, 256, (40, 1333, 3), dtype=torch.uint8)
    set_min_score(network, 0.001)
    with torch.inference_mode():
        boxes, scores, labels = detect(network, pixels)
        [theirs] = network([pixels.permute(2, 0, 1) / 255])
    assert boxes.shape == (len(scores), 4)
    assert len(labels) == len(scores) <= len(theirs["scores"])
    assert bool(((labels >= 0) & (labels < len(coco_labels.NAMES))).all())
    assert set(scores.tolist()) <= set(theirs["scores"].tolist())
    assert float(boxes.amax()) <= 1333 if len(boxes) else True


def test_outputs_that_are_no_class_are_left_out() -> None:
    class Found(nn.Module):
        def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
            assert images[0].shape == (3, 4, 5)
            assert float(images[0].max()) == 1
            ids = torch.tensor([1, 12, 90, 83])
            return [{"boxes": torch.arange(16.0).view(4, 4), "scores": torch.ones(4), "labels": ids}]

    boxes, _, labels = detect(Found(), torch.full((4, 5, 3), 255, dtype=torch.uint8))
    assert [coco_labels.NAMES[i] for i in labels] == ["person", "toothbrush"]
    assert boxes[1].tolist() == [8, 9, 10, 11]


@pytest.mark.parametrize("name", ["ssdlite", "fasterrcnn", "retinanet", "fcos"])
def test_weights_for_another_number_of_classes(name: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="know 21 classes, not the 91 of COCO"):
        zoo.ENTRIES[name].build(published(name, tmp_path, classes=21))


@pytest.mark.parametrize("name", BUILDERS)
def test_the_least_score_is_obeyed(name: str) -> None:
    network, pixels = untrained(name), torch.zeros(16, 256, 3, dtype=torch.uint8)
    network.transform.max_size = 256
    set_min_score(network, 0.001)
    with torch.inference_mode():
        all_scores = detect(network, pixels)[1]
        middle = float(all_scores.median())
        set_min_score(network, middle)
        assert sorted(detect(network, pixels)[1].tolist()) == sorted(s for s in all_scores.tolist() if s > middle)
