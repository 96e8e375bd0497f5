from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import InputError
from muster.pipeline.gallery.groups import (
    AGE,
    GROUP,
    TIME,
    by_photo_age,
    check,
    grouping,
    has,
    no_looser,
    of_people,
)
from muster.storage.gallery.gallery import Gallery, empty
from muster.tasks.people.ages import UNKNOWN
from muster.tasks.people.calibrate import Searches

NEW_YEAR = date(2020, 1, 1)


def known() -> Gallery:
    """Ann, born in 2012, of 2015 and 2019; Bo, of 2019, who has no group and no date of birth; Cy without any date."""
    rows = [
        {"person_id": person, "group": group, "born": born, "taken": taken, "face_id": f"{person}{i}"}
        | {"embedding": [1.0, 0.0], "pseudonym": person}
        for i, (person, group, born, taken) in enumerate(
            [
                ("ann", "1a", date(2012, 6, 1), date(2015, 1, 1)),
                ("ann", "1a", date(2012, 6, 1), date(2019, 1, 1)),
                ("bo", None, None, date(2019, 1, 1)),
                ("cy", "2b", date(1980, 1, 1), None),
            ]
        )
    ]
    return empty(width=2).with_faces(rows)


def searches() -> Searches:
    """Ann's two photos as known people; all as strangers, who come nearest to Bo, Bo, Ann and Ann."""
    return Searches(
        own=np.zeros(2),
        others=np.zeros((2, 3)),
        mated_person=np.zeros(2, np.int64),
        mated_weight=np.ones(2),
        mated_face=np.array([0, 1]),
        nonmated=np.zeros(4),
        nonmated_person=np.array([0, 0, 1, 2]),
        nonmated_best=np.array([1, 1, 0, 0]),
    )


def names(found: object, which: str) -> list[str]:
    return [found.names[i] for i in getattr(found, which)]


def test_by_the_group_of_the_roster() -> None:
    found = grouping(known(), GROUP, searches())
    assert names(found, "stranger") == ["1a", "1a", "no group", "2b"]
    assert names(found, "candidate") == ["no group", "no group", "1a", "1a"]
    assert names(found, "known") == names(found, "own") == ["1a", "1a"]
    assert of_people(known(), GROUP) == ["1a", "no group", "2b"]


def test_by_age_on_the_photo_and_on_the_newest_one_of_whom_it_meets() -> None:
    found = grouping(known(), AGE, searches())
    assert names(found, "stranger") == ["0-5", "6-12", UNKNOWN, UNKNOWN]
    assert names(found, "candidate") == [UNKNOWN, UNKNOWN, "6-12", "6-12"]
    assert (names(found, "known"), names(found, "own")) == (["0-5", "6-12"], ["6-12", "6-12"])
    assert names(by_photo_age(known(), searches()), "known") == ["6-12", "0-5"]  # on the other photo
    assert of_people(known(), AGE) == ["6-12", UNKNOWN, UNKNOWN]


def test_by_the_time_between_photos() -> None:
    found = grouping(known(), TIME, searches())
    assert names(found, "known") == ["over 3 years", "over 3 years"]
    assert (
        names(found, "stranger")
        == names(found, "candidate")
        == ["over 3 years", "under 1 year", "under 1 year", UNKNOWN]
    )
    assert of_people(known(), TIME, NEW_YEAR) == ["under 1 year", "under 1 year", UNKNOWN]
    assert of_people(known(), TIME, NEW_YEAR + timedelta(days=3000))[0] == "over 3 years"


def test_what_the_gallery_does_not_say() -> None:
    faces = known().faces
    for column, by in (("group", GROUP), ("born", AGE), ("taken", TIME)):
        number = faces.schema.get_field_index(column)
        empty_column = pa.nulls(4, faces.schema.field(column).type)
        nothing = replace(known(), faces=faces.set_column(number, faces.schema.field(column), empty_column))
        assert has(known(), by)
        assert not has(nothing, by)
        with pytest.raises(InputError, match=f"`by` {by}: nobody in the gallery has"):
            grouping(nothing, by, searches())
    with pytest.raises(InputError, match="`by` colour: choose one of group, age, time"):
        check(known(), "colour")


@given(st.lists(st.floats(-1, 1), min_size=5, max_size=5))
def test_the_young_and_old_photos_are_never_easier(found: list[float]) -> None:
    each = np.array(found)
    ages, times = no_looser(AGE, each, -1), no_looser(TIME, each[:4], -1)
    assert (np.diff(ages[:-1]) <= 0).all()
    assert (np.diff(times[:-1]) >= 0).all()
    assert (ages >= each).all()
    assert (times >= each[:4]).all()
    assert (ages[-1], times[-1]) == (each.max(), each[:4].max())
    np.testing.assert_array_equal(no_looser(GROUP, each, -1), each)


def test_what_was_not_measured_is_strictest_and_makes_no_other_so() -> None:
    nan = np.nan
    assert no_looser(AGE, np.array([0.4, nan, 0.3, 0.2, 0.5]), 0.1).tolist() == [0.4, 0.5, 0.3, 0.2, 0.5]
    assert no_looser(AGE, np.array([0.4, 0.3, 0.2, nan, nan]), 0.1).tolist() == [0.4, 0.3, 0.2, 0.4, 0.4]
    assert no_looser(TIME, np.array([nan, 0.2, 0.3, nan]), 0.1).tolist() == [0.3, 0.2, 0.3, 0.3]
    assert no_looser(GROUP, np.array([0.2, nan, 0.3]), 0.1).tolist() == [0.2, 0.3, 0.3]
    assert no_looser(TIME, np.full(4, nan), 0.1).tolist() == [0.1] * 4
