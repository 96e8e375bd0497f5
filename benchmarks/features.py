"""What do features know? A linear probe on them, beside the published SqueezeNet's and a network's that learnt nothing.

    python benchmarks/features.py --weights DIR/features.safetensors [--limit N]

The network is frozen; a logistic regression learns from what it gives for the middle of a photo.

- cifar10: accuracy on the photos of `split` test (`n`), learnt from the others; how strong the regularisation is was
  chosen on a fifth of these.
- coco_map: mean of the average precision over COCO's categories that are on at least one of the photos that no training
  of features saw (`n`), learnt from the others of `coco_photos` and `coco128`.
- photos_per_second: on one thread, in the precision that workers use here.

Each for `own`, `squeezenet` and `random`: our own network as it is before a training. The last line is one JSON object.
"""

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import safetensors.torch
import torch
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

from muster.pipeline.work.weights import load_weights
from muster.tasks.base import inference_dtype
from muster.tasks.models import zoo
from muster.tasks.models.features import SIDE, Features
from muster.tasks.models.fuse import for_inference
from muster.tasks.models.state_dict import load
from muster.training.data.examples import held_out
from muster.training.recipes.features import HELD_OUT, middle_of, shown

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
STRENGTHS = (0.001, 0.01, 0.1)
CPU = torch.device("cpu")
Embed = Callable[[Any], Any]  # uint8 (N, S, S, 3) → float32 (N, D)


def own(network: Features) -> tuple[int, Embed]:
    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, views: torch.Tensor) -> torch.Tensor:
            return self.network.maps(views)[1].mean((2, 3))

    return SIDE, embedding(Pooled(), shown)


def squeezenet() -> tuple[int, Embed]:
    entry = zoo.ENTRIES["squeezenet"]
    network: Any = entry.build(load_weights(entry, DATA / "weights"))

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = network.network.features

        def forward(self, views: torch.Tensor) -> torch.Tensor:
            return self.features(views).mean((2, 3))

    return network.side, embedding(Pooled(), lambda views: network.normalised(views / 255))


def embedding(network: torch.nn.Module, normalised: Callable[[torch.Tensor], torch.Tensor]) -> Embed:
    dtype = inference_dtype(CPU)
    ready = for_inference(network.eval(), CPU, dtype)

    @torch.inference_mode()
    def embed(views: Any) -> Any:
        photos = normalised(torch.from_numpy(views).permute(0, 3, 1, 2).float()).to(dtype)
        return ready(photos.contiguous(memory_format=torch.channels_last)).float().numpy()

    return embed


def embedded(side: int, embed: Embed, photos: list[bytes]) -> tuple[Any, float]:
    """(N, D), and photos per second of the network alone."""
    found, seconds = [], 0.0
    for begin in range(0, len(photos), 32):
        decoded = [np.asarray(Image.open(BytesIO(each)).convert("RGB")) for each in photos[begin : begin + 32]]
        views = np.stack([middle_of(pixels, side) for pixels in decoded])
        start = time.perf_counter()
        found.append(embed(views))
        seconds += time.perf_counter() - start
    return np.concatenate(found), len(photos) / seconds


def probe(training: Any, labels: Any, strength: float) -> Callable[[Any], Any]:
    """What says of features how probable each label is."""
    scale = StandardScaler().fit(training)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=strength, max_iter=300).fit(scale.transform(training), labels)
    return lambda features: model.predict_proba(scale.transform(features))


def cifar(vectors: Any, labels: Any, tests: Any) -> dict[str, float]:
    training, truth = np.flatnonzero(~tests), labels[tests]
    part = training[np.arange(len(training)) % 5 == 0], training[np.arange(len(training)) % 5 > 0]
    names = np.unique(labels)

    def right(rows: Any, strength: float, wanted: Any, where: Any) -> float:
        said = names[probe(vectors[rows], labels[rows], strength)(vectors[where]).argmax(1)]
        return float((said == wanted).mean())

    best = max(STRENGTHS, key=lambda strength: right(part[1], strength, labels[part[0]], part[0]))
    return {"accuracy": round(right(training, best, truth, tests), 4), "n": int(tests.sum()), "strength": best}


def coco(vectors: Any, labels: list[set[str]], kept: Any) -> dict[str, float]:
    found = []
    for name in sorted({name for each in labels for name in each}):
        there = np.array([name in each for each in labels])
        if there[kept].any() and there[~kept].sum() > 1:
            said = probe(vectors[~kept], there[~kept], 0.01)(vectors[kept])[:, 1]
            found.append(average_precision_score(there[kept], said))
    return {"map": round(float(np.mean(found)), 4), "n": int(kept.sum()), "categories": len(found)}


def cifar_photos(limit: int | None) -> tuple[list[bytes], Any, Any]:
    table = pq.read_table(DATA / "lectures" / "cifar10.parquet")
    rows = np.random.default_rng(0).permutation(table.num_rows)[:limit]
    table = table.take(rows)
    return table["image"].to_pylist(), np.array(table["label"].to_pylist()), np.array(table["split"]) == "test"


def coco_photos() -> tuple[list[bytes], list[set[str]], Any]:
    table = pq.read_table(DATA / "coco_photos" / "photos.parquet").to_pylist()
    rows = [(row["file_name"], row["image"], set(row["labels"])) for row in table if row["has_boxes"]]
    said = json.loads((DATA / "coco128" / "instances.json").read_text())
    names = {each["id"]: each["name"] for each in said["categories"]}
    for photo in said["images"]:
        on_it = {names[each["category_id"]] for each in said["annotations"] if each["image_id"] == photo["id"]}
        rows.append((photo["file_name"], (DATA / "coco128" / "images" / photo["file_name"]).read_bytes(), on_it))
    kept = np.array([held_out(name, HELD_OUT) for name, _, _ in rows])
    return [data for _, data, _ in rows], [labels for _, _, labels in rows], kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="what `muster train features` made")
    parser.add_argument("--limit", type=int, help="so many photos of CIFAR-10")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks = {
        "own": own(load(Features(), safetensors.torch.load_file(args.weights))),
        "squeezenet": squeezenet(),
        "random": own(Features()),
    }
    small, labels, tests = cifar_photos(args.limit)
    photos, categories, kept = coco_photos()
    result: dict[str, Any] = {
        "mib": round(args.weights.stat().st_size / 2**20, 2),
        "precision": str(inference_dtype(CPU)),
    }
    for name, (side, embed) in networks.items():
        vectors, _ = embedded(side, embed, small)
        of_coco, rate = embedded(side, embed, photos)
        figures = {"cifar10": cifar(vectors, labels, tests), "coco_map": coco(of_coco, categories, kept)}
        result[name] = {**figures, "width": vectors.shape[1], "photos_per_second": round(rate, 1)}
        print(name, result[name], file=sys.stderr, flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
