from collections.abc import Callable

import pytest
import torch
from torchvision.ops import box_iou

from muster.training.detectors.backbone import Backbone, Boxes
from muster.training.detectors.regions import REGIONS, Regions, fast_rcnn, faster_rcnn, pooled, proposals, rcnn, warped

BUILDS = [rcnn, fast_rcnn, faster_rcnn]


@pytest.fixture
def image() -> torch.Tensor:
    """(3, 128, 128), -1..1: two bright things over a dark ground."""
    found = torch.full((3, 128, 128), -0.8)
    found[:, 20:60, 10:30] = 0.6
    found[0, 70:100, 60:110] = 1.0
    return found


BOXES = torch.tensor([[10.0, 20.0, 30.0, 60.0], [60.0, 70.0, 110.0, 100.0]])


def test_segments_are_where_things_are(image: torch.Tensor) -> None:
    regions = proposals((image + 1) / 2)
    assert len(regions) <= REGIONS
    assert (box_iou(BOXES, regions).amax(1) > 0.8).all()
    noise = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(0))
    assert len(proposals(noise)) <= REGIONS
    assert proposals(torch.zeros(3, 128, 128)).tolist() == [[0, 0, 128, 128]]  # of one colour: one segment


@pytest.mark.parametrize("build", BUILDS)
def test_each_learns_and_answers(build: Callable[[int], Regions], image: torch.Tensor) -> None:
    torch.manual_seed(0)
    network = build(3)
    truth = [
        Boxes(boxes=BOXES, labels=torch.tensor([1, 3]), regions=proposals((image + 1) / 2)),
        Boxes(
            boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long), regions=torch.tensor([[0.0, 0, 128, 128]])
        ),
    ]
    parts = network([image, -torch.ones(3, 128, 128)], truth)
    torch.stack(list(parts.values())).sum().backward()
    assert all(part.isfinite() for part in parts.values())
    assert all(each.grad is not None and each.grad.isfinite().all() for each in network.parameters())
    network.eval()
    with torch.inference_mode():
        [found] = network([image])
    assert found["boxes"].shape == (len(found["scores"]), 4)
    assert set(found["labels"].tolist()) <= {1, 2, 3}
    assert (found["scores"].diff() <= 0).all()


def test_how_often_the_convolutions_are_run(image: torch.Tensor) -> None:
    """Once for each region, or once."""
    seen = []
    for build in BUILDS:
        network, runs = build(2).eval(), list[int]()
        for each in network.modules():
            if isinstance(each, Backbone):
                each.register_forward_pre_hook(lambda module, given, runs=runs: runs.append(len(given[0])))
        network([image])
        seen.append(sum(runs))
    assert seen == [len(proposals((image + 1) / 2)), 1, 1]


def test_regions_are_cut_where_they_are() -> None:
    image = torch.zeros(1, 3, 128, 128)
    image[..., 20:60, 10:30] = 1
    region = torch.tensor([[12.0, 24.0, 28.0, 56.0]])  # with its surroundings still inside
    assert warped({"1": image}, [region], None).amin() > 0.999
    maps = torch.zeros(1, 4, 16, 16)
    maps[..., 4:6, 8:12] = 1
    assert pooled({"8": maps}, [torch.tensor([[68.0, 36.0, 92.0, 44.0]])], None).amin() > 0.999
    assert pooled({"8": maps}, [torch.tensor([[68.0, 66.0, 92.0, 74.0]])], None).amax() == 0
