import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.training.data.boxed_photos import NOTHING
from muster.training.data.digit_scenes import COVERED, INK, SIDE, TEXTURE, Drawer, around, drawn, texture


@pytest.fixture(scope="module")
def drawer() -> Drawer:
    """Two digits: an upright bar, and a square; over noise."""
    digits = torch.zeros(2, 28, 28)
    digits[0, 4:24, 12:16] = 1
    digits[1, 6:22, 6:22] = 1
    random = torch.Generator().manual_seed(0)
    textures = torch.randint(256, (3, 3, TEXTURE, TEXTURE), generator=random, dtype=torch.uint8)
    return Drawer(digits, torch.tensor([1, 8]), textures)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 8), st.integers(0, 2**31))
def test_scenes_are_as_they_say(drawer: Drawer, count: int, seed: int) -> None:
    """Boxes lie in the scene around something bright, and hardly cover each other."""
    scenes = drawer.scenes([count, 0], torch.Generator().manual_seed(seed))
    again = drawer.scenes([count, 0], torch.Generator().manual_seed(seed))
    assert torch.equal(scenes.images, again.images)
    assert ((scenes.images >= 0) & (scenes.images <= 1)).all()
    assert (scenes.labels[1] == NOTHING).all()
    there = scenes.labels[0] != NOTHING
    assert there.sum() <= count
    assert not there[there.sum() :].any()
    boxes = scenes.boxes[0][there]
    assert set(scenes.labels[0][there].tolist()) <= {1, 8}
    for box in boxes:
        x0, y0, x1, y1 = map(int, box.tolist())
        assert 0 <= x0 < x1 <= SIDE
        assert 0 <= y0 < y1 <= SIDE
        assert scenes.images[0, :, y0:y1, x0:x1].amax() > 0.65
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            shared = (torch.minimum(one[2:], other[2:]) - torch.maximum(one[:2], other[:2])).clamp(min=0).prod()
            smaller = min((each[2:] - each[:2]).prod() for each in (one, other))
            assert shared <= COVERED * smaller + 1e-3


def test_a_digit_stands_where_it_is_drawn(drawer: Drawer) -> None:
    """Half as large as the scene the bar is 45.7 pixels high and 9.1 wide; turned by a quarter, the other way round."""
    for angle, wanted in ((0.0, (9.1, 45.7)), (np.pi / 2, (45.7, 9.1))):
        ink = drawn(drawer.digits[0], SIDE / 2, angle, torch.tensor([0.5, -0.25]))
        box = around(ink)
        assert box is not None
        np.testing.assert_allclose((box[2:] - box[:2]).numpy(), wanted, atol=2.1)
        middle = len(ink) / 2
        np.testing.assert_allclose(((box[2:] + box[:2]) / 2).numpy(), (middle + 0.5, middle - 0.25), atol=1.1)
        x0, y0, x1, y1 = map(int, box.tolist())
        assert ink[y0:y1, x0:x1].amax() > INK
        outside = ink.clone()
        outside[y0:y1, x0:x1] = 0
        assert outside.amax() < INK
    assert around(torch.zeros(SIDE, SIDE)) is None


def test_textures_are_photos_squeezed() -> None:
    photo = np.zeros((10, 40, 3), np.uint8)
    photo[:, 20:] = (10, 20, 30)
    found = texture(photo)
    assert found.shape == (3, TEXTURE, TEXTURE)
    assert found[:, 5, 5].tolist() == [0, 0, 0]
    assert found[:, 5, -5].tolist() == [10, 20, 30]
