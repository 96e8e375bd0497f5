from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.tasks.people.graph import Strangers
from muster.tasks.people.search import (
    CANDIDATES,
    LEAST_TEMPLATES,
    LOOKALIKES,
    SEARCHED,
    Near,
    Templates,
    means,
    nearest,
    normalised,
    score_of,
    scores,
    search,
    templates,
)


def directions(count: int, seed: int = 0, width: int = 128) -> np.ndarray:
    return normalised(np.random.default_rng(seed).normal(size=(count, width)))


def strangers(seed: int, width: int = 8) -> Strangers:
    """Fewer on one side than on the other, so that it is crowded there."""
    return Strangers(normalised(directions(40, seed, width) + 0.3 * directions(1, seed + 1, width)), 0.4)


@st.composite
def galleries(draw: st.DrawFn) -> tuple[Templates, np.ndarray]:
    """Up to 60 templates, with strangers or without, and up to 20 probes."""
    count, probes, seed = draw(st.integers(1, 60)), draw(st.integers(0, 20)), draw(st.integers(0, 2**16))
    others = strangers(seed + 2) if draw(st.booleans()) else None
    return Templates(directions(count, seed, 8), others), directions(probes, seed + 1, 8)


def crowding(face: np.ndarray, others: Strangers | None) -> float:
    """By how much more than usual a face is like the strangers that come second to eleventh."""
    return 0 if others is None else np.sort(others.embeddings @ face)[-LOOKALIKES - 1 : -1].mean() - others.usual


def test_templates_are_normalised_means() -> None:
    faces = directions(5)
    found = means(faces, np.array([1, 0, 1, 1, 0]), 2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], normalised((faces[1] + faces[4])[None])[0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(templates(faces, np.array([1, 0, 1, 1, 0]), 2, None).vectors, found)


def test_in_a_small_gallery_without_strangers_the_score_is_the_cosine() -> None:
    people, probes = directions(LEAST_TEMPLATES - 1), directions(4, seed=1)
    found = search(probes, Templates(people, None))
    cosines = probes @ people.T
    np.testing.assert_array_equal(found.best, cosines.argmax(1))
    np.testing.assert_allclose(found.score, cosines.max(1), atol=1e-6)
    second = np.sort(cosines, 1)[:, -2]
    np.testing.assert_allclose(found.margin, cosines.max(1) - second, atol=1e-6)


def test_without_strangers_the_score_is_less_by_the_mean_of_the_ten_that_come_next() -> None:
    people, probes = directions(LEAST_TEMPLATES + 20), directions(6, seed=1)
    found = search(probes, Templates(people, None))
    ordered = np.sort(probes @ people.T, 1)[:, ::-1]
    np.testing.assert_allclose(found.score, ordered[:, 0] - ordered[:, 1 : LOOKALIKES + 1].mean(1), atol=1e-6)
    np.testing.assert_allclose(found.margin, ordered[:, 0] - ordered[:, 1], atol=1e-6)


@given(galleries())
def test_the_score_is_the_cosine_less_both_crowdings_and_the_look_alikes(drawn: tuple[Templates, np.ndarray]) -> None:
    gallery, asked = drawn
    found, others = scores(asked, gallery), gallery.strangers
    for probe, row in zip(asked, found, strict=True):
        cosines = gallery.vectors @ probe
        large = len(cosines) >= LEAST_TEMPLATES
        share = 0 if others is None else 0.25 if large else 0.5
        next_ten = np.sort(cosines)[-LOOKALIKES - 1 : -1].mean() if large else 0
        for template, cosine, score in zip(gallery.vectors, cosines, row, strict=True):
            less = share * (crowding(probe, others) + crowding(template, others)) + (1 - share) * next_ten
            assert score == pytest.approx(cosine - less, abs=1e-5)


def test_a_template_in_a_crowded_place_needs_more() -> None:
    sparse, crowded, _ = people = np.eye(128, dtype=np.float32)[:3]
    near = normalised(people[1] + 0.1 * directions(20, seed=3))
    gallery = Templates(people, Strangers(np.concatenate([near, directions(200, seed=4)]), 0.2))
    between = normalised((sparse + crowded)[None])
    [found] = scores(between, gallery)
    cosines = gallery.vectors @ between[0]
    assert cosines[0] == cosines[1]
    assert found[0] > found[1] + 0.2
    assert search(between, gallery).best.tolist() == [0]


def test_in_a_small_gallery_two_faces_have_one_score_whichever_is_enrolled() -> None:
    ann, bo = directions(1, 0, 8), directions(1, 1, 8)
    others = strangers(2)
    assert scores(ann, Templates(bo, others)) == pytest.approx(scores(bo, Templates(ann, others)), abs=1e-6)


def test_a_face_that_resembles_everybody_scores_less() -> None:
    shared = directions(1, seed=5)
    people = normalised(directions(LEAST_TEMPLATES + 10) + shared)
    plain = people[:1]
    blurred = normalised(people[:1] + 3 * shared)
    gallery = Templates(people, None)
    assert search(blurred, gallery).score[0] < search(plain, gallery).score[0] - 0.3
    assert (blurred @ people.T).max() > 0.8  # though its cosine is high


@given(galleries())
def test_every_way_to_ask_gives_one_score(drawn: tuple[Templates, np.ndarray]) -> None:
    gallery, asked = drawn
    found, matrix = search(asked, gallery), scores(asked, gallery)
    assert matrix.shape == (len(asked), len(gallery.vectors))
    np.testing.assert_array_equal(found.best, matrix.argmax(1))
    np.testing.assert_allclose(score_of(asked, gallery, found.best), found.score, atol=1e-6)
    assert (found.margin >= 0).all() or len(gallery.vectors) == 1


@given(galleries())
def test_the_nearest_are_the_best_scores_in_order(drawn: tuple[Templates, np.ndarray]) -> None:
    gallery, asked = drawn
    rows, values = nearest(asked, gallery)
    matrix = scores(asked, gallery)
    assert rows.shape == values.shape == (len(asked), min(CANDIDATES, len(gallery.vectors)))
    np.testing.assert_array_equal(values, -np.sort(-matrix, axis=1)[:, :CANDIDATES])
    np.testing.assert_array_equal(values, np.take_along_axis(matrix, rows, 1))
    found = search(asked, gallery)
    np.testing.assert_array_equal(rows[:, 0], found.best)
    if len(gallery.vectors) > 1:
        np.testing.assert_allclose(values[:, 0] - values[:, 1], found.margin, atol=1e-6)


def test_one_s_own_template_is_never_among_the_nearest_others() -> None:
    people = directions(LEAST_TEMPLATES + 5)
    own, gallery = np.arange(len(people)), Templates(people, strangers(0, 128))
    rows, values = nearest(people, gallery, own=own)
    assert (rows != own[:, None]).all()
    np.testing.assert_array_equal(values[:, 0], search(people, gallery, own=own).score)
    two = Templates(people[:2], gallery.strangers)
    assert nearest(people[:2], two, own=own[:2])[1][:, 1].tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize("others", [None, strangers(0, 128)])
@pytest.mark.parametrize("count", [5, LEAST_TEMPLATES + 5])
def test_a_probe_s_own_template_can_be_left_out(count: int, others: Strangers | None) -> None:
    people = directions(count)
    own = np.arange(count)
    left_out = search(people, Templates(people, others), own=own)
    assert (left_out.best != own).all()
    for i in (0, count - 1):
        without = search(people[i : i + 1], Templates(np.delete(people, i, 0), others))
        assert left_out.score[i] == pytest.approx(without.score[0], abs=1e-6)


def test_one_person() -> None:
    people = directions(1)
    found = search(people, Templates(people, None))
    assert (found.best[0], found.margin[0]) == (0, found.score[0])


# ---- the nearest of very many ----------------------------------------------------------------------------------------


def near(vectors: np.ndarray, asked: list[bool] | None = None) -> Near:
    """All are compared. `asked`: gets whether each face would be searched for no deeper."""

    def found(
        probes: np.ndarray, count: int, sure: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        cosines = probes @ vectors.T
        rows = np.argsort(-cosines, axis=1)[:, :count]
        best = np.take_along_axis(cosines, rows, 1)
        if asked is not None:
            asked.extend(sure(best).tolist())
        return best, rows

    return found


@pytest.mark.parametrize("others", [None, strangers(0, 128)])
def test_scores_by_the_nearest_are_those_by_all(others: Strangers | None) -> None:
    people, own = directions(LEAST_TEMPLATES + 60), np.arange(LEAST_TEMPLATES + 60)
    gallery = Templates(people, others)
    noted = None if others is None else others.crowding(people)
    large = Templates(people, others, near(people), noted)
    probes = normalised(people[:40] + 0.1 * directions(40, seed=2))
    for left_out in (None, own[:40]):
        few, all_ = search(probes, large, left_out), search(probes, gallery, left_out)
        np.testing.assert_array_equal(few.best, all_.best)
        np.testing.assert_allclose(few.score, all_.score, atol=1e-6)
        np.testing.assert_allclose(few.margin, all_.margin, atol=1e-6)
        for some, whole in zip(nearest(probes, large, left_out), nearest(probes, gallery, left_out), strict=True):
            np.testing.assert_allclose(some, whole, atol=1e-6)
    np.testing.assert_allclose(scores(probes, large), scores(probes, gallery), atol=1e-6)
    for person in (own[:40], own[-40:]):  # among the nearest, or not
        np.testing.assert_allclose(score_of(probes, large, person), score_of(probes, gallery, person), atol=1e-6)
    assert nearest(probes[:0], large)[0].shape == (0, CANDIDATES)


def test_who_stands_out_is_not_searched_for_deeper() -> None:
    """But where that is the template to be left out."""
    people, asked = directions(LEAST_TEMPLATES + 60), list[bool]()
    large = Templates(people, None, near(people, asked))
    search(np.concatenate([people[:2], directions(2, seed=3)]), large)
    search(people[:2], large, own=np.arange(2))
    assert asked == [True, True, False, False, False, False]


def test_no_more_are_looked_for_than_scores_need() -> None:
    people = directions(LEAST_TEMPLATES + 60)

    def counted(probes: np.ndarray, count: int, sure: object) -> tuple[np.ndarray, np.ndarray]:
        assert count == SEARCHED
        return near(people)(probes, count, lambda cosines: cosines[:, 0] > 0)

    search(people[:5], replace(Templates(people, None), near=counted))
