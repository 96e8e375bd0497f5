from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.pipeline.work import parts
from muster.pipeline.work.parts import slice_of


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "IMAGES_PER_CALL", 4)
        yield


@given(st.integers(0, 40), st.integers(1, 9))
def test_the_parts_of_a_list_are_the_list(length: int, count: int) -> None:
    slices = [slice_of(range(length), (number, count)) for number in range(count)]
    assert [i for each in slices for i in each] == list(range(length))
    assert all(each[0] % 4 == 0 for each in slices if each)
    assert max(map(len, slices)) <= 4 * -(-length // (4 * count))
    assert list(slice_of(range(length), None)) == list(range(length))
