import itertools
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.originals import Originals, picture
from muster.web.live.album import LiveAlbum, Moment
from muster.web.live.lists import PART, UNDATED, companions, find, listed, parts

ANNA, BERT, CARL = "a" * 12, "b" * 12, "c" * 12
TIMES = st.lists(
    st.one_of(
        st.just(np.datetime64("NaT")), st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(np.datetime64)
    ),
    max_size=300,
)


@given(TIMES)
def test_parts_are_all_photos_once_each_of_one_month(times: list[np.datetime64]) -> None:
    taken = np.array(times, "datetime64[us]")
    found = parts(taken)
    assert [n for part in found for n in range(part.start, part.stop)] == list(range(len(taken)))
    for part in found:
        here = taken[part.start : part.stop]
        assert 0 < len(here) <= PART
        assert {UNDATED if np.isnat(each) else str(each.astype("datetime64[M]")) for each in here} == {part.month}
    runs = [(part.month, part.number) for part in found]
    assert all(b == (a[0], a[1] + 1) or b[1] == 0 for a, b in itertools.pairwise(runs))


def test_a_month_of_many_photos_has_several_parts() -> None:
    taken = np.full(2 * PART + 1, np.datetime64("2019-05-03T12:00"), "datetime64[us]")
    assert [(part.key, part.stop - part.start, part.total) for part in parts(taken)] == [
        ("2019-05.0", PART, 2 * PART + 1),
        ("2019-05.1", PART, 2 * PART + 1),
        ("2019-05.2", 1, 2 * PART + 1),
    ]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Moment, dict[str, str]]:
    """Now, and what each photo is called."""
    made = Originals(tmp_path_factory.mktemp("lists") / "photos")
    photos = [("both", [ANNA, BERT], 2001), ("anna", [ANNA], 2003), ("carl", [ANNA, CARL, None], 2002)]
    for n, (name, faces, year) in enumerate([*photos, ("nobody", [], 2004), ("undated", [BERT], None)]):
        made.photo(f"{name}.jpg", picture((60 + n, 40)), faces, taken_at=year and datetime(year, 5, 3))
    made.photo("copy of anna.jpg", picture((61, 40)), [ANNA], taken_at=datetime(2003, 5, 3))
    source = made.source()
    called = {image_id: name.removesuffix(".jpg").removeprefix("copy of ") for name, image_id in made.ids.items()}
    return LiveAlbum(source).now(), called


def names(shown: tuple[Moment, dict[str, str]], key: str) -> list[str]:
    now, called = shown
    found = find(now, key)
    assert found is not None
    assert found.key == key
    return [called[now.columns.image_id[int(row)].as_py()] for row in found.rows]


def test_all_photos_newest_first_without_copies_and_undated_last(shown: tuple[Moment, dict[str, str]]) -> None:
    assert names(shown, "all") == ["nobody", "anna", "carl", "both", "undated"]


def test_photos_without_a_face(shown: tuple[Moment, dict[str, str]]) -> None:
    assert names(shown, "without-faces") == ["nobody"]
    assert names(shown, "favourites") == []


def test_the_album_of_a_person_and_of_two_together(shown: tuple[Moment, dict[str, str]]) -> None:
    assert names(shown, f"person.{ANNA}") == ["both", "carl", "anna"]
    assert names(shown, f"person.{ANNA}.{BERT}") == ["both"]
    assert names(shown, f"person.{BERT}.{CARL}") == []
    album = find(shown[0], f"person.{ANNA}")
    assert album is not None
    assert dict(companions(shown[0], album.rows)) == {ANNA: 3, BERT: 1, CARL: 1}


@pytest.mark.parametrize("key", ["", "nobody", "person", "person.", "person.xyz", f"person.{ANNA}.no", "..", "\0"])
def test_a_list_that_is_none(key: str, shown: tuple[Moment, dict[str, str]]) -> None:
    assert find(shown[0], key) is None


def test_names_in_a_row() -> None:
    assert [listed(names) for names in ([], ["Anna"], ["Anna", "Bert"], ["Anna", "Bert", "Carl"])] == [
        "",
        "Anna",
        "Anna and Bert",
        "Anna, Bert and Carl",
    ]
