import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import TaskError
from muster.tasks.people.calibrate import (
    ALIKE_FOR_ALL,
    Searches,
    allowed,
    impostor_threshold,
    measured,
    person_weights,
    point,
)
from muster.tasks.people.groups import (
    Grouping,
    impostor_threshold_of,
    raised,
    rows,
    thresholds,
)
from muster.tasks.people.search import normalised, templates


def found(seed: int, sizes: tuple[int, int] = (300, 200), photos: int = 2) -> tuple[Searches, Grouping]:
    """Strangers of two groups: those of the second score higher, and come nearest to either."""
    random = np.random.default_rng(seed)
    person = np.repeat(np.arange(sum(sizes)), photos)
    group = (person >= sizes[0]).astype(np.int64)
    score = random.normal(size=len(person)) + random.choice([0.0, 1.5]) * group
    candidate = np.where(random.random(len(person)) < random.choice([0.02, 0.5]), 1 - group, group)
    own = random.normal(5, 2, len(person))
    searches = Searches(
        own=own,
        others=np.full((len(person), 3), -9.0),
        mated_person=person,
        mated_weight=person_weights(person),
        mated_face=np.arange(len(person)),
        nonmated=score,
        nonmated_person=person,
        nonmated_best=candidate,
    )
    return searches, Grouping(("others", "alike"), group, candidate, group, group)


@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.05, 0.03]))
def test_no_group_is_let_through_more_often_than_its_strangers_allow(seed: int, fpir: float) -> None:
    searches, groups = found(seed)
    lowest, each = thresholds(searches, groups, fpir)
    assert lowest >= point(searches, fpir).threshold
    assert (each >= lowest).all()
    for group, people in enumerate((300, 200)):
        mine = groups.stranger == group
        named = searches.nonmated[mine] >= each[groups.candidate[mine]]
        assert named.sum() / 2 <= 2 * allowed(people // 2, fpir) + 1e-6  # photos count half


@given(st.integers(0, 10_000))
def test_who_asks_for_fewer_strangers_has_no_lower_threshold(seed: int) -> None:
    searches, groups = found(seed)
    alone = Grouping(groups.names, groups.stranger, groups.stranger, groups.known, groups.own)
    (loose, each_loose), (strict, each_strict) = (thresholds(searches, alone, fpir) for fpir in (0.1, 0.03))
    assert strict >= loose
    assert (each_strict >= each_loose).all()


def test_a_group_with_too_few_is_refused_by_name_and_number() -> None:
    searches, groups = found(1, (200, 40))
    with pytest.raises(
        TaskError, match=r"200 people with photos in each, and alike has 40: .* FPIR of at least 0\.15$"
    ):
        thresholds(searches, groups, 0.03)
    thresholds(searches, groups, 0.15)
    with pytest.raises(TaskError, match=r"and alike has 5: enrol more, or join groups$"):
        thresholds(*found(1, (200, 5)), 0.1)


@pytest.mark.parametrize("fpir", [0, 1, -1, float("nan")])
def test_what_is_no_share_is_refused(fpir: float) -> None:
    with pytest.raises(TaskError, match="an FPIR must be between 0 and 1, not"):
        thresholds(*found(1), fpir)


def test_a_group_of_no_stranger_is_not_measured() -> None:
    searches, groups = found(3)
    three = Grouping((*groups.names, "nobody"), groups.stranger, groups.candidate, groups.known, groups.own)
    _, each = thresholds(searches, three, 0.05)
    assert np.isnan(each).tolist() == [False, False, True]


def test_one_threshold_fails_the_group_that_is_more_alike_and_its_own_does_not() -> None:
    random = np.random.default_rng(0)
    searches, groups = found(0)
    score = random.normal(size=len(searches.nonmated)) + 1.5 * groups.stranger
    searches = Searches(**{**vars(searches), "nonmated": score})
    groups = Grouping(groups.names, groups.stranger, groups.stranger, groups.known, groups.own)
    one = point(searches, 0.1).threshold
    others, alike = rows(searches, groups, 0.1, one, ALIKE_FOR_ALL)
    assert (others.more, alike.more) == (False, True)
    assert alike.fpir_interval[0] < alike.fpir < alike.fpir_interval[1]
    lowest, each = thresholds(searches, groups, 0.1)
    above = raised(groups, lowest, each)
    kept = rows(searches, groups, 0.1, lowest, above)
    assert not any(row.more for row in kept)
    assert [row.threshold for row in kept] == [pytest.approx((one, one)) for one in each]
    assert kept[1].fnir > alike.fnir  # which is what it costs
    assert (kept[1].people, kept[1].known, kept[1].strictest) == (200, 200, 3 / 100)
    whole = measured(searches, 0.1, lowest, above)
    assert whole.fpir == pytest.approx((300 * kept[0].fpir + 200 * kept[1].fpir) / 500)


def test_in_a_band_every_person_counts_once_whatever_photos_they_have_of_another() -> None:
    searches, _ = found(5, (30, 30))
    band = np.zeros(120, np.int64)
    band[1:60:2] = 1  # the first thirty people have one photo in each band, the others both in the first
    searches = Searches(
        **{**vars(searches), "nonmated": 1.0 * (searches.nonmated_person >= 30), "own": searches.nonmated}
    )
    first, second = rows(searches, Grouping(("a", "b"), band, band, band, band), 0.1, 0.5, ALIKE_FOR_ALL)
    assert (first.people, first.fpir, second.people, second.fpir) == (60, 0.5, 30, 0.0)
    searches = Searches(**{**vars(searches), "own": searches.nonmated})
    first, _ = rows(searches, Grouping(("a", "b"), band, band, band, band), 0.1, 0.5, ALIKE_FOR_ALL)
    assert first.fnir == 0.5


def test_small_groups_have_no_rates_and_chance_is_no_warning() -> None:
    searches, groups = found(6, (100, 19))
    hits = np.isin(searches.nonmated_person, [*range(12), 100, 101, 102])  # .12 of the first, asked for .1
    searches = Searches(**{**vars(searches), "nonmated": 1.0 * hits})
    large, small = rows(searches, groups, 0.1, 0.5, ALIKE_FOR_ALL)
    assert (large.fpir, large.more) == (pytest.approx(0.12), False)
    assert (small.people, small.fpir, small.fnir, small.more) == (19, None, None, False)


def test_thresholds_of_another_grouping_are_shown_from_the_lowest_to_the_highest() -> None:
    searches, groups = found(7)
    above = raised(groups, 0.2, np.array([0.2, 0.5]))
    same = np.zeros_like(groups.stranger)
    both, none = rows(searches, Grouping(("all", "unmet"), groups.stranger, same, same, same), 0.1, 0.2, above)
    assert both.threshold == pytest.approx((0.2, 0.5))
    assert none.threshold is None


def test_nobody_in_a_group_is_no_row_and_no_number() -> None:
    searches, groups = found(2)
    nobody = np.zeros(len(searches.own), bool)
    part = searches.part(nobody, groups.stranger == 0)
    none = np.empty(0, np.int64)
    [row] = rows(
        part,
        Grouping(groups.names, part.nonmated_person * 0, part.nonmated_best * 0, none, none),
        0.1,
        0,
        ALIKE_FOR_ALL,
    )
    assert (row.known, row.fnir, row.fnir_interval) == (0, None, None)


def test_within_a_group_that_is_alike_more_comparisons_match() -> None:
    random = np.random.default_rng(4)
    vectors = random.normal(size=(80, 64))
    vectors[40:] += 0.8 * random.normal(size=64)
    faces, owner = normalised(vectors), np.arange(80)
    gallery = templates(faces, owner, 80, None)
    of_group = impostor_threshold_of(faces, owner, gallery, owner >= 40, 0.05)
    assert of_group > impostor_threshold(faces, owner, gallery, 0.05)
    assert impostor_threshold_of(faces, owner, gallery, owner >= 0, 0.05) == pytest.approx(
        impostor_threshold(faces, owner, gallery, 0.05)
    )
