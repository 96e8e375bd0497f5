import numpy as np
import pytest

from muster.web.stages import LEAST, MOST, WIDE, drawn


@pytest.mark.parametrize("shape", [(96, 111, 111), (3, 4, 6), (1, 400, 300), (40, 13, 13), (1000, 1, 1), (1, 1, 1)])
def test_maps_are_drawn_side_by_side(shape: tuple[int, int, int]) -> None:
    picture = drawn(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    assert picture.dtype == np.uint8
    assert picture.ndim == 2
    assert picture.shape[1] <= WIDE
    if shape[1:] != (1, 1):
        assert max(picture.shape) >= LEAST
        assert max(picture.shape) <= MOST or shape[0] > 1


def test_the_least_is_black_and_the_greatest_white() -> None:
    maps = np.zeros((2, 60, 60), np.float32)
    maps[1] = 5
    picture = drawn(maps)
    assert (picture[:, :60] == 0).all()
    assert (picture[:, 62:] == 255).all()


def test_maps_of_one_value_are_drawn_too() -> None:
    assert (drawn(np.full((1, 60, 60), 3, np.float32)) == 0).all()
