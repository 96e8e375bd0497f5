import pytest

from muster.storage.rust import no_panic


class PanicException(BaseException):
    pass


def test_a_panic_becomes_an_exception_and_nothing_else_does() -> None:
    with pytest.raises(RuntimeError, match="index out of bounds"), no_panic():
        raise PanicException("index out of bounds")
    with pytest.raises(KeyboardInterrupt), no_panic():
        raise KeyboardInterrupt
    with no_panic():
        pass
