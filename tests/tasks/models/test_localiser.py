import torch
from hypothesis import given
from hypothesis import strategies as st

from muster.tasks.models.localiser import SIDE, Localiser, corners, from_state, middles
from muster.training.loop import half

INSIDE = st.floats(0, SIDE, width=32)


@given(st.lists(st.tuples(INSIDE, INSIDE, INSIDE, INSIDE), min_size=1, max_size=5))
def test_boxes_are_told_in_two_ways(boxes: list[tuple[float, ...]]) -> None:
    given_boxes = torch.tensor(boxes)
    torch.testing.assert_close(corners(middles(given_boxes)), given_boxes, rtol=0, atol=1e-3)
    [found] = middles(torch.tensor([[32.0, 0.0, 96.0, 32.0]])).tolist()
    assert found == [0.5, 0.125, 0.25, 0.5]  # x, y, height, width


def test_it_is_the_same_when_it_was_kept() -> None:
    torch.manual_seed(0)
    network = Localiser(7).eval()
    again = from_state(half(network.state_dict())).eval()
    images = torch.rand(2, 3, SIDE, SIDE) * 2 - 1
    with torch.inference_mode():
        found, wanted = again(images), network(images)
    assert found.classes.shape == (2, 7)
    assert ((found.boxes > 0) & (found.boxes < 1)).all()
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0.02)
