"""training/recipes/quality.py: the recipe on made finds, and once on real photos."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from muster.errors import InputError
from muster.pipeline.work.weights import load_weights
from muster.tasks.models import zoo
from muster.tasks.models.face_embedder import DIMENSIONS as EMBEDDING
from muster.tasks.models.face_quality import SIGNS, from_state
from muster.tasks.people.graph import lookalikes
from muster.training import loop, recipes
from muster.training.data import found_faces
from muster.training.data.found_faces import Finds, Known, NoFaces
from muster.training.inputs import Inputs
from muster.training.recipes import quality

CPU = torch.device("cpu")


def made_finds(count: int, seed: int) -> Finds:
    random = torch.Generator().manual_seed(seed)
    signs = torch.randn(count, SIGNS, generator=random) * 3 + 10
    return Finds(normalize(torch.randn(count, EMBEDDING, generator=random)), signs, np.arange(count))


def made_known() -> Known:
    """600 faces, recognised where their first sign is above 10, of which one in five is of people kept out."""
    finds, number = made_finds(600, 0), np.arange(600)
    finds.signs[:, 0] += 3 * (finds.signs[:, 0] - 10).sign()
    names = [f"{'out' if i % 5 == 0 else 'in'}{i}" for i in number]
    return Known(finds, finds.signs[:, 0].numpy() > 10, number < 300, number % 5 == 0, names)


def made_no_faces() -> NoFaces:
    """90 finds whose second sign is low."""
    finds, number = made_finds(90, 1), np.arange(90)
    finds.signs[:, 1] -= 12
    return NoFaces(
        finds, number % 3 == 0, number % 6 == 0, [f"{'out' if i % 6 == 0 else 'in'} photo {i}" for i in number]
    )


def weights_of(name: str, folder: Path | None = None) -> dict:
    return {entry: load_weights(zoo.ENTRIES[entry], folder) for entry in recipes.find(name).teachers}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> loop.Recipe:
    """On made finds; their embeddings are nobody's, and the strangers in scenes are one group of 20."""
    noise = torch.randn(20, EMBEDDING, generator=torch.Generator().manual_seed(3))
    others = normalize(torch.ones(20, EMBEDDING) + noise)
    monkeypatch.setattr(quality, "read_known", lambda *_: (made_known(), made_finds(200, 2).embeddings))
    monkeypatch.setattr(quality, "read_scenes", lambda *_: (made_no_faces(), others))
    monkeypatch.setattr(quality, "read_people", lambda _: {"a": np.empty((0, 4))})
    inputs = Inputs(images=[], out=tmp_path, scenes=["a"], weights=weights_of("quality-own"), steps=150, rate=0.02)
    return recipes.find("quality-own").build(inputs)


def test_it_learns_who_is_recognised(recipe: loop.Recipe, tmp_path: Path) -> None:
    before = recipe.measure(recipe.network().eval())
    path = loop.train(recipe, tmp_path / "out", CPU, lambda _: None)
    assert path.name == "quality-own.safetensors"
    network = from_state(safetensors.torch.load_file(path)).eval()
    after = recipe.measure(network)
    assert after["brier"] < 0.3 * before["brier"]
    assert after["recognised_0.9_1"] > 0.95
    assert after["recognised_0_0.1"] < 0.05
    assert after["no_faces_below_0.25"] > 0.9 > before["no_faces_below_0.25"]
    fresh = recipe.network()
    for name in ("strangers", "usual", "mean", "deviation"):
        torch.testing.assert_close(getattr(network, name), getattr(fresh, name), atol=2e-3, rtol=2e-3)


def test_nobody_who_is_kept_out_is_in_a_batch(recipe: loop.Recipe) -> None:
    known, no_faces, seen = made_known(), made_no_faces(), set()
    for step in range(100):
        batch = recipe.batch(step, 0, 1)
        faces = len(batch["names"]) - round(recipe.settings.batch * quality.NO_FACES)
        assert len(batch["names"]) == len(batch["signs"]) == len(batch["targets"]) == recipe.settings.batch
        assert not any(name.startswith("out") for name in batch["names"])
        assert not batch["targets"][faces:].any()
        seen |= set(batch["names"])
    everybody = zip([*known.names, *no_faces.names], [*known.kept_out, *no_faces.kept_out], strict=True)
    assert seen == {name for name, out in everybody if not out}


def test_targets_and_signs_are_of_the_named_finds(recipe: loop.Recipe) -> None:
    known, no_faces, batch = made_known(), made_no_faces(), recipe.batch(3, 0, 1)
    for name, signs, target in zip(batch["names"], batch["signs"], batch["targets"], strict=True):
        part = no_faces if "photo" in name else known
        row = part.names.index(name)
        assert torch.equal(signs, part.finds.signs[row])
        assert bool(target) == (part is known and bool(known.recognised[row]))


def test_batches_are_the_same_whenever_and_by_however_many_they_are_asked_for(recipe: loop.Recipe) -> None:
    later = recipe.batch(7, 0, 1)
    recipe.batch(0, 0, 1)
    assert recipe.batch(7, 0, 1)["names"] == later["names"] != recipe.batch(8, 0, 1)["names"]
    shares = [name for rank in range(3) for name in recipe.batch(7, rank, 3)["names"]]
    assert sorted(shares) == sorted(later["names"])


def test_scaling_and_strangers_come_from_what_is_learnt_from(recipe: loop.Recipe) -> None:
    known, no_faces, network = made_known(), made_no_faces(), recipe.network()
    learnt = torch.cat([part.finds.signs[~torch.from_numpy(part.kept_out)] for part in (known, no_faces)])
    torch.testing.assert_close(network.mean, learnt.mean(0))
    torch.testing.assert_close(network.deviation, learnt.std(0))
    middle = normalize(torch.ones(1, EMBEDDING))
    assert (network.strangers @ middle.T).max() > 0.8  # those in scenes are among them
    out = no_faces.finds.embeddings[torch.from_numpy(no_faces.kept_out)]
    for faces in (out, known.finds.embeddings):  # the made ones are random: what a mean is of stands out in it
        assert (network.strangers @ faces.T).max() < 0.5
    expected = np.median(lookalikes(made_finds(200, 2).embeddings.numpy(), network.strangers.numpy()))
    assert float(network.usual) == pytest.approx(float(expected), abs=1e-6)
    card = recipe.card()
    assert (card["faces"], card["no_faces"], card["strangers"]) == (480, 75, len(network.strangers))


def test_a_sign_that_never_changes_is_no_division_by_zero(recipe: loop.Recipe) -> None:
    recipe.known.finds.signs[:, 4] = recipe.no_faces.finds.signs[:, 4] = 2.5  # type: ignore[attr-defined]
    network = recipe.network()
    assert network.deviation.min() > 0
    assert network(recipe.batch(0, 0, 1)["signs"]).isfinite().all()


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 120))
def test_strangers_are_means_of_several(seed: int, count: int) -> None:
    faces = normalize(torch.randn(count, 16, generator=torch.Generator().manual_seed(seed)))
    strangers = quality.crowd(faces)
    assert len(strangers) <= max(1, count // quality.TOGETHER)
    torch.testing.assert_close(strangers.norm(dim=1), torch.ones(len(strangers)))
    if len(strangers):
        nearest = (faces @ strangers.T).argmax(1)
        assert torch.bincount(nearest, minlength=len(strangers)).min() >= quality.LEAST_TOGETHER


def test_nobody_is_a_stranger_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten people who are like nobody, beside a crowd: each would be a mean of one."""
    crowd = normalize(torch.ones(60, 64) + torch.randn(60, 64, generator=torch.Generator().manual_seed(0)))
    alone = torch.eye(64)[:10] - 0.5 * torch.ones(64) / 8
    faces = torch.cat([crowd, normalize(alone)])
    assert (quality.crowd(faces) @ faces.T).max() < 0.999
    monkeypatch.setattr(quality, "LEAST_TOGETHER", 1)
    assert (quality.crowd(faces) @ faces.T).max() > 0.999


class FirstSign(torch.nn.Module):
    """Says the first sign."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(()))

    def forward(self, signs: torch.Tensor) -> torch.Tensor:
        return signs[:, 0] + self.bias


def test_what_is_measured() -> None:
    qualities = torch.tensor([0.05, 0.5, 0.95, 0.95, 0.2, 0.6])
    signs = qualities.logit()[:, None].repeat(1, SIGNS)
    finds = Finds(torch.zeros(6, EMBEDDING), signs, np.arange(6))
    kept_out = np.array([True] * 5 + [False])
    known = Known(finds, np.array([0, 1, 1, 0, 0, 0], bool), np.array([1, 1, 1, 1, 0, 1], bool), kept_out, ["x"] * 6)
    no_faces = NoFaces(finds, np.array([1, 0, 1, 0, 0, 1], bool), kept_out, ["x"] * 6)
    figures = quality.measured(FirstSign(), known, no_faces)
    assert figures["brier"] == pytest.approx((0.05**2 + 0.5**2 + 0.05**2 + 0.95**2 + 0.2**2) / 5)
    shares = {"0_0.1": 0, "0.1_0.25": 0, "0.45_0.55": 1, "0.9_1": 0.5}
    for name, share in shares.items():
        assert figures.pop(f"recognised_{name}") == share
    assert [name for name, value in figures.items() if math.isnan(value)] == [
        f"recognised_{name}" for name in ("0.25_0.45", "0.55_0.75", "0.75_0.9")
    ]
    below = [figures[f"{name}_below_0.25"] for name in ("plain", "no_faces", "usual_no_faces")]
    assert below == [0.25, 0.4, 0.5]


def test_both_recipes_say_what_they_need(tmp_path: Path, data: Path) -> None:
    for name in ("quality-own", "quality-published"):
        coco = str(data / "coco128/instances.json"), str(data / "coco128/images")
        inputs = Inputs(
            images=[str(data / "lfw/lfw.parquet")],
            out=tmp_path,
            label="person",
            labels=coco[:1],
            scenes=coco[1:],
            limit=20,
        )
        inputs = replace(inputs, weights=weights_of(name, data / "weights"))
        with pytest.raises(InputError, match=f"too few .* {found_faces.LEAST_PEOPLE} of each are needed"):
            recipes.find(name).build(inputs)
        for missing in ("labels", "scenes"):
            with pytest.raises(InputError, match="name photos with `scenes`, and COCO files"):
                recipes.find(name).build(replace(inputs, **{missing: []}, images=[str(tmp_path / "is not read")]))


def test_a_training_on_real_photos(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """400 photos of LFW, and 16 of COCO; measured on the people and photos kept out of it."""
    monkeypatch.setattr(found_faces, "LEAST_PEOPLE", 40)
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    for photo in sorted((data / "coco128/images").iterdir())[:16]:
        shutil.copy(photo, scenes)
    inputs = Inputs(
        images=[str(data / "lfw/lfw.parquet")],
        out=tmp_path,
        label="person",
        labels=[str(data / "coco128/instances.json")],
        scenes=[str(scenes)],
        weights=weights_of("quality-own"),
        limit=400,
        steps=200,
        rate=0.01,
    )
    recipe = recipes.find("quality-own").build(inputs)
    path = loop.train(recipe, tmp_path / "out", CPU, lambda _: None)
    network = from_state(safetensors.torch.load_file(path)).eval()
    known, no_faces = recipe.known, recipe.no_faces  # type: ignore[attr-defined]
    with torch.inference_mode():
        faces, others = (network(part.finds.signs).sigmoid().numpy()[part.kept_out] for part in (known, no_faces))
    recognised, plain = known.recognised[known.kept_out], known.plain[known.kept_out]
    assert min(len(others), recognised.sum(), (~recognised).sum()) > 10
    better = (faces[recognised][:, None] > faces[~recognised]).mean()
    assert better > 0.8, "how often a recognised face has the higher quality of two"
    assert np.median(faces[plain]) > np.median(faces[~plain])
    assert (others < quality.LOW).mean() > 0.8


def test_one_person_is_in_the_strangers_once() -> None:
    random = torch.Generator().manual_seed(0)
    people = torch.nn.functional.normalize(torch.randn(40, 128, generator=random))
    again = torch.nn.functional.normalize(people + 0.3 * people.roll(1, 0))
    assert ((people * again).sum(1) > quality.SAME).all()
    torch.testing.assert_close(quality.apart(torch.cat([people, again])), people)
    assert len(quality.apart(people[:0])) == 0
