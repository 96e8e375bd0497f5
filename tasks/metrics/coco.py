"""COCO's average precision of detections, by pycocotools."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

LEAST_SCORE = 0.5  # score of what precision and recall count
STATS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")  # the first of pycocotools' summary, in its order

Box = dict[str, Any]  # of COCO JSON: image_id, category_id, bbox [x, y, width, height]; and id, area, iscrowd, or score


class _Silent:
    """Takes what pycocotools prints: how long each step took."""

    def write(self, text: str) -> None:
        pass

    def flush(self) -> None:
        pass


def xywh(box: Sequence[float]) -> list[float]:
    """COCO's form of a box xyxy."""
    x0, y0, x1, y1 = map(float, box)
    return [x0, y0, x1 - x0, y1 - y0]


def judge(
    images: Sequence[int], boxes: Sequence[Box], known: Mapping[str, int], found: Sequence[Box]
) -> dict[str, Any]:
    """COCO's figures of these finds against these boxes, over the categories `known` (name → id).

    `images`: their ids. Average precision in 0..1, of overlaps of 0.5 to 0.95, and at 0.5 and 0.75; None where there is
    nothing to find. Precision and recall at a score of LEAST_SCORE and an overlap of 0.5, crowds ignored.
    """
    counted = [box for box in boxes if box["category_id"] in known.values() and not box["iscrowd"]]
    judged = _compare(images, boxes, known, found)
    right, wrong = _counts(judged)
    precision = judged.eval["precision"][..., 0, -1]  # (overlaps, recalls, categories), of any size
    per_class = {
        name: {
            "ap": _mean(precision[:, :, i]),
            "ap50": _mean(precision[0, :, i]),
            "boxes": sum(box["category_id"] == known[name] for box in counted),
        }
        for i, name in enumerate(known)
    }
    return {
        **{
            name: None if value < 0 else round(float(value), 5)
            for name, value in zip(STATS, judged.stats, strict=False)
        },
        "images": len(images),
        "boxes": len(counted),
        f"precision_at_{LEAST_SCORE}": _ratio(right, right + wrong),
        f"recall_at_{LEAST_SCORE}": _ratio(right, len(counted)),
        "per_class": per_class,
    }


def _compare(images: Sequence[int], boxes: Sequence[Box], known: Mapping[str, int], found: Sequence[Box]) -> Any:
    with contextlib.redirect_stdout(_Silent()):  # type: ignore[type-var]
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i} for i in images],
            "categories": [{"id": i} for i in sorted({box["category_id"] for box in boxes} | set(known.values()))],
            "annotations": boxes,
        }
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(list(found)) if found else COCO(), "bbox")
        judged.params.catIds = list(known.values())
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return judged


def _counts(judged: Any) -> tuple[int, int]:
    """How many finds from LEAST_SCORE on match a thing (IoU 0.5), best first, each once; and how many match nothing."""
    right = wrong = 0
    for each in judged.evalImgs:  # of an image, a category and a range of areas
        if each is not None and each["aRng"] == judged.params.areaRng[0]:
            counted = (np.array(each["dtScores"]) >= LEAST_SCORE) & (each["dtIgnore"][0] == 0)
            matched = each["dtMatches"][0] > 0
            right += int((counted & matched).sum())
            wrong += int((counted & ~matched).sum())
    return right, wrong


def _mean(precision: Any) -> float | None:
    """pycocotools writes -1 where there is nothing to find."""
    there = precision[precision > -1]
    return round(float(there.mean()), 5) if there.size else None


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 5) if whole else None
