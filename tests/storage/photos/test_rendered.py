"""How much memory one image may take."""

import threading

import pytest

from muster.errors import ImageError
from muster.storage.photos.rendered import LARGE, MAX_MEMORY, memory


def test_what_needs_too_much_is_refused() -> None:
    with memory((1, 1), MAX_MEMORY):
        pass
    with pytest.raises(ImageError) as caught, memory((7, 5), MAX_MEMORY + 1):
        pass
    assert (caught.value.kind, caught.value.size) == ("too_large", (7, 5))


def test_large_images_are_decoded_one_at_a_time() -> None:
    entered = threading.Event()

    def second(need: int) -> None:
        with memory((1, 1), need):
            entered.set()

    with memory((1, 1), LARGE + 1):
        waits = threading.Thread(target=second, args=(LARGE + 1,))
        waits.start()
        assert not entered.wait(0.2)
        small = threading.Thread(target=second, args=(LARGE,))
        small.start()
        assert entered.wait(5), "small ones wait for nobody"
    waits.join(5)
    assert not waits.is_alive()
