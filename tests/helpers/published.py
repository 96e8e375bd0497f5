"""Small random models of the `transformers` library, saved by the library itself: nothing published can be had here."""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image as PillowImage

from muster.pipeline.work.choice import TaskChoice
from muster.tasks.base import Image, Task

os.environ["HF_HUB_OFFLINE"] = "1"

NAMES = ("cat", "dog", "tree", "kite", "person")
LABELS = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
HEADS = {"decoder_attention_heads": 4, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
SIZES = {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "layer_type": "basic"}
SQUARE = {"height": 96, "width": 96}
WORDS = [*NAMES, "a", "red", "car", "our", "of", "photo", "the", "in", "snow", "children", ".", ",", "?"]
Made = tuple[Any, Any]  # network, processor


# How far the outputs of a model are apart. With more, many places of these choose each other's queries by rounding.
SPREADS = {"rt_detr": 0.5, "rt_detr_v2": 0.5}


def save(kind: str, folder: Path, seed: int = 0) -> Path:
    """A model of `kind`, one of MODELS, in a folder."""
    spread = SPREADS.get(kind, 1.4)
    torch.manual_seed(seed)
    network, processor = MODELS[kind]()
    with torch.no_grad():
        for name, value in network.named_parameters():  # as initialised, scores hardly differ, and any order is right
            if value.dim() > 1:
                value.normal_(0, spread / value[0].numel() ** 0.5)
            elif not name.endswith("weight") and value.dim():
                value.normal_(0, 0.3)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def tokenizer(**more: Any) -> Any:
    """Of words, as they stand in WORDS; others are unknown."""
    import transformers as hf
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = ["<pad>", "<s>", "</s>", "<unk>"]
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*special, *WORDS])}, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    tokens = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return hf.PreTrainedTokenizerFast(tokenizer_object=words, **tokens, **more)


VOCABULARY = 4 + len(WORDS)
TOKENS = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

# ---- objects ---------------------------------------------------------------------------------------------------------


def _hgnet() -> Any:
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
    )


def _real_time() -> dict[str, Any]:
    return {
        "d_model": 32,
        "encoder_hidden_dim": 32,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "num_queries": 30,
        "num_denoising": 0,
        "encoder_in_channels": [16, 24, 32],
        "decoder_in_channels": [32, 32, 32],
        **HEADS,
        **LABELS,
    }


def d_fine() -> Made:
    import transformers as hf

    config = hf.DFineConfig(backbone_config=_hgnet(), feat_strides=[8, 16, 32], **_real_time())
    return hf.DFineForObjectDetection(config), hf.RTDetrImageProcessor(size=SQUARE)


def rt_detr() -> Made:
    import transformers as hf

    backbone = hf.RTDetrResNetConfig(out_features=["stage2", "stage3", "stage4"], **SIZES)
    config = hf.RTDetrConfig(backbone_config=backbone, **_real_time())
    return hf.RTDetrForObjectDetection(config), hf.RTDetrImageProcessor(size=SQUARE)


def rt_detr_v2() -> Made:
    import transformers as hf

    backbone = hf.RTDetrResNetConfig(out_features=["stage2", "stage3", "stage4"], **SIZES)
    config = hf.RTDetrV2Config(backbone_config=backbone, **_real_time())
    return hf.RTDetrV2ForObjectDetection(config), hf.RTDetrImageProcessor(size=SQUARE)


def rf_detr() -> Made:
    import transformers as hf

    backbone = hf.RfDetrDinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=96,
        patch_size=12,
        num_windows=2,
        out_features=["stage2", "stage4"],
    )
    config = hf.RfDetrConfig(
        backbone_config=backbone,
        d_model=32,
        decoder_ffn_dim=64,
        decoder_layers=2,
        decoder_self_attention_heads=4,
        decoder_cross_attention_heads=4,
        num_queries=20,
        group_detr=1,
        c2f_num_blocks=1,
        **LABELS,
    )
    return hf.RfDetrForObjectDetection(config), hf.RfDetrImageProcessor(size=SQUARE)


def detr() -> Made:
    """Whose photos keep their shape."""
    import transformers as hf

    backbone = hf.ResNetConfig(out_features=["stage4"], **SIZES)
    config = hf.DetrConfig(
        backbone_config=backbone,
        use_timm_backbone=False,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        num_queries=20,
        **HEADS,
        **LABELS,
    )
    return hf.DetrForObjectDetection(config), hf.DetrImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})


def detr_timm() -> Made:
    """As DETR was published first."""
    import transformers as hf

    config = hf.DetrConfig(
        use_timm_backbone=True,
        backbone="resnet18",
        use_pretrained_backbone=False,
        backbone_config=None,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        num_queries=20,
        **HEADS,
        **LABELS,
    )
    return hf.DetrForObjectDetection(config), hf.DetrImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})


def yolos() -> Made:
    import transformers as hf

    config = hf.YolosConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=[96, 160],
        num_detection_tokens=20,
        **LABELS,
    )
    return hf.YolosForObjectDetection(config), hf.YolosImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})


def owlv2() -> Made:
    import transformers as hf

    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = hf.Owlv2Config(
        text_config={**small, **TOKENS, "max_position_embeddings": 16},
        vision_config={**small, "image_size": 96, "patch_size": 16},
        projection_dim=32,
    )
    pictures = hf.Owlv2ImageProcessor(size=SQUARE)
    return hf.Owlv2ForObjectDetection(config), hf.Owlv2Processor(pictures, tokenizer())


def grounding_dino() -> Made:
    import transformers as hf

    swin = hf.SwinConfig(
        image_size=96,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=3,
        out_features=["stage2", "stage3", "stage4"],
    )
    text = hf.BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64
    )
    config = hf.GroundingDinoConfig(
        backbone_config=swin,
        text_config=text,
        num_queries=20,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        num_feature_levels=3,
        max_text_len=64,
        disable_custom_kernels=True,
        **HEADS,
    )
    pictures = hf.GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
    return hf.GroundingDinoForObjectDetection(config), hf.GroundingDinoProcessor(pictures, tokenizer())


# ---- masks -----------------------------------------------------------------------------------------------------------


def segformer() -> Made:
    import transformers as hf

    config = hf.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=16,
        **LABELS,
    )
    return hf.SegformerForSemanticSegmentation(config), hf.SegformerImageProcessor(size=SQUARE)


def mask2former() -> Made:
    import transformers as hf

    swin = hf.SwinConfig(
        image_size=96,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=3,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = hf.Mask2FormerConfig(
        backbone_config=swin,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=32,
        num_queries=12,
        **LABELS,
    )
    return hf.Mask2FormerForUniversalSegmentation(config), hf.Mask2FormerImageProcessor(size=SQUARE)


def sam() -> Made:
    import transformers as hf

    config = hf.SamConfig(
        vision_config={
            "hidden_size": 32,
            "output_channels": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 64,
            "window_size": 2,
            "global_attn_indexes": [1],
            "num_pos_feats": 8,
            "mlp_dim": 64,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "mask_input_channels": 8},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    pictures = hf.SamImageProcessor(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}, mask_size={"longest_edge": 16}
    )
    return hf.SamModel(config), hf.SamProcessor(pictures)


def sam2() -> Made:
    import transformers as hf

    hiera = hf.Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[64, 64],
        blocks_per_stage=[1, 1, 1, 1],
        embed_dim_per_stage=[8, 16, 24, 32],
        num_attention_heads_per_stage=[1, 2, 2, 4],
        window_size_per_stage=[8, 4, 4, 2],
        global_attention_blocks=[],
        window_positional_embedding_background_size=[2, 2],
    )
    vision = hf.Sam2VisionConfig(
        backbone_config=hiera,
        backbone_channel_list=[32, 24, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=16,
    )
    config = hf.Sam2Config(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "mask_input_channels": 8},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    pictures = hf.Sam2ImageProcessor(size={"height": 64, "width": 64}, mask_size={"height": 16, "width": 16})
    return hf.Sam2Model(config), hf.Sam2Processor(pictures)


def sam3_tracker() -> Made:
    import transformers as hf

    vit = hf.Sam3ViTConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=112,
        patch_size=14,
        window_size=4,
        global_attn_indexes=[1],
        pretrain_image_size=56,
    )
    vision = hf.Sam3VisionConfig(
        backbone_config=vit, fpn_hidden_size=16, backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]]
    )
    config = hf.Sam3TrackerConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 16, "image_size": 112, "mask_input_channels": 8},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    pictures = hf.Sam3ImageProcessor(size={"height": 112, "width": 112}, mask_size={"height": 32, "width": 32})
    return hf.Sam3TrackerModel(config), hf.Sam3TrackerProcessor(pictures)


# ---- labels and features ---------------------------------------------------------------------------------------------

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def vit() -> Made:
    import transformers as hf

    config = hf.ViTConfig(image_size=64, **SMALL, **LABELS)
    return hf.ViTForImageClassification(config), hf.ViTImageProcessor(size={"height": 64, "width": 64})


def convnext() -> Made:
    """With several labels at once; photos are cropped."""
    import transformers as hf

    kind = {"problem_type": "multi_label_classification"}
    config = hf.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], **kind, **LABELS)
    return hf.ConvNextForImageClassification(config), hf.ConvNextImageProcessor(size={"shortest_edge": 96})


def dinov2() -> Made:
    import transformers as hf

    config = hf.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2, image_size=70, patch_size=14
    )
    size = {"size": {"shortest_edge": 80}, "crop_size": {"height": 70, "width": 70}}
    return hf.Dinov2Model(config), hf.BitImageProcessor(**size)


def clip() -> Made:
    import transformers as hf

    config = hf.CLIPConfig(
        text_config={**SMALL, **TOKENS, "max_position_embeddings": 24},
        vision_config={**SMALL, "image_size": 64, "patch_size": 16},
        projection_dim=24,
    )
    size = {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}
    return hf.CLIPModel(config), hf.CLIPProcessor(hf.CLIPImageProcessor(**size), tokenizer())


def siglip() -> Made:
    import transformers as hf

    config = hf.SiglipConfig(
        text_config={**SMALL, **TOKENS, "max_position_embeddings": 24},
        vision_config={**SMALL, "image_size": 64, "patch_size": 16},
    )
    pictures = hf.SiglipImageProcessor(size={"height": 64, "width": 64})
    return hf.SiglipModel(config), hf.SiglipProcessor(pictures, tokenizer(model_max_length=24))


def siglip2() -> Made:
    """Whose photos keep their shape, in as many patches as there is room for."""
    import transformers as hf

    config = hf.Siglip2Config(
        text_config={**SMALL, **TOKENS, "max_position_embeddings": 24},
        vision_config={**SMALL, "num_patches": 16, "patch_size": 16},
    )
    pictures = hf.Siglip2ImageProcessor(patch_size=16, max_num_patches=16)
    return hf.Siglip2Model(config), hf.Siglip2Processor(pictures, tokenizer(model_max_length=24))


MODELS: dict[str, Callable[[], Made]] = {
    made.__name__: made
    for made in (
        d_fine,
        rt_detr,
        rt_detr_v2,
        rf_detr,
        detr,
        detr_timm,
        yolos,
        owlv2,
        grounding_dino,
        segformer,
        mask2former,
        sam,
        sam2,
        sam3_tracker,
        vit,
        convnext,
        dinov2,
        clip,
        siglip,
        siglip2,
    )
}


def photos(data: Path, count: int = 40) -> list[Image]:
    """Photos of every shape: of COCO, two of them very wide and very tall, a square, and one with few pixels."""
    table = pq.read_table(data / "coco_photos" / "photos.parquet", columns=["image"])
    decoded = [np.asarray(PillowImage.open(io.BytesIO(each)).convert("RGB")) for each in table["image"].to_pylist()]
    by_shape = list({pixels.shape: pixels for pixels in decoded}.values())
    wide, tall = by_shape[0][100:164], np.ascontiguousarray(by_shape[1][:, 50:114])
    found = [*by_shape[: count - 4], wide, tall, by_shape[2][:200, :200], by_shape[3][:20, :30]]
    assert len(found) == count
    return [
        Image(str(i), np.ascontiguousarray(each), 1.0, (each.shape[1], each.shape[0])) for i, each in enumerate(found)
    ]


def loaded(task: str, folder: Path, weights: Path | None = None, **options: Any) -> Task:
    """A task with the model in a folder, on the CPU."""
    choice = TaskChoice(name=task, model=f"hf:{folder}", options=options)
    return choice.load(torch.device("cpu"), weights)


def by_image(rows: pa.Table, images: Sequence[Image]) -> list[list[dict[str, Any]]]:
    """The rows of each image."""
    found: dict[str, list[dict[str, Any]]] = {image.image_id: [] for image in images}
    for row in rows.to_pylist():
        found[row["image_id"]].append(row)
    return [found[image.image_id] for image in images]


def picture(image: Image) -> PillowImage.Image:
    return PillowImage.fromarray(image.pixels)
