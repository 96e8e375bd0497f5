"""Small random models of the `transformers` library, saved by the library itself: nothing published can be had here."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

os.environ["HF_HUB_OFFLINE"] = "1"

LABELS = {0: "cat", 1: "dog", 2: "tree", 3: "kite", 4: "person"}
Made = tuple[Any, Any]  # network, processor


def save(kind: str, folder: Path, seed: int = 0) -> Path:
    """A model of `kind`, one of MODELS, in a folder."""
    torch.manual_seed(seed)
    with torch.no_grad():
        network, processor = MODELS[kind]()
        for name, value in network.named_parameters():  # as initialised, scores hardly differ, and any order is right
            if value.dim() > 1:
                value.normal_(0, 1.4 / value[0].numel() ** 0.5)
            elif "weight" not in name:
                value.normal_(0, 0.3)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _hgnet(**more: Any) -> Any:
    import transformers as hf

    return hf.HGNetV2Config(
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 16, 16, 24],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[16, 16, 24, 32],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[1, 1, 1, 1],
        embedding_size=8,
        hidden_sizes=[16, 16, 24, 32],
        depths=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
        **more,
    )


def _small_detr() -> dict[str, Any]:
    return {
        "d_model": 32,
        "encoder_hidden_dim": 32,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "num_queries": 30,
        "decoder_attention_heads": 4,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "num_denoising": 0,
        "id2label": LABELS,
        "label2id": {name: i for i, name in LABELS.items()},
    }


def d_fine() -> Made:
    import transformers as hf

    config = hf.DFineConfig(
        backbone_config=_hgnet(),
        encoder_in_channels=[16, 24, 32],
        feat_strides=[8, 16, 32],
        decoder_in_channels=[32, 32, 32],
        **_small_detr(),
    )
    size = {"height": 160, "width": 160}
    return hf.DFineForObjectDetection(config), hf.RTDetrImageProcessor(size=size)


def rt_detr_v2() -> Made:
    import transformers as hf

    backbone = hf.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = hf.RTDetrV2Config(
        backbone_config=backbone, encoder_in_channels=[16, 24, 32], decoder_in_channels=[32, 32, 32], **_small_detr()
    )
    size = {"height": 160, "width": 160}
    return hf.RTDetrV2ForObjectDetection(config), hf.RTDetrImageProcessor(size=size)


def detr() -> Made:
    import transformers as hf

    backbone = hf.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage4"]
    )
    config = hf.DetrConfig(
        backbone_config=backbone,
        use_timm_backbone=False,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_queries=20,
        id2label=LABELS,
        label2id={name: i for i, name in LABELS.items()},
    )
    return hf.DetrForObjectDetection(config), hf.DetrImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})


def vit() -> Made:
    import transformers as hf

    config = hf.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=64,
        patch_size=16,
        id2label=LABELS,
        label2id={name: i for i, name in LABELS.items()},
    )
    return hf.ViTForImageClassification(config), hf.ViTImageProcessor(size={"height": 64, "width": 64})


MODELS: dict[str, Callable[[], Made]] = {"d_fine": d_fine, "rt_detr_v2": rt_detr_v2, "detr": detr, "vit": vit}
