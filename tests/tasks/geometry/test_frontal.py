import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.tasks.geometry.frontal import frontal
from muster.tasks.geometry.head import SHAPE

SIDE = 200


def head(yaw: float, scale: float = 1.0) -> torch.Tensor:
    """The landmarks of the mean head, turned, in the middle of a picture: (68, 2)."""
    angle = np.radians(yaw)
    turn = torch.tensor([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0]], dtype=torch.float32)
    return scale * (SHAPE - SHAPE.mean(0)) @ turn.T + SIDE * scale / 2


def halves(scale: int = 1) -> np.ndarray:
    """Red to the left of the middle, blue to the right, and brighter below."""
    picture = np.zeros((SIDE * scale, SIDE * scale, 3), np.uint8)
    picture[:, : SIDE * scale // 2, 0] = picture[:, SIDE * scale // 2 :, 2] = 200
    picture[:, :, 1] = np.linspace(0, 255, SIDE * scale)[:, None]
    return picture


def test_a_face_from_in_front_stays_as_it_is() -> None:
    at = SIDE / 2 - SHAPE[:, :2].mean(0)
    left, top = (round(each) for each in at.tolist())
    picture = halves()
    crop = frontal([picture], SHAPE[None, :, :2] + torch.tensor([left, top]))[0].numpy()
    wanted = picture[top : top + 112, left : left + 112]
    assert np.abs(crop.astype(int) - wanted)[5:107, 5:107].mean() < 1


@pytest.mark.parametrize("yaw", [-45, -25, 25, 45])
def test_landmarks_of_a_turned_face_come_to_where_they_are_from_in_front(yaw: float) -> None:
    """A dot is painted on each landmark of the side that is seen, and found in the crop."""
    points = head(yaw, 3.0)
    side = SHAPE[:, 0] < 50 if yaw > 0 else SHAPE[:, 0] > 62  # of a face that looks right the left side is seen
    inner = side & (SHAPE[:, 1] < 100) & ((SHAPE[:, 0] - 56).abs() < 40)
    for number in inner.nonzero()[:, 0].tolist():
        picture = np.zeros((SIDE * 3, SIDE * 3, 3), np.uint8)
        x, y = points[number].round().long().tolist()
        picture[y - 4 : y + 5, x - 4 : x + 5] = 255
        crop = frontal([picture], points[None])[0, :, :, 0].float()
        crop[:, 60:] *= yaw < 0  # the mirror image of what is seen may be on the other side
        crop[:, :52] *= yaw > 0
        rows, columns = crop.sum(1), crop.sum(0)
        steps = torch.arange(112.0)
        found = torch.stack([(columns * steps).sum() / columns.sum(), (rows * steps).sum() / rows.sum()])
        assert (found - SHAPE[number, :2]).norm() < 2.5, number


def test_the_hidden_side_is_the_other_one_mirrored() -> None:
    """Of a head that looks far to the right, the picture's left is seen: both sides are red, as far as it goes."""
    points = head(60.0)
    picture = halves()
    picture[:, :, 0], picture[:, :, 2] = 200, 0
    edge = int(points[:, 0].max())
    picture[:, edge + 2 :, 0], picture[:, edge + 2 :, 2] = 0, 255  # behind the head
    crop = frontal([picture], points[None])[0].numpy().astype(int)
    cheeks = crop[60:90, [*range(16, 36), *range(76, 96)]]
    assert cheeks[..., 0].mean() > 150
    assert cheeks[..., 2].mean() < 40
    assert np.abs(crop[60:90, 16:30] - crop[60:90, 111 - 29 : 111 - 15][:, ::-1])[..., :2].mean() < 40


def test_any_size_gives_the_same_crop() -> None:
    small, large = (frontal([halves(k)], head(30.0, float(k))[None])[0].numpy() for k in (1, 4))
    assert np.abs(small.astype(int) - large)[8:-8, 8:-8].mean() < 8


def test_no_face_is_black() -> None:
    mirrored = head(0.0) * torch.tensor([-1.0, 1.0]) + torch.tensor([SIDE, 0])
    points = torch.stack([torch.full((68, 2), 5.0), torch.full((68, 2), torch.nan), mirrored, head(0.0) + 9000])
    assert frontal([halves()] * 4, points).max() == 0
    assert frontal([], torch.empty(0, 68, 2)).shape == (0, 112, 112, 3)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([1e-3, 1.0, 1e4]))
def test_any_landmarks_give_a_crop(seed: int, size: float) -> None:
    points = size * torch.randn(1, 68, 2, generator=torch.Generator().manual_seed(seed))
    assert frontal([halves()], points).shape == (1, 112, 112, 3)
