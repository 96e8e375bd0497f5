import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from muster.tasks.geometry.align import TEMPLATE
from muster.tasks.geometry.head import FIVE, SHAPE, cameras, pose
from muster.tasks.models.landmarks68 import MIRROR

ANGLES = (st.floats(-75, 75), st.floats(-75, 75), st.floats(-170, 170))


def rotation(yaw: float, pitch: float, roll: float) -> torch.Tensor:
    """The head nods, then turns, then the picture does."""
    a, b, c = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    nod = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    roll_ = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return torch.tensor(roll_ @ turn @ nod, dtype=torch.float32)


def view(turned: torch.Tensor, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
    return (scale * (FIVE @ turned.T)[:, :2] + torch.tensor(shift))[None]


@given(*ANGLES, st.floats(0.05, 30), st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000)))
def test_a_pose_is_found_again(yaw: float, pitch: float, roll: float, scale: float, at: tuple[float, float]) -> None:
    turned = rotation(yaw, pitch, roll)
    found = cameras(view(turned, scale, at))
    assert found.known.item()
    torch.testing.assert_close(found.rotation[0], turned, rtol=0, atol=0.05)
    torch.testing.assert_close(found.affine[0], scale * turned[:2], rtol=0, atol=0.05 * scale)
    torch.testing.assert_close(found.shift[0], torch.tensor(at), rtol=0, atol=max(0.5, 3 * scale))
    assert pose(view(turned, scale, at))[0].tolist() == pytest.approx([yaw, pitch, roll], abs=5)


def test_signs_are_as_they_are_said() -> None:
    """Of a face: the nose goes to where the face looks."""
    right, up, tilted = TEMPLATE.clone(), FIVE[:, :2].clone(), view(rotation(0, 0, 20))
    right[2, 0] += 8
    up[2, 1] -= 4
    assert pose(right[None])[0, 0] > 20
    assert pose(up[None])[0, 1] > 10
    assert tilted[0, 1, 1] > tilted[0, 0, 1]  # the eye on the right is lower: to the right of the picture it falls
    assert pose(tilted)[0, 2].item() == pytest.approx(20, abs=0.1)


@given(st.integers(0, 10_000), st.floats(0, 6))
def test_in_the_mirror_it_looks_the_other_way(seed: int, noise: float) -> None:
    points = FIVE[:, :2] + noise * torch.randn(5, 2, generator=torch.Generator().manual_seed(seed))
    mirrored = points[[1, 0, 2, 4, 3]] * torch.tensor([-1.0, 1.0])
    yaw, pitch, roll = pose(points[None])[0].tolist()
    assert pose(mirrored[None])[0].tolist() == pytest.approx([-yaw, pitch, -roll], abs=1.5, nan_ok=True)


def test_what_is_no_face_from_in_front_has_no_pose() -> None:
    behind = TEMPLATE[[1, 0, 2, 4, 3]]  # its left is on the right
    line = TEMPLATE * torch.tensor([1.0, 0.0])
    unknown = TEMPLATE + torch.tensor([0.0, float("nan")])
    endless = TEMPLATE + torch.tensor([0.0, float("inf")])
    found = pose(torch.stack([behind, line, torch.ones(5, 2), unknown, endless, TEMPLATE]))
    assert found.isnan().all(1).tolist() == [True, True, True, True, True, False]
    assert pose(torch.empty(0, 5, 2)).shape == (0, 3)


def test_the_head_is_one() -> None:
    """Two halves alike, of the size of a face in a crop; nose before eyes, and eyes before the ends of the jaw."""
    for shape, mirror in ((FIVE, (1, 0, 2, 4, 3)), (SHAPE, MIRROR)):
        turned = shape[list(mirror)]
        torch.testing.assert_close(turned[:, 1:], shape[:, 1:], rtol=0, atol=0.11)
        torch.testing.assert_close(turned[:, 0] + shape[:, 0], torch.full((len(shape),), 112.05), rtol=0, atol=0.2)
    assert (FIVE[:, :2] - TEMPLATE).norm(dim=1).max() < 4
    five = torch.stack([SHAPE[36:42].mean(0), SHAPE[42:48].mean(0), *SHAPE[[30, 48, 54]]])
    assert (five - FIVE).norm(dim=1).max() < 4  # as the other network's landmarks have it
    assert SHAPE[30, 2] == SHAPE[:, 2].max()
    assert SHAPE[[0, 16], 2].max() < SHAPE[36:48, 2].min() - 10
