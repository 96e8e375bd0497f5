from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from muster.tasks.models.fuse import for_inference
from muster.tasks.models.yolo import ANCHORS, REACH, STRIDES, Yolo, cells, decode, from_state

CPU = torch.device("cpu")


def outputs(side: int, classes: int = 3) -> list[torch.Tensor]:
    """What a network that knows nothing says: zeros, of one square image."""
    return [torch.zeros(1, 3 * (5 + classes), side // stride, side // stride) for stride in STRIDES]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As in a worker; on busy cores several wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(classes: int = 4) -> Yolo:
    """With statistics of batch norm as after a training, not those that it begins with."""
    torch.manual_seed(0)
    made = Yolo(classes)
    with torch.no_grad():
        made(torch.randn(2, 3, 64, 64))
    return made.eval()


@given(
    st.integers(0, 2), st.integers(0, 2), st.integers(0, 1), st.integers(0, 3),
    st.lists(st.floats(-8, 8), min_size=4, max_size=4),
)  # fmt: skip
def test_where_a_box_is(level: int, anchor: int, row: int, column: int, t: list[float]) -> None:
    """(b_x, b_y, b_w, b_h): within half a cell of its own, and at most so many times its anchor."""
    values = torch.zeros(1, 3 * 8, 2, 4)
    values[0, anchor * 8 : anchor * 8 + 4, row, column] = torch.tensor(t)
    place, logits = cells(values, level)
    assert (place.shape, logits.shape) == ((1, 3, 2, 4, 4), (1, 3, 2, 4, 4))
    x, y, width, height = place[0, anchor, row, column].tolist()
    part = [1 / (1 + torch.tensor(-each).exp().item()) for each in t]
    stride, (across, down) = STRIDES[level], ANCHORS[level][anchor]
    assert x == pytest.approx((column + 2 * part[0] - 0.5) * stride, rel=1e-4, abs=1e-3)
    assert y == pytest.approx((row + 2 * part[1] - 0.5) * stride, rel=1e-4, abs=1e-3)
    assert width == pytest.approx(across * (2 * part[2]) ** 2, rel=1e-3)
    assert height == pytest.approx(down * (2 * part[3]) ** 2, rel=1e-3)
    assert width <= across * REACH * 1.0001
    assert -0.5001 <= x / stride - column <= 1.5001


def test_a_cell_that_says_nothing_is_its_anchor_in_the_middle() -> None:
    boxes, scores, labels = decode(outputs(64))
    assert boxes.shape == (1, 3 * (64 + 16 + 4), 4)
    assert scores.unique().tolist() == [0.25]  # an object by one half, of a class by one half
    assert labels.unique().tolist() == [0]
    first = torch.tensor([4 - 5, 4 - 6.5, 4 + 5, 4 + 6.5])  # ANCHORS[0][0] in the cell of 8 pixels
    torch.testing.assert_close(boxes[0, 0], first)


def test_the_score_is_object_times_class() -> None:
    said = outputs(32)
    said[2][0, 8 + 4 :, 0, 0] = torch.tensor([2.0, -1.0, 1.5, 3.0, *[0.0] * 8])  # the second anchor of stride 32
    boxes, scores, labels = decode(said)
    best = int(scores[0].argmax())
    assert scores[0, best] == pytest.approx(torch.tensor([2.0, 3.0]).sigmoid().prod().item())
    assert labels[0, best] == 2
    width, height = ANCHORS[2][1]
    torch.testing.assert_close(
        boxes[0, best], torch.tensor([16 - width / 2, 16 - height / 2, 16 + width / 2, 16 + height / 2])
    )


@torch.inference_mode()
def test_levels_and_batch() -> None:
    made, images = network(), torch.rand(2, 3, 64, 96) * 2 - 1
    together = made(images)
    assert [tuple(level.shape) for level in together] == [(2, 27, 64 // s, 96 // s) for s in STRIDES]
    for alone, both in zip(made(images[1:]), together, strict=True):
        torch.testing.assert_close(alone, both[1:], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_made_ready_it_computes_the_same() -> None:
    made = network()
    ready = for_inference(made, CPU, torch.float32)
    for size in ((64, 96), (32, 416)):
        images = torch.rand(1, 3, *size) * 2 - 1
        for mine, its in zip(made(images), ready(images), strict=True):
            assert (mine - its).abs().max() < 1e-4 * mine.abs().max()


@pytest.mark.parametrize("half", [False, True])
def test_its_weights_are_enough_to_build_it(half: bool) -> None:
    made = network(7)
    state = made.state_dict()
    state = {name: value.half() if half and value.is_floating_point() else value for name, value in state.items()}
    kept = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    again = from_state(kept).eval()
    assert {value.dtype for value in again.parameters()} == {torch.float32}
    for name, value in again.state_dict().items():
        if name in kept:
            assert torch.equal(value, kept[name].float())
    with torch.inference_mode():
        image = torch.rand(1, 3, 32, 32)
        tolerance = 0.05 if half else 1e-6
        for mine, its in zip(made(image), again(image), strict=True):
            assert (mine - its).abs().max() <= tolerance * mine.abs().max()
    with pytest.raises(RuntimeError, match="Missing key"):
        from_state({name: value for name, value in kept.items() if not name.startswith("stem")})
