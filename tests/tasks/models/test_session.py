"""tasks/models/session.py: a network as ONNX where torch has one."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto
from torch import nn

from helpers.onnx_files import mean, network
from muster.errors import TaskError
from muster.tasks.models.fuse import for_inference
from muster.tasks.models.session import CUDA, Session

CPU = torch.device("cpu")
ONES = {"found": np.ones((1, 2), np.float32)}


def opened(made: Any, *more: Any) -> Session:
    return Session(made.SerializeToString(), *more)


def test_it_gives_what_the_file_computes() -> None:
    session = opened(mean())
    assert (session.outputs, session.size) == (("twice",), (None, None))
    images = torch.rand(5, 3, 8, 6, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(session(images), 2 * images.mean((1, 2, 3))[:, None], atol=1e-6)


def test_an_image_has_the_same_numbers_in_any_company() -> None:
    session = opened(mean())
    images = torch.rand(9, 3, 31, 17, generator=torch.Generator().manual_seed(2))
    together = session(images)
    assert torch.equal(together, torch.cat([session(image[None]) for image in images]))
    assert torch.equal(together[3:7], session(images[3:7]))


def test_of_no_image_it_gives_nothing_of_the_right_width() -> None:
    assert opened(mean())(torch.empty(0, 3, 8, 8)).shape == (0, 1)


def test_other_precisions() -> None:
    """A task in bfloat16, and a file in half precision."""
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    found = opened(mean())(images.to(torch.bfloat16))
    assert found.dtype == torch.float32
    assert torch.allclose(found, 2 * images.mean((1, 2, 3))[:, None], atol=1e-2)
    half = opened(mean(kind=TensorProto.FLOAT16))(images)
    assert half.dtype == torch.float32
    assert torch.allclose(half, 2 * images.mean((1, 2, 3))[:, None], atol=1e-2)


def test_a_file_for_one_image_takes_several() -> None:
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    assert torch.allclose(opened(mean((1, 3, 8, 8)))(images), opened(mean())(images))


def test_for_inference_leaves_it_as_it_is() -> None:
    session = opened(mean())
    for network_ in (nn.Sequential(session), nn.Sequential(nn.Sequential(session), nn.ReLU())):
        ready = for_inference(network_, CPU, torch.bfloat16)
        assert [each for each in ready.modules() if isinstance(each, Session)] == [session]
        assert ready(torch.ones(2, 3, 4, 4)).tolist() == [[2.0], [2.0]]
    assert copy.deepcopy(session) is session
    assert next(session.buffers()).device == CPU


def test_several_outputs_are_in_their_order() -> None:
    made = network({"b": np.full((1, 2), 1, np.float32), "a": np.full((1, 3), 7, np.int64)})
    session = opened(made)
    b, a = session(torch.zeros(1, 3, 64, 96))
    assert (session.outputs, session.size) == (("b", "a"), (64, 96))
    assert (b.tolist(), a.tolist()) == ([[1.0, 1.0]], [[7, 7, 7]])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (network(ONES, (8, 3, 64, 64)), "it takes 8 images at once, no more and no fewer: export it for any number"),
        (network(ONES, ("n", 64, 64, 3)), "its input is n × 64 × 64 × 3, and not N × 3 × .* with the channels before"),
        (network(ONES, ("n", 1, 64, 64)), "its input is n × 1 × 64 × 64, and not N × 3 .* for RGB images"),
        (network(ONES, ("n", 3)), "its input is n × 3, and not"),
        (network(ONES, ("n", 3, 8, 8), kind=TensorProto.UINT8), r"its input is tensor\(uint8\): export it with images"),
        (network(ONES, inputs=("images", "sizes")), r"it takes 2 inputs \(images, sizes\): export it so"),
        (network(ONES, domain="com.example"), "onnxruntime cannot read it: .*com.example:Unknown"),
        (network({"found": np.array(["a"])}), r"its output 'found' is tensor\(string\), which is no array of numbers"),
    ],
)
def test_what_it_does_not_take(made: Any, said: str) -> None:
    with pytest.raises(TaskError, match=said):
        opened(made)


def test_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that this build of onnxruntime does not have, and one that cannot be started on this machine."""
    import onnxruntime

    there = onnxruntime.get_available_providers()
    if "CoreMLExecutionProvider" in there or CUDA in there:
        pytest.skip("this onnxruntime has the providers that are to be missing")
    with pytest.raises(
        TaskError, match=r"has no CoreMLExecutionProvider: it has .*CPUExecutionProvider; install a build"
    ):
        opened(mean(), ("CoreMLExecutionProvider",))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, *there])
    with pytest.warns(UserWarning, match=CUDA), pytest.raises(TaskError, match=f"{CUDA} cannot be started here"):
        opened(mean(), (CUDA, "CPUExecutionProvider"))


def test_a_size_that_it_cannot_take() -> None:
    with pytest.raises(TaskError, match=r"onnxruntime cannot run it on 1 × 3 × 8 × 8: .*Got: 8 Expected: 64"):
        opened(network(ONES))(torch.zeros(1, 3, 8, 8))
