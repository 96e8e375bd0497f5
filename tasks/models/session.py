"""A network that an ONNX file holds, run by onnxruntime, where a task has one of torch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from muster.arrays import F32
from muster.errors import TaskError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_PRECISIONS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_NUMBERS = (*_PRECISIONS, "tensor(double)", "tensor(int32)", "tensor(int64)")


class Session(nn.Module):
    """`size`: (height, width) of what goes in, None for a side that the file leaves open. `outputs`: their names.

    On a GPU it is run by CUDA, else by `providers`, in the order in which they are asked. Where it is moved to another
    device, it is opened anew. Copies share what is opened. One thread, as workers are one for each core.
    """

    def __init__(self, data: bytes, providers: Sequence[str] = (CPU,)) -> None:
        """`data`: of the file. TaskError where onnxruntime refuses it, has not these providers, or what goes in is not
        one batch of images, (N, 3, H, W), of any N or of 1."""
        super().__init__()
        self.data, self.providers = data, tuple(providers)
        self.place: torch.Tensor
        self.register_buffer("place", torch.empty(0), persistent=False)  # on its device
        self._opened = ""
        self._open()
        self.size, self.alone = _described(self.session.get_inputs())
        for output in self.session.get_outputs():
            if output.type not in _NUMBERS:
                raise TaskError(f"its output {output.name!r} is {output.type}, which is no array of numbers")
        self.outputs = tuple(output.name for output in self.session.get_outputs())

    def __deepcopy__(self, memo: object) -> "Session":
        return self

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "Session":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._open()
        return self

    def _open(self) -> None:
        device = self.place.device.type
        if device != self._opened:
            self.session = _session(self.data, (CUDA,) if device == "cuda" else self.providers)
            self._opened = device

    def forward(self, images: torch.Tensor) -> Any:
        """(N, 3, H, W) → what the outputs give, in their order; of one output alone that.

        On a CPU one image at a time: in a batch, its numbers depend by rounding on how many there are.
        """
        given = np.ascontiguousarray(images.detach().float().cpu().numpy())
        one_by_one = self.alone or self._opened == "cpu"
        parts = [given[i : i + 1] for i in range(len(given))] if one_by_one else [given] * (len(given) > 0)
        # Of no image, what one would give, without it
        found = [self.run(part) for part in parts or [np.zeros_like(given, shape=(1, *given.shape[1:]))]]
        joined = [torch.from_numpy(np.concatenate(each)[: len(given)]) for each in zip(*found, strict=True)]
        outputs = [(each.float() if each.is_floating_point() else each).to(images.device) for each in joined]
        return outputs[0] if len(outputs) == 1 else outputs

    def run(self, images: F32) -> list[np.ndarray[Any, Any]]:
        """The outputs as they are. TaskError where it cannot be run."""
        [taken] = self.session.get_inputs()
        try:
            return self.session.run(None, {taken.name: images.astype(_PRECISIONS[taken.type])})
        except Exception as error:  # onnxruntime has a dozen
            sides = " × ".join(map(str, images.shape))
            raise TaskError(f"onnxruntime cannot run it on {sides}: {said(error)}") from None


def _session(data: bytes, providers: Sequence[str]) -> Any:
    import onnxruntime

    there = onnxruntime.get_available_providers()
    if missing := [name for name in providers if name not in there]:
        raise TaskError(f"this onnxruntime has no {missing[0]}: it has {', '.join(there)}; install a build that has it")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what it would print is raised too
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = onnxruntime.InferenceSession(data, options, providers=list(providers), enable_fallback=0)
    except Exception as error:
        raise TaskError(f"onnxruntime cannot read it: {said(error)}") from None
    if session.get_providers()[0] != providers[0]:  # as where the libraries of a GPU are not there
        raise TaskError(f"{providers[0]} cannot be started here; onnxruntime would take {session.get_providers()[0]}")
    return session


def _described(inputs: Sequence[Any]) -> tuple[tuple[int | None, int | None], bool]:
    """Height and width of the images that go in, and whether these go in one by one."""
    if len(inputs) != 1:
        named = ", ".join(each.name for each in inputs)
        raise TaskError(f"it takes {len(inputs)} inputs ({named}): export it so that it takes a batch of images alone")
    [images] = inputs
    sides = [side if isinstance(side, int) else None for side in images.shape]
    shown = " × ".join(str(side) for side in images.shape) or "a single number"
    if images.type not in _PRECISIONS:
        raise TaskError(f"its input is {images.type}: export it with images as float, or as float16")
    if len(sides) != 4 or sides[1] not in (None, 3):
        last = " with the channels before rows and columns" if len(sides) == 4 and sides[3] == 3 else ""
        raise TaskError(f"its input is {shown}, and not N × 3 × height × width: export it{last or ' for RGB images'}")
    if sides[0] not in (None, 1):
        raise TaskError(f"it takes {sides[0]} images at once, no more and no fewer: export it for any number, or for 1")
    return (sides[2], sides[3]), sides[0] == 1


def said(error: Exception) -> str:
    """What onnxruntime says of an error, without the codes around it, in one line."""
    text = " ".join(str(error).partition("] : ")[2].split()) or str(error) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} …"
