"""Faces unaligned, on five landmarks and from in front: who is who in pairs of LFW, and in pairs with a turned face.

    python benchmarks/frontal.py [--images LFW.parquet] [--weights-dir FOLDER] [--model published]

Pairs of `pairs.txt` beside the images (published alone: our own embedder has learnt of most of these people), pairs of
the people kept out of trainings, and two pairs for each photo of a face that is turned by more than 30 degrees, by the
landmarks of yunet-n: with another photo of the person, and with a photo of somebody else. From which yaw on faces are
looked at from in front, and with what weight, was chosen on the first two folds and on turned faces of the third of
the people whom `tuned` names; neither is counted here. One thread. The last line is one JSON object.
"""

import argparse
import io
import json
import os
import sys
import time
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image as PillowImage

sys.path.insert(0, str(Path(__file__).parents[1]))

from muster.arrays import F32, I64, Bools, Pixels
from muster.pipeline.work.weights import load_weights
from muster.tasks import faces
from muster.tasks.base import Image
from muster.tasks.geometry.frontal import frontal
from muster.tasks.geometry.head import pose
from muster.tasks.metrics import people as metrics
from muster.tasks.models import zoo
from muster.tasks.models.landmarks68 import find68
from muster.training.data.examples import PEOPLE_HELD_OUT, held_out
from muster.training.measures import choose_pairs

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
TURNED = 30.0  # degrees of yaw
WAYS = ("unaligned", "five points", "frontal alone", "frontal", "five points and unaligned")
BATCH = 64
TIMED = 256  # photos
Pairs = tuple[I64, I64, Bools, I64]  # photos, photos, whether of one person, fold


def tuned(person: str) -> bool:
    return zlib.crc32(f"x{person}".encode()) % 3 == 0


def listed(path: Path, files: dict[str, int]) -> Pairs:
    """The pairs of the file, but for its first two folds."""
    (_, size), *lines = [line.split("\t") for line in path.read_text().splitlines() if line.strip()]
    rows = [(line[0], line[1], line[0], line[2]) if len(line) == 3 else tuple(line) for line in lines]
    a, b = (np.array([files[f"{row[k]}_{int(row[k + 1]):04d}.jpg"] for row in rows]) for k in (0, 2))
    same, folds = np.array([row[0] == row[2] for row in rows]), np.arange(len(rows)) // (2 * int(size))
    return a[folds > 1], b[folds > 1], same[folds > 1], folds[folds > 1]


def turned_pairs(people: list[str], yaw: F32, among: Bools) -> Pairs:
    random, by_person = np.random.default_rng(0), defaultdict(list)
    photos = np.flatnonzero(among)
    for photo in photos:
        by_person[people[photo]].append(photo)
    rows = []
    for photo in photos[np.abs(yaw[photos]) > TURNED]:
        person = people[photo]
        if len(by_person[person]) > 1:
            other = random.choice([each for each in by_person[person] if each != photo])
            stranger = random.choice([each for each in random.choice(photos, 50) if people[each] != person])
            fold = zlib.crc32(person.encode()) % 10
            rows += [(photo, other, True, fold), (photo, stranger, False, fold)]
    a, b, same, folds = (np.array(column) for column in zip(*rows, strict=True))
    return a, b, same, folds


def unaligned(pixels: Pixels, box: F32) -> Pixels:
    """The square around a face, 1.1 times its box, as a crop of 112 pixels."""
    middle, half = (box[:2] + box[2:]) / 2, 0.55 * max(box[2:] - box[:2])
    corners = (*(middle - half).tolist(), *(middle + half).tolist())
    square = PillowImage.fromarray(pixels).transform(
        (112, 112), PillowImage.Transform.EXTENT, corners, PillowImage.Resampling.BILINEAR
    )
    return np.asarray(square)


def middle_faces(found: faces.Found, images: list[Image]) -> list[int]:
    """The row of the face nearest the middle of each image that has one."""
    rows: dict[str, tuple[float, int]] = {}
    sides = {image.image_id: torch.tensor([image.pixels.shape[1], image.pixels.shape[0]]) for image in images}
    for row, (owner, box) in enumerate(zip(found.owners, found.faces.boxes, strict=True)):
        distance = ((box[:2] + box[2:]) / 2 - sides[owner.image_id] / 2).norm().item()
        rows[owner.image_id] = min(rows.get(owner.image_id, (distance, row)), (distance, row))
    return [row for _, row in rows.values()]


@torch.inference_mode()
def embedded(task: faces.Faces, landmarks68: torch.nn.Module, files: list[bytes], photos: I64) -> dict[str, F32]:
    """Embeddings of each way, (number of files, D); 0 of the photos in which no face is found."""
    vectors = {way: np.zeros((len(files), task.width), np.float32) for way in WAYS}
    for start in range(0, len(photos), BATCH):
        part = photos[start : start + BATCH].tolist()
        pixels = [np.array(PillowImage.open(io.BytesIO(files[photo])).convert("RGB")) for photo in part]
        images = [Image(str(k), each, 1.0, each.shape[1::-1]) for k, each in zip(part, pixels, strict=True)]
        found = task.find(images)
        rows = middle_faces(found, images)
        owners, landmarks = [found.owners[row] for row in rows], found.faces.landmarks[rows]
        crops = [unaligned(o.pixels, box.numpy()) for o, box in zip(owners, found.faces.boxes[rows], strict=True)]
        five, loose = found.vectors.embeddings[rows], embed(task, torch.from_numpy(np.stack(crops)))
        turned = (pose(landmarks)[:, 0].abs() > faces.FRONTAL_FROM).nonzero()[:, 0]
        seen = [owners[i].pixels for i in turned.tolist()]
        alone = five.clone()
        alone[turned] = embed(task, frontal(seen, find68(landmarks68, seen, landmarks[turned])))
        both = five.clone()
        both[turned] = F.normalize(five[turned] + faces.FRONTAL_WEIGHT * alone[turned])
        other = five.clone()
        other[turned] = F.normalize(five[turned] + faces.FRONTAL_WEIGHT * loose[turned])
        where = [int(owner.image_id) for owner in owners]
        for way, values in zip(WAYS, (loose, five, alone, both, other), strict=True):
            vectors[way][where] = values.numpy()
    return vectors


def embed(task: faces.Faces, crops: torch.Tensor) -> torch.Tensor:
    return faces.embed(task.embedder, crops, task.dtype, task.mirror).embeddings


def figures(vectors: F32, pairs: Pairs) -> dict[str, float]:
    a, b, same, folds = pairs
    scores = (vectors[a] * vectors[b]).sum(1)
    accuracies, _ = metrics.fold_accuracy(scores, same, np.unique(folds, return_inverse=True)[1])
    tars = {far: metrics.tar_at_far(scores, same, float(far)) for far in ("1e-2", "1e-3")}
    return {
        "accuracy": accuracies.mean(),
        "std": accuracies.std(ddof=1),
        **{f"tar_{far}": t for far, t in tars.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=DATA / "lfw/lfw.parquet")
    parser.add_argument("--weights-dir", type=Path, default=DATA / "weights")
    parser.add_argument("--model", default="published", choices=["own", "published"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = pq.read_table(args.images)
    people, files = table["person"].to_pylist(), table["image"].to_pylist()
    task = loaded(args.model, args.weights_dir)
    with_frontal = loaded(f"{args.model}-frontal", args.weights_dir)
    kept_out = np.array([held_out(str(name), PEOPLE_HELD_OUT) for name in people])
    among = kept_out if args.model == "own" else np.array([not tuned(name) for name in people])
    yaw = yaws(loaded("published", args.weights_dir), files, among)
    sets = {"turned": turned_pairs(people, yaw, among)}
    if args.model == "published":
        names = {Path(file).name: row for row, file in enumerate(table["file"].to_pylist())}
        sets["pairs.txt"] = listed(args.images.with_name("pairs.txt"), names)
    rows = np.flatnonzero(kept_out)
    a, b, same, folds = choose_pairs([people[row] for row in rows])
    sets["kept out"] = (rows[a], rows[b], same, folds)
    vectors = embedded(
        task, with_frontal.landmarks, files, np.unique(np.concatenate([each for s in sets.values() for each in s[:2]]))
    )
    found: dict[str, Any] = {name: {"pairs": len(pairs[0])} for name, pairs in sets.items()}
    for name, pairs in sets.items():
        for way in WAYS:
            found[name][way] = {k: round(100 * float(v), 2) for k, v in figures(vectors[way], pairs).items()}
            print(f"| {name} ({len(pairs[0])}) | {way} | {' | '.join(map(str, found[name][way].values()))} |")
    print(json.dumps({"model": args.model, **found, "seconds": seconds([task, with_frontal], files[:TIMED])}))


def seconds(tasks: list[faces.Faces], files: list[bytes]) -> list[float]:
    """Of the processor, for the rows of a photo, by each task: the least of three rounds in turn."""
    pixels = [np.array(PillowImage.open(io.BytesIO(file)).convert("RGB")) for file in files]
    images = [Image(str(k), each, 1.0, each.shape[1::-1]) for k, each in enumerate(pixels)]
    rounds = []
    for _ in range(3):
        times = [time.process_time()]
        for task in tasks:
            for start in range(0, len(images), BATCH):
                with torch.inference_mode():
                    task.find(images[start : start + BATCH])
            times.append(time.process_time())
        rounds.append(np.diff(times) / len(images))
    return np.min(rounds, 0).round(5).tolist()


def loaded(model: str, weights_dir: Path) -> faces.Faces:
    task = faces.Faces(model)
    task.load_networks(
        torch.device("cpu"), {name: load_weights(zoo.ENTRIES[name], weights_dir) for name in task.models.values()}
    )
    return task


@torch.inference_mode()
def yaws(task: faces.Faces, files: list[bytes], among: Bools) -> F32:
    """Of the surest face of each photo `among` them, in degrees; 0 of the others."""
    found = np.zeros(len(files), np.float32)
    photos = np.flatnonzero(among)
    for start in range(0, len(photos), BATCH):
        part = photos[start : start + BATCH]
        pixels = [np.array(PillowImage.open(io.BytesIO(files[photo])).convert("RGB")) for photo in part.tolist()]
        for photo, each in zip(
            part, faces.detect(task.detector, pixels, faces.FaceParameters(), task.device, task.dtype), strict=True
        ):
            if len(each.scores):
                found[photo] = pose(each.landmarks[:1])[0, 0].nan_to_num(0)
    return found


if __name__ == "__main__":
    main()
