from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.pairs import ROOM, clip, siglip, siglip2
from muster.tasks.hub.network import Published
from muster.tasks.hub.pairs import TextEncoder

TEXTS = ["A dog in the snow", "children", "", "雪の中の子供", "dog " * 100, "x" * 10_000]


def loaded(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoProcessor

    return AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)


def by_the_library(model: Any, processor: Any, text: str, **how: Any) -> np.ndarray[Any, Any]:
    """Of a text alone."""
    with torch.inference_mode():
        found = model.get_text_features(**processor(text=[text], return_tensors="pt", **how)).pooler_output[0].numpy()
    return found / np.linalg.norm(found)


@pytest.mark.parametrize(
    ("make", "how"),
    [
        (clip, {"truncation": True, "max_length": ROOM}),
        (siglip, {"truncation": True, "max_length": ROOM, "padding": "max_length", "return_attention_mask": False}),
        (siglip2, {"max_length": ROOM, "return_attention_mask": False}),
    ],
)
def test_texts_are_what_the_library_says_of_them(
    make: Callable[[Path], Path], how: dict[str, Any], tmp_path: Path
) -> None:
    model, processor = loaded(make(tmp_path))
    encode = TextEncoder(Published(model, processor), torch.device("cpu"))
    found = encode(TEXTS)
    assert (found.dtype, len(found)) == (np.float32, len(TEXTS))
    for text, vector in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(vector, by_the_library(model, processor, text, **how), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01
    np.testing.assert_allclose(encode(TEXTS[:1] * 100)[99], found[0], atol=1e-5)
    assert len(encode([])) == 0
