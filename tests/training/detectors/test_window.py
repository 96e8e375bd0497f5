import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.training.detectors import window
from muster.training.detectors.backbone import Boxes
from muster.training.detectors.window import FACTORS, INSIDE, NEITHER, SHAPE, WINDOW, Windows, resized, squares

EXTENT = st.integers(WINDOW, WINDOW + 40)


@settings(max_examples=10, deadline=None)
@given(EXTENT, EXTENT, st.integers(0, 2**31))
def test_as_a_convolution_it_says_what_it_says_of_each_window(height: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    network = Windows(3).eval()
    for each in network.modules():
        if isinstance(each, torch.nn.BatchNorm2d):
            each.get_buffer("running_mean").normal_()
    picture = torch.rand(1, 3, height, width) * 2 - 1
    with torch.inference_mode():
        one, other = network.classified(picture), network.naive(picture)
    assert one.shape[:2] == (1, 4)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_a_window_is_where_it_looks() -> None:
    """A network that answers how bright the middle of a window is finds a bright square, in each size."""

    class Bright(Windows):
        def classified(self, pictures: torch.Tensor) -> torch.Tensor:
            aside = (WINDOW - INSIDE) // 2
            middle = torch.nn.functional.avg_pool2d(pictures[..., aside:-aside, aside:-aside], INSIDE, window.STEP)
            return torch.cat([torch.zeros_like(middle[:, :1]), 40 * middle.mean(1, keepdim=True) - 20], 1)

    for side in (16, 30, 50):
        image = torch.full((3, 128, 128), -1.0)
        image[:, 60 : 60 + side, 40 : 40 + side] = 1
        [found] = Bright(1).eval()([image])
        x0, y0, x1, y1 = found["boxes"][0].tolist()
        assert abs((x0 + x1) / 2 - (40 + side / 2)) < 8
        assert abs((y0 + y1) / 2 - (60 + side / 2)) < 8
        assert 0.6 < (y1 - y0) / side < 1.5
        assert (x1 - x0) / (y1 - y0) == pytest.approx(SHAPE)
        assert found["labels"][0] == 1


def test_there_are_as_many_squares_as_windows() -> None:
    network, image = Windows(2).eval(), torch.zeros(3, 128, 128)
    for factor in FACTORS:
        logits = network.classified(resized(image, factor))
        assert len(squares(logits.shape[2:], factor)) == logits[0, 0].numel()


def test_what_windows_show() -> None:
    boxes = torch.tensor([[40.0, 40.0, 60.0, 76.0]])  # as high as a window's middle: 32..68 × 40..76
    truth = Boxes(boxes=boxes, labels=torch.tensor([7]))
    right = torch.tensor([[22.5, 30.5, 22.5 + WINDOW, 30.5 + WINDOW]])
    windows = torch.cat([right, right + 6, right + 30])
    assert window._shown(windows, truth).tolist() == [7, NEITHER, 0]
    nothing = Boxes(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    assert window._shown(windows, nothing).tolist() == [0, 0, 0]


def test_every_object_is_shown_by_windows() -> None:
    torch.manual_seed(0)
    boxes = torch.tensor([[10.0, 10, 40, 40], [80, 80, 120, 120], [10, 80, 30, 110], [80, 10, 100, 40]])
    truth = Boxes(boxes=boxes, labels=torch.arange(1, 5))
    shown = torch.cat([window._shown(window._windows(boxes, torch.Size([128, 128])), truth) for _ in range(20)])
    counts = torch.bincount(shown[shown > 0], minlength=5)[1:] / 20
    assert (counts > 2).all()
    assert counts.max() < 2 * counts.min()


def test_it_learns_from_scenes_with_and_without_objects() -> None:
    torch.manual_seed(0)
    network = Windows(3)
    nothing = Boxes(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    something = Boxes(boxes=torch.tensor([[20.0, 20.0, 60.0, 60.0]]), labels=torch.tensor([2]))
    parts = network([torch.rand(3, 128, 128)] * 2, [something, nothing])
    assert parts["class"].isfinite()
    parts["class"].backward()
    assert network.maps.stem[0].weight.grad.abs().sum() > 0
