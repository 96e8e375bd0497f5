"""How long networks that write words take on one CPU core: random weights, in the sizes of the published models.

    python benchmarks/words.py

What they write is nonsense, and takes as long as sense. A line each: seconds until the first token, and for each
further one.
"""

import time
from collections.abc import Iterator
from typing import Any

import torch
import transformers

TOKENS = 20


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name, network, inputs in networks():
        first = seconds(network, inputs, 1)
        further = (seconds(network, inputs, TOKENS) - first) / (TOKENS - 1)
        millions = sum(each.numel() for each in network.parameters()) / 1e6
        print(f"{name}: {millions:.0f} million parameters, first token {first:.1f} s, each further {further:.2f} s")


def seconds(network: Any, inputs: dict[str, torch.Tensor], tokens: int) -> float:
    begun = time.perf_counter()
    network.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=tokens, min_new_tokens=tokens)
    return time.perf_counter() - begun


def networks() -> Iterator[tuple[str, Any, dict[str, torch.Tensor]]]:
    config = transformers.BlipConfig(vision_config={"image_size": 384})
    network = transformers.BlipForConditionalGeneration(config).eval()
    yield "BLIP base", network, {"pixel_values": torch.rand(1, 3, 384, 384)}
    network = smolvlm()
    for tiles in (1, 13):  # 13: of a photo of 4:3
        image = [network.config.image_token_id] * 64 * tiles
        ids = torch.cat([torch.arange(10, 30), torch.tensor(image), torch.arange(30, 50)])[None]
        pixels = torch.rand(1, tiles, 3, 512, 512)
        yield f"SmolVLM-256M, {tiles} tiles", network, {"input_ids": ids, "pixel_values": pixels}


def smolvlm() -> Any:
    text = transformers.LlamaConfig(
        vocab_size=49280,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        pad_token_id=0,
    )
    vision = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 512,
        "patch_size": 16,
    }
    config = transformers.SmolVLMConfig(
        text_config=text.to_dict(), vision_config=vision, scale_factor=4, image_token_id=49190
    )
    return transformers.SmolVLMForConditionalGeneration(config).eval()


if __name__ == "__main__":
    main()
