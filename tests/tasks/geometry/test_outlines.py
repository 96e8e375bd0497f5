from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from muster.tasks.geometry.outlines import outlines

Bools = np.ndarray[Any, np.dtype[np.bool_]]


def filled(borders: Sequence[np.ndarray[Any, Any]], shape: tuple[int, int]) -> Bools:
    """What lies within any of these borders, whose corners are those of pixels."""
    union = np.zeros(shape, bool)
    for border in borders:
        crossed = np.zeros((shape[0], shape[1] + 1), int)
        for (x0, y0), (x1, y1) in zip(border, np.roll(border, -1, 0), strict=True):
            assert (x0 == x1) != (y0 == y1)
            if x0 == x1:
                crossed[min(y0, y1) : max(y0, y1), x0] += 1
        union |= np.cumsum(crossed, 1)[:, :-1] % 2 == 1
    return union


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_outlines_filled_are_the_mask_without_holes(mask: Bools) -> None:
    borders = outlines(mask)
    assert len(borders) == ndimage.label(mask)[1]  # one per part, connected by sides
    # Round a hole runs no path of pixels, not even over corners.
    assert (filled(borders, mask.shape) == ndimage.binary_fill_holes(mask, np.ones((3, 3)))).all()
