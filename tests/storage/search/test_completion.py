from helpers.searched import an_index
from muster.storage.search.completion import completions

INDEX = an_index(
    {"people": ["Dora", "Anna Ström"], "objects": ["dog"]}, {"objects": ["dog", "door"], "camera": "DOT 1"}
)


def test_the_last_word_is_completed_people_first_then_by_photos() -> None:
    assert completions(INDEX, "2019 -do") == ["2019 -Dora", "2019 -dog", "2019 -door", '2019 -"DOT 1"']
    assert completions(INDEX, "person:an") == ['person:"Anna Ström"']
    assert completions(INDEX, "do", most=1) == ["Dora"]


def test_of_one_letter_people_alone() -> None:
    assert completions(INDEX, "d") == ["Dora"]


def test_nothing_is_proposed_for_nothing() -> None:
    for text in ("", "dog ", "&", "zzz"):
        assert completions(INDEX, text) == []


def test_ids_of_people_without_a_name_are_not_proposed() -> None:
    index = an_index({"people": ["a0b1c2d3e4f5", "Anna"]}, {"people": ["a0b1c2d3e4f5"]})
    assert completions(index, "a") == ["Anna"]
