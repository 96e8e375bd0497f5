"""A GPU: what of its memory a worker may take where several share it, and the errors after which it cannot be used."""

import torch

from muster.errors import InputError

CONTEXT = 512 << 20  # bytes that CUDA takes for a process, besides what torch allocates
LEAST = 1 << 30  # bytes of a GPU without which no worker is tried: that, the networks, and a batch of one image
# The process is as it was after these; whichever image it was for may be the reason.
PASSING = ("out of memory", "invalid argument", "invalid configuration argument", "CUBLAS_", "CUDNN_", "CUSOLVER_")
LASTING = ("CUDA error", "CUDA driver error")
EXECUTION_FAILED = "STATUS_EXECUTION_FAILED"  # of cuBLAS and cuDNN: a kernel failed; their other errors are of one call


def share_of(total: int, workers: int) -> float:
    """The part of a GPU with `total` bytes that torch may allocate in each of so many workers.

    InputError where that is too little.
    """
    if total < workers * LEAST:
        raise InputError(
            f"{workers} `workers` would share a GPU with {_gib(total)}, and each needs at least {_gib(LEAST)}; give at"
            f" most {max(1, total // LEAST)} for each GPU"
        )
    return 1 / workers - CONTEXT / total


def keep_to_share(workers: int) -> None:
    """Have torch take no more of this process's GPU than is its own, where so many share it: beyond that a task runs
    out of memory, and is given smaller batches. InputError where others have taken the GPU's memory."""
    free, total = torch.cuda.mem_get_info()  # makes the context
    if free < LEAST - CONTEXT:
        raise InputError(
            f"only {_gib(free)} of the GPU's {_gib(total)} are free, and a worker needs at least"
            f" {_gib(LEAST - CONTEXT)} more: end what else uses it, or give fewer `workers`"
        )
    if workers > 1:
        torch.cuda.set_per_process_memory_fraction(share_of(total, workers))


def is_lost(error: Exception) -> bool:
    """Whether this process can use its GPU no more: it has gone, or a kernel failed on it. All that follows would fail
    the same way, whatever image it is for (CUDA says of these errors that the process must end)."""
    text = str(error)
    lasting = isinstance(error, torch.AcceleratorError) or any(words in text for words in LASTING)
    passing = any(words in text for words in PASSING)
    return isinstance(error, RuntimeError) and (EXECUTION_FAILED in text or (lasting and not passing))


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
