"""Seven detectors, from a sliding window to one look: how right they are, how fast, and how often their network runs.

    python benchmarks/detection_history.py [--trained DIR] [--data DIR] [--scenes N]

DIR has a folder for each recipe (`muster train NAME … --out DIR/NAME`); the default is `detection_history` beside this
file: trainings on two cores, of which each has its card. All of them are asked about the same scenes, of digits and
textures that no training saw, one scene at a time, in one thread, in float32.

- map50: average precision at an overlap of 0.5, mean of the classes.
- ms_per_image: median of the scenes; with segmentation, resizing and suppression. The methods take turns.
- passes: on how many pictures the convolutions are run for one scene, in the mean.
- segmentation_ms, segmentation_recall: of the regions of `rcnn` and `fast_rcnn`.
- window_naive is `window` with each window cut out. `map50` of it is that of `window`, as `window_difference`, the
  largest difference of any logit, shows; `window_ratio`: how many times as long it takes, of TWICE scenes.

The last line is one JSON object.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torchvision.ops import box_iou

sys.path.insert(0, str(Path(__file__).parents[1]))

from muster.tasks.models.state_dict import load
from muster.training.data.digit_scenes import Drawer, Scenes
from muster.training.detectors import regions, window
from muster.training.detectors.backbone import Backbone, Found
from muster.training.inputs import Inputs
from muster.training.recipes import localise, scenes

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
TRAINED = Path(__file__).parent / "detection_history"
TWICE = 20  # scenes that the naive window looks at

Look = Callable[[torch.Tensor], Found]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trained", type=Path, default=TRAINED)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--scenes", type=int, default=500)
    given = parser.parse_args()
    torch.set_num_threads(1)
    counted = Passes()
    torch.nn.modules.module.register_module_forward_pre_hook(counted)
    inputs = Inputs(
        images=[str(given.data / "lectures/digits.parquet")],
        scenes=[str(given.data / "coco_photos/photos.parquet")],
        label="digit",
        out=given.trained,
    )
    classes, _, kept = localise.read_digits(inputs)
    drawn = scenes.held_out(Drawer(*kept, localise.read_textures(inputs)[1]), given.scenes)
    images = list(drawn.images * 2 - 1)
    networks = {name: trained(given.trained, name, len(classes)) for name in scenes.KINDS}
    looks = {name.replace("-", "_"): asked(network) for name, network in networks.items()}
    with torch.inference_mode():
        found, seconds, passes = run(looks, images, counted)
        methods = {
            name: {
                "map50": round(scenes.judged(classes, drawn, found[name])["ap50"], 4),
                "ms_per_image": round(1e3 * statistics.median(seconds[name]), 2),
                "passes": round(passes[name] / len(images), 1),
            }
            for name in looks
        }
        difference, ratio, windows, ms = naive(networks["window"], images[:TWICE], counted)
    methods["window_naive"] = {"map50": methods["window"]["map50"], "ms_per_image": ms, "passes": windows}
    figures = {
        "methods": methods,
        "order_of_speed": sorted(methods, key=lambda name: methods[name]["ms_per_image"]),
        "window_difference": difference,
        "window_ratio": ratio,
        **segmentation(drawn),
        "scenes": len(images),
        "objects": int((drawn.labels >= 0).sum()),
    }
    print(json.dumps(figures))


def trained(folder: Path, name: str, classes: int) -> torch.nn.Module:
    path = folder / name / f"{name}.safetensors"
    if not path.exists():
        sys.exit(f"{path} is not there: `muster train {name} … --out {path.parent}` makes it")
    return load(scenes.KINDS[name][0](classes), load_file(path)).eval()


def asked(network: torch.nn.Module) -> Look:
    return lambda image: network([image])[0]


class Passes:
    """Counts the pictures that any backbone is run on."""

    total = 0

    def __call__(self, module: torch.nn.Module, given: Any) -> None:
        if isinstance(module, Backbone):
            self.total += len(given[0])


def run(
    looks: dict[str, Look], images: list[torch.Tensor], counted: Passes
) -> tuple[dict[str, list[Found]], dict[str, list[float]], dict[str, int]]:
    """What each finds, how many seconds it took, and on how many pictures its convolutions were run in all."""
    found: dict[str, list[Found]] = {name: [] for name in looks}
    seconds: dict[str, list[float]] = {name: [] for name in looks}
    passes = dict.fromkeys(looks, 0)
    for image in images:
        for name, look in looks.items():
            before = counted.total
            begun = time.perf_counter()
            found[name].append(look(image))
            seconds[name].append(time.perf_counter() - begun)
            passes[name] += counted.total - before
    return found, seconds, passes


def naive(network: Any, images: list[torch.Tensor], counted: Passes) -> tuple[float, float, float, float]:
    """The largest difference of any logit, times as long, windows of a scene, and milliseconds."""
    difference, slow, fast, begun = 0.0, list[float](), list[float](), counted.total
    for image in images:
        for took, alone in ((slow, True), (fast, False)):
            started = time.perf_counter()
            network.found(image, naive=alone)
            took.append(time.perf_counter() - started)
    windows = (counted.total - begun) / len(images) - len(window.FACTORS)
    for image in images[:3]:
        for factor in window.FACTORS:
            picture = window.resized(image, factor)
            difference = max(difference, float((network.naive(picture) - network.classified(picture)).abs().max()))
    ratio = statistics.median(one / other for one, other in zip(slow, fast, strict=True))
    return difference, round(ratio, 1), windows, round(1e3 * statistics.median(slow), 2)


def segmentation(drawn: Scenes) -> dict[str, float]:
    """How long R-CNN and Fast R-CNN wait for the regions of a scene, and how many objects one overlaps by half."""
    took, overlaps = [], []
    for image, boxes, labels in zip(drawn.images, drawn.boxes, drawn.labels, strict=True):
        begun = time.perf_counter()
        found = regions.proposals(image)
        took.append(time.perf_counter() - begun)
        overlaps.append(box_iou(boxes[labels >= 0], found).amax(1))
    recall = (torch.cat(overlaps) >= 0.5).double().mean()
    return {"segmentation_ms": round(1e3 * statistics.median(took), 2), "segmentation_recall": round(float(recall), 4)}


if __name__ == "__main__":
    main()
