import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from muster.tasks.people.calibrate import another_of
from muster.tasks.people.lookalikes import Spread, alike, margin, share_of, spread
from muster.tasks.people.search import Templates, nearest, normalised, score_of, templates


def school_with_twins(seed: int, people: int = 400, pairs: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(P, D) directions of people, the last `pairs` of whom are twins of the first; (N, D) faces, three each; owner."""
    random = np.random.default_rng(seed)
    centres = normalised(random.normal(size=(people, 64)))
    centres[-pairs:] = normalised(centres[:pairs] + 0.6 * normalised(random.normal(size=(pairs, 64))))
    return centres, *photos(centres, 3, random)


def photos(centres: np.ndarray, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    owner = np.repeat(np.arange(len(centres)), count)
    return normalised(centres[owner] + 0.9 * random.normal(size=(len(owner), 64)) / 8), owner


def test_a_photo_of_one_twin_is_named_the_other_no_more_often_than_asked() -> None:
    wrong, right, without = [], [], []
    for seed in range(5):
        centres, faces, owner = school_with_twins(seed)
        gallery = templates(faces, owner, len(centres), None)
        fallen = spread(faces, owner, another_of(owner), gallery, 0.05)
        probes, who = photos(centres[:60], 4, np.random.default_rng(100 + seed))
        twin = who + len(centres) - 60
        score, other = score_of(probes, gallery, who), score_of(probes, gallery, twin)
        needed = np.array([margin(gallery, b, np.array([a]), fallen)[0] for a, b in zip(who, twin, strict=True)])
        mine = np.array([margin(gallery, a, np.array([b]), fallen)[0] for a, b in zip(who, twin, strict=True)])
        wrong.append((other - score >= needed).mean())
        without.append((other > score).mean())
        right.append((score - other >= mine).mean())
    assert max(wrong) <= 0.05
    assert np.mean(without) > np.mean(wrong)
    assert np.mean(right) > 0.2  # and it is still an answer


@given(st.integers(0, 1000), st.floats(0, 0.8), st.floats(0, 0.3))
def test_who_may_fall_further_must_be_further_ahead(seed: int, fallen: float, more: float) -> None:
    vectors = normalised(np.random.default_rng(seed).normal(size=(30, 16)))
    gallery, others = Templates(vectors, None), np.arange(1, 30)
    less, larger = (margin(gallery, 0, others, Spread(0.5, each)) for each in (fallen, fallen + more))
    assert (less >= 0).all()
    assert (larger >= less).all()


def test_who_looks_like_whom() -> None:
    centres, _, _ = school_with_twins(0)
    gallery = Templates(normalised(centres), None)
    assert alike(gallery, 0).tolist() == [340]
    assert alike(gallery, 340).tolist() == [0]
    assert nearest(gallery.vectors[:1], gallery, own=np.array([0]))[0][0, 0] == 340


def test_the_same_photo_of_two_people_is_no_division_by_nothing() -> None:
    _, faces, owner = school_with_twins(1)
    faces[owner == 7] = faces[owner == 8][0]
    assert np.all(np.isfinite(spread(faces, owner, another_of(owner), templates(faces, owner, 400, None), 0.05)))


def test_what_so_many_people_can_promise() -> None:
    assert share_of(29, 0.01) is None
    assert share_of(30, 0.01) == 0.1
    assert share_of(3000, 0.01) == 0.01
