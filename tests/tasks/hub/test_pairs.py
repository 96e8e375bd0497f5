from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from helpers.published import SMALL, TOKENS, Made, clip, siglip, tokenizer
from muster.errors import TaskError
from muster.tasks.hub.network import Published
from muster.tasks.hub.pairs import TextEncoder

TEXTS = ["A dog in the snow", "children", "", "雪の中の子供", "dog " * 100, "x" * 10_000]


def by_the_library(model: Any, processor: Any, text: str, **how: Any) -> np.ndarray[Any, Any]:
    """Of a text alone."""
    with torch.inference_mode():
        found = model.get_text_features(**processor(text=[text], return_tensors="pt", **how)).pooler_output[0].numpy()
    return found / np.linalg.norm(found)


def siglip2() -> Made:
    """Whose processor says how texts are prepared."""
    import transformers as hf

    texts = {**SMALL, **TOKENS, "max_position_embeddings": 64}
    config = hf.Siglip2Config(text_config=texts, vision_config={**SMALL, "num_patches": 16, "patch_size": 8})
    pictures = hf.Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    return hf.Siglip2Model(config), hf.Siglip2Processor(pictures, tokenizer())


@pytest.mark.parametrize(
    ("make", "how"),
    [
        (clip, {"truncation": True, "max_length": 24}),
        (siglip, {"truncation": True, "padding": "max_length", "return_attention_mask": False}),
        (siglip2, {"return_attention_mask": False}),
    ],
)
def test_texts_are_what_the_library_says_of_them(make: Callable[[], Made], how: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model, processor = make()
    model.eval()
    encode = TextEncoder(Published(model, processor), torch.device("cpu"))
    found = encode(TEXTS)
    assert (found.dtype, len(found)) == (np.float32, len(TEXTS))
    for text, vector in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(vector, by_the_library(model, processor, text, **how), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.001
    np.testing.assert_allclose(encode(TEXTS[:1] * 100)[99], found[0], atol=1e-5)
    assert len(encode([])) == 0


def test_a_network_that_knows_words_beside_pictures_alone() -> None:
    model, processor = clip()
    model.__class__ = type("Other", (torch.nn.Module,), {})
    with pytest.raises(TaskError, match="Other makes no numbers of words alone"):
        TextEncoder(Published(model, processor), torch.device("cpu"))
