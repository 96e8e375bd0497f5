"""Memory and processor time of a descent in tiles, or in one piece: one square picture, in a process of its own.

    python benchmarks/style_tiles.py 2048
    python benchmarks/style_tiles.py 1024 --at-once 1000000   (cut, which it would not be)

Random smooth colours, SqueezeNet, Adam, one thread. `prepare`: the Gram matrices of a style as large, and the photo's
maps. `mib`: the greatest resident size, less that after a picture of 128 pixels.
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import interpolate

from muster.tasks.models import zoo
from muster.tasks.models.style_costs import AT_ONCE, Maps, Objective, Recipe, grams
from muster.tasks.models.style_transfer import Descent
from muster.tasks.models.zoo.style import LAYERS

WEIGHTS = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "weights"


def descended(network: Any, side: int, at_once: int, evaluations: int) -> dict[str, Any]:
    content, layers = LAYERS["squeezenet"]
    recipe = Recipe(0.02, 1.0, content, dict.fromkeys(layers, 1.0), side)
    random = torch.Generator().manual_seed(0)
    small = [torch.rand(1, 3, side // 8, side // 8, generator=random) for _ in range(2)]
    photo, style = (interpolate(each, (side, side), mode="bicubic").clamp(0, 1) for each in small)
    begun = time.process_time()
    maps = Maps(network, layers, at_once)
    found = grams(maps, style, layers)
    objective = Objective(maps, recipe, photo, {name: found[name] for name in layers})
    between = time.process_time()
    descent = Descent(objective, photo)
    descent.run("adam", evaluations)
    seconds = (time.process_time() - between) / evaluations
    facts = {"tiles": len(objective.tiles), "prepare": round(between - begun, 2), "seconds": round(seconds, 2)}
    return {"side": side, **facts, "curve": descent.curve}


def resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", type=int)
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="pixels of a picture that is not cut")
    parser.add_argument("--evaluations", type=int, default=3)
    parser.add_argument("--weights", type=Path, default=WEIGHTS / "squeezenet1_0_imagenet.pth")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = zoo.ENTRIES["squeezenet"].build(torch.load(options.weights, weights_only=True))
    descended(network, 128, AT_ONCE, 1)
    before = resident()
    facts = descended(network, options.side, options.at_once, options.evaluations)
    print(json.dumps({**facts, "mib": round(resident() - before)}))


if __name__ == "__main__":
    main()
