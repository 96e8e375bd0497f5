"""Trainings of a few steps on made-up items: bars of a person's own slant, tones of a voice's own pitch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

from muster.errors import InputError
from muster.tasks.models import encoders
from muster.tasks.models.encoders import Plan
from muster.training import loop, recipes
from muster.training.data.items import read_pairs
from muster.training.inputs import Inputs
from muster.training.loop import Settings
from muster.training.recipes import siamese
from muster.training.recipes.siamese import Design

CPU = torch.device("cpu")
SETTINGS = Settings(steps=6, batch=12, learning_rate=3e-3, average=0.5, report_every=1)
CUBES = Design(
    name="cubes", plan=Plan("volume", (8, 8, 8), (4, 6), (2, 2, 2), dimensions=8), loss="triplet", settings=SETTINGS
)
WORDS = Design(
    name="words",
    plan=Plan("text", (6,), (8, 8), (1,), dimensions=8, buckets=64),
    loss="contrastive",
    settings=SETTINGS,
)


def volumes(path: Path, people: int = 12, each: int = 5, **columns: list) -> str:
    """Blocks of a height that is the person's own; every fifth is forged."""
    random, rows = np.random.default_rng(0), []
    for person in range(people):
        for _ in range(each):
            cube = random.integers(0, 40, (8, 8, 8), dtype=np.uint8)
            cube[: 1 + person % 7] += np.uint8(200)
            rows.append(cube.tobytes())
    known = {"volume": rows, "shape": [[8, 8, 8]] * len(rows), "who": [f"p{i // each}" for i in range(len(rows))]}
    pq.write_table(pa.table(known | columns), path)
    return str(path)


def pairs(path: Path, count: int = 40, **columns: list) -> str:
    one = [f"word{i // 2} of the {i // 2}" for i in range(count)]
    other = [f"the {i // 2} is word{i // 2}" if i % 2 else f"something {i} else" for i in range(count)]
    known = {"question1": one, "question2": other, "is_duplicate": [i % 2 for i in range(count)]}
    pq.write_table(pa.table(known | columns), path)
    return str(path)


def given(source: str, label: str | None = "who", **others: object) -> Inputs:
    return Inputs(images=[source], out=Path("out"), label=label, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", ["triplet", "contrastive", "logistic", "margin", "classes"])
def test_a_training_by_each_loss(loss: str, tmp_path: Path) -> None:
    columns = {"split": ["test" if i % 5 == 4 else "train" for i in range(60)]} if loss == "classes" else {}
    file = volumes(tmp_path / "v.parquet", people=2 if loss == "classes" else 12, each=30 if columns else 5, **columns)
    recipe = siamese.build(given(file), replace(CUBES, loss=loss))
    loop.train(recipe, tmp_path / "out", CPU, lambda report: None)
    state = safetensors.torch.load_file(tmp_path / "out/cubes.safetensors")
    assert ("head" in state, "classes" in state) == (loss == "logistic", loss == "classes")
    measured = recipe.measure(encoders.from_state(state, CUBES.plan).eval())
    expected = {"accuracy", "worst_class", "auc"} if loss == "classes" else {"eer_others"}
    assert expected <= measured.keys()
    assert all(0 <= value <= 1 for value in measured.values())


def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    file, lines = volumes(tmp_path / "v.parquet"), []
    for name, kills in (("whole", False), ("killed", True)):
        recipe, out = siamese.build(given(file), CUBES), tmp_path / name
        if kills:
            recipe.settings = replace(recipe.settings, checkpoint_seconds=0)

            def stop(report: loop.Report) -> None:
                if report.step == 4:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                loop.train(recipe, out, CPU, stop)
            assert (out / loop.CHECKPOINT).exists()
        loop.train(recipe, out, CPU, lambda report: None)
        lines.append((out / "metrics.jsonl").read_text())
    assert lines[0] == lines[1]
    assert lines[0].count("\n") == 6


def test_batches_hold_few_of_many_and_what_is_not_genuine(tmp_path: Path) -> None:
    genuine = [i % 5 != 4 for i in range(60)]
    file = volumes(tmp_path / "v.parquet", genuine=genuine)
    for loss in ("triplet", "margin"):
        recipe = siamese.build(given(file), replace(CUBES, loss=loss, each=3, forged=1))
        assert isinstance(recipe, siamese.ItemsRecipe)
        batch = recipe.batch(1, 0, 1)
        assert recipe.batch(1, 0, 1)["items"].equal(batch["items"])
        assert not recipe.batch(2, 0, 1)["items"].equal(batch["items"])
        rows = [int(name.split()[-1]) for name in batch["names"]]
        own = {label for row, label in zip(rows, batch["labels"].tolist(), strict=True) if genuine[row]}
        forged = [label for row, label in zip(rows, batch["labels"].tolist(), strict=True) if not genuine[row]]
        assert (len(rows), len(own), len(forged)) == (12, 3, 3)
        assert len(set(forged)) == 3
        assert not own & set(forged)
        learnt = {recipe.labels[row] for row in recipe.learnt}
        assert {recipe.labels[row] for row in rows} <= learnt
        assert not learnt & {recipe.labels[row] for row in recipe.measured}
    assert recipe.network().classes.shape == (2 * len(recipe.people), 8)
    assert recipe.batch(recipe.settings.steps - 1, 0, 1)["hard"]


def test_pairs_are_learnt_and_measured(tmp_path: Path) -> None:
    split = ["train" if i < 30 else "test" for i in range(40)]
    file = pairs(tmp_path / "q.parquet", split=split, source=["made"] * 40)
    for loss in ("contrastive", "logistic"):
        recipe = siamese.build(given(file, None), replace(WORDS, loss=loss))
        assert isinstance(recipe, siamese.PairsRecipe)
        assert (len(recipe.learnt), len(recipe.measured)) == (30, 10)
        batch = recipe.batch(0, 0, 1)
        texts = dict(zip(batch["names"], batch["labels"].tolist(), strict=True))
        assert all(not name.startswith("something") or list(texts.values()).count(n) == 1 for name, n in texts.items())
        assert max(map(list(texts.values()).count, texts.values())) == 2  # both texts of a pair
        loop.train(recipe, tmp_path / loss, CPU, lambda report: None)
        assert recipe.measure(recipe.network().eval()).keys() >= {"eer_made"}
    assert len(siamese.build(given(file, None, limit=7), WORDS).learnt) == 7  # type: ignore[attr-defined]


def test_texts_that_share_one_are_of_one_class() -> None:
    assert siamese.connected(np.array([[0, 1], [3, 1]]), 5).tolist() == [0, 0, 1, 0, 2]


def test_what_is_kept_out_is_so_everywhere(tmp_path: Path) -> None:
    file = pairs(tmp_path / "q.parquet", 400)
    found = read_pairs([file], WORDS.plan, print)
    out = siamese.pairs_kept_out(found)
    assert 10 < out.sum() < 80
    assert (out[0::2] == out[1::2]).all()  # they share their first text


def test_nobody_to_learn_from(tmp_path: Path) -> None:
    each = [f"p{i}" for i in range(60)]
    with pytest.raises(InputError, match=r"0 of \d+ people or things have 2 items or more.*needs at least 2"):
        siamese.build(given(volumes(tmp_path / "v.parquet", who=each)), CUBES)
    with pytest.raises(InputError, match="name the column that says who or what an item is with `label`"):
        siamese.build(given(str(tmp_path / "v.parquet"), None), CUBES)
    with pytest.raises(InputError, match=r"`label` person: no such column"):
        siamese.build(given(str(tmp_path / "v.parquet"), "person"), CUBES)
    with pytest.raises(InputError, match=r"that column is empty for every item"):
        siamese.build(given(volumes(tmp_path / "e.parquet", who=[None] * 60)), CUBES)  # type: ignore[list-item]
    with pytest.raises(InputError, match="learns from pairs, whose columns have fixed names"):
        siamese.build(given(pairs(tmp_path / "q.parquet"), "who"), WORDS)
    split = ["test" if i < 5 else "train" for i in range(60)]
    with pytest.raises(InputError, match="of p0 there is nothing to learn from"):
        siamese.build(given(volumes(tmp_path / "k.parquet", split=split)), replace(CUBES, loss="classes"))


def test_items_without_a_label_are_told(tmp_path: Path) -> None:
    who = [None if i == 7 else f"p{i // 5}" for i in range(60)]
    skipped: list[str] = []
    recipe = siamese.build(given(volumes(tmp_path / "v.parquet", who=who), on_skipped=skipped.append), CUBES)  # type: ignore[arg-type]
    assert skipped == ["v.parquet, row 7: it has no label"]
    assert len(recipe.labels) == 59  # type: ignore[attr-defined]


def test_too_few_people_are_not_measured(tmp_path: Path) -> None:
    file = volumes(tmp_path / "v.parquet", split=["test" if i < 5 else "train" for i in range(60)])
    recipe = siamese.build(given(file), CUBES)
    assert recipe.measure(recipe.network().eval()) == {}


def test_designs_are_small_and_by_their_names() -> None:
    assert {"signatures", "voice", "questions", "speech", "volumes"} <= set(recipes.RECIPES)
    for name, design in siamese.DESIGNS.items():
        network = encoders.Verifier(design.plan)
        assert design.name == name
        assert sum(p.numel() for p in network.parameters()) <= 500_000


# ---- the data of the lectures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "table", "label", "limit"),
    [
        ("signatures", "signatures", "person", 120),
        ("voice", "voice", "speaker", None),
        ("questions", "question_pairs", None, None),
        ("volumes", "volumes_adrenal", "label", 400),
    ],
)
def test_tables_of_the_lectures_are_read(
    name: str, table: str, label: str | None, limit: int | None, data: Path
) -> None:
    recipe = siamese.build(given(str(data / f"lectures/{table}.parquet"), label, limit=limit), siamese.DESIGNS[name])
    batch = recipe.batch(0, 0, 4)
    value = recipe.loss(recipe.network(), batch)["loss"].detach()
    assert torch.isfinite(value)


def test_a_training_ends_where_nobody_is_kept_out_to_measure_with(tmp_path: Path) -> None:
    """People whom the hash keeps, pairs that the table calls training: there are no figures, and a model."""
    file = volumes(tmp_path / "v.parquet", who=[f"p{i % 3}" for i in range(60)], split=["train"] * 60)
    for name, source, label, design in (
        ("people", file, "who", CUBES),
        ("pairs", pairs(tmp_path / "q.parquet", split=["train"] * 40), None, WORDS),
    ):
        recipe = siamese.build(given(source, label), design)
        model = loop.train(recipe, tmp_path / name, CPU, lambda report: None)
        assert model.is_file()
        assert recipe.measure(recipe.network().eval()) == {}


def test_flags_may_be_numbers_and_no_texts(tmp_path: Path) -> None:
    forged = volumes(tmp_path / "v.parquet", genuine=[int(i % 5 < 4) for i in range(60)])
    recipe = siamese.build(given(forged), CUBES)
    assert isinstance(recipe, siamese.ItemsRecipe)
    assert recipe.genuine.tolist() == [i % 5 < 4 for i in range(60)]
    with pytest.raises(InputError, match="column genuine is string: write it as booleans, or as 0 and 1"):
        siamese.build(given(volumes(tmp_path / "t.parquet", genuine=["0"] * 60)), CUBES)
    with pytest.raises(InputError, match="column is_duplicate is string"):
        siamese.build(given(pairs(tmp_path / "q.parquet", is_duplicate=["1"] * 40), None), WORDS)
