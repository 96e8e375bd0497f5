"""training/recipes/classifier.py: which photos it learns from, that it learns, and that a kill changes nothing."""

import io
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st
from PIL import Image

from muster.errors import InputError
from muster.pipeline.work.weights import load_weights
from muster.tasks.models import plain, zoo
from muster.tasks.models.zoo.plain import CLASSES as CLASSES_OF
from muster.tasks.scenes import normalised
from muster.training import recipes
from muster.training.inputs import Inputs
from muster.training.loop import Report, Settings, train
from muster.training.recipes import classifier
from muster.training.recipes.classifier import CIFAR, Design, build_digits, moved
from muster.training.record import METRICS

CPU = torch.device("cpu")
CLASSES = ("Ärmel", "bars", "disc")
SMALL = Design(
    name="shapes",
    plan=plain.Plan(side=16, kernel=3, blocks=((4,), (6,))),
    settings=Settings(steps=60, batch=24, learning_rate=1e-2, average=0.9, report_every=10, checkpoint_seconds=0),
    shift=1,
    mirrored=True,
    smoothing=0.1,
)


def shape(label: str, seed: int) -> np.ndarray[Any, Any]:
    """A disc, bars across, or bars down, somewhere in noise: (18, 20, 3) uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:18, :20]
    disc = np.hypot(x - random.integers(7, 13), y - random.integers(6, 12)) < 5
    where = {"disc": disc, "bars": (y + random.integers(6)) % 6 < 3, "Ärmel": (x + random.integers(6)) % 6 < 3}[label]
    return (random.integers(0, 70, (18, 20, 3)) + 150 * where[..., None]).astype(np.uint8)


def png(label: str, seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(shape(label, seed)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each class, 30 photos in it."""
    home = tmp_path_factory.mktemp("shapes") / "photos"
    for label in CLASSES:
        (home / label).mkdir(parents=True)
        for number in range(30):
            (home / label / f"{number}.png").write_bytes(png(label, 100 * len(label) + number))
    return home


def table(file: Path, columns: Mapping[str, list[Any]]) -> str:
    pq.write_table(pa.table(dict(columns)), file)
    return str(file)


def recipe(source: Path | str, **given: Any) -> classifier.ClassifierRecipe:
    return classifier.ClassifierRecipe(Inputs(images=[str(source)], out=Path("out"), **given), SMALL)


def run(source: Path | str, out: Path, die_at: int | None = None) -> list[Report]:
    class Dying(classifier.ClassifierRecipe):
        def batch(self, step: int, rank: int, ranks: int) -> Any:
            if step == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().batch(step, rank, ranks)

    reports: list[Report] = []
    train(Dying(Inputs(images=[str(source)], out=out), SMALL), out, CPU, reports.append)
    return reports


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Report]]:
    out = tmp_path_factory.mktemp("finished") / "out"
    return out, run(folder, out)


# ---- learning --------------------------------------------------------------------------------------------------------


def test_it_learns_and_what_it_writes_can_be_built(folder: Path, finished: tuple[Path, list[Report]]) -> None:
    out, reports = finished
    assert reports[-1].values["loss"] < min(0.4, reports[0].values["loss"])  # ln 3 = 1.10 is a guess
    state = safetensors.torch.load_file(out / "shapes.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float16}
    network = plain.from_state(state, SMALL.plan).eval()
    given = recipe(folder)
    assert given.labels == sorted(CLASSES)
    pixels = given.pixels[given.measured].permute(0, 3, 1, 2).float() / 127.5 - 1
    right = network(pixels).argmax(1) == given.classes[given.measured]
    assert len(right) > 5
    assert right.float().mean() >= 0.9
    text = (out / "card.json").read_text()
    assert '"accuracy"' in text
    assert '"softmax"' in text


def test_the_figures(folder: Path) -> None:
    class Guess(torch.nn.Module):
        """Always the first class."""

        def __init__(self) -> None:
            super().__init__()
            self.none = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([5.0, 0, 0]).repeat(len(images), 1)

    given = recipe(folder)
    first = float((given.classes[given.measured] == 0).float().mean())
    found = given.measure(Guess())
    assert found["accuracy"] == pytest.approx(first)
    assert found["worst_class"] == 0
    log_loss = -np.log(np.exp([5, 0, 0]) / (np.exp(5) + 2))
    assert found["log_loss"] == pytest.approx(log_loss[0] * first + log_loss[1] * (1 - first), rel=1e-5)


def test_a_killed_training_has_the_same_curve(
    folder: Path, finished: tuple[Path, list[Report]], tmp_path: Path
) -> None:
    here = Path(__file__)
    code = f"from test_classifier import *; run({str(folder)!r}, Path({str(tmp_path)!r}), die_at=37)"
    threads = str(torch.get_num_threads())  # sums come out in another order with another number of them
    paths = os.pathsep.join(map(str, (here.parent, here.parents[2])))
    env = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": threads}
    died = subprocess.run([sys.executable, "-c", code], cwd=here.parent, env=env)
    assert died.returncode == -signal.SIGKILL
    assert not (tmp_path / "shapes.safetensors").exists()
    assert 30 <= torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] <= 37
    run(folder, tmp_path)
    for file in (METRICS, "shapes.safetensors"):
        assert (tmp_path / file).read_bytes() == (finished[0] / file).read_bytes()


def test_a_batch_depends_on_its_step_alone(folder: Path) -> None:
    one, again = recipe(folder), recipe(folder)
    one.batch(0, 0, 1)
    assert one.batch(7, 0, 1)["images"].equal(again.batch(7, 0, 1)["images"])
    assert not one.batch(8, 0, 1)["images"].equal(again.batch(7, 0, 1)["images"])
    parts = [one.batch(7, rank, 2) for rank in range(2)]
    whole = again.batch(7, 0, 1)
    assert Counter(parts[0]["names"] + parts[1]["names"]) == Counter(whole["names"])
    assert torch.cat([part["classes"] for part in parts]).sort().values.equal(whole["classes"].sort().values)
    images = whole["images"]
    assert (images.shape, images.min() >= -1, images.max() <= 1) == ((24, 3, 16, 16), True, True)
    assert {row["images"].shape for row in parts} == {(12, 3, 16, 16)}


@given(st.integers(1, 4), st.integers(3, 9), st.integers(0, 4), st.booleans(), st.integers(0, 99))
@of_hypothesis(deadline=None, max_examples=50)
def test_what_is_moved_is_the_photo_itself(n: int, side: int, shift: int, mirrored: bool, seed: int) -> None:
    pixels = torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    design = replace(SMALL, shift=shift, mirrored=mirrored)
    found = moved(pixels, design, torch.Generator().manual_seed(seed))
    assert found.shape == pixels.shape
    wide = np.pad(pixels.numpy(), ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
    places = [(y, x) for y in range(2 * shift + 1) for x in range(2 * shift + 1)]
    for one, padded in zip(found.numpy(), wide, strict=True):
        views = [padded[y : y + side, x : x + side] for y, x in places]
        views += [view[:, ::-1] for view in views] if mirrored else []
        assert any(np.allclose(one, view, atol=0.01) for view in views)


def test_digits_are_turned_a_little() -> None:
    pixels = torch.zeros(200, 28, 28, 3, dtype=torch.uint8)
    pixels[:, 4:24, 13:15] = 255  # a 1
    turned = moved(pixels, replace(classifier.DIGITS, shift=0), torch.Generator().manual_seed(0))[..., 0]
    place = torch.arange(28.0)
    top, bottom = ((turned[:, rows] * place).sum((1, 2)) / turned[:, rows].sum((1, 2)) for rows in ([6, 7], [20, 21]))
    slopes = (top - bottom) / 14
    assert 0.17 < slopes.abs().max() < 0.21  # the tangent of .2 radians
    assert abs(float(slopes.mean())) < 0.03


# ---- what is kept out ------------------------------------------------------------------------------------------------


def test_a_table_is_taken_at_its_word(tmp_path: Path) -> None:
    labels = [CLASSES[i % 3] for i in range(36)]
    splits = ["train" if i < 24 else "test" for i in range(36)]
    images = [png(label, i) for i, label in enumerate(labels)]
    file = table(tmp_path / "t.parquet", {"image": images, "kind": labels, "split": splits})
    given = recipe(file, label="kind")
    assert (given.learnt.tolist(), given.measured.tolist()) == (list(range(24)), list(range(24, 36)))
    drawn = {name for step in range(20) for name in given.batch(step, 0, 1)["names"]}
    assert drawn == {given.names[row] for row in range(24)}
    some = recipe(file, label="kind", limit=12)
    assert (len(some.learnt), len(some.measured)) == (6, 6)  # as many of each label and split


def test_without_its_word_copies_are_on_one_side(folder: Path, tmp_path: Path) -> None:
    for number, file in enumerate(sorted(folder.rglob("*.png"))):
        copy = tmp_path / file.parent.name / f"copy of {number}.bmp"
        copy.parent.mkdir(exist_ok=True)
        Image.open(file).save(copy)
    given = classifier.ClassifierRecipe(Inputs(images=[str(folder), str(tmp_path)], out=tmp_path), SMALL)
    assert (len(given.learnt) + len(given.measured), len(given.measured) % 2) == (180, 0)
    assert 10 <= len(given.measured) <= 60
    learnt = {given.pixels[row].numpy().tobytes() for row in given.learnt}
    assert len(learnt) == len(given.learnt) // 2
    assert not learnt & {given.pixels[row].numpy().tobytes() for row in given.measured}


def test_a_table_without_test_photos_is_not_measured(tmp_path: Path) -> None:
    labels = [CLASSES[i % 2] for i in range(8)]
    images = [png(label, i) for i, label in enumerate(labels)]
    given = recipe(table(tmp_path / "t.parquet", {"image": images, "k": labels, "split": ["train"] * 8}), label="k")
    assert given.card()["held_out"] == {"photos": 0}
    assert given.measure(given.network().eval()) == {}


# ---- bad input -------------------------------------------------------------------------------------------------------


def test_photos_that_do_not_do_are_told_and_left_out(tmp_path: Path) -> None:
    images = [png("disc", i) if i % 2 else png("bars", i) for i in range(12)]
    images[3] = b"\xff\xd8\xff\xe0 nothing more"
    labels = [None if i == 4 else float(i % 2) for i in range(12)]  # as pandas writes integers where one is missing
    file = table(tmp_path / "t.parquet", {"image": images, "kind": labels, "split": ["train"] * 12})
    skipped: list[str] = []
    given = recipe(file, label="kind", on_skipped=skipped.append)
    assert (given.labels, len(given.learnt)) == (["0", "1"], 10)
    assert len(skipped) == 2
    assert sum("it has no label" in text for text in skipped) == 1


def test_photos_of_other_sizes_are_squeezed(tmp_path: Path) -> None:
    sizes = [(3, 3), (500, 20), (16, 16), (1, 90)]
    for number, size in enumerate(sizes * 4):
        for label in CLASSES[:2]:
            (tmp_path / label).mkdir(exist_ok=True)
            picture = Image.new(["RGB", "L", "RGBA", "1"][number % 4], size, 1)
            picture.putpixel((0, 0), 0 if number % 2 else 1)
            picture.save(tmp_path / label / f"{number}.png")
    given = recipe(tmp_path)
    assert given.pixels.shape == (32, 16, 16, 3)
    assert given.pixels.dtype == torch.uint8


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"cat": 9}, r"at least two classes; it found cat \(9\)\. Name their column with `label`"),
        (
            {"cat": 9, "d" * 9999: 1},
            r"1 of 2 classes have fewer than 2 photos to learn from.*: d{60} \(1 of 1\)\. Give",
        ),
        ({"cat": 9, "dog": 8, "owl": 1, "eel": 1}, r"2 of 4 classes .* eel \(1 of 1\), owl \(1 of 1\)"),
    ],
)
def test_classes_that_do_not_do(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    labels = [label for label, count in counts.items() for _ in range(count)]
    images = [png("disc", i) for i in range(len(labels))]
    file = table(tmp_path / "t.parquet", {"image": images, "k": labels, "split": ["train"] * len(labels)})
    with pytest.raises(InputError, match=message):
        recipe(file, label="k")


def test_a_class_whose_photos_are_all_kept_out(tmp_path: Path) -> None:
    labels, splits = ["cat"] * 4 + ["dog"] * 4, ["train"] * 4 + ["test"] * 4
    file = table(tmp_path / "t.parquet", {"image": [png("disc", i) for i in range(8)], "k": labels, "split": splits})
    with pytest.raises(InputError, match=r"1 of 2 classes .* dog \(0 of 4\)"):
        recipe(file, label="k")


def test_no_column_of_labels(tmp_path: Path) -> None:
    images = [png("disc", i) for i in range(4)]
    file = table(tmp_path / "t.parquet", {"image": images, "digit": [0, 1, 0, 1]})
    with pytest.raises(InputError, match=r"it found none\. Name their column with `label`"):
        recipe(file)
    with pytest.raises(InputError, match=r"`label` number: no such column in .*; known: .*digit"):
        recipe(file, label="number")


def test_by_their_names() -> None:
    assert {"digits", "cifar", "cifar-wide"} <= set(recipes.RECIPES)
    wide = plain.chain(classifier.CIFAR_WIDE.plan, 10)
    assert sum(p.numel() for p in wide.parameters()) == 307_498


# ---- the data of the lectures ----------------------------------------------------------------------------------------


def test_digits_and_cifar_read_their_tables(data: Path) -> None:
    digits = build_digits(
        Inputs(images=[str(data / "lectures/digits.parquet")], out=Path("out"), label="digit", limit=200)
    )
    assert isinstance(digits, classifier.ClassifierRecipe)
    assert digits.labels == list("0123456789")
    assert (len(digits.learnt), len(digits.measured)) == (100, 100)
    assert digits.batch(0, 0, 1)["images"].shape == (100, 3, 28, 28)
    photos = Inputs(images=[str(data / "lectures/cifar10.parquet")], out=Path("out"), label="label", limit=200)
    cifar = classifier.ClassifierRecipe(photos, replace(CIFAR, settings=replace(CIFAR.settings, batch=8)))
    assert (cifar.labels[0], cifar.labels[-1]) == ("airplane", "truck")
    assert 1.5 < float(cifar.loss(cifar.network(), cifar.batch(0, 0, 1))["loss"].detach()) < 4


@pytest.mark.parametrize(
    ("entry", "table", "label", "design", "least"),
    [
        ("muster-digits", "digits", "digit", classifier.DIGITS, 0.985),
        ("muster-cifar", "cifar10", "label", CIFAR, 0.62),
    ],
)
def test_the_weights_that_are_shipped(
    data: Path, entry: str, table: str, label: str, design: Design, least: float
) -> None:
    """On the photos that the table keeps out of training: the model cards have the figures."""
    inputs = Inputs(images=[str(data / f"lectures/{table}.parquet")], out=Path("out"), label=label)
    recipe = classifier.ClassifierRecipe(inputs, design)
    assert tuple(recipe.labels) == CLASSES_OF[entry]
    network = zoo.ENTRIES[entry].build(load_weights(zoo.ENTRIES[entry], None)).eval()
    with torch.inference_mode():
        found = network(normalised(recipe.pixels[recipe.measured])).argmax(1)
    assert (found == recipe.classes[recipe.measured]).float().mean() >= least
