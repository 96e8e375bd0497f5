import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import InputError
from muster.storage.search.query import FIELDS, MOST_TERMS, OTHER_NAMES, Term, parsed, written

PIECES = st.lists(
    st.sampled_from([*'"\\-:. “”', "anna", "ana:", "person:", "In:", "é", "\n", "x y", "-", '"a b"']), max_size=20
)


@given(st.one_of(st.text(max_size=40), PIECES.map("".join)))
def test_what_was_read_is_written_so_that_it_is_read_again(text: str) -> None:
    assert parsed(written(parsed(text))) == parsed(text)


@given(st.text(min_size=1), st.sampled_from(["", *FIELDS]), st.booleans())
def test_any_text_can_be_put_in_quotes(text: str, field: str, negated: bool) -> None:
    term = Term(text, field, True, negated)
    assert parsed(written([term])) == ((term,) if text.strip() else ())


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("anna -bob", [Term("anna"), Term("bob", negated=True)]),
        ('"New York"', [Term("New York", quoted=True)]),
        ('-person:"Anna Maria"', [Term("Anna Maria", "person", True, True)]),
        ("In:2019/lisbon who: anna", [Term("2019/lisbon", "folder"), Term("anna", "person")]),
        ("“anna maria” «bob»", [Term("anna maria", quoted=True), Term("bob", quoted=True)]),
        ('"not closed', [Term("not closed", quoted=True)]),
        (r'"a \"b\" C:\x"', [Term(r'a "b" C:\x', quoted=True)]),
        ("s3://a/b 12:30 jean-luc", [Term("s3://a/b"), Term("12:30"), Term("jean-luc")]),
        ('"" person:""   ', []),
        ("-", [Term("-")]),
    ],
)
def test_terms(text: str, terms: list[Term]) -> None:
    assert list(parsed(text)) == terms


def test_other_names_of_fields_lead_to_fields() -> None:
    assert set(OTHER_NAMES.values()) <= set(FIELDS)


def test_too_many_words_are_refused() -> None:
    assert len(parsed("x " * MOST_TERMS)) == MOST_TERMS
    with pytest.raises(InputError, match="at most 64"):
        parsed("x " * (MOST_TERMS + 1))


def test_a_long_text_takes_no_time() -> None:
    assert len(parsed('"' + "\\" * 100_000)) <= 1
    assert parsed("-" * 100_000)[0].negated
