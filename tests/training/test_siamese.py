from dataclasses import replace
from pathlib import Path

import pytest
import torch

from helpers.items import CUBES, WORDS, given, pairs, volumes
from muster.tasks.models.encoders import Verifier, fresh_head
from muster.training import loop, siamese
from muster.training.recipes.siamese import build


def test_items_are_embedded_one_by_one_as_they_are_together() -> None:
    values = torch.randint(0, 256, (130, 8, 8, 8), dtype=torch.uint8)  # more than one part
    network = Verifier(CUBES.plan).eval()
    found = siamese.embed(network, values, CUBES.plan)
    assert found.shape == (130, 8)
    assert torch.allclose(found[[3, 129]], siamese.embed(network, values[[3, 129]], CUBES.plan), atol=1e-5)


@pytest.mark.parametrize("head", [None, fresh_head(8)])
def test_whatever_compares_them_two_of_one_are_the_more_alike(head: torch.Tensor | None) -> None:
    network, one = Verifier(WORDS.plan, head).eval(), torch.nn.functional.normalize(torch.randn(4, 8))
    assert (siamese.scores(network, one, one) > siamese.scores(network, one, -one)).all()


def test_beside_a_cohort_who_is_like_everybody_is_nobody() -> None:
    """Two pairs are as alike by cosine; the first lies amid the cohort, the second apart from it."""
    network, cohort = Verifier(WORDS.plan).eval(), torch.nn.functional.normalize(torch.randn(50, 8) + 3)
    middle = torch.nn.functional.normalize(torch.ones(1, 8))
    turn = torch.nn.functional.normalize(torch.tensor([[1.0, -1, 1, -1, 1, -1, 1, -1]]))
    one, other = torch.cat([middle, turn]), torch.cat([0.8 * middle + 0.6 * turn, 0.8 * turn + 0.6 * middle])
    vectors, compared = siamese.beside_cohort(network, torch.cat([one, other]), cohort)
    amid, apart = compared(vectors[:2], vectors[2:]).tolist()
    assert apart > amid
    values = [torch.stack([a @ each for each in cohort]) for a in (one[0], other[0])]
    assert amid == pytest.approx(sum((0.8 - v.mean().item()) / v.std().item() for v in values) / 2, abs=1e-3)


@pytest.mark.parametrize("kind", ["people", "kinds", "pairs"])
def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(kind: str, tmp_path: Path) -> None:
    design = WORDS if kind == "pairs" else replace(CUBES, loss="classes" if kind == "kinds" else "triplet")
    file = pairs(tmp_path / "q.parquet") if kind == "pairs" else volumes(tmp_path / "v.parquet")
    lines = []

    def stop(report: loop.Report) -> None:
        if report.step == 4:
            raise KeyboardInterrupt

    for name in ("whole", "killed"):
        recipe, out = build(given(file, None if kind == "pairs" else "who"), design), tmp_path / name
        if name == "killed":
            recipe.settings = replace(recipe.settings, checkpoint_seconds=0)
            with pytest.raises(KeyboardInterrupt):
                loop.train(recipe, out, torch.device("cpu"), stop)
            assert (out / loop.CHECKPOINT).exists()
        loop.train(recipe, out, torch.device("cpu"), lambda report: None)
        lines.append((out / "metrics.jsonl").read_text())
    assert lines[0] == lines[1]
    assert lines[0].count("\n") == 6
