import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.training.detectors.backbone import Boxes
from muster.training.detectors.yolo import BOXES, Grid, _found, losses, places

SIDES = torch.tensor([128, 128])
CELLS, CLASSES = 8, 4
BOX = st.tuples(st.floats(4, 40), st.floats(4, 40), st.floats(8, 80), st.floats(8, 80))


def said(boxes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(1, S, S, B, 5 + C): what a network that knows would say, with the first box of each cell."""
    cells = torch.full((1, CELLS, CELLS, BOXES, 5 + CLASSES), -12.0)
    for box, label in zip(boxes, labels, strict=True):
        middle, size = (box[:2] + box[2:]) / 2 / 128 * CELLS, (box[2:] - box[:2]) / 128
        x, y = middle.long().tolist()
        part = torch.cat([middle - torch.tensor([x, y]), size.sqrt()]).clamp(1e-6, 1 - 1e-6)
        cells[0, y, x, 0, 0] = 12.0
        cells[0, y, x, 0, 1:5] = part.logit()
        cells[0, y, x, 0, 4 + int(label)] = 12.0
    return cells


@settings(max_examples=30, deadline=None)
@given(BOX, st.integers(1, CLASSES))
def test_a_perfect_answer_costs_nothing_and_is_found(box: tuple[float, ...], label: int) -> None:
    x, y, width, height = box
    truth = Boxes(boxes=torch.tensor([[x, y, x + width, y + height]]), labels=torch.tensor([label]))
    cells = said(truth["boxes"], truth["labels"])
    parts = losses(cells, SIDES, [truth])
    assert all(part.item() < 0.01 for part in parts.values())
    found = _found(cells[0], SIDES)
    assert found["labels"].tolist() == [label]
    torch.testing.assert_close(found["boxes"], truth["boxes"], rtol=0, atol=0.1)


def test_the_box_that_overlaps_more_is_responsible() -> None:
    """Of the two of a cell. The other one is to say that it has none."""
    cells = torch.zeros(1, CELLS, CELLS, BOXES, 5 + CLASSES, requires_grad=True)
    with torch.no_grad():
        cells[0, 4, 4, 1, 3:5] = -2.0  # small
    middle = torch.tensor([72.0, 72.0])
    small = Boxes(boxes=torch.cat([middle - 2, middle + 2])[None], labels=torch.tensor([2]))
    losses(cells, SIDES, [small])["class"].backward()
    assert cells.grad is not None
    assert cells.grad[0, 4, 4, 1].abs().sum() > 0
    assert cells.grad[0, 4, 4, 0].abs().sum() == 0
    assert cells.grad.abs().sum() == cells.grad[0, 4, 4, 1].abs().sum()


def test_places_stay_in_their_cells() -> None:
    cells = torch.randn(2, CELLS, CELLS, BOXES, 5 + CLASSES, generator=torch.Generator().manual_seed(0)) * 5
    boxes = places(cells, SIDES)
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2 / 16
    y, x = torch.meshgrid(torch.arange(CELLS), torch.arange(CELLS), indexing="ij")
    corner = torch.stack([x, y], -1)[None, :, :, None]
    assert ((middle >= corner - 1e-4) & (middle <= corner + 1 + 1e-4)).all()


def test_it_answers_in_one_look() -> None:
    torch.manual_seed(0)
    network = Grid(CLASSES)
    image = torch.rand(3, 128, 128)
    nothing = Boxes(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
    parts = {name: part.item() for name, part in network([image], [nothing]).items()}
    assert parts["place"] == parts["class"] == 0
    assert parts["whether"] > 0
    [found] = network.eval()([image])
    assert found["boxes"].shape == (len(found["scores"]), 4)
