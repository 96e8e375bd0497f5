"""Five people of LFW, up to ten photos of each, and twenty collages of these: who is taken for how many people?

    python benchmarks/collages.py [--models own,published] [--draws 3] [--data DIR]

Collages have four or nine tiles, of one of the five or of whoever comes; the tiles are shrunk or enlarged, some are
mirrored, some are there twice, and some have frames. Two sets of five people, `--draws` albums of each, clustered as
`muster cluster` does. Per model, for each album: `people`; `mixed`, those that hold faces of two; `alone`, faces in
nobody; `held_apart`, those of which the command says so; `before`, people where every two faces of a photo are two.

The last line is one JSON object.
"""

import argparse
import io
import json
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.strangers import DATA
from muster.arrays import matrix
from muster.chosen import task
from muster.pipeline.people.faces import strangers_of
from muster.pipeline.work.machine import Machine
from muster.tasks.people import collages, graph
from muster.tasks.people.certainty import certainty, earned

FIVES = (  # whose first ten photos are one person each, by both models, where nobody else is
    ("Ari_Fleischer", "Bill_Graham", "Condoleezza_Rice", "Hu_Jintao", "Jennifer_Garner"),
    ("Adrien_Brody", "Ana_Palacio", "Dick_Cheney", "Hillary_Clinton", "Ian_Thorpe"),
)


class Picture(NamedTuple):
    """A JPEG, who is in it, and the middle of each face, in parts of the sides."""

    jpeg: bytes
    people: Sequence[str]
    middles: Sequence[tuple[float, float]] = ((0.5, 0.5),)


def album(rows: Sequence[dict[str, Any]], five: Sequence[str], seed: int) -> list[Picture]:
    """The photos, then the collages. `rows`: of LFW, with `person` and `image`."""
    pictures = {name: [row["image"] for row in rows if row["person"] == name][:10] for name in five}
    draw = random.Random(seed)
    made = [Picture(image, [name]) for name in five for image in pictures[name]]
    for number in range(20):
        count = 4 + 5 * (number % 2)
        names = [five[number % 5]] * count if number % 4 < 2 else draw.choices(five, k=count)
        tiles = [Image.open(io.BytesIO(draw.choice(pictures[name]))) for name in names]
        tiles = [ImageOps.mirror(tile) if draw.random() < 0.3 else tile for tile in tiles]
        if number % 4 == 0:
            tiles[1] = tiles[0]
        made.append(_collage(tiles, names, draw.choice([100, 140, 200]), draw.choice([0, 4, 12])))
    return made


def _collage(tiles: Sequence[Image.Image], names: Sequence[str], side: int, frame: int) -> Picture:
    across = 2 if len(tiles) == 4 else 3
    length = across * (side + frame) + frame
    whole, middles = Image.new("RGB", (length, length), "white"), []
    for place, tile in enumerate(tiles):
        x, y = (frame + part * (side + frame) for part in (place % across, place // across))
        whole.paste(tile.resize((side, side), Image.Resampling.LANCZOS), (x, y))
        middles.append(((x + side / 2) / length, (y + side / 2) / length))
    file = io.BytesIO()
    whole.save(file, "JPEG", quality=85)
    return Picture(file.getvalue(), names, middles)


def judged(pictures: Sequence[Picture], faces: pa.Table, sizes: Sequence[int], strangers: graph.Strangers) -> Any:
    photos = np.array([int(name) for name in faces["image_id"].to_pylist()])
    corners, embeddings = matrix(faces["box_xyxy"]), matrix(faces["embedding"])
    middles = (corners[:, :2] + corners[:, 2:]) / 2 / np.array(sizes)[photos, None]
    who = []
    for photo, middle in zip(photos.tolist(), middles, strict=True):
        far = np.abs(np.array(pictures[photo].middles) - middle).sum(1)
        who.append(pictures[photo].people[int(far.argmin())] if far.min() < 0.2 else "")  # "": behind the person
    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(embeddings)
    similarities, neighbours = index.search(embeddings, 51)
    quality = faces["quality"].to_numpy()
    given = (embeddings, neighbours, similarities, photos, quality, None, strangers)

    def clustered() -> np.ndarray:
        labels = graph.cluster_graph(*given)
        return earned(labels, certainty(embeddings, labels, strangers))

    labels = clustered()
    with mock.patch.object(graph, "photo_numbers", lambda *these: these[3]):
        before = clustered()
    likeness = collages.Likeness(embeddings, strangers.crowding(embeddings))
    known = {(label, name) for label, name in zip(labels.tolist(), who, strict=True) if label >= 0 and name}
    return {
        "people": int(labels.max() + 1),
        "mixed": len(known) - len({label for label, _ in known}),
        "alone": int((labels < 0).sum()),
        "held_apart": collages.held_apart(likeness, labels, photos, graph.GraphParameters().threshold),
        "faces": len(labels),
        "before": int(before.max() + 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="own,published")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--data", type=Path, default=DATA)
    args = parser.parse_args()
    os.environ["MUSTER_WEIGHTS"] = str(args.data / "weights")
    rows = pq.read_table(args.data / "lfw/lfw.parquet", columns=["person", "image"]).to_pylist()
    results: dict[str, Any] = {}
    for model in args.models.split(","):
        find = task("faces", model=model, machine=Machine(device="cpu"))
        for five in FIVES:
            for seed in range(args.draws):
                pictures = album(rows, five, seed)
                pixels = [np.asarray(Image.open(io.BytesIO(each.jpeg)).convert("RGB")) for each in pictures]
                found = judged(pictures, find(pixels), [len(each) for each in pixels], strangers_of(model))
                results.setdefault(model, []).append(found)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
