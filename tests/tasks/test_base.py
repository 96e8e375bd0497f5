import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from muster.tasks.base import Image, number, one_of, shrink, to_device

pytestmark = pytest.mark.precision


@pytest.mark.parametrize(("height", "width"), [(100, 300), (300, 100), (1, 500), (200, 200)])
def test_shrink(height: int, width: int) -> None:
    image = Image("i", np.zeros((height, width, 3), np.uint8), 0.5, (2 * width, 2 * height))
    small = shrink(image, 60)
    assert max(small.pixels.shape[:2]) == 60
    assert min(small.pixels.shape[:2]) == max(1, round(min(height, width) * 60 / max(height, width)))
    assert small.scale == pytest.approx(60 / max(small.size))
    assert small.size == image.size
    assert shrink(image, 1000) is image


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_pixels_are_the_same_on_every_device(kind: str) -> None:
    if kind == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    pixels = torch.arange(2 * 5 * 7 * 3, dtype=torch.uint8).view(2, 5, 7, 3)
    for given in (pixels, pixels.permute(0, 3, 1, 2), pixels[:0]):
        there = to_device(given, torch.device(kind))
        assert (there.device.type, there.dtype) == (kind, torch.uint8)
        assert torch.equal(there.cpu(), given)


@pytest.mark.skipif(sys.platform != "linux", reason="processors are asked for in /proc/cpuinfo")
@pytest.mark.parametrize("most", ["AVX2", "DEFAULT"])
def test_dtype_follows_what_onednn_may_use(most: str) -> None:
    code = "import torch; from muster.tasks.base import inference_dtype; print(inference_dtype(torch.device('cpu')))"
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": most}
    told = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    native = {"amx_bf16", "avx512_bf16"} & set(Path("/proc/cpuinfo").read_text().split())
    assert told.stdout.strip() == ("torch.bfloat16" if native and most == "DEFAULT" else "torch.float32")


@pytest.mark.parametrize("given", [0.5, "0.5", "5e-1"])
def test_a_number_in_words_or_as_one(given: object) -> None:
    assert number(0, 1)(given) == 0.5


@pytest.mark.parametrize("given", ["", "x", "nan", -0.1, 1.1, None, []])
def test_what_is_no_number_between(given: object) -> None:
    with pytest.raises(ValueError, match="give a number from 0 to 1"):
        number(0, 1)(given)


def test_one_of_a_few_words() -> None:
    parse = one_of("rgb", "bgr")
    assert parse("bgr") == "bgr"
    for value in ("RGB", "", None, 1, ["rgb"]):
        with pytest.raises(ValueError, match="give rgb or bgr"):
            parse(value)
