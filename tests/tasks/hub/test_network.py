"""A published network beside its processor: what goes in together, and norms that became a part of convolutions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from helpers.published import MODELS, loaded, photos, picture, save
from muster.tasks.hub import network as network_module
from muster.tasks.hub.network import Published, batches, in_order
from muster.tasks.objects import Objects

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", ["d_fine", "rt_detr_v2", "detr"])
def test_folded_norms_change_no_more_than_rounding(kind: str) -> None:
    """Of what the convolutions give: what a detector makes of it may be another choice, by a rounding."""
    torch.manual_seed(0)
    network = MODELS[kind]()[0].eval().model.backbone.model
    for module in network.modules():
        if isinstance(running := getattr(module, "running_var", None), torch.Tensor):
            running.uniform_(0.5, 2)
            module.running_mean.normal_()
    x = torch.rand(1, 3, 96, 96)
    with torch.inference_mode():
        before = network(x).feature_maps
        published = Published(network, None)
        after = published.network(x.to(memory_format=torch.channels_last)).feature_maps
    assert [each for each in published.modules() if isinstance(each, nn.Identity)]
    for one, other in zip(before, after, strict=True):
        assert one.std() > 1e-3
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(one.std()))


def test_an_exact_network_is_left_as_it_is() -> None:
    network = MODELS["d_fine"]()[0].eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    published = Published(network, None, exact=True)
    assert all(torch.equal(value, state[name]) for name, value in published.network.state_dict().items())


def test_only_photos_of_one_shape_go_together(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, images = loaded("objects", save("detr", tmp_path / "detr")), photos(data, 20)
    assert isinstance(task, Objects)
    network = task.detector.network  # type: ignore[attr-defined]
    pixels = [image.pixels for image in images for _ in range(3)]
    alone = list(batches(network, pixels, CPU))
    assert [places for places, _ in alone] == [[i] for i in range(len(pixels))]
    monkeypatch.setattr(network_module, "at_once", lambda device: 16)
    together = list(batches(network, pixels, CPU))
    assert sorted(place for places, _ in together for place in places) == list(range(len(pixels)))
    assert all(len(places) >= 3 for places, _ in together)
    for places, inputs in together:
        for row, place in enumerate(places):
            one = network.image_processor(images=[picture(images[place // 3])], return_tensors="pt")
            assert np.array_equal(one["pixel_values"][0], inputs["pixel_values"][row])
            assert inputs["pixel_mask"][row].all(), "nothing is padded"


def test_in_order() -> None:
    assert in_order({2: "c", 0: "a", 1: "b"}) == ["a", "b", "c"]
