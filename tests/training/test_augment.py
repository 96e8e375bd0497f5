import pytest
import torch

from muster.tasks.geometry.align import CROP
from muster.training import augment
from muster.training.data.crops import MARGIN

SIDE = CROP + 2 * MARGIN


def wide(count: int = 12) -> torch.Tensor:
    return torch.randint(0, 256, (count, SIDE, SIDE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(9))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_same_seed_gives_the_same_crops() -> None:
    pixels = wide()
    before = pixels.clone()
    one, again, other = (augment.augmented(pixels, seeded(seed), 0.35) for seed in (1, 1, 2))
    assert one.shape == (12, 3, CROP, CROP)
    assert 0 <= one.min() <= one.max() <= 1
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("count", [1, 2])
def test_few_crops(count: int) -> None:
    assert augment.augmented(wide(count), seeded(), 0.35).isfinite().all()


def test_moved_crops_stay_near_their_place() -> None:
    """A white dot at the centre of the wide crop stays within the few pixels that shift and turn allow."""
    pixels = torch.zeros(32, 3, SIDE, SIDE)
    pixels[:, :, SIDE // 2 - 2 : SIDE // 2 + 2, SIDE // 2 - 2 : SIDE // 2 + 2] = 1
    crops = augment.moved(pixels, seeded())[:, 0]
    for crop in crops:
        y, x = divmod(int(crop.argmax()), CROP)
        assert abs(x - CROP / 2) <= 8
        assert abs(y - CROP / 2) <= 8


def test_half_of_the_crops_are_mirrored() -> None:
    pixels = torch.zeros(64, 3, SIDE, SIDE)
    pixels[..., : SIDE // 2] = 1
    left = augment.moved(pixels, seeded())[:, 0, :, : CROP // 4].mean((1, 2))
    assert 16 < (left < 0.1).sum() < 48
    assert ((left < 0.1) | (left > 0.9)).all()


def test_mix_changes_the_share_it_is_given() -> None:
    images = torch.rand(20, 3, CROP, CROP, generator=seeded(3))
    changed = (augment.mix(images, 0.5, seeded()) != images).flatten(1).any(1).sum()
    assert 8 <= changed <= 10  # a crop may be mixed with itself
    assert torch.equal(augment.mix(images, 0.0, seeded()), images)


def test_one_in_six_is_covered() -> None:
    images = torch.rand(24, 3, CROP, CROP, generator=seeded(4))
    covered = augment.covered(images.clone(), seeded())
    assert (covered != images).flatten(1).any(1).sum() == 4
