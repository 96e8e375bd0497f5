import pytest
import torch

from muster.errors import TaskError
from muster.tasks.models.head import Head, from_state, state_of
from muster.training.loop import half

CLASSES = ["Katze", "chien «noir»", "🐦"]


def a_head(several: bool) -> Head:
    torch.manual_seed(0)
    return Head(torch.randn(3, 8), torch.randn(3), CLASSES, "squeezenet", several)


@pytest.mark.parametrize("several", [True, False])
def test_it_is_the_same_when_it_was_kept_in_half_precision(several: bool) -> None:
    head, vectors = a_head(several), torch.nn.functional.normalize(torch.randn(5, 8))
    again = from_state(half(state_of(head)))
    assert (again.classes, again.base, again.several) == (tuple(CLASSES), "squeezenet", several)
    torch.testing.assert_close(again(vectors), head(vectors), rtol=0, atol=2e-3)


def test_classes_exclude_each_other_or_not() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(5, 8))
    torch.testing.assert_close(a_head(False)(vectors).sum(1), torch.ones(5))
    several = a_head(True)(vectors)
    assert ((several > 0) & (several < 1)).all()
    assert (several.sum(1) - 1).abs().min() > 1e-3


def test_what_does_not_fit_together_is_refused() -> None:
    state = state_of(a_head(True))
    with pytest.raises(TaskError, match="not for its 3 classes"):
        from_state({**state, "bias": torch.zeros(2)})
    with pytest.raises(KeyError, match="said"):
        from_state({"weight": torch.zeros(3, 8), "bias": torch.zeros(3)})
