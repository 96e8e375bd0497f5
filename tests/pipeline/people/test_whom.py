import pytest

from muster.errors import InputError
from muster.pipeline.people.whom import find
from muster.web.album import Person

ANN, BOB = "ab12" * 3, "ab99" * 3
PEOPLE = [Person(name, number, [], []) for number, name in enumerate((ANN, BOB, "1234" * 3, "000000000007"), 1)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *((ANN, 1), ("ab12", 1), ("AB99", 2), ("2", 2), ("Person 2", 2), ("person 3", 3), (" 3 ", 3), ("1234", 3)),
        *(("000000000007", 4), ("0000", 4), ("Person2", 2)),
    ],
)
def test_who_is_meant(text: str, number: int) -> None:
    assert find(PEOPLE, text, "L").number == number


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *(
            (text, f"has no person {text}: ")
            for text in ("ab", "9", "Person 0", "nobody", "", "*", "../ab12", "-1", "²")
        ),
        ("0001", None),
    ],
)
def test_nobody_is_meant(text: str, message: str | None) -> None:
    """0001 is the number 1; nobody's id begins so."""
    if message is None:
        assert find(PEOPLE, text, "L").number == 1
        return
    with pytest.raises(InputError) as refused:
        find(PEOPLE, text, "L")
    assert message in str(refused.value)


def test_two_may_be_meant() -> None:
    people = [Person(f"{n:04}aaaa", n, [], []) for n in range(1, 1235)] + [Person("1234ffff", 1235, [], [])]
    with pytest.raises(InputError, match=r"1234 may be Person 1234 \(1234aaaa\), Person 1235 \(1234ffff\): give more"):
        find(people, "1234", "L")
    assert find(people, "Person 1234", "L").cluster_id == "1234aaaa"
    with pytest.raises(InputError, match="may be"):
        find([Person("ab120", 1, [], []), Person("ab121", 2, [], [])], "ab12", "L")


def people(*names: str) -> list[Person]:
    return [Person(f"{number:012x}", number, [], [], name) for number, name in enumerate(names, 1)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(
            ("Anna", 1),
            ("anna", 1),
            ("Anna M", 2),
            ("anna maria", 2),
            (" Zoe\u0308 ", 3),
            ("zo", 3),
            ("7", 4),
            ("5", 5),
        ),
        *(("Person 4", 4), ("Abed", 6), ("abed", 6), ("\u0623\u062d\u0645\u062f", 7)),
    ],
)
def test_a_name_or_its_beginning_means_somebody(text: str, number: int) -> None:
    named = people("Anna", "Anna Maria", "Zoë", "7", "", "Abed", "أحمد")
    assert find([*named, Person("abed" * 3, 8, [], [])], text, "L").number == number


def test_several_of_a_name_are_listed() -> None:
    with pytest.raises(InputError, match=r"an may be Ann, Person 1 \(0+1\), Anton, Person 2 \(0+2\): give more"):
        find(people("Ann", "Anton"), "an", "L")
    with pytest.raises(InputError, match=r"or 3 more"):
        find(people(*["Ann"] * 8), "Ann", "L")


def test_nobody_is_meant_by_nothing() -> None:
    with pytest.raises(InputError, match="has no person"):
        find(people("Ann", ""), "  ", "L")
