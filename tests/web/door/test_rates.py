import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.web.door import rates
from muster.web.door.rates import MOST_KNOWN, Rates


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@given(st.floats(1, 1000), st.floats(1, 50), st.lists(st.tuples(st.floats(0, 30), st.floats(0.1, 60)), max_size=40))
def test_nobody_takes_more_than_the_burst_and_what_has_filled_since(
    per_minute: float, burst: float, asked: list[tuple[float, float]]
) -> None:
    made, clock, taken = Rates(per_minute, burst), Clock(), 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rates, "time", clock)
        for pause, cost in asked:
            clock.now += pause
            wait = made.wait("a", cost)
            assert wait >= 0
            if not wait:
                taken += min(cost, burst)
            else:
                clock.now += wait + 1e-6  # who comes when they were told is let in
                assert made.wait("a", cost) == 0
                taken += min(cost, burst)
        assert taken <= (burst + clock.now * per_minute / 60) * 1.001 + 1e-3


def test_one_does_not_wait_for_another_and_not_everybody_is_remembered() -> None:
    made = Rates(60, 1)
    assert made.wait("a") == 0
    assert made.wait("a") > 0
    assert made.wait("b") == 0
    for number in range(MOST_KNOWN + 10):
        made.wait(str(number))
    assert len(made._left) <= MOST_KNOWN
