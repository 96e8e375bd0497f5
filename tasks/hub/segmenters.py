"""Networks of the `transformers` library that say which pixels are what, or fill a box."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image as PillowImage

from muster.arrays import Bools, Pixels
from muster.tasks.hub.network import Published, batches
from muster.tasks.masks import Find, by_class

BOXES = 32  # of one image at once


def segments(network: Published, pixels: Pixels, subtask: str, least: float, device: torch.device) -> Iterator[Find]:
    """The things, or the things and the stuff ("panoptic"), in an image, uint8 RGB (H, W, 3).

    As the library's pipeline, but for the least score, which is the user's.
    """
    outputs = _outputs(network, pixels, device)
    choose = getattr(network.image_processor, f"post_process_{subtask}_segmentation")
    [found] = choose(
        outputs, threshold=least, mask_threshold=0.5, overlap_mask_area_threshold=0.5, target_sizes=[pixels.shape[:2]]
    )
    places = found["segmentation"].cpu().numpy()
    for each in found["segments_info"]:
        yield Find(each["label_id"], float(each["score"]), places == each["id"])


def classes(network: Published, pixels: Pixels, background: int | None, device: torch.device) -> Iterator[Find]:
    """The pixels of each class in an image, uint8 RGB (H, W, 3), with the mean of their probabilities."""
    outputs = _outputs(network, pixels, device)
    if not hasattr(outputs, "logits"):
        [labels] = network.image_processor.post_process_semantic_segmentation(outputs, target_sizes=[pixels.shape[:2]])
        yield from by_class(labels, _sureness(outputs, pixels).to(labels.device), background)
        return
    logits = F.interpolate(outputs.logits, pixels.shape[:2], mode="bilinear", align_corners=False)[0]
    yield from by_class(logits.argmax(0), logits.softmax(0).amax(0), background)


def _sureness(outputs: Any, pixels: Pixels) -> torch.Tensor:
    """Of networks that give masks with classes: how sure a pixel's class is, (H, W) in 0..1.

    Cheng et al., MaskFormer, NeurIPS 2021, section 3.4: the sum over masks of class times mask probability.
    """
    shares = outputs.class_queries_logits[0].softmax(-1)[:, :-1]
    masks = outputs.masks_queries_logits[0].sigmoid()
    sums = torch.einsum("qc,qhw->chw", shares, masks)[None]
    return F.interpolate(sums, pixels.shape[:2], mode="bilinear", align_corners=False)[0].amax(0).clamp(0, 1)


def _outputs(network: Published, pixels: Pixels, device: torch.device) -> Any:
    [(_, inputs)] = batches(network, [pixels], device)
    return network.network(**inputs)


def masks_in(network: Published, pixels: Pixels, boxes: torch.Tensor) -> Iterator[tuple[Bools, float]]:
    """uint8 RGB (H, W, 3) and boxes (N, 4) xyxy in its pixels → of each its mask (H, W) and the overlap with the true
    mask that the network expects, 0..1. SAM and those after it."""
    photo, device = PillowImage.fromarray(pixels), next(network.parameters()).device
    for some in boxes.split(BOXES):
        inputs = network.processor(images=photo, input_boxes=[some.tolist()], return_tensors="pt").to(device)
        outputs = network.network(**inputs, multimask_output=False)
        sizes = {name: inputs[name] for name in ("original_sizes", "reshaped_input_sizes") if name in inputs}
        [masks] = network.processor.post_process_masks(outputs.pred_masks.cpu(), **sizes)
        for mask, overlap in zip(masks[:, 0], outputs.iou_scores[0, :, 0].clamp(0, 1), strict=True):
            yield mask.numpy().astype(bool), float(overlap)


def everything(network: Published, pixels: Pixels, device: torch.device) -> Iterator[tuple[Bools, float]]:
    """Masks of whatever lies under the points of a grid, by the library's own pipeline; as `masks_in`."""
    from transformers import MaskGenerationPipeline

    grid = MaskGenerationPipeline(model=network.network, image_processor=network.image_processor, device=device)
    found = grid(PillowImage.fromarray(pixels))
    for mask, overlap in zip(found["masks"], found["scores"], strict=True):
        yield np.asarray(mask, bool), float(overlap)
