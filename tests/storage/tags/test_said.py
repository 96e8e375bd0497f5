from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from muster.storage.tags.said import LONGEST, MANY, Said, merged, name_of, names_of, position_of, text_of


def test_the_first_that_says_something_counts() -> None:
    when = datetime(2019, 1, 2)
    first = Said(title="one", remarks=("odd",))
    second = Said(title="two", taken_at=when, rating=5, favourite=True, keywords=("a",), remarks=("odd", "more"))
    assert merged([first, second]) == Said(
        title="one", taken_at=when, rating=5, favourite=True, keywords=("a",), remarks=("odd", "more")
    )
    assert merged([]) == Said()
    assert not merged([Said(), Said()])
    assert Said(rating=-1)


def test_names() -> None:
    assert name_of("  Anna\n\tLíšková\0 ") == "Anna Líšková"
    assert name_of("e\u0301") == "é"
    assert (name_of(""), name_of(" \n"), name_of(None), name_of(7), name_of(["x"])) == (None,) * 5
    assert name_of("x" * 10_000) == "x" * LONGEST
    assert name_of("\ud800x") == "x"
    assert name_of("<b>&amp;</b>") == "<b>&amp;</b>"  # whoever shows it escapes it
    assert text_of("a\r\nb\rc\0") == "a\nb\nc"


def test_names_come_once() -> None:
    assert names_of(["Ann", None, "ann", "Bob", ""]) == ("Ann", "Bob")
    assert len(names_of(map(str, range(5000)))) == MANY


@given(st.text())
def test_a_name_is_one_printable_line(text: str) -> None:
    name = name_of(text)
    assert name is None or (name == name_of(name) and name.strip() == name and name.splitlines() == [name])


def test_places() -> None:
    assert position_of(52.5, -13.0) == (52.5, -13.0)
    assert position_of(0.0, 13.0) == (0.0, 13.0)
    odd = [(None, 1.0), (1.0, None), (0.0, 0.0), (91.0, 1.0), (1.0, -181.0), (float("nan"), 1.0), (1.0, float("inf"))]
    assert {position_of(*each) for each in odd} == {None}
