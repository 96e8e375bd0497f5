from pathlib import Path

import pytest
import torch

from helpers.items import given
from muster.tasks.models import encoders
from muster.training import recipes
from muster.training.recipes import siamese


def test_designs_are_small_and_by_their_names() -> None:
    assert {"signatures", "voice", "questions", "speech", "volumes"} <= set(recipes.RECIPES)
    for name, design in siamese.DESIGNS.items():
        network = encoders.Verifier(design.plan)
        assert design.name == name
        assert sum(p.numel() for p in network.parameters()) <= 500_000


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
