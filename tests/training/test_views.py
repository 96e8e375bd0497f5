import math

import pytest
import torch

from muster.tasks.models.encoders import PIECES, RATE, Plan
from muster.training.views import changed, taken

PLANS = {
    "picture": Plan("picture", (24, 40), (4,), (1, 1)),
    "sound": Plan("sound", (RATE,), (4,), (1,)),
    "text": Plan("text", (200,), (4,), (1,)),
    "volume": Plan("volume", (12, 12, 12), (4,), (1, 1, 1)),
}
NOBODY = torch.zeros(0, dtype=torch.int64)


def values(kind: str, count: int) -> torch.Tensor:
    if kind == "text":
        return torch.randint(1, 64, (count, 200, PIECES))
    if kind == "sound":
        tone = (torch.arange(RATE) * (2 * math.pi * 400 / RATE)).sin() * 32767
        return tone.to(torch.int16).expand(count, -1)
    made = torch.zeros(count, *PLANS[kind].space, dtype=torch.uint8)
    made[:, 3:6, 3:9] = 255  # of one corner
    return made


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", PLANS)
def test_items_are_changed_a_little_and_the_same_by_one_seed(kind: str) -> None:
    given = values(kind, 6)
    one, again, other = (changed(given, PLANS[kind], NOBODY, 0.1, seeded(seed)) for seed in (0, 0, 1))
    assert one.equal(again)
    assert not one.equal(other)
    assert one.shape == taken(given, PLANS[kind]).shape
    assert torch.isfinite(one.float()).all()


def test_one_persons_items_become_anothers_alike() -> None:
    given, alike = values("picture", 40), torch.arange(40) // 10
    found = changed(given, PLANS["picture"], alike, 0.0, seeded(3))[:, 0]
    right = found[:, :, 20:].sum((1, 2)) > found[:, :, :20].sum((1, 2))
    low = found[:, 12:].sum((1, 2)) > found[:, :12].sum((1, 2))
    assert all(each.view(4, 10).float().mean(1).unique().tolist() in ([0], [1], [0, 1]) for each in (right, low))
    assert right.any() or low.any()
    still = changed(given, PLANS["picture"], NOBODY, 0.0, seeded(3))[:, 0]
    assert (still[:, :12, :20].sum((1, 2)) > still.sum((1, 2)) / 2).all()


def test_voices_are_faster_or_slower_alike() -> None:
    given, alike = values("sound", 8), torch.arange(8) // 4
    found = changed(given, PLANS["sound"], alike, 0.0, seeded(0))
    pitch = torch.fft.rfft(found).abs().argmax(1).view(2, 4).float()
    assert (pitch.amax(1) - pitch.amin(1)).max() <= 2
    assert 400 * math.exp(-0.23) - 2 <= pitch.min() <= pitch.max() <= 400 * math.exp(0.23) + 2
    assert (pitch[0] - pitch[1]).abs().min() > 2
    still = torch.fft.rfft(changed(given, PLANS["sound"], NOBODY, 0.0, seeded(0))).abs().argmax(1)
    assert ((still - 400).abs() <= 2).all()


def test_one_word_in_ten_is_left_out() -> None:
    given = values("text", 20)
    found = changed(given, PLANS["text"], NOBODY, 0.0, seeded(0))
    kept = (found > 0).all(2)
    assert found[kept].equal(given[kept])
    assert not found[~kept].any()
    assert 0.87 < kept.float().mean() < 0.93
