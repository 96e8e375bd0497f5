from hypothesis import given
from hypothesis import strategies as st

from muster.web.album import DOUBTFUL
from muster.web.words import SURENESS, sureness

WORDS = [word for _, word in SURENESS]


def test_how_sure_a_page_is() -> None:
    said = [sureness(value) for value in (1.0, 0.98, 0.979, 0.9, 0.899, 0.0)]
    assert said == ["sure", "sure", "fairly sure", "fairly sure", "not sure", "not sure"]
    assert sureness(None) == ""


@given(st.floats(0, 1), st.floats(0, 1))
def test_what_is_more_certain_is_said_with_no_less_sureness(a: float, b: float) -> None:
    assert WORDS.index(sureness(min(a, b))) >= WORDS.index(sureness(max(a, b)))


def test_a_person_of_doubtful_faces_alone_is_not_sure() -> None:
    assert sureness(DOUBTFUL - 1e-9) == WORDS[-1]
