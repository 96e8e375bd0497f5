import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from muster.web.live.projection import MOST, SIDE, projected, unprojected


@given(st.floats(-MOST, MOST), st.floats(-180, 180))
def test_there_and_back(latitude: float, longitude: float) -> None:
    x, y = (float(each[0]) for each in projected(np.array([latitude]), np.array([longitude])))
    assert 0 <= x <= SIDE
    assert -0.1 <= y <= SIDE + 0.1
    assert np.allclose(unprojected(x, y), (latitude, longitude), atol=1e-6)


def test_the_middle_and_the_pole() -> None:
    x, y = projected(np.array([0.0, 90.0]), np.array([0.0, 180.0]))
    assert x.tolist() == [SIDE / 2, SIDE]
    assert np.allclose(y, [SIDE / 2, 0], atol=0.1)
