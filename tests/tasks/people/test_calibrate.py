from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import TaskError
from muster.tasks.people.calibrate import (
    MISSED,
    Searches,
    corrected,
    doubt,
    found,
    gallery_searches,
    genuine_threshold,
    impostor_threshold,
    outside_searches,
    people_needed,
    person_weights,
    point,
    points,
    rate,
    sensible,
    threshold_at,
    threshold_below,
)
from muster.tasks.people.graph import Strangers
from muster.tasks.people.search import Matches, Templates, normalised, score_of, scores, search, templates


def enrolled_as(
    faces: np.ndarray, owner: np.ndarray, count: int, strangers: Strangers | None
) -> tuple[np.ndarray, np.ndarray, Templates]:
    return faces, owner, templates(faces, owner, count, strangers)


def school(people: int, photos: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Faces around a direction per person, all of them a little alike, as faces are."""
    random = np.random.default_rng(seed)
    centres = normalised(random.normal(size=(people, 128)) + 0.3 * np.ones(128))
    owner = np.repeat(np.arange(people), photos)
    return normalised(centres[owner] + noise * random.normal(size=(len(owner), 128)) / np.sqrt(128)), owner


COHORT = Strangers(school(100, 1, 0, seed=7)[0], 0.3)  # the ten next of a face here are this alike


@pytest.mark.parametrize("cohort", [None, COHORT])
def test_what_is_predicted_comes_true_for_strangers_and_for_known_people(cohort: Strangers | None) -> None:
    faces, owner = school(1200, 4, 1.5)
    enrolled = (np.arange(len(faces)) % 4 < 3) & (owner < 600)
    gallery = templates(faces[enrolled], owner[enrolled], 600, cohort)
    known = search(faces[~enrolled & (owner < 600)], gallery)
    strangers = search(faces[owner >= 600], gallery)
    searches = gallery_searches(*enrolled_as(faces[enrolled], owner[enrolled], 600, cohort))
    for each in points(searches):
        low, high = each.fpir_interval
        assert low <= (strangers.score >= each.threshold).mean() <= high
        real = (found(known, np.arange(600)) < each.threshold).mean()
        assert 0 < real <= each.fnir_interval[1]  # less than predicted: one photo more is known by then
    assert [each.target for each in points(searches)] == [0.1, 0.01]


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=60), st.floats(0.001, 0.999))
def test_a_threshold_lets_through_no_more_than_asked_and_is_the_lowest(values: list[int], fpir: float) -> None:
    score, weight = np.array(values, float), np.ones(len(values))
    threshold = threshold_at(score, weight, fpir)
    assert (score >= threshold).mean() <= fpir + 1e-9
    lower = score[score < threshold]
    if len(lower):
        assert (score >= lower.max()).mean() > fpir


def test_every_person_counts_once() -> None:
    person = np.array([0, 0, 0, 1])
    np.testing.assert_allclose(person_weights(person), [1 / 3, 1 / 3, 1 / 3, 1])
    value, (low, high) = rate(np.array([True, True, True, False]), person, person_weights(person))
    assert value == 0.5
    assert low < 0.1
    assert high > 0.9


def test_no_hits_are_no_promise_of_none() -> None:
    person = np.arange(50)
    assert rate(np.zeros(50, bool), person, np.ones(50)) == (0.0, (0.0, pytest.approx(0.0711, abs=1e-4)))
    assert rate(np.ones(50, bool), person, np.ones(50)) == (1.0, (pytest.approx(0.9289, abs=1e-4), 1.0))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(1)
    person = np.repeat(np.arange(200), 2)
    inside = []
    for _ in range(60):
        hits = np.repeat(random.random(200) < 0.02, 2) & (random.random(400) < 0.8)  # photos of one person hit together
        low, high = rate(hits, person, person_weights(person))[1]
        inside.append(low <= 0.016 <= high)
    assert np.mean(inside) >= 0.9


def test_a_small_gallery_is_promised_nothing_it_cannot_support() -> None:
    faces, owner = school(299, 2, 1.0)
    searches = gallery_searches(*enrolled_as(faces, owner, 299, None))
    with pytest.raises(TaskError, match=r"1 false accept in 100 strangers needs at least 300 .* there are 299"):
        point(searches, 0.01)
    assert [each.target for each in points(searches)] == [0.1]
    with pytest.raises(TaskError, match="between 0 and 1"):
        point(searches, 1.5)
    assert people_needed(0.001) == 3000


def test_with_as_many_people_as_it_takes_nobody_is_accepted() -> None:
    faces, owner = school(100, 2, 1.0)
    searches = gallery_searches(*enrolled_as(faces, owner, 100, None))
    strict = point(searches, 0.03)
    assert strict.threshold > searches.nonmated.max()
    assert (strict.fpir, strict.fpir_interval) == (0, (0, pytest.approx(0.0362, abs=1e-4)))
    loose = point(searches, 0.2)
    assert 0.03 < loose.fpir < 0.2
    assert loose.fpir_interval[1] < 0.23


def test_what_is_aimed_for() -> None:
    assert (sensible(3000), sensible(300), sensible(60)) == (0.001, 0.01, 0.05)
    with pytest.raises(TaskError, match="from 30 enrolled people on, and there are 29"):
        sensible(29)


def test_people_with_one_photo_tell_of_strangers_only() -> None:
    faces, owner = school(40, 1, 1.0)
    found_point = point(gallery_searches(*enrolled_as(faces, owner, 40, None)), 0.1)
    assert (found_point.fnir, found_point.fnir_interval) == (None, None)


def test_a_mated_search_leaves_its_own_photo_out() -> None:
    faces, owner = school(40, 2, 0.5)
    faces[1] = -faces[0]  # the two photos of person 0 are nothing like each other
    searches = gallery_searches(*enrolled_as(faces, owner, 40, None))
    assert (searches.mated[owner == 0] == MISSED).all()
    assert (searches.mated[owner > 0] > 0).all()


@pytest.mark.parametrize("cohort", [None, COHORT])
@pytest.mark.parametrize("people", [20, 40])
def test_a_mated_search_is_one_in_a_gallery_made_without_the_photo(people: int, cohort: Strangers | None) -> None:
    faces, owner = school(people, 3, 0.5)
    searches = gallery_searches(*enrolled_as(faces, owner, people, cohort))
    for i in range(0, len(faces), 7):
        gallery = templates(np.delete(faces, i, 0), np.delete(owner, i), people, cohort)
        assert searches.own[i] == pytest.approx(score_of(faces[i : i + 1], gallery, owner[i : i + 1])[0], abs=1e-5)
    faces, owner = np.delete(faces, [1, 2], 0), np.delete(owner, [1, 2])  # the first has one photo now
    with_one = gallery_searches(*enrolled_as(faces, owner, people, cohort)).own[len(faces) - 1 :]
    vectors = templates(faces, owner, people, cohort).vectors
    for i, face in enumerate(faces[1:]):
        other = np.where(np.arange(people)[:, None] == owner[i + 1], faces[1 + i - i % 3 + (i + 1) % 3], vectors)
        expected = score_of(face[None], Templates(other, cohort), owner[i + 1 : i + 2])[0]
        assert with_one[i] == pytest.approx(expected, abs=1e-5)


def test_who_has_one_photo_is_spoken_for_by_searches_with_one() -> None:
    faces, owner = school(900, 4, 1.2)
    photo = np.arange(len(faces)) % 4
    enrolled = (owner < 600) & (photo < np.where(owner < 300, 3, 1))  # half of the people have three, half one
    searches = gallery_searches(*enrolled_as(faces[enrolled], owner[enrolled], 600, None))
    assert searches.own.shape == (2 * 900,)
    assert searches.mated_weight.sum() == pytest.approx(300)
    named = point(searches, 0.01)
    gallery = templates(faces[enrolled], owner[enrolled], 600, None)
    probes = (owner < 600) & (photo == 3)
    known = outside_searches(faces[probes], owner[probes], faces[owner >= 600], owner[owner >= 600], gallery)
    real = (known.mated < named.threshold).mean()
    assert real <= named.fnir_interval[1]  # two of three photos find fewer than three do
    three_only = (searches.mated[:900] < named.threshold).mean()
    assert three_only < real - 0.05  # what whoever has several would have said of everybody
    promised = doubt(searches, named.threshold, 0.1)
    assert (known.shown(named.threshold) < promised.threshold).mean() <= 0.1


def test_outside_searches_are_those_of_the_gallery() -> None:
    faces, owner = school(50, 3, 1.5)
    enrolled = np.arange(len(faces)) % 3 < 2
    gallery, own = templates(faces[enrolled], owner[enrolled], 50, None), owner[~enrolled]
    strangers, person = school(40, 2, 1.5, seed=3)
    searches = outside_searches(faces[~enrolled], own, strangers, person, gallery)
    matrix = scores(faces[~enrolled], gallery)
    np.testing.assert_allclose(searches.own, matrix[np.arange(50), own], atol=1e-6)
    rank = (matrix > searches.own[:, None]).sum(1)
    assert 0 < (rank > 0).sum() < 50
    np.testing.assert_array_equal(searches.mated > MISSED, rank == 0)
    np.testing.assert_array_equal(searches.shown(9) > MISSED, rank < 3)
    np.testing.assert_array_equal(searches.nonmated, search(strangers, gallery).score)


def test_who_is_taken_for_another_is_missed() -> None:
    matches = Matches(np.array([3, 1]), np.array([0.9, 0.8], np.float32), np.zeros(2, np.float32))
    np.testing.assert_allclose(found(matches, np.array([2, 1])), [MISSED, 0.8])


# ---- doubt -----------------------------------------------------------------------------------------------------------


def made(own: list[float], others: list[list[float]], strangers: list[float]) -> Searches:
    return Searches(
        np.array(own),
        np.array(others),
        np.arange(len(own)),
        np.ones(len(own)),
        np.arange(len(own)),
        np.array(strangers),
        np.arange(len(strangers)),
        np.zeros(len(strangers), np.int64),
    )


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=60), st.floats(0, 0.999))
def test_a_threshold_misses_no_more_than_asked_and_is_the_highest(values: list[int], share: float) -> None:
    score, weight = np.array(values, float), np.ones(len(values))
    threshold = threshold_below(score, weight, share)
    assert (score < threshold).mean() <= share + 1e-9
    assert (score < threshold + 1e-6).mean() > share


def test_who_is_shown() -> None:
    searches = made(
        [0.9, 0.4, 0.4, 0.2, 0.4], [[0.1] * 3, [0.5, 0.3, 0.2], [0.8, 0.3, 0.2], [0.3] * 3, [0.4, 0.4, 0.3]], [0]
    )
    np.testing.assert_array_equal(searches.mated, [0.9, MISSED, MISSED, MISSED, MISSED])
    np.testing.assert_array_equal(
        searches.shown(0.7), [0.9, 0.4, MISSED, MISSED, 0.4]
    )  # another is named; three are more alike


def test_a_tenth_of_strangers_is_left_to_a_human_or_named() -> None:
    faces, owner = school(400, 2, 1.2)
    searches = gallery_searches(*enrolled_as(faces, owner, 400, None))
    named = point(searches, 0.01)
    found_doubt = doubt(searches, named.threshold)
    reached = (searches.nonmated >= found_doubt.threshold).mean()
    assert 0.09 < reached <= 0.1 + 1e-9
    assert found_doubt.strangers == pytest.approx(reached - named.fpir)
    assert found_doubt.strangers_interval[0] < found_doubt.strangers < found_doubt.strangers_interval[1]
    assert found_doubt.missed + found_doubt.unsure == pytest.approx(named.fnir)  # whoever is not named
    assert found_doubt.unsure > 0
    assert (found_doubt.miss, found_doubt.mated_people) == (None, 400)


def test_a_share_of_misses_that_is_asked_for_comes_true() -> None:
    faces, owner = school(1200, 4, 1.2)
    enrolled = (np.arange(len(faces)) % 4 < 3) & (owner < 600)
    searches = gallery_searches(*enrolled_as(faces[enrolled], owner[enrolled], 600, None))
    named_from = point(searches, 0.01).threshold
    asked = doubt(searches, named_from, 0.02)
    assert asked.missed <= 0.02 <= asked.missed_interval[1] + 0.01
    assert asked.threshold < named_from
    gallery = templates(faces[enrolled], owner[enrolled], 600, None)
    known = search(faces[~enrolled & (owner < 600)], gallery)
    assert (found(known, np.arange(600)) < asked.threshold).mean() <= 0.02
    assert doubt(searches, named_from, 0.01).threshold < asked.threshold


def test_where_nothing_is_in_doubt_both_thresholds_are_one() -> None:
    faces, owner = school(400, 2, 0.2)
    searches = gallery_searches(*enrolled_as(faces, owner, 400, None))
    named = point(searches, 0.01)
    clear = doubt(searches, named.threshold, 0.01)
    assert (clear.threshold, clear.strangers, clear.missed, clear.unsure) == (named.threshold, 0, 0, 0)


def test_what_cannot_be_promised_of_misses() -> None:
    one = gallery_searches(*enrolled_as(*school(40, 1, 1.0), 40, None))
    assert (doubt(one, 0.9).missed, doubt(one, 0.9).mated_people) == (None, 0)
    with pytest.raises(TaskError, match=r"at least 60 of them with two photos to be measured, and there are 0: enrol"):
        doubt(one, 0.9, 0.05)
    two = gallery_searches(*enrolled_as(*school(40, 2, 1.0), 40, None))
    with pytest.raises(TaskError, match=r"there are 40: choose a share of at least 0.075, or enrol second photos"):
        doubt(two, 0.9, 0.05)
    with pytest.raises(TaskError, match="must be between 0 and 1, not 0"):
        doubt(two, 0.9, 0)
    lost = made([0.1] * 2 + [0.9] * 98, [[0.2] * 3] * 100, [0.1] * 100)
    with pytest.raises(TaskError, match=r"2 of 100 known people are found at no threshold: .* at least 0.0617"):
        doubt(lost, 0.95, 0.05)
    assert doubt(lost, 0.95, 0.0617).threshold == 0.9


def test_one_to_one_in_doubt() -> None:
    searches = made([0.1] * 2 + [0.9] * 98, [[0.2] * 3] * 100, [0.1] * 100)
    assert genuine_threshold(searches, 0.05) == 0.1  # who is more alike is no matter
    assert genuine_threshold(searches, 0.07) == 0.9


def test_one_to_one() -> None:
    faces, owner = school(60, 3, 1.0)
    threshold = impostor_threshold(*enrolled_as(faces, owner, 60, None), 0.001)
    gallery = templates(faces, owner, 60, None)
    strangers, _ = school(200, 1, 1.0, seed=9)
    assert (scores(strangers, gallery) >= threshold).mean() < 0.003
    impostor_threshold(*enrolled_as(*school(33, 1, 1.0), 33, None), 3 / (33 * 32))  # as few as it takes
    assert (scores(faces, gallery)[np.arange(len(faces)), owner] >= threshold).mean() > 0.9
    with pytest.raises(TaskError, match="needs at least 3,000 of them"):
        impostor_threshold(*enrolled_as(faces[:9], owner[:9], 3, None), 0.001)


def test_a_gallery_whose_nearest_are_searched_for_has_the_same_thresholds() -> None:
    faces, owner = school(300, 3, 1.0)
    gallery = templates(faces, owner, 300, COHORT)

    def near(probes: np.ndarray, count: int, sure: object) -> tuple[np.ndarray, np.ndarray]:
        cosines = probes @ gallery.vectors.T
        rows = np.argsort(-cosines, axis=1)[:, :count]
        return np.take_along_axis(cosines, rows, 1), rows

    large = replace(gallery, near=near)
    few, all_ = gallery_searches(faces, owner, large), gallery_searches(faces, owner, gallery)
    for name, scores_ in few.__dict__.items():
        np.testing.assert_allclose(scores_, getattr(all_, name), atol=1e-5)
    one = impostor_threshold(faces, owner, large, 0.01)  # one comparison for each face
    assert one == pytest.approx(impostor_threshold(faces, owner, gallery, 0.01), abs=0.05)


def test_more_people_are_more_chances() -> None:
    assert corrected(0.01, 100, 100) == pytest.approx(0.01)
    assert corrected(0.01, 100, 1000) == pytest.approx(1 - 0.99**10)


def test_searches_name_their_people() -> None:
    faces, owner = school(40, 2, 1.0)
    searches = gallery_searches(*enrolled_as(faces, owner, 40, None))
    assert isinstance(searches, Searches)
    assert searches.nonmated.shape == searches.mated.shape == (80,)
    np.testing.assert_array_equal(searches.nonmated_person, owner)
