"""The text side of networks of the library `transformers` that know pictures and words: CLIP, SigLIP and the like."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from muster.arrays import F32
from muster.errors import TaskError
from muster.tasks.hub.classifiers import pooled
from muster.tasks.hub.network import Published

BATCH = 64  # texts at once


class TextEncoder:
    """Texts as numbers that are near those of the photos they fit."""

    def __init__(self, network: Any, device: torch.device) -> None:
        """`network`: of pictures and words, as the task `features` takes it."""
        assert isinstance(network, Published)
        if not hasattr(network.network, "get_text_features"):
            raise TaskError(f"{type(network.network).__name__} makes no numbers of words alone")
        self.network, self.device = network.to(device), device
        self.tokenizer = network.processor.tokenizer
        # SigLIP (Zhai et al. 2023, arXiv 2303.15343) and SigLIP 2 (Tschannen et al. 2025, arXiv 2502.14786) have learnt
        # texts in lower case, all filled up to one length, and without a mask that tells what was filled
        self.sigmoid = str(network.config.model_type).startswith("siglip")
        said = getattr(network.processor, "text_kwargs", None) or {}  # by the publisher, of some networks
        self.padding = said.get("padding", "max_length" if self.sigmoid else True)
        room = int(network.config.text_config.max_position_embeddings)
        # model_max_length is 10^30 where it is not said
        self.longest = min(room, int(self.tokenizer.model_max_length), said.get("max_length", room))

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> F32:
        """(N, D), L2-normalised. Of a text that is longer than the network takes, the beginning."""
        parts = [self._some(texts[begin : begin + BATCH]) for begin in range(0, len(texts), BATCH)]
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)

    def _some(self, texts: Sequence[str]) -> F32:
        tokens = self.tokenizer(
            [text.lower() for text in texts] if self.sigmoid else list(texts),
            padding=self.padding,
            truncation=True,
            max_length=self.longest,
            return_attention_mask=not self.sigmoid,
            return_tensors="pt",
        ).to(self.device)
        inner: Any = self.network.network
        return F.normalize(pooled(inner.get_text_features(**tokens)).float()).cpu().numpy()
