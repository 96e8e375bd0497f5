import pytest

from helpers.asked import views_of
from muster.storage.ask.grammar import parse
from muster.storage.ask.names import Names
from muster.storage.ask.query import Query
from muster.storage.ask.reader import NotUnderstoodError
from muster.storage.ask.tokens import tokens

NAMES = Names(
    views_of(
        {"people": ["Anna"], "objects": ["dog"], "camera": "Pixel", "latitude": 48.8584, "longitude": 2.2945},
        {"people": ["Bob"], "scenes": ["night"]},
    )
)


def query(question: str) -> Query:
    return parse(tokens(question), NAMES)[0]


@pytest.mark.parametrize(
    ("question", "asked", "unit"),
    [
        ("how many photos are there?", "count", "photo"),
        ("number of pictures with Anna", "count", "photo"),
        ("how many photos is Anna on", "count", "photo"),
        ("on how many photos does Anna appear", "count", "photo"),
        ("how many photos are Anna and Bob in together", "count", "photo"),
        ("which photos is Anna on", "photos", "photo"),
        ("count the photos of Anna", "count", "photo"),
        ("how many of my photos show Anna", "count", "photo"),
        ("how many favourites do I have", "count", "photo"),
        ("how many different people are on photos with Anna", "count", "person"),
        ("on how many days was Anna in Paris", "count", "day"),
        ("in how many cities was Anna", "count", "place"),
        ("which photos show Anna", "photos", "photo"),
        ("show me all my photos", "photos", "photo"),
        ("photos", "photos", "photo"),
        ("photos per year", "groups", "year"),
        ("how many photos of Anna for each camera", "groups", "camera"),
        ("who is with Anna", "groups", "person"),
        ("with whom was Anna", "groups", "person"),
        ("who did I photograph in Paris", "groups", "person"),
        ("which people are there", "groups", "person"),
        ("where was Anna", "groups", "place"),
        ("where did I take photos", "groups", "place"),
        ("where did Anna go in 2019", "groups", "place"),
        ("which countries was Anna in", "groups", "country"),
        ("in which month did I take photos of Anna", "groups", "month"),
        ("when was Anna in Paris", "groups", "day"),
        ("when did I first photograph Anna", "first", "day"),
        ("please tell me when did I first photograph Anna", "first", "day"),
        ("when was the last photo of Anna taken", "last", "day"),
        ("what is the date of the newest photo", "last", "photo"),
        ("what is on photos with Anna", "groups", "thing"),
        ("what did I photograph at night", "groups", "thing"),
        ("is there a photo of Anna", "yes", "photo"),
        ("did Anna ever meet Bob", "yes", "photo"),
        ("did Anna and Bob meet in Paris", "yes", "photo"),
        ("has Anna been in Paris", "yes", "photo"),
        ("has Anna been photographed with Bob", "yes", "photo"),
        ("were Anna and Bob together", "yes", "photo"),
        ("were Anna and Bob in Paris together", "yes", "photo"),
        ("is there a photo of Anna and Bob", "yes", "photo"),
        ("is there a photo that does not show Anna", "yes", "photo"),
        ("was Anna ever in Paris without Bob", "yes", "photo"),
        ("was Anna in Paris with Bob", "yes", "photo"),
        ("which countries did Anna and Bob visit together", "groups", "country"),
        ("how many days have photos without Anna", "count", "day"),
        ("photos that do not show Anna per year", "groups", "year"),
        ("photos without Anna per person", "groups", "person"),
        ("photos of Anna alone per year", "groups", "year"),
        ("was Anna ever in Paris", "yes", "photo"),
        ("has Anna ever been to Paris", "yes", "photo"),
        ("is Anna on a photo with Bob", "yes", "photo"),
        ("did I ever photograph a dog", "yes", "photo"),
    ],
)
def test_heads(question: str, asked: str, unit: str) -> None:
    found = query(question)
    assert (found.asked, found.unit) == (asked, unit)


@pytest.mark.parametrize(
    ("question", "most"),
    [
        ("who is on the most photos", "most"),
        ("who is most often with Anna", "most"),
        ("who did I photograph least", "least"),
        ("which camera took the most photos", "most"),
        ("which year has the fewest photos", "least"),
        ("where was Anna photographed most often", "most"),
        ("who is the most photographed person", "most"),
        ("which camera was used most", "most"),
        ("where were the most photos taken", "most"),
        ("which thing is on the most photos", "most"),
        ("which city did Anna visit most", "most"),
        ("who is on photos", ""),
    ],
)
def test_most_and_least(question: str, most: str) -> None:
    assert query(question).most == most


@pytest.mark.parametrize(
    ("question", "oldest", "newest"),
    [
        ("the oldest photo", 1, 0),
        ("the three newest photos", 0, 3),
        ("the last 3 photos of Anna", 0, 3),
        ("where was the first photo taken", 1, 0),
        ("what is on the latest photo of Anna", 0, 1),
    ],
)
def test_oldest_and_newest(question: str, oldest: int, newest: int) -> None:
    found = query(question)
    assert (found.oldest, found.newest) == (oldest, newest)


def test_who_is_with_somebody_is_somebody_else() -> None:
    assert query("who is with Anna").but == ("Anna",)
    assert query("what is on photos with a dog").but == ("dog",)
    assert query("where was Anna").but == ()
    assert query("who is on photos without Anna").but == ()
    assert query("who is on the first photo of Anna").but == ()
    assert query("how many people are on the last 3 photos of Anna").but == ()
    assert query("who else is on the first photo of Anna").but == ("Anna",)


def test_what_words_were_taken_for() -> None:
    _, meant = parse(tokens("How many photos show Anna, without a dog, in 2019?"), NAMES)
    assert [(each.words, each.meaning) for each in meant] == [
        ("How many photos", "how many photos"),
        ("show Anna", "person Anna"),
        ("without a dog", "not thing dog"),
        ("in 2019", "date 2019"),
    ]


@pytest.mark.parametrize(
    "question",
    [
        "why are there photos of Anna",
        "who took the most photos",  # who takes photos is known of nobody
        "who photographed Anna",
        "which photos has Anna taken",
        "how many photos did Anna take",
        "which places has Anna photographed",
        "did Anna photograph Bob",
        "where is Anna",  # now
        "is Anna in Paris",
        "was I in Paris",  # nobody knows who that is
        "which countries did I visit",
        "how many dogs are there",  # in photos; but how many different ones
        "how many times was Anna in Paris",
        "when did I take the most photos",
        "who is with Anna or Bob",
        "who is never with Anna",
        "the newest photos",  # how many
        "who is on the photo",  # which
        "which is the best photo",
        "what is Anna",
        "who is",
        "was Anna",
        "when was Anna",
        "are there no photos of Anna",
        "photos of Anna per photo",
        "how many days are there in May",  # the calendar says that
        "how many months are between 2018 and 2019",
        "when in 2019",
        "who is with Anna alone",
        "how many people are on photos with only Anna",
        "please, when did I take the most photos",
        "tell me when did I take the most photos",
        "how many photos is Anna",
        "how many photos did Anna photograph",
        "which photos did Anna take of Bob",
        "how many photos was Anna in Paris",
        "did Anna go",
        "has Anna been",
        "who is on the first photo on the last photo",
        "photos of Anna with nobody",
        "who was on the first photo and the last photo",
        "photos without two people",
        "photos of Anna or of Bob",
        "photos on 24 December",
        "photos from Anna",
        "photos with exactly 2 or more people",
        "Anna",
        # whether somebody is on the first of all photos, or on the first of theirs
        "is Bob on the first photo",
        "is Anna on the newest photo in Paris",
        "did Anna appear on the last photo",
        "was the first photo taken in Paris",
        "did the last photo show Anna",
        "is there an oldest photo of Anna",
        "did I photograph Anna on the first photo",
        "where was Bob on the first photo",
        "when was Bob on the first photo",
        "when was Anna first on the last photo",
        "who is with Anna on the first photo",
        "how many people were in Paris on the last photo",
        "when were the first two photos of Anna taken",
        "what is the date of the last 3 photos",
        # a photo without somebody says nothing of a day, a place or a person
        "who is not with Bob",
        "who has no dog",
        "who was with Anna without Bob",
        "who was with Anna but not with Bob",
        "who did I photograph without Bob",
        "who is on photos and has no dog",
        "which people have no faces",
        "how many days without Anna",
        "on how many days is there no dog",
        "on how many days was there nobody",
        "which cities without Anna",
        "how many countries without a dog",
        "how many days with fewer than two people",
        "where was Anna alone",
        "when was Anna last without Bob",
        "was Anna not with Bob",
        # a list with `or`, or for each
        "photos with Anna or Bob per person",
        "photos of Anna per person",
        "photos with a dog or a dog per thing",
        "photos of Anna or Bob with a dog",
        "photos of Anna or a dog without Bob",
        "photos of Anna or a dog in Paris with Bob",
        "photos of Anna or a dog without people",
        "did Anna or Bob meet",
        # on one photo, or each on some
        "were Anna and Bob in Paris",
        "which countries did Anna and Bob visit",
        "how many days were Anna and Bob in Paris",
        "how many photos are Anna and Bob in",
        "did Anna meet Bob and Anna",
        "when did I photograph Anna and Bob",
        "did I photograph Anna and a dog",
        "do I have photos of Anna and Bob",
        "photos of Anna and of Bob",
        "do I have photos of Anna and with Bob",
        "was Anna in Paris and with Bob",
        "was Anna in Paris and at night",
        "did Anna meet Bob and visit Paris",
        # of what `not` is said
        "photos that do not show Anna without Bob",
        "photos that do not show a dog with Anna",
        "photos that do not show Anna in Paris",
        "photos not of Anna at night",
        "photos that have no dog with Anna",
        "photos that do not show Anna and Bob",
        "photos with no dog and Bob",
        # of all photos, or of one
        "who is on all photos",
        "who is in all my photos",
        "is Anna on all photos",
        "were all photos taken in Paris",
        "were the photos of Bob taken at night",
        "did all photos show Anna",
        "did I take all my photos in Paris",
        "do I have all photos of Anna",
        # no questions
        "which people have",
        "where was Bob on",
        "when was Bob in",
        "photos on the of January 2019",
    ],
)
def test_what_is_not_known_or_not_clear_is_refused(question: str) -> None:
    with pytest.raises(NotUnderstoodError):
        query(question)
