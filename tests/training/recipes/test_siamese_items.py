"""Trainings of a few steps on made-up volumes: blocks of a height that is the person's own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from helpers.items import CUBES, given, volumes
from muster.errors import InputError
from muster.tasks.models import encoders
from muster.training import loop
from muster.training.recipes.siamese_items import ItemsRecipe, KindsRecipe, claims_of

CPU = torch.device("cpu")


@pytest.mark.parametrize("loss", ["triplet", "hard", "contrastive", "logistic", "margin", "classes"])
def test_a_training_by_each_loss(loss: str, tmp_path: Path) -> None:
    columns = {"split": ["test" if i % 5 == 4 else "train" for i in range(60)]} if loss == "classes" else {}
    file = volumes(tmp_path / "v.parquet", people=2 if loss == "classes" else 12, each=30 if columns else 5, **columns)
    recipe = (KindsRecipe if columns else ItemsRecipe)(given(file), replace(CUBES, loss=loss))
    loop.train(recipe, tmp_path / "out", CPU, lambda report: None)
    state = safetensors.torch.load_file(tmp_path / "out/cubes.safetensors")
    assert ("head" in state, "classes" in state) == (loss == "logistic", loss == "classes")
    measured = recipe.measure(encoders.from_state(state, CUBES.plan).eval())
    expected = {"accuracy", "worst_class", "auc"} if loss == "classes" else {"eer_others"}
    assert expected <= measured.keys()
    assert all(0 <= value <= 1 for value in measured.values())


def test_scores_beside_a_cohort_are_those_of_the_file_of_weights(tmp_path: Path) -> None:
    recipe = ItemsRecipe(given(volumes(tmp_path / "v.parquet")), replace(CUBES, beside_cohort=True))
    loop.train(recipe, tmp_path / "out", CPU, lambda report: None)
    network = encoders.from_state(safetensors.torch.load_file(tmp_path / "out/cubes.safetensors"), CUBES.plan).eval()
    assert network.cohort is not None
    assert network.cohort.shape == (len(recipe.people), 8)
    rows = recipe.measured.tolist()
    labels, genuine = [recipe.labels[row] for row in rows], recipe.genuine[rows]
    found = claims_of(network, recipe.items.take(rows), labels, genuine, recipe.design, network.cohort)
    wanted = recipe.claims(network)["others"].scores
    assert np.allclose(found["others"].scores, wanted, atol=0.05 * np.ptp(wanted))
    plain = claims_of(network, recipe.items.take(rows), labels, genuine, recipe.design, None)["others"].scores
    assert not np.allclose(plain, wanted, atol=0.05)


def test_batches_hold_few_of_many_and_what_is_not_genuine(tmp_path: Path) -> None:
    genuine = [i % 5 != 4 for i in range(60)]
    file = volumes(tmp_path / "v.parquet", genuine=genuine)
    for loss in ("triplet", "margin"):
        recipe = ItemsRecipe(given(file), replace(CUBES, loss=loss, each=3, forged=1))
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


def test_nobody_to_learn_from(tmp_path: Path) -> None:
    each = [f"p{i}" for i in range(60)]
    with pytest.raises(InputError, match=r"0 of \d+ people or things have 2 items or more.*needs at least 2"):
        ItemsRecipe(given(volumes(tmp_path / "v.parquet", who=each)), CUBES)
    with pytest.raises(InputError, match="name the column that says who or what an item is with `label`"):
        ItemsRecipe(given(str(tmp_path / "v.parquet"), None), CUBES)
    with pytest.raises(InputError, match=r"`label` person: no such column"):
        ItemsRecipe(given(str(tmp_path / "v.parquet"), "person"), CUBES)
    with pytest.raises(InputError, match=r"that column is empty for every item"):
        ItemsRecipe(given(volumes(tmp_path / "e.parquet", who=[None] * 60)), CUBES)  # type: ignore[list-item]
    split = ["test" if i < 5 else "train" for i in range(60)]
    with pytest.raises(InputError, match="of p0 there is nothing to learn from"):
        KindsRecipe(given(volumes(tmp_path / "k.parquet", split=split)), replace(CUBES, loss="classes"))


def test_items_without_a_label_are_told(tmp_path: Path) -> None:
    who = [None if i == 7 else f"p{i // 5}" for i in range(60)]
    skipped: list[str] = []
    recipe = ItemsRecipe(given(volumes(tmp_path / "v.parquet", who=who), on_skipped=skipped.append), CUBES)  # type: ignore[arg-type]
    assert skipped == ["v.parquet, row 7: it has no label"]
    assert len(recipe.labels) == 59


def test_too_few_people_are_not_measured(tmp_path: Path) -> None:
    file = volumes(tmp_path / "v.parquet", split=["test" if i < 5 else "train" for i in range(60)])
    recipe = ItemsRecipe(given(file), CUBES)
    assert recipe.measure(recipe.network().eval()) == {}


def test_a_training_ends_where_nobody_is_kept_out_to_measure_with(tmp_path: Path) -> None:
    file = volumes(tmp_path / "v.parquet", who=[f"p{i % 3}" for i in range(60)], split=["train"] * 60)
    recipe = ItemsRecipe(given(file), CUBES)
    assert loop.train(recipe, tmp_path / "out", CPU, lambda report: None).is_file()
    assert recipe.measure(recipe.network().eval()) == {}


def test_flags_may_be_numbers_and_no_texts(tmp_path: Path) -> None:
    forged = volumes(tmp_path / "v.parquet", genuine=[int(i % 5 < 4) for i in range(60)])
    recipe = ItemsRecipe(given(forged), CUBES)
    assert recipe.genuine.tolist() == [i % 5 < 4 for i in range(60)]
    with pytest.raises(InputError, match="column genuine is string: write it as booleans, or as 0 and 1"):
        ItemsRecipe(given(volumes(tmp_path / "t.parquet", genuine=["0"] * 60)), CUBES)
