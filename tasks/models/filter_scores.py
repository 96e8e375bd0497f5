"""From which score on a photo counts as showing a thing, where photos are narrowed down to those that show it.

Higher than what is stored, and chosen for precision: `benchmarks/filters.py` has the rule, chooses, and measures.
"""

from collections.abc import Mapping
from typing import Any

from muster.tasks.models import coco_labels, zoo

# Entry → class → least score. For a class that is not here the rule found no score: it cannot be looked for.
# fmt: off
MEASURED: Mapping[str, Mapping[str, float]] = {
    "fastestdet": {
        "bicycle": 0.71, "car": 0.65, "motorcycle": 0.65, "airplane": 0.82, "bus": 0.74, "train": 0.71, "boat": 0.76,
        "traffic light": 0.72, "fire hydrant": 0.78, "stop sign": 0.76, "parking meter": 0.76, "bench": 0.81,
        "bird": 0.76, "cat": 0.81, "dog": 0.72, "horse": 0.73, "sheep": 0.73, "cow": 0.77, "elephant": 0.7,
        "bear": 0.81, "zebra": 0.72, "giraffe": 0.76, "backpack": 0.77, "umbrella": 0.7, "handbag": 0.77, "tie": 0.72,
        "suitcase": 0.72, "frisbee": 0.71, "skis": 0.72, "snowboard": 0.77, "sports ball": 0.8, "kite": 0.83,
        "baseball bat": 0.77, "baseball glove": 0.77, "skateboard": 0.73, "surfboard": 0.77, "tennis racket": 0.72,
        "bottle": 0.75, "wine glass": 0.72, "cup": 0.84, "fork": 0.77, "knife": 0.77, "spoon": 0.77, "bowl": 0.76,
        "banana": 0.71, "apple": 0.77, "sandwich": 0.77, "orange": 0.77, "broccoli": 0.8, "carrot": 0.73,
        "hot dog": 0.77, "pizza": 0.72, "donut": 0.76, "cake": 0.79, "chair": 0.73, "couch": 0.77,
        "potted plant": 0.72, "bed": 0.82, "toilet": 0.72, "tv": 0.75, "laptop": 0.76, "mouse": 0.73, "remote": 0.77,
        "keyboard": 0.65, "cell phone": 0.76, "microwave": 0.77, "oven": 0.78, "toaster": 0.77, "sink": 0.76,
        "refrigerator": 0.72, "clock": 0.83, "vase": 0.8, "scissors": 0.77, "teddy bear": 0.68, "hair drier": 0.77,
        "toothbrush": 0.77,
    },
}
# fmt: on

# Of weights whose finds were not measured: what the rule asks of FastestDet where a class has no finds to go by.
UNMEASURED: Mapping[str, float] = dict.fromkeys(coco_labels.NAMES, 0.77)


def least_scores(weights: Mapping[str, Any]) -> Mapping[str, float]:
    """For muster.tasks.base.Findings.least_scores, of `objects`."""
    for name, scores in MEASURED.items():
        if weights == {"detector": {"name": name, "sha256": zoo.ENTRIES[name].sha256}}:
            return scores
    return UNMEASURED
