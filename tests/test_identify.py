import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.identify import CANDIDATES, LEAST, LOOKALIKES, nearest, normalised, score_of, scores, search, templates


def directions(count: int, seed: int = 0, width: int = 128) -> np.ndarray:
    return normalised(np.random.default_rng(seed).normal(size=(count, width)))


def test_templates_are_normalised_means() -> None:
    faces = directions(5)
    found = templates(faces, np.array([1, 0, 1, 1, 0]), 2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], normalised((faces[1] + faces[4])[None])[0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_in_a_small_gallery_the_score_is_the_cosine() -> None:
    people, probes = directions(LEAST - 1), directions(4, seed=1)
    found = search(probes, people)
    cosines = probes @ people.T
    np.testing.assert_array_equal(found.best, cosines.argmax(1))
    np.testing.assert_allclose(found.score, cosines.max(1), atol=1e-6)
    second = np.sort(cosines, 1)[:, -2]
    np.testing.assert_allclose(found.margin, cosines.max(1) - second, atol=1e-6)


def test_the_score_is_less_by_the_mean_of_the_ten_that_come_next() -> None:
    people, probes = directions(LEAST + 20), directions(6, seed=1)
    found = search(probes, people)
    ordered = np.sort(probes @ people.T, 1)[:, ::-1]
    np.testing.assert_allclose(found.score, ordered[:, 0] - ordered[:, 1 : LOOKALIKES + 1].mean(1), atol=1e-6)
    np.testing.assert_allclose(found.margin, ordered[:, 0] - ordered[:, 1], atol=1e-6)


def test_a_face_that_resembles_everybody_scores_less() -> None:
    shared = directions(1, seed=5)
    people = normalised(directions(LEAST + 10) + shared)
    plain = people[:1]
    blurred = normalised(people[:1] + 3 * shared)
    assert search(blurred, people).score[0] < search(plain, people).score[0] - 0.3
    assert (blurred @ people.T).max() > 0.8  # though its cosine is high


@given(st.integers(1, 60), st.integers(0, 20), st.integers(0, 2**16))
def test_every_way_to_ask_gives_one_score(count: int, probes: int, seed: int) -> None:
    people, asked = directions(count, seed, 8), directions(probes, seed + 1, 8)
    found, matrix = search(asked, people), scores(asked, people)
    assert matrix.shape == (probes, count)
    np.testing.assert_array_equal(found.best, matrix.argmax(1))
    np.testing.assert_allclose(score_of(asked, people, found.best), found.score, atol=1e-6)
    assert (found.margin >= 0).all() or count == 1


@given(st.integers(1, 60), st.integers(0, 20), st.integers(0, 2**16))
def test_the_nearest_are_the_best_scores_in_order(count: int, probes: int, seed: int) -> None:
    people, asked = directions(count, seed, 8), directions(probes, seed + 1, 8)
    rows, values = nearest(asked, people)
    matrix = scores(asked, people)
    assert rows.shape == values.shape == (probes, min(CANDIDATES, count))
    np.testing.assert_array_equal(values, -np.sort(-matrix, axis=1)[:, :CANDIDATES])
    np.testing.assert_array_equal(values, np.take_along_axis(matrix, rows, 1))
    found = search(asked, people)
    np.testing.assert_array_equal(rows[:, 0], found.best)
    if count > 1:
        np.testing.assert_allclose(values[:, 0] - values[:, 1], found.margin, atol=1e-6)


def test_one_s_own_template_is_never_among_the_nearest_others() -> None:
    people = directions(LEAST + 5)
    own = np.arange(len(people))
    rows, values = nearest(people, people, own=own)
    assert (rows != own[:, None]).all()
    np.testing.assert_array_equal(values[:, 0], search(people, people, own=own).score)
    assert nearest(people[:2], people[:2], own=own[:2])[1][:, 1].tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize("count", [5, LEAST + 5])
def test_a_probe_s_own_template_can_be_left_out(count: int) -> None:
    people = directions(count)
    own = np.arange(count)
    left_out = search(people, people, own=own)
    assert (left_out.best != own).all()
    for i in (0, count - 1):
        without = search(people[i : i + 1], np.delete(people, i, 0)) if count - 1 >= LEAST or count < LEAST else None
        if without is not None:
            assert left_out.score[i] == pytest.approx(without.score[0], abs=1e-6)


def test_one_person() -> None:
    people = directions(1)
    found = search(people, people)
    assert (found.best[0], found.margin[0]) == (0, found.score[0])
