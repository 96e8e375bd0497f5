import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st

from muster.training import losses


def vectors(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 16, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 12), st.integers(0, 1000), st.floats(0.1, 50))
def test_distillation_is_zero_only_for_the_teachers_directions(count: int, seed: int, scale: float) -> None:
    teacher = vectors(count, seed)
    assert losses.distillation(teacher * scale, teacher).item() == pytest.approx(0, abs=1e-5)
    assert losses.distillation(vectors(count, seed + 1), teacher) > 0.01


def test_distillation_counts_the_similarity_matrix() -> None:
    """Turned together, embeddings keep their similarities: only the cosine term is left."""
    teacher = F.normalize(vectors(8, 0))
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(2)))[0]
    turned = losses.distillation(teacher @ turn, teacher)
    assert turned.item() == pytest.approx((1 - (teacher @ turn * teacher).sum(1)).mean().item(), abs=1e-5)
    assert losses.distillation(vectors(8, 3), teacher, 4.0) > losses.distillation(vectors(8, 3), teacher, 0.0)


def test_map_distillation_does_not_mind_scale() -> None:
    maps = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    assert losses.map_distillation(maps * 7, maps).item() == pytest.approx(0, abs=1e-5)
    assert losses.map_distillation(-maps, maps).item() == pytest.approx(2, abs=1e-5)


def on_circle(*degrees: float) -> torch.Tensor:
    return torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees])


def squared(degrees: float) -> float:
    """Squared distance of two unit vectors this far apart."""
    return 2 - 2 * math.cos(math.radians(degrees))


def test_semi_hard_takes_the_nearest_negative_beyond_the_positive() -> None:
    """Anchor at 0°, positive at 20°; negatives at 10° (too near), 25° and 90°."""
    embeddings, labels = on_circle(0, 20, -10, -25, 90), torch.tensor([0, 0, 1, 2, 3])
    value, counted = losses.triplet(embeddings, labels, margin=0.2, hard=False)
    # from 20°, those farther than 20° are 30° and 45° away, both beyond the margin: 30° counts where it is within it
    expected = [squared(20) - squared(25) + 0.2]
    if squared(30) < squared(20) + 0.2:
        expected.append(squared(20) - squared(30) + 0.2)
    assert counted == len(expected)
    assert value.item() == pytest.approx(sum(expected) / len(expected), abs=1e-5)


def test_hard_takes_the_nearest_negative_of_all() -> None:
    embeddings, labels = on_circle(0, 20, -10, -25, 90), torch.tensor([0, 0, 1, 2, 3])
    value, counted = losses.triplet(embeddings, labels, margin=0.2, hard=True)
    expected = [squared(20) - squared(10) + 0.2, squared(20) - squared(30) + 0.2]
    assert counted == 2
    assert value.item() == pytest.approx(sum(expected) / 2, abs=1e-5)


def test_triplets_that_are_apart_do_not_count() -> None:
    embeddings = on_circle(0, 1, 180, 181).requires_grad_()
    value, counted = losses.triplet(embeddings, torch.tensor([0, 0, 1, 1]), margin=0.2, hard=True)
    assert (value.item(), counted) == (0.0, 0)
    value.backward()
    assert embeddings.grad is not None
    assert embeddings.grad.abs().max() == 0


def test_margin_softmax_is_cross_entropy_with_the_true_cosine_lowered() -> None:
    embeddings, people, labels = vectors(6, 0), vectors(3, 1), torch.tensor([0, 1, 2, 0, 1, 2])
    cosines = F.normalize(embeddings) @ F.normalize(people).T
    plain = F.cross_entropy(30 * cosines, labels)
    assert losses.additive_margin_softmax(embeddings, people, labels, margin=0.0).item() == pytest.approx(plain.item())
    assert losses.additive_margin_softmax(embeddings, people, labels) > plain
    cosines[torch.arange(6), labels] -= 0.35
    by_hand = F.cross_entropy(30 * cosines, labels)
    assert losses.additive_margin_softmax(embeddings, people, labels).item() == pytest.approx(by_hand.item(), rel=1e-5)


@given(st.integers(1, 8), st.integers(0, 1000), st.floats(0.5, 8), st.floats(-9, 9))
def test_softened_is_zero_only_where_the_same_is_said(count: int, seed: int, temperature: float, shift: float) -> None:
    teacher = vectors(count, seed)
    assert losses.softened(teacher + shift, teacher, temperature).item() == pytest.approx(0, abs=1e-4)
    assert losses.softened(vectors(count, seed + 1), teacher, temperature) > 0.01


def test_softened_by_hand() -> None:
    """Two categories, the teacher sure to 3 : 1 at temperature 1, the student not."""
    teacher, student = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    wanted = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert losses.softened(student, teacher, 1).item() == pytest.approx(wanted)


def test_contrastive_draws_together_and_pushes_apart_up_to_a_margin() -> None:
    """At 0° and 60° (distance 1) and 180° (distances 2 and √3)."""
    labels = torch.tensor([0, 0, 1])
    assert losses.contrastive(on_circle(0, 60, 180), labels).item() == pytest.approx(1, abs=1e-5)
    assert losses.contrastive(on_circle(0, 0, 180), labels).item() == pytest.approx(0, abs=1e-5)
    near = losses.contrastive(on_circle(0, 0, 30), labels)
    assert near.item() == pytest.approx((1 - math.sqrt(squared(30))) ** 2, abs=1e-4)
    assert torch.isfinite(losses.contrastive(on_circle(0, 0, 0), torch.tensor([0, 1, 2])))
    alone = on_circle(10).requires_grad_()
    losses.contrastive(alone, torch.tensor([0])).backward()
    assert alone.grad is not None


def test_pairwise_logistic_by_hand() -> None:
    head, labels = torch.tensor([-1.0, -2.0, 0.5]), torch.tensor([0, 0, 1])
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    same, other = math.log1p(math.exp(-0.5)), math.log1p(math.exp(-2.5))
    found = losses.pairwise_logistic(embeddings, head, labels)
    assert found.item() == pytest.approx((same + other) / 2)
    assert losses.pairwise_logistic(embeddings, head, torch.tensor([0, 1, 0])) > found


def test_losses_are_in_float32_whatever_the_network_is_in() -> None:
    """Items of one are so near each other that bfloat16 could not tell their distances."""
    found = F.normalize(vectors(6, 0) * 0.02 + vectors(1, 1))
    labels, head = torch.tensor([0, 0, 0, 1, 1, 1]), torch.full((17,), -1.0)
    for loss in (
        lambda: losses.triplet(found, labels, 0.2, True)[0],
        lambda: losses.contrastive(found, labels),
        lambda: losses.pairwise_logistic(found, head, labels),
        lambda: losses.additive_margin_softmax(found, vectors(2, 3), labels),
    ):
        with torch.autocast("cpu", torch.bfloat16):
            lower = loss()
        assert lower.item() == loss().item()
