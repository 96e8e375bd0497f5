"""Small networks of pictures and words with random weights, as `transformers` saves them, in folders."""

import os
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

SIDE, WIDTH, ROOM = 32, 16, 12
WORDS = "a an the in on of with dog cat snow beach children playing red green blue street man woman food".split()


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


def clip(folder: Path, seed: int = 0) -> Path:
    """CLIP, of WIDTH numbers, with pictures of SIDE and texts of up to ROOM words."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    words = tokenizer()
    torch.manual_seed(seed)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    marks = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    config = CLIPConfig(
        text_config={**size, **marks, "vocab_size": len(words), "max_position_embeddings": ROOM},
        vision_config={**size, "image_size": SIDE, "patch_size": 8},
        projection_dim=WIDTH,
    )
    CLIPModel(config).eval().save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    CLIPProcessor(pictures, words).save_pretrained(folder)
    return folder


def siglip(folder: Path, seed: int = 0) -> Path:
    """SigLIP, of 32 numbers."""
    import torch
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    words = tokenizer()
    torch.manual_seed(seed)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = SiglipConfig(
        text_config={**size, "vocab_size": len(words), "max_position_embeddings": ROOM},
        vision_config={**size, "image_size": SIDE, "patch_size": 8},
    )
    SiglipModel(config).eval().save_pretrained(folder)
    SiglipProcessor(SiglipImageProcessor(size={"height": SIDE, "width": SIDE}), words).save_pretrained(folder)
    return folder
