"""The shape of the estimate, with weights of this file: those that are measured may change."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.said import said_of
from muster.tasks.people import certainty as module
from muster.tasks.people.certainty import EARNED, certainty, earned, evidence
from muster.tasks.people.graph import Strangers

CONSTANT, SLOPE, GROWTH = WEIGHTS = (-3.0, 8.0, 0.7)


@pytest.fixture(autouse=True, scope="module")
def _weights() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WEIGHTS", WEIGHTS)
        patch.setattr(module, "MOST_ALIKE", 9.0)
        yield


def normalised(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def directions(count: int, seed: int, width: int = 8) -> np.ndarray:
    return normalised(np.random.default_rng(seed).normal(size=(count, width)))


@given(
    st.lists(st.sampled_from([-1, 0, 0, 1, 1, 2, 5]), max_size=20).filter(
        lambda labels: all(labels.count(label) > 1 for label in set(labels) - {-1})
    ),
    st.integers(0, 10_000),
    st.sampled_from([None, 0.1, 0.4]),
)
def test_it_is_how_alike_a_face_is_to_the_others_of_its_cluster(
    labels: list[int], seed: int, usual: float | None
) -> None:
    faces, strangers = directions(len(labels), seed), None
    crowding = np.zeros(len(labels))
    if usual is not None:
        strangers = Strangers(directions(15, seed + 1), usual)
        crowding = strangers.crowding(faces)
    found = certainty(faces, np.array(labels, np.int64), strangers)
    assert (found.shape, found.dtype) == ((len(labels),), np.float32)
    assert evidence(faces, np.array(labels, np.int64), strangers).shape == (len(labels), 3)
    for i, label in enumerate(labels):
        others = [j for j, other in enumerate(labels) if other == label and j != i]
        if label < 0:
            assert np.isnan(found[i])
            continue
        alike = np.mean([faces[i] @ faces[j] - (crowding[i] + crowding[j]) / 2 for j in others])
        expected = 1 / (1 + np.exp(-(CONSTANT + SLOPE * alike + GROWTH * np.log(len(others)))))
        assert 0 <= found[i] <= 1
        assert found[i] == pytest.approx(expected, abs=1e-4)


def test_the_face_that_is_least_like_the_others_is_the_least_certain() -> None:
    radians = np.radians([0, 5, 10, 50])
    faces = np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32)
    found = certainty(faces, np.zeros(4, np.int64))
    assert found.argmin() == 3
    assert found.argmax() in (1, 2)


def test_beyond_enough_nothing_is_surer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ALIKE", 0.6)
    radians = np.radians([0, 30, 80, 84])
    faces = np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32)
    alike = evidence(faces, np.array([0, 0, 1, 1]))[:, 1]
    assert alike == pytest.approx([0.6] * 4)
    apart = evidence(faces, np.array([0, 1, 0, 1]))[:, 1]
    assert apart == pytest.approx([np.cos(np.radians(80)), np.cos(np.radians(54))] * 2, abs=1e-5)


@given(st.lists(st.tuples(st.integers(-1, 4), st.sampled_from([0.2, 0.6, 0.72, 0.99])), max_size=30))
def test_what_is_not_sure_enough_on_average_earns_no_page(faces: list[tuple[int, float]]) -> None:
    labels = np.array([label for label, _ in faces], np.int64)
    certain = np.array([np.nan if label < 0 else chance for label, chance in faces], np.float32)
    kept = earned(labels, certain)
    for i, (label, _) in enumerate(faces):
        mean = np.mean([chance for other, chance in faces if other == label])
        assert (kept[i] >= 0) == (label >= 0 and mean >= EARNED)
        assert all((kept[i] == kept[j]) == (label == other) for j, (other, _) in enumerate(faces) if kept[i] >= 0)


def test_a_person_of_whom_something_was_said_stays_however_unsure() -> None:
    labels, certain = np.array([0, 0, 1, 1, 2, -1]), np.array([0.1, 0.1, 0.1, 0.1, 0.0, np.nan], np.float32)
    assert earned(labels, certain).tolist() == [-1] * 6
    said = said_of(6, {3: 1, 4: 0}, shown={5: 0})
    assert earned(labels, certain, said).tolist() == [-1, -1, 0, 0, 1, -1]


def test_more_photos_say_more_and_a_crowd_takes_from_it() -> None:
    face = directions(1, 0)
    sizes = [certainty(np.repeat(face, size, 0), np.zeros(size, np.int64))[0] for size in (2, 5, 20)]
    assert sizes == sorted(set(sizes))
    pair, labels = np.repeat(face, 2, 0), np.zeros(2, np.int64)
    near = normalised(face + 0.3 * directions(12, 1))
    lonely, crowded = (certainty(pair, labels, Strangers(each, 0.3))[0] for each in (-near, near))
    assert crowded < certainty(pair, labels)[0] < lonely


@pytest.mark.parametrize("labels", [[], [-1, -1, -1]])
def test_nobody_is_in_a_cluster(labels: list[int]) -> None:
    found = certainty(directions(len(labels), 0), np.array(labels, np.int64), Strangers(directions(12, 1), 0.3))
    assert np.isnan(found).all()
    assert len(found) == len(labels)
