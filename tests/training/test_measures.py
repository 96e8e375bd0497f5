from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from muster.errors import TaskError
from muster.training import measures
from muster.training.data.crops import Crops


@given(st.lists(st.integers(1, 9), min_size=60, max_size=120), st.integers(0, 5))
def test_pairs(photos: list[int], seed: int) -> None:
    labels = [f"p{person}" for person, count in enumerate(photos) for _ in range(count)]
    try:
        a, b, same, folds = measures.choose_pairs(labels, seed)
    except TaskError:
        assert sum(count > 1 for count in photos) < 60  # some fold had nobody with two photos
        return
    assert (a != b).all()
    assert ([labels[i] == labels[j] for i, j in zip(a, b, strict=True)] == same).all()
    assert sorted(set(folds)) == list(range(measures.FOLDS))
    for fold in range(measures.FOLDS):
        assert same[folds == fold].sum() * 2 == (folds == fold).sum()
    where = {labels[row]: fold for row, fold in zip(a, folds, strict=True)}
    assert all(where.get(labels[row], fold) == fold for row, fold in zip(b, folds, strict=True))
    assert max(Counter(labels[row] for row in a[same]).values()) <= measures.PAIRS_OF_A_PERSON


class _Mean(nn.Module):
    """An embedder that sees colour alone."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return crops.mean((2, 3)) * self.weight


def crops(people: int, photos: int, noise: int) -> Crops:
    random = np.random.default_rng(0)
    colours = random.integers(20, 235, (people, 1, 1, 1, 3))
    pixels = np.repeat(colours, photos, 0)[:, 0] + random.integers(-noise, noise + 1, (people * photos, 1, 1, 3))
    pixels = np.broadcast_to(pixels.clip(0, 255).astype(np.uint8), (people * photos, 144, 144, 3)).copy()
    labels: list[str | None] = [f"p{person}" for person in range(people) for _ in range(photos)]
    names = [f"{i}.jpg" for i in range(len(labels))]
    return Crops(torch.from_numpy(pixels), names, labels, np.ones(len(labels), bool))


def test_people_of_one_colour_each_are_told_apart() -> None:
    figures = measures.embedder(_Mean(), crops(24, 3, noise=0))
    assert figures["accuracy"] > 0.95
    assert figures["tar_at_far_1e-2"] > 0.95
    assert set(figures) == {"accuracy", "tar_at_far_1e-2", "tar_at_far_1e-3"}
    assert measures.embedder(_Mean(), crops(24, 3, noise=120))["accuracy"] < 0.8


def test_too_few_people_have_no_figures() -> None:
    assert measures.embedder(_Mean(), crops(3, 2, noise=0)) == {}
    with pytest.raises(TaskError, match="3 people are too few"):
        measures.choose_pairs(["a", "a", "b", "b", "c", "c"])
