import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.tasks.geometry.align import CROP, TEMPLATE, align, misfit, similarity


def turned(landmarks: torch.Tensor, scale: float, angle: float, shift: tuple[float, float]) -> torch.Tensor:
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float32)
    return landmarks @ (scale * turn).T + torch.tensor(shift)


SIMILAR = (st.floats(0.2, 20), st.floats(-3.1, 3.1), st.tuples(st.floats(-500, 500), st.floats(-500, 500)))


@given(st.floats(0.1, 20), st.floats(-3.1, 3.1), st.floats(-500, 500), st.floats(-500, 500))
def test_a_similarity_is_found_again(scale: float, angle: float, x: float, y: float) -> None:
    landmarks = turned(TEMPLATE, scale, angle, (x, y))[None]
    matrix = similarity(landmarks)[0]
    back = landmarks[0] @ matrix[:, :2].T + matrix[:, 2]
    torch.testing.assert_close(back, TEMPLATE, atol=2e-2, rtol=0)


@given(*SIMILAR)
def test_a_face_turned_and_scaled_fits(scale: float, angle: float, shift: tuple[float, float]) -> None:
    assert misfit(turned(TEMPLATE[None], scale, angle, shift)).item() == pytest.approx(0, abs=0.02)


@given(st.integers(0, 10_000), st.floats(1, 15), *SIMILAR)
def test_how_badly_landmarks_fit_does_not_depend_on_where_and_how_large_they_are(
    seed: int, noise: float, scale: float, angle: float, shift: tuple[float, float]
) -> None:
    landmarks = TEMPLATE + noise * torch.randn(5, 2, generator=torch.Generator().manual_seed(seed))
    here, there = misfit(torch.stack([landmarks, turned(landmarks, scale, angle, shift)])).tolist()
    assert there == pytest.approx(here, abs=0.03)


def test_landmarks_fit_worse_the_more_they_are_off() -> None:
    off = torch.randn(200, 5, 2, generator=torch.Generator().manual_seed(0))
    means = [misfit(TEMPLATE + noise * off).mean().item() for noise in (0.5, 1, 2, 4, 8)]
    assert means == sorted(means)
    assert means[-1] > 8 * means[0]
    mirrored = TEMPLATE.clone()
    mirrored[:, 0] = CROP - mirrored[:, 0]  # left and right have changed places: no face, however it is turned
    assert misfit(mirrored[None]).item() > 10


def test_misfit_without_faces_and_of_one_point() -> None:
    assert misfit(torch.empty(0, 5, 2)).shape == (0,)
    assert misfit(torch.ones(1, 5, 2)).item() == pytest.approx((TEMPLATE - TEMPLATE.mean(0)).norm(dim=1).mean().item())


def test_it_is_the_least_squares_one() -> None:
    landmarks = (
        TEMPLATE * 2 + torch.tensor([30.0, 10.0]) + torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    )
    matrix = similarity(landmarks[None])[0]
    a, b, tx, ty = matrix[0, 0], matrix[1, 0], matrix[0, 2], matrix[1, 2]
    rows = [[[x, -y, 1, 0], [y, x, 0, 1]] for x, y in landmarks.tolist()]
    solved = np.linalg.lstsq(np.array(rows).reshape(-1, 4), TEMPLATE.numpy().reshape(-1), rcond=None)[0]
    np.testing.assert_allclose([a, b, tx, ty], solved, rtol=1e-3, atol=1e-3)


def _picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / width, y * 255 / height, np.full_like(x, 90)], -1).astype(np.uint8)


def test_landmarks_on_the_template_give_the_picture_itself() -> None:
    pixels = _picture(CROP, CROP)
    crop = align([pixels], TEMPLATE[None])[0].numpy()
    assert np.abs(crop.astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("factor", [0.5, 1.5, 3, 5.7])
def test_any_size_gives_the_same_crop(factor: float) -> None:
    pixels = _picture(round(CROP * factor), round(CROP * factor))
    crop = align([pixels], TEMPLATE[None] * factor + (factor - 1) / 2)[0].numpy()  # pixel centres scale about -0.5
    assert np.abs(crop[4:-4, 4:-4].astype(int) - _picture(CROP, CROP)[4:-4, 4:-4]).max() <= 3


def test_a_large_face_does_not_alias() -> None:
    stripes = np.zeros((1120, 1120, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = align([stripes], TEMPLATE[None] * 10)[0].numpy()
    assert np.abs(crop[8:-8, 8:-8].astype(int) - 127).max() <= 30


def test_outside_the_image_is_black() -> None:
    assert align([_picture(50, 50)], TEMPLATE[None] + 5000).max() == 0
    half = align([np.full((112, 112, 3), 200, np.uint8)], TEMPLATE[None] + 56)[0]
    assert half[:50, :50].min() == 200
    assert half[70:].max() == 0


@settings(max_examples=30)
@given(st.lists(st.floats(-1000, 1000), min_size=10, max_size=10))
def test_any_landmarks_give_a_crop(points: list[float]) -> None:
    crops = align([_picture(64, 48)], torch.tensor(points).view(1, 5, 2))
    assert crops.shape == (1, CROP, CROP, 3)


def test_no_faces() -> None:
    assert align([], torch.empty(0, 5, 2)).shape == (0, CROP, CROP, 3)
