"""Small networks of pictures and words with random weights, as `transformers` saves them, in folders."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

os.environ["HF_HUB_OFFLINE"] = "1"

SIDE, WIDTH, ROOM = 32, 16, 12
WORDS = (
    *("a", "an", "the", "in", "on", "of", "with", "dog", "cat", "snow", "beach", "children", "playing", "red", "green"),
    *("blue", "street", "man", "woman", "food"),
)


def tokenizer(begin: str = "<begin>", end: str = "<end>") -> Any:
    """Whole words; of each letter and of what else there is none."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    marks = {mark: n for n, mark in enumerate(("<pad>", begin, "<unknown>"))}
    words = {word: n for n, word in enumerate(WORDS, len(marks))}
    made = Tokenizer(models.WordLevel({**marks, **words, end: len(marks) + len(words)}, unk_token="<unknown>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(each, made.token_to_id(each)) for each in (begin, end)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token=begin, eos_token=end, unk_token="<unknown>"
    )


SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
PICTURES = {**SIZE, "image_size": SIDE, "patch_size": 8}


def clip(folder: Path, seed: int = 0) -> Path:
    """CLIP, of WIDTH numbers, with pictures of SIDE pixels and texts of up to ROOM words."""
    return _saved(_clip, folder, seed)


def siglip(folder: Path, seed: int = 0) -> Path:
    """SigLIP, of 32 numbers."""
    return _saved(_siglip, folder, seed)


def siglip2(folder: Path, seed: int = 0) -> Path:
    """SigLIP 2 of photos of any shape, of 32 numbers."""
    return _saved(_siglip2, folder, seed)


def _saved(make: Callable[[], tuple[Any, Any]], folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    network, processor = make()
    with torch.no_grad():
        for value in network.parameters():  # as initialised, all photos are nearly alike
            if value.dim() > 1:
                value.normal_(0, 1.4 / value[0].numel() ** 0.5)
    network.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _clip() -> tuple[Any, Any]:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    words = tokenizer()
    marks = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    texts = {**SIZE, **marks, "vocab_size": len(words), "max_position_embeddings": ROOM}
    config = CLIPConfig(text_config=texts, vision_config=PICTURES, projection_dim=WIDTH)
    pictures = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return CLIPModel(config), CLIPProcessor(pictures, words)


def _siglip() -> tuple[Any, Any]:
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    words = tokenizer()
    texts = {**SIZE, "vocab_size": len(words), "max_position_embeddings": ROOM}
    config = SiglipConfig(text_config=texts, vision_config=PICTURES)
    pictures = SiglipImageProcessor(size={"height": SIDE, "width": SIDE})
    return SiglipModel(config), SiglipProcessor(pictures, words)


def _siglip2() -> tuple[Any, Any]:
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model, Siglip2Processor

    words = tokenizer()
    texts = {**SIZE, "vocab_size": len(words), "max_position_embeddings": ROOM}
    config = Siglip2Config(text_config=texts, vision_config={**SIZE, "num_patches": 16, "patch_size": 8})
    pictures = Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    return Siglip2Model(config), Siglip2Processor(pictures, words)
