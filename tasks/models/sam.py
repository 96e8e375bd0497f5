"""SAM: the mask of the thing in a box (Kirillov et al., Segment Anything, ICCV 2023, arXiv:2304.02643).

The network is that of the package segment-anything, which is imported where it is built: it is an extra of Muster's,
and brings torchvision.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import nn

from muster.arrays import Bools, Pixels
from muster.errors import TaskError
from muster.tasks.models.state_dict import load

HEADS = 8  # of the mask decoder, in all published sizes: the one thing that the weights' shapes do not say
BOXES = 16  # at once: the masks of each take 8 MB at 1024×1024


def from_published(state: Mapping[str, torch.Tensor]) -> nn.Module:
    """vit_b, vit_l, vit_h or another size: all that differs is read off the weights' shapes.

    TaskError where the package is not installed.
    """
    try:
        from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
    except ImportError:
        raise TaskError("SAM needs the package segment-anything: pip install segment-anything") from None
    encoder = _encoder(state)
    grid = encoder.pos_embed.shape[1]
    width = len(state["image_encoder.neck.0.weight"])
    mlp = len(state["mask_decoder.transformer.layers.0.mlp.lin1.weight"])
    depth = _count(state, "mask_decoder.transformer.layers.{}.norm1.weight")
    prompts = PromptEncoder(
        embed_dim=width,
        image_embedding_size=(grid, grid),
        input_image_size=(encoder.img_size, encoder.img_size),
        mask_in_chans=len(state["prompt_encoder.mask_downscaling.3.weight"]),
    )
    decoder = MaskDecoder(
        num_multimask_outputs=len(state["mask_decoder.mask_tokens.weight"]) - 1,
        transformer=TwoWayTransformer(depth=depth, embedding_dim=width, mlp_dim=mlp, num_heads=HEADS),
        transformer_dim=width,
        iou_head_depth=_count(state, "mask_decoder.iou_prediction_head.layers.{}.weight"),
        iou_head_hidden_dim=len(state["mask_decoder.iou_prediction_head.layers.0.weight"]),
    )
    return load(Sam(encoder, prompts, decoder), state)


def _encoder(state: Mapping[str, torch.Tensor]) -> Any:
    from segment_anything.modeling import ImageEncoderViT

    width, _, patch, _ = state["image_encoder.patch_embed.proj.weight"].shape
    grid = state["image_encoder.pos_embed"].shape[1]
    depth = _count(state, "image_encoder.blocks.{}.norm1.weight")
    # Relative positions, (2 · side - 1, width of a head): the side is the whole grid's, or a window's.
    positions = [state[f"image_encoder.blocks.{i}.attn.rel_pos_h"].shape for i in range(depth)]
    sides = [(length + 1) // 2 for length, _ in positions]
    return ImageEncoderViT(
        img_size=grid * patch,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=width // positions[0][1],
        mlp_ratio=len(state["image_encoder.blocks.0.mlp.lin1.weight"]) / width,
        out_chans=len(state["image_encoder.neck.0.weight"]),
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=min(sides),
        global_attn_indexes=tuple(i for i, side in enumerate(sides) if side == grid),
    )


def _count(state: Mapping[str, torch.Tensor], name: str) -> int:
    """How many layers there are whose weights have this name, numbered from 0."""
    return next(i for i in range(len(state) + 1) if name.format(i) not in state)


def masks_in(network: Any, pixels: Pixels, boxes: torch.Tensor) -> Iterator[tuple[Bools, float]]:
    """uint8 RGB (H, W, 3) and boxes (N, 4) xyxy in its pixels → of each its mask (H, W) and the overlap with the true
    mask that the network expects, 0..1."""
    if len(boxes) == 0:
        return
    x, factors = prepared(pixels, network.image_encoder.img_size)
    embedding = network.image_encoder(network.preprocess(x.to(network.device))[None])
    for some in (boxes * factors).to(network.device).split(BOXES):
        sparse, dense = network.prompt_encoder(points=None, boxes=some, masks=None)
        # One mask a box: three are for a point, which may mean a part of a thing (section 3 of the paper).
        small, overlaps = network.mask_decoder(
            embedding, network.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=False
        )
        logits = network.postprocess_masks(small, x.shape[1:], pixels.shape[:2])
        for mask, overlap in zip(logits[:, 0] > network.mask_threshold, overlaps[:, 0].clamp(0, 1), strict=True):
            yield mask.cpu().numpy(), float(overlap)


def prepared(pixels: Pixels, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 RGB (H, W, 3) → (3, h, w) with the longest side `side`, and what xyxy is to be multiplied by, (4,)."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    h, w = (max(1, int(extent * factor + 0.5)) for extent in (height, width))
    resized = PillowImage.fromarray(pixels).resize((w, h), PillowImage.Resampling.BILINEAR)
    return torch.tensor(np.asarray(resized)).permute(2, 0, 1), torch.tensor([w / width, h / height] * 2)
