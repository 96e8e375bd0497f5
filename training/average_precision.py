"""COCO's average precision of detections, by pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Truth = tuple[Any, Any]  # boxes (M, 4) xyxy in pixels, class indices (M,)
Found = tuple[Any, Any, Any]  # boxes, scores, class indices


def average_precision(truth: Sequence[Truth], found: Sequence[Found]) -> dict[str, float]:
    """`ap` over overlaps of 0.5 to 0.95 and `ap50`, a photo per element; 0 where nothing was found."""
    images = [{"id": number} for number in range(len(truth))]
    numbers = sorted({int(label) for _, labels in truth for label in labels})
    annotations = [
        {"id": 0, "image_id": image, "category_id": int(label), "bbox": _xywh(box), "area": _area(box), "iscrowd": 0}
        for image, (boxes, labels) in enumerate(truth)
        for box, label in zip(boxes, labels, strict=True)
    ]
    for number, each in enumerate(annotations, 1):
        each["id"] = number
    results = [
        {"image_id": image, "category_id": int(label), "bbox": _xywh(box), "score": float(score)}
        for image, (boxes, scores, labels) in enumerate(found)
        for box, score, label in zip(boxes, scores, labels, strict=True)
    ]
    if not results or not annotations:
        return {"ap": 0.0, "ap50": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": annotations, "categories": [{"id": n} for n in numbers]}
        coco.createIndex()
        judged = COCOeval(coco, coco.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return {"ap": float(judged.stats[0]), "ap50": float(judged.stats[1])}


def _xywh(box: Any) -> list[float]:
    return [float(v) for v in (box[0], box[1], box[2] - box[0], box[3] - box[1])]


def _area(box: Any) -> float:
    return float(np.prod(np.asarray(box[2:]) - np.asarray(box[:2])))
