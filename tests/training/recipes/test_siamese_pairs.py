from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.items import WORDS, given, pairs
from muster.errors import InputError
from muster.training import loop
from muster.training.data.items import read_pairs
from muster.training.recipes import siamese_pairs
from muster.training.recipes.siamese_pairs import PairsRecipe

CPU = torch.device("cpu")


def test_pairs_are_learnt_and_measured(tmp_path: Path) -> None:
    split = ["train" if i < 30 else "test" for i in range(40)]
    file = pairs(tmp_path / "q.parquet", split=split, source=["made"] * 40)
    for loss in ("contrastive", "logistic"):
        recipe = PairsRecipe(given(file, None), replace(WORDS, loss=loss))
        assert (len(recipe.learnt), len(recipe.measured)) == (30, 10)
        batch = recipe.batch(0, 0, 1)
        texts = dict(zip(batch["names"], batch["labels"].tolist(), strict=True))
        assert all(not name.startswith("something") or list(texts.values()).count(n) == 1 for name, n in texts.items())
        assert max(map(list(texts.values()).count, texts.values())) == 2  # both texts of a pair
        loop.train(recipe, tmp_path / loss, CPU, lambda report: None)
        assert recipe.measure(recipe.network().eval()).keys() >= {"eer_made"}
    assert len(PairsRecipe(given(file, None, limit=7), WORDS).learnt) == 7


def test_texts_that_share_one_are_of_one_class() -> None:
    assert siamese_pairs.connected(np.array([[0, 1], [3, 1]]), 5).tolist() == [0, 0, 1, 0, 2]


def test_what_is_kept_out_is_so_everywhere(tmp_path: Path) -> None:
    file = pairs(tmp_path / "q.parquet", 400)
    found = read_pairs([file], WORDS.plan, print)
    out = siamese_pairs.pairs_kept_out(found)
    assert 10 < out.sum() < 80
    assert (out[0::2] == out[1::2]).all()  # they share their first text


def test_what_tables_do_not_say(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="learns from pairs, whose columns have fixed names"):
        PairsRecipe(given(pairs(tmp_path / "q.parquet"), "who"), WORDS)
    with pytest.raises(InputError, match="column is_duplicate is string"):
        PairsRecipe(given(pairs(tmp_path / "s.parquet", is_duplicate=["1"] * 40), None), WORDS)


def test_a_training_ends_where_no_pair_is_kept_out(tmp_path: Path) -> None:
    recipe = PairsRecipe(given(pairs(tmp_path / "q.parquet", split=["train"] * 40), None), WORDS)
    assert loop.train(recipe, tmp_path / "out", CPU, lambda report: None).is_file()
    assert recipe.measure(recipe.network().eval()) == {}
