import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from muster.pipeline.work.weights import load_weights
from muster.tasks.models import zoo
from muster.tasks.models.face_embedder import DIMENSIONS as EMBEDDING
from muster.tasks.models.face_quality import SIGNS, FaceQuality, from_state
from muster.training.loop import half

SHIPPED = [roles["quality"] for roles in zoo.MODELS["faces"].values()]


def network(strangers: int = 3) -> FaceQuality:
    torch.manual_seed(0)
    made = FaceQuality(strangers, EMBEDDING).eval()
    made.mean.copy_(torch.arange(SIGNS))
    made.deviation.fill_(2)
    made.strangers.copy_(torch.nn.functional.normalize(torch.randn(strangers, EMBEDDING)))
    made.usual.fill_(0.25)
    return made


@pytest.mark.parametrize("strangers", [0, 1, 40])
def test_half_precision_weights_give_the_same_network(strangers: int) -> None:
    made = network(strangers)
    back = from_state(half(made.state_dict())).eval()
    signs = 3 * torch.randn(50, SIGNS)
    with torch.inference_mode():
        torch.testing.assert_close(back(signs), made(signs), atol=0.01, rtol=0)
    torch.testing.assert_close(back.strangers, made.strangers, atol=1e-3, rtol=0)
    assert float(back.usual) == 0.25


@pytest.mark.parametrize("count", [0, 1, 5])
def test_one_number_for_each_face_whatever_the_batch(count: int) -> None:
    signs = torch.randn(count, SIGNS)
    with torch.inference_mode():
        logits = network()(signs)
        assert logits.shape == (count,)
        torch.testing.assert_close(logits, torch.cat([torch.empty(0), *(network()(each[None]) for each in signs)]))


@given(st.integers(0, SIGNS - 1), st.floats(4, 1e6), st.booleans())
@torch.inference_mode()
def test_a_sign_beyond_what_was_seen_in_training_counts_as_the_furthest_seen(sign: int, far: float, low: bool) -> None:
    made, signs = network(), torch.arange(SIGNS).float().repeat(2, 1)
    signs[0, sign] += (-1 if low else 1) * 2 * far
    signs[1, sign] += (-1 if low else 1) * 2 * 4
    beyond, furthest = made(signs).tolist()
    assert beyond == pytest.approx(furthest, abs=1e-5)
    assert made(torch.arange(SIGNS).float()[None]).item() != pytest.approx(furthest)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_has_strangers_of_nobody(name: str) -> None:
    shipped = from_state(load_weights(zoo.ENTRIES[name], None))
    assert len(shipped.strangers) > 100
    torch.testing.assert_close(shipped.strangers.norm(dim=1), torch.ones(len(shipped.strangers)), atol=2e-3, rtol=0)
    between = (shipped.strangers @ shipped.strangers.T).fill_diagonal_(-1)
    assert between.max() < 0.95, "two of them are one face"
    assert 0 < float(shipped.usual) < 0.6
    assert (shipped.deviation > 0).all()
