"""Which things are on photos of COCO? `muster train labels`, then `muster evaluate labels`, on each of three networks.

    python benchmarks/labels.py

Heads are learnt on the photos of `coco_photos` and `coco128` that training keeps by its rule. `map`, the mean of the
average precision over categories, and `calibration_error` are those of `muster evaluate labels` on the others, which no
training saw (`n`). `top1`, `top5`: of heads that learnt CIFAR-10's `split` train, on its test photos. `own`: our own
network, `squeezenet`: the published one, `random`: our own as it was before. `seconds`: of the training of the head,
most of which is the network looking at photos. The last line is one JSON object.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

import muster
from muster.tasks.models.features import Features
from muster.tasks.models.zoo import classifiers
from muster.training import loop
from muster.training.data.examples import held_out
from muster.training.inputs import Inputs
from muster.training.recipes.features import HELD_OUT
from muster.training.recipes.labels import build_own

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
SOURCES = {
    DATA / "coco_photos/photos.parquet": DATA / "coco_photos/instances.json",
    DATA / "coco128/images": DATA / "coco128/instances.json",
}
NETWORKS = {"own": ("labels", "head"), "squeezenet": ("labels-squeezenet", "head-squeezenet")}


def kept_out(folder: Path) -> tuple[Path, Path]:
    """The photos that no training saw, in a folder, and a COCO file of these alone."""
    photos, merged = folder / "photos", {"images": [], "annotations": [], "categories": []}
    photos.mkdir()
    for number, (source, file) in enumerate(SOURCES.items()):
        content = json.loads(file.read_text())
        merged["categories"] = content["categories"]
        names = {
            image["id"]: image["file_name"] for image in content["images"] if held_out(image["file_name"], HELD_OUT)
        }
        for name in names.values():
            (photos / name).write_bytes(_bytes(source, name))
        merged["images"] += [{"id": f"{number}{i}", "file_name": name} for i, name in names.items()]
        merged["annotations"] += [
            {**a, "image_id": f"{number}{a['image_id']}"} for a in content["annotations"] if a["image_id"] in names
        ]
    (folder / "boxes.json").write_text(json.dumps(merged))
    return photos, folder / "boxes.json"


def _bytes(source: Path, name: str) -> bytes:
    if source.is_dir():
        return (source / name).read_bytes()
    table = pq.read_table(source, columns=["file_name", "image"])
    return table["image"][pc.index(table["file_name"], name).as_py()].as_py()


def cifar(folder: Path, limit: int) -> tuple[Path, Path]:
    """The first photos of `split` train, and all of test."""
    table = pq.read_table(DATA / "lectures/cifar10.parquet")
    train, test = (table.filter(pc.equal(table["split"], split)) for split in ("train", "test"))
    every = train.take(
        pa.array(torch.randperm(train.num_rows, generator=torch.Generator().manual_seed(0))[:limit].numpy())
    )
    for name, rows in {"train": every, "test": test}.items():
        pq.write_table(rows, folder / f"{name}.parquet")
    return folder / "train.parquet", folder / "test.parquet"


def at_random(place: Path, train: Path, test: Path) -> dict[str, Any]:
    """Heads on our network as it is before a training: measured by the recipe itself, on the same photos."""
    torch.manual_seed(0)
    weights, facts = {classifiers.OWN.name: Features().state_dict()}, {}
    coco = Inputs(images=[*map(str, SOURCES)], labels=[*map(str, SOURCES.values())], weights=weights, out=place / "a")
    cifar = Inputs(images=[str(train), str(test)], label="label", weights=weights, out=place / "b")
    for kind, inputs in {"coco": coco, "cifar10": cifar}.items():
        loop.train(build_own(inputs), inputs.out, torch.device("cpu"), lambda report: None)
        card = json.loads((inputs.out / loop.CARD).read_text())
        facts[kind] = {**card["measured"], "n": card["held_out"]["photos"]}
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=8000, help="photos of CIFAR-10 to learn from")
    limit = parser.parse_args().limit
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        photos, boxes = kept_out(Path(place))
        train, test = cifar(Path(place), limit)
        for name in ("own", "squeezenet"):
            result[name] = measured(name, Path(place), photos, boxes, train, test)
            print(name, result[name], file=sys.stderr, flush=True)
        result["random"] = at_random(Path(place), train, test)
    print(json.dumps(result))


def measured(name: str, place: Path, photos: Path, boxes: Path, train: Path, test: Path) -> dict[str, Any]:
    recipe, model = NETWORKS[name]
    machine = muster.Machine(device="cpu", weights_dir=DATA / "weights")
    facts: dict[str, Any] = {}
    for kind, images, more in (
        ("coco", list(SOURCES), {"labels": list(SOURCES.values())}),
        ("cifar10", [train], {"label": "label"}),
    ):
        start = time.perf_counter()
        file = muster.train(recipe, images, place / f"{name}-{kind}", machine=machine, **more)["model"]
        seconds = time.perf_counter() - start
        asked = {"annotations": boxes} if kind == "coco" else {"label": "label"}
        task = muster.task("labels", model=model, weights=file)
        found = muster.evaluate.labels(photos if kind == "coco" else test, task=task, machine=machine, **asked)
        kept = {key: found[key] for key in ("map", "top1", "top5", "calibration_error") if key in found}
        facts[kind] = {**kept, "n": found["images"], "seconds": round(seconds, 1)}
    return facts


if __name__ == "__main__":
    main()
