import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.errors import TaskError
from muster.training import trials


def cosine(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one * other).sum(1)


def written(people: int, genuine: int, forged: int) -> tuple[list[str], np.ndarray]:
    labels = [f"p{n}" for n in range(people) for _ in range(genuine + forged)]
    return labels, np.array(([True] * genuine + [False] * forged) * people)


def test_each_in_turn_meets_every_other_once() -> None:
    labels = ["a"] * 20 + ["b"] * 2 + ["c"]
    found = trials.each_in_turn(labels)
    assert len(found.tested) == trials.MOST + 3
    claims = trials.claims(found, torch.nn.functional.normalize(torch.randn(23, 4)), cosine)
    assert list(claims) == ["others"]
    own, every = trials.MOST * (trials.MOST - 1) // 2 + 1, (trials.MOST + 3) * (trials.MOST + 2) // 2
    assert (int(claims["others"].same.sum()), len(claims["others"].same)) == (own, every)


def test_who_is_enrolled_is_tested_by_the_later_half() -> None:
    labels, genuine = written(3, 20, 7)
    found = trials.enrolled_by(labels, genuine, 5)
    assert found.enrolled.tolist() == [list(range(27 * n, 27 * n + 5)) for n in range(3)]
    mine = found.tested[found.owner == 1] - 27
    assert mine.tolist() == [*range(10, 20), *range(20, 27)]
    claims = trials.claims(found, torch.nn.functional.normalize(torch.randn(81, 4)), cosine)
    counts = {kind: (int(each.same.sum()), int((~each.same).sum())) for kind, each in claims.items()}
    assert counts == {"others": (30, 60), "forged": (30, 21)}


def test_nobody_with_enough_of_them() -> None:
    with pytest.raises(TaskError, match="1 people have 10 genuine items or more: at least 2"):
        trials.enrolled_by(["a"] * 10 + ["b"] * 9, np.ones(19, bool), 5)


def test_of_those_whose_own_differ_much_may_differ() -> None:
    """A steady and a changeable hand: what is as far from the second as its own are from each other passes."""
    steady = torch.tensor([[1.0, 0.0]] * 4)
    angles = torch.tensor([0.0, 0.8, 0.0, 0.8])
    found = trials.enrolled_by(["a"] * 4 + ["b"] * 4, np.ones(8, bool), 2)
    vectors = torch.cat([steady, torch.stack([angles.cos(), angles.sin()], 1)])
    claims = trials.claims(found, vectors, cosine)["others"]
    own = claims.scores[claims.same].reshape(2, 2)
    assert np.allclose(own, own[:, :1])
    assert own[1, 0] > own[0, 0] >= 0 - 1e-6


@given(st.integers(2, 6), st.integers(2, 5), st.integers(0, 99))
@settings(deadline=None, max_examples=5)
def test_perfect_and_hopeless_scores(people: int, each: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = [f"p{n}" for n in range(people) for _ in range(each)]
    found = trials.each_in_turn(labels)
    perfect = torch.eye(people)[np.repeat(np.arange(people), each)]
    claims = trials.claims(found, perfect, cosine)["others"]
    facts = trials.summary(claims)
    assert (facts["eer"], facts["eer_interval"], facts["tar_at_far_1e-2"]) == (0, [0, 0], 1)
    low, high = np.array(facts["det"]).T
    assert (low[0], high[0], low[-1], high[-1]) == (1, 0, 0, 1)
    assert (np.diff(low) <= 0).all()
    if people >= 4:
        assert facts["accuracy"] == 1
        assert facts["folds"] == people // 2
    worse = trials.claims(found, torch.from_numpy(random.normal(size=(len(labels), 3))), cosine)["others"]
    low, high = trials.summary(worse)["eer_interval"]
    assert 0 <= low <= high <= 1


def test_pairs_are_told_apart_by_their_source() -> None:
    scores, same = np.array([0.1, 0.9, 0.4, 0.2, 0.7]), np.array([False, True, True, False, True])
    found = trials.of_sources(scores, same, ["a", "a", "b", "b", "c"])
    assert list(found) == ["a", "b"]
    assert trials.as_numbers(found) == {"eer_a": 0, "eer_b": 0}
    many = trials.of_sources(np.tile(scores, 40), np.tile(same, 40), ["a"] * 200)
    assert trials.as_numbers(many).keys() == {"eer_a", "accuracy_a"}


def test_who_is_of_no_claim_is_in_no_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last item of a table is claimed by nobody; whatever lies in memory, accuracy is the same."""
    labels = [f"p{i // 4}" for i in range(40)] + ["alone"]
    vectors = torch.nn.functional.normalize(torch.randn(41, 4, generator=torch.Generator().manual_seed(0)))
    found = trials.claims(trials.each_in_turn(labels), vectors, cosine)["others"]
    assert set(found.owner.tolist()) > set(found.claimed.tolist())
    wanted = trials.summary(found)["accuracy"]
    for value in (0, 1, 99):
        monkeypatch.setattr(np, "empty", lambda shape, dtype=float, value=value: np.full(shape, value, dtype))
        assert trials.summary(found)["accuracy"] == wanted


def test_without_an_item_there_is_nothing_to_test() -> None:
    with pytest.raises(TaskError, match="no item"):
        trials.each_in_turn([])


def test_of_many_people_claims_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names themself is there whatever is drawn, nobody twice, and scores are what they were."""
    random = np.random.default_rng(0)
    labels = [f"p{n}" for n in random.permutation(np.repeat(np.arange(60), 4))]
    genuine = np.array([labels[:row].count(label) < 2 or row % 3 > 0 for row, label in enumerate(labels)])
    vectors = torch.nn.functional.normalize(torch.randn(240, 4))
    for found in (trials.each_in_turn(labels), trials.enrolled_by(labels, genuine, 1)):
        monkeypatch.setattr(trials, "CLAIMS", 1 << 20)
        every = trials.claims(found, vectors, cosine)
        monkeypatch.setattr(trials, "CLAIMS", 2000)
        monkeypatch.setattr(trials, "CHUNK", 77)
        for kind, some in trials.claims(found, vectors, cosine).items():
            assert some.same.sum() == every[kind].same.sum()
            assert ((some.claimed == some.owner) | (kind == "others")).all()
            assert len(np.unique(some.scores)) == len(some.scores)
            assert set(some.scores.round(5)) <= set(every[kind].scores.round(5))
        assert 0 < (~some.same).sum() <= 2000
