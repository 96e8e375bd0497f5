import pytest
import torch

from helpers.items import CUBES, WORDS
from muster.tasks.models.encoders import Verifier, fresh_head
from muster.training import siamese


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
