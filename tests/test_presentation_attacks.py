"""What benchmarks/recapture.py shows a camera, and how benchmarks/presentation_attacks.py judges it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import presentation_attacks, recapture
from benchmarks.recapture import FINE, INSTRUMENTS, Chance, camera, live

SHOWN = {"live": live, **INSTRUMENTS}


def faces(count: int) -> torch.Tensor:
    """Smooth pictures, (N, 3, 40, 40)."""
    return torch.nn.functional.interpolate(torch.rand(count, 3, 5, 5), size=40, mode="bilinear")


@pytest.mark.parametrize("name", SHOWN)
def test_every_scene_is_light_of_the_same_size_and_by_the_seed_alone(name: str) -> None:
    torch.manual_seed(0)
    photos, behind = faces(3), torch.rand(3, 3, 16, 16)
    scene, again, other = (SHOWN[name](photos, behind, 32, Chance(seed, 3)) for seed in (1, 1, 2))
    assert scene.shape == (3, 3, 32 * FINE, 32 * FINE)
    assert bool(((scene >= 0) & scene.isfinite()).all())
    assert torch.equal(scene, again)
    assert not torch.equal(scene, other)


def test_the_camera_draws_the_same_numbers_whatever_it_sees() -> None:
    """Or the camera would say what was before it, and a network would learn that."""
    states = []
    for value in (0.1, 0.9):
        chance = Chance(3, 2)
        frames = camera(torch.full((2, 3, 24 * FINE, 24 * FINE), value), chance)
        assert [(frame.shape, frame.dtype) for frame in frames] == [((24, 24, 3), np.uint8)] * 2
        states.append(chance.generator.get_state())
    assert torch.equal(*states)


def test_a_grey_face_stays_near_its_brightness() -> None:
    chance = Chance(0, 64)
    frames = camera(live(torch.full((64, 3, 8, 8), 0.5), torch.zeros(64, 3, 4, 4), 16, chance), chance)
    assert np.mean(frames) == pytest.approx(0.5 * 255, rel=0.1)


def test_a_print_has_a_margin_and_a_screen_a_rim_where_their_edges_are_in_the_frame() -> None:
    torch.manual_seed(0)
    edges = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)
    u = torch.linspace(-1.3, 1.3, 60).view(1, 1, 1, -1).expand(2, 1, 60, 60)
    shown = recapture.inside(u, u.transpose(2, 3), recapture.half_width(edges, Chance(0, 2)))
    assert 0.2 < float(shown[0].mean()) < 0.7
    assert float(shown[1].mean()) == 1


@given(st.floats(0.3, 2.5))
def test_blurring_keeps_the_light_and_takes_contrast(sigma: float) -> None:
    dots = torch.zeros(1, 1, 31, 31)
    dots[0, 0, 15, 15] = 1
    blurred = recapture._blurred(dots, torch.tensor(sigma).view(1, 1, 1, 1))
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-4)
    assert float(blurred.max()) < 1


def test_fine_patterns_pass_the_lens_less_than_coarse_ones() -> None:
    visible = recapture._visible(torch.tensor([30.0, 100.0, 1000.0]).view(3, 1, 1, 1), 100, 0.8, torch.tensor(0.01))
    assert visible.flatten().tolist() == sorted(visible.flatten().tolist(), reverse=True)
    assert float(visible[2]) == pytest.approx(0.01)


def test_crops_stay_in_the_photo() -> None:
    pixels = np.zeros((50, 80, 3), np.uint8)
    pixels[:, 60:] = 200
    crop = presentation_attacks.crop(pixels, np.array([70, 10, 90, 40], np.float32))
    assert crop.shape == (112, 112, 3)
    assert crop[:, 70:].mean() == 200  # no black that is in no photo


def test_a_spectrum_shows_how_fine_a_pattern_is() -> None:
    x = torch.arange(112.0)
    stripes = [torch.cos(2 * torch.pi * periods * x / 112).expand(1, 3, 112, 112) for periods in (8, 48)]
    coarse, fine = (presentation_attacks.spectra(each)[0] for each in stripes)
    middle, far = coarse[:, 5:9].sum() / coarse.sum(), fine[:, 5:9].sum() / fine.sum()
    assert middle > 0.9 > 0.1 > far


def test_a_network_learns_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presentation_attacks, "STEPS", 12)
    monkeypatch.setattr(presentation_attacks, "LOT", 16)
    random = torch.Generator().manual_seed(0)
    lives = torch.randint(0, 90, (16, 112, 112, 3), dtype=torch.uint8, generator=random)
    network = presentation_attacks.train(lives, [lives + 120, lives + 150], 0)
    assert presentation_attacks.judged(network, lives).max() < presentation_attacks.judged(network, lives + 130).min()


def test_people_count_the_same_however_many_pictures_they_have() -> None:
    found = presentation_attacks.share([True] * 9 + [False], ["a"] * 9 + ["b"])
    assert (found["rate"], found["n"], found["people"]) == (0.5, 10, 2)
    assert found["interval"][0] < 0.05 < 0.95 < found["interval"][1]


def seen(people: list[str], embeddings: np.ndarray) -> presentation_attacks.Seen:
    crops = torch.zeros(len(people), 112, 112, 3, dtype=torch.uint8)
    return presentation_attacks.Seen(crops, np.array(people), embeddings)


def test_who_is_named_is_the_person_shown_and_a_picture_without_a_face_names_nobody() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(400, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    people = [f"p{k:03}" for k in range(400)]
    probes = {"right": seen(people[:30], vectors[:30]), "wrong": seen(people[:30], vectors[30:60])}
    found = presentation_attacks.named(seen(people, vectors), probes, 40)
    assert {name: each["rate"] for name, each in found["named"].items()} == {"right": 0.75, "wrong": 0}
