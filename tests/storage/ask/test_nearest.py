import pytest

from helpers.asked import views_of
from muster.storage.ask.ask import ask
from muster.storage.ask.nearest import EXAMPLES, SHOWN
from muster.storage.ask.views import Views

FLORENCE = {"latitude": 43.7696, "longitude": 11.2558}
VIEWS = views_of(
    {
        "people": ["Anna", "Tom Berg", "Florence"],
        "objects": ["dog"],
        "camera": "Pixel",
        "scenes": ["night"],
        **FLORENCE,
    },
    {"people": ["Anna", "Tom Ford"], "uri": "/photos/Easter/a.jpg"},
)


@pytest.mark.parametrize(
    ("question", "nearest"),
    [
        ("how many photos of Ana?", "how many photos of anna?"),
        ("how many photos with a dgo in 2019?", "how many photos with a dog in 2019?"),
        ("photos with Anna and Zorro", "photos with Anna?"),
        ("how many photos of Tom?", 'how many photos with the person "Tom Berg"?'),
        ("photos of Florence at night", 'photos with the person "Florence" at night?'),
        ("photos with Easter", 'photos in the folder "easter"?'),
        ("Anna at night", "photos of Anna at night?"),
        ("which photos show Anna smiling?", "which photos show Anna?"),
        ('were Anna and "Tom Berg" at night?', 'were Anna and "Tom Berg" at night together?'),
    ],
)
def test_the_nearest_question(question: str, nearest: str) -> None:
    answer = ask(VIEWS, question)
    assert answer.table is None
    assert answer.nearest[0] == nearest


@pytest.mark.parametrize("views", [VIEWS, views_of(), views_of({}), views_of({"people": ["Anna Maria O'Neil"]})])
@pytest.mark.parametrize("question", ["why?", "is Anna pretty?", "photos of Zorro", '"', "who with Anna and and"])
def test_what_is_proposed_is_understood(views: Views, question: str) -> None:
    found = ask(views, question).nearest
    assert 0 < len(found) <= SHOWN
    assert all(ask(views, each).table is not None for each in found)


@pytest.mark.parametrize(
    "question", ["photos of Zorro", "photos on the 41st of January 2019", "where was Anna on Zorro"]
)
def test_what_is_no_question_is_not_proposed(question: str) -> None:
    wrong = ("photos?", "photos on the of January 2019?", "where was Anna on?")
    assert not set(wrong) & set(ask(VIEWS, question).nearest)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_can_be_asked(example: str) -> None:
    assert ask(VIEWS, example.replace("{}", "Anna")).problem == ""
