"""Tests of both precisions that networks run in, on any processor."""

import pytest
import torch

from muster.tasks.base import inference_dtype

NEEDS_BF16 = pytest.mark.skipif(
    inference_dtype(torch.device("cpu")) != torch.bfloat16,
    reason="this processor does not multiply bf16 natively, and some have no oneDNN operator for it at all",
)
DTYPES = [torch.float32, pytest.param(torch.bfloat16, marks=NEEDS_BF16)]
