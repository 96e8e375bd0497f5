"""training/recipes/daynight.py: which photos train and which measure, and that it learns."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from muster.errors import InputError
from muster.tasks.models.daynight import from_state
from muster.training.inputs import Inputs
from muster.training.loop import read_metrics, train
from muster.training.recipes import daynight
from muster.training.recipes.daynight import FOLDS, LABELS, blended, build, framed, measured, split

SIZES = ((80, 60), (90, 60), (100, 60))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 pictures of three cameras, told apart by their size: pale ones in `day`, dark ones with lamps in `Night`."""
    home = tmp_path_factory.mktemp("photos")
    for label in ("day", "Night"):
        (home / label).mkdir()
        for number in range(18):
            save(home / label / f"{number:02d}.png", label == "day", SIZES[number % 3], number)
    return home


def save(file: Path, day: bool, size: tuple[int, int], seed: int) -> None:
    random = np.random.default_rng(seed)
    pixels = random.integers(*((90, 250) if day else (0, 40)), (size[1] // 10, size[0] // 10, 3), np.uint8)
    pixels[-1, random.integers(0, 8)] = (255, 200, 120)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(file)


def inputs(folder: Path, **given: int) -> Inputs:
    return Inputs(images=[str(folder)], out=folder.parent, **given)


def test_a_third_of_the_cameras_is_kept_out(folder: Path) -> None:
    card = build(inputs(folder)).card()
    assert card["photos"] == {"night": 18, "day": 18}
    assert card["held_out"]["photos"] == 12
    (camera,) = card["held_out"]["cameras"]
    assert camera in {f"{width}×{height}" for width, height in SIZES}


def test_batches_come_from_the_other_cameras(folder: Path) -> None:
    photos = daynight.read_thumbnails(inputs(folder))
    names = [f"{i}-{name}" for i, name in enumerate(photos.names)]
    photos = daynight.Thumbnails(**{**vars(photos), "names": names})
    recipe = daynight.DayNightRecipe(photos, daynight.SETTINGS)
    drawn = {name for step in range(20) for name in recipe.batch(step, 0, 1)["names"]}
    kept = {name for name, fold in zip(names, photos.folds.tolist(), strict=True) if fold == 0}
    assert len(kept) == 12
    assert drawn == set(names) - kept


def test_a_batch_depends_on_its_step_alone(folder: Path) -> None:
    recipe, again = build(inputs(folder)), build(inputs(folder))
    recipe.batch(0, 0, 1)
    assert torch.equal(recipe.batch(7, 0, 1)["images"], again.batch(7, 0, 1)["images"])
    assert not torch.equal(recipe.batch(8, 0, 1)["images"], again.batch(7, 0, 1)["images"])
    parts = [recipe.batch(7, rank, 2)["names"] for rank in range(2)]
    assert Counter(parts[0] + parts[1]) == Counter(again.batch(7, 0, 1)["names"])
    images = recipe.batch(7, 0, 1)["images"]
    assert (images.shape[1:], images.min() >= -1, images.max() <= 1) == ((3, 64, 64), True, True)


def test_day_is_drawn_as_often_as_night_and_each_camera_as_the_others() -> None:
    day, cameras = [1, 1, 1, 1, 0, 0], ["a", "a", "a", "b", "a", "a"]
    nothing = torch.empty(0)
    photos = daynight.Thumbnails(nothing, nothing, torch.tensor(day), [], cameras, nothing, True)
    chances = daynight._chances(photos, torch.arange(6))
    assert chances.tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2, 1 / 2, 1 / 2])


def test_it_learns(folder: Path, tmp_path: Path) -> None:
    recipe = build(inputs(folder, steps=40))
    recipe.settings = replace(recipe.settings, batch=24, average=0.9)
    file = train(recipe, tmp_path / "out", torch.device("cpu"), lambda report: None)
    (last,) = read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert last["loss"] < 0.6  # ln 2 = 0.69 is a guess
    network = from_state(safetensors.torch.load_file(file)).eval()
    assert recipe.measure(network)["accuracy"] == 1
    assert file.stat().st_size < 8 << 20


@pytest.mark.parametrize(
    ("folders", "found"),
    [
        (("day",), r"it found day \(4\)"),
        (("day", "night", "dusk"), r"it found day \(4\), dusk \(4\), night \(4\)"),
    ],
)
def test_labels_that_do_not_do(tmp_path: Path, folders: tuple[str, ...], found: str) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
        for number in range(4):
            save(tmp_path / name / f"{number}.png", name == "day", SIZES[0], number)
    with pytest.raises(InputError, match=found):
        build(inputs(tmp_path))


def test_photos_that_cannot_be_read_are_told_and_left_out(tmp_path: Path) -> None:
    for name in LABELS:
        (tmp_path / name).mkdir()
        for number in range(3):
            save(tmp_path / name / f"{number}.png", name == "day", SIZES[number], number)
    (tmp_path / "day" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    skipped: list[str] = []
    recipe = build(Inputs(images=[str(tmp_path)], out=tmp_path, on_skipped=skipped.append))
    assert recipe.card()["photos"] == {"night": 3, "day": 3}
    assert len(skipped) == 1
    assert skipped[0].startswith("broken.jpg: ")
    (tmp_path / "night" / "2.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"at least 3 of each, and nothing else; it found day \(3\), night \(2\)"):
        build(inputs(tmp_path))


def test_a_limit_takes_of_both(folder: Path) -> None:
    assert build(inputs(folder, limit=10)).card()["photos"] == {"night": 5, "day": 5}


def test_cameras_stay_whole() -> None:
    cameras = [f"camera {i % 7}" for i in range(70)]
    day = [i // 35 for i in range(70)]
    folds, by_camera = split(cameras, list(map(str, range(70))), day)
    assert by_camera
    assert len(set(zip(cameras, folds, strict=True))) == 7
    assert max(Counter(folds).values()) <= 30
    assert split(cameras[::-1], list(map(str, range(70))), day[::-1])[0] == folds[::-1]


def test_of_one_camera_the_photos_of_each_label_are_shared_out() -> None:
    day = [1] * 9 + [0] * 6
    folds, by_camera = split(["640×480"] * 15, [f"{i}.jpg" for i in range(15)], day)
    assert not by_camera
    assert Counter(zip(folds, day, strict=True)) == {(f, d): 3 if d else 2 for f in range(FOLDS) for d in (0, 1)}


def test_a_part_of_the_picture() -> None:
    ramp = torch.linspace(0, 1, 96).view(1, 1, 1, 96).expand(64, 3, 96, 96)
    parts = framed(ramp, torch.Generator().manual_seed(0))
    assert parts.shape == (64, 3, 64, 64)
    spans = parts[:, 0, 0, -1] - parts[:, 0, 0, 0]
    assert 0.4 < spans.abs().min() < 0.6 < spans.abs().max() < 1
    assert 16 < (spans < 0).sum() < 48  # mirrored


def test_what_is_mixed_has_a_mixed_target() -> None:
    targets = (torch.arange(400) % 2).float()
    images = targets.view(400, 1, 1, 1).expand(400, 3, 2, 2)
    mixed, said = blended(images, targets, torch.Generator().manual_seed(0))
    assert torch.allclose(mixed[:, 0, 0, 0], said)
    assert 0.1 < ((said > 0) & (said < 1)).float().mean() < 0.2  # 30 % are mixed, half of these with their like


def test_the_figures() -> None:
    found = measured(torch.tensor([0.9, 0.6, 0.1, 0.4, 0.95]), torch.tensor([1, 1, 1, 0, 0]))
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["accuracy_sure"] == pytest.approx(1 / 3)
    assert found["abstained"] == pytest.approx(2 / 5)
    assert (found["day_as_day"], found["day_as_night"], found["day_as_none"]) == (1, 1, 1)
    assert (found["night_as_day"], found["night_as_night"], found["night_as_none"]) == (1, 0, 1)


def test_the_weights_that_are_shipped(data: Path) -> None:
    """On the cameras that were kept out of their training: what the model card says."""
    recipe = build(inputs(data / "day_night"))
    file = Path(daynight.__file__).parents[2] / "tasks/weights/muster-daynight.safetensors"
    found = recipe.measure(from_state(safetensors.torch.load_file(file)).eval())
    assert recipe.card()["held_out"]["photos"] == 84
    assert found["accuracy"] >= 0.97
    assert found["accuracy_sure"] >= 0.97
    assert found["abstained"] <= 0.1
