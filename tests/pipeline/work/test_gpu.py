"""What of a GPU a worker may take, and which errors mean that it is lost; no GPU is needed for either."""

import pytest
import torch

from muster.errors import InputError
from muster.pipeline.work import gpu
from muster.pipeline.work.worker import is_out_of_memory

GIB = 1 << 30


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_all_shares_fit(workers: int) -> None:
    total = 8 * GIB
    share = gpu.share_of(total, workers)
    assert workers * (share * total + gpu.CONTEXT) <= total
    assert share * total >= gpu.LEAST - gpu.CONTEXT


def test_a_gpu_too_small_for_so_many() -> None:
    with pytest.raises(
        InputError,
        match=r"5 `workers` would share a GPU with 4\.0 GiB, and each needs at least 1\.0 GiB; give at most 4 ",
    ):
        gpu.share_of(4 * GIB, 5)


def test_a_worker_keeps_to_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[float] = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (6 * GIB, 8 * GIB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", kept.append)
    gpu.keep_to_share(1)
    assert kept == []
    gpu.keep_to_share(2)
    assert kept == [0.5 - 1 / 16]


def test_a_gpu_that_others_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (GIB // 4, 8 * GIB))
    with pytest.raises(InputError, match=r"only 0.2 GiB of the GPU's 8.0 GiB are free"):
        gpu.keep_to_share(1)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: no CUDA-capable device is detected",
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "CUDA error: unspecified launch failure",
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: an illegal memory access was encountered",
    ],
)
def test_after_these_the_process_has_no_gpu(text: str) -> None:
    for error in (torch.AcceleratorError(text), RuntimeError(text)):  # older parts of torch raise the latter
        assert gpu.is_lost(error)
        assert not is_out_of_memory(error)


def test_what_libraries_below_torch_say() -> None:
    assert gpu.is_lost(RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"))
    assert gpu.is_lost(RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"))


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (torch.AcceleratorError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx(...)`"), False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"), False),
        (torch.AcceleratorError("CUDA error: invalid configuration argument"), False),
        (RuntimeError("Given groups=1, weight of size [8, 3, 3, 3], expected input[1, 4, 9, 9]"), False),
        (ValueError("CUDA error: a text of somebody else"), False),
    ],
)
def test_these_are_of_a_batch_or_an_image(error: Exception, memory: bool) -> None:
    assert not gpu.is_lost(error)
    assert is_out_of_memory(error) is memory
