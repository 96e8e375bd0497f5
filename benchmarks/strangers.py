"""People who are not there: everyday photos in which nobody appears twice, alone, and among photos of real people.

    python benchmarks/strangers.py [--models own,published] [--data DIR]

COCO's photos (coco128 and coco_photos) were taken all over the world, so two faces of two of them are never one person,
but for those of `SAME`, who are by looking. They are clustered as `muster cluster` does, by both methods, alone; then
with all of LFW and the five Johns in one library. Per model:

- found: faces found; faces, people, largest: those put into clusters, these clusters, and the largest.
- wrong_pairs: pairs of faces of two COCO photos that one cluster holds.
- quality: how many of LFW's faces (nearest the middle), and of COCO's finds outside every person's box, are below .25,
  as shares; `kept_out`: of people, and photos, that the quality was not learnt from; `good`: COCO's other finds.
- kmeans: the same by `--method kmeans --k auto`, which cannot leave a face out.
- mixed: wrong_pairs as above, among everybody else, `with_others`: pairs of a COCO face and another's; LFW's pairwise
  and BCubed F; into how many clusters each John's photos fell, and how many of these hold somebody else.

The last line is one JSON object.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))

from muster.arrays import matrix
from muster.pipeline import forget
from muster.pipeline.evaluate import faces as evaluate
from muster.pipeline.people import grouping
from muster.pipeline.people.faces import Faces, load_faces
from muster.pipeline.run import run
from muster.pipeline.work.choice import choose
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.machine import Machine
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library
from muster.tasks.metrics import people as metrics
from muster.tasks.people.search import MIN_QUALITY
from muster.training.data.examples import PEOPLE_HELD_OUT, held_out
from muster.training.data.people_in_photos import PHOTOS_HELD_OUT, read_people
from muster.training.inputs import Inputs

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
SAME: tuple[frozenset[str], ...] = ()  # names of photos that show one person


def processed(folder: Path, model: str, data: Path) -> LibraryFiles:
    library = open_library(str(folder / model), create=True)
    johns = [str(each) for each in sorted((data / "photos/johns").iterdir()) if each.is_dir()]
    sources = [data / "coco128/images", data / "coco_photos/photos.parquet", data / "lfw/lfw.parquet"]
    with forget.locked(library):
        manifest.scan(library, [*map(str, sources), *johns])
    choices, machine = choose(["faces"], models={"faces": model}), Machine(weights_dir=data / "weights")
    run(RunConfig(library=library.uri, choices=choices, machine=machine), lambda *_: None)
    return library


def judged(labels: np.ndarray, photos: np.ndarray, names: list[str]) -> dict[str, int]:
    """Of these faces: how many are in clusters, in how many, the largest, and pairs of two different photos in one."""
    clusters = defaultdict(list)
    for label, photo in zip(labels.tolist(), photos.tolist(), strict=True):
        if label >= 0:
            clusters[label].append(photo)
    sizes = [len(each) for each in clusters.values() if len(each) > 1]
    wrong = 0
    for members in clusters.values():
        for i, a in enumerate(members):
            wrong += sum(a != b and not any({names[a], names[b]} <= same for same in SAME) for b in members[i + 1 :])
    return {"faces": sum(sizes), "people": len(sizes), "wrong_pairs": wrong, "largest": max(sizes, default=0)}


def measure(library: LibraryFiles, model: str, data: Path) -> dict[str, Any]:
    faces = load_faces(library, model)
    images = manifest.read_manifest(library)
    place = {name: i for i, name in enumerate(images["image_id"].to_pylist())}
    photo = np.array([place[name] for name in faces.table["image_id"].to_pylist()])
    uris = images["uri"].to_pylist()
    names = [str(file or uri) for file, uri in zip(images["file_name"].to_pylist(), uris, strict=True)]
    names = [name.rpartition("/")[2] for name in names]
    coco = np.array(["/coco" in uri for uri in uris])[photo]
    alone = faces.part(np.flatnonzero(coco))
    by_graph, by_kmeans = (grouping.label(None, alone, method, None, False)[0] for method in grouping.METHODS)
    facts: dict[str, Any] = {"found": int(coco.sum()), **judged(by_graph, photo[coco], names)}
    facts["quality"] = of_quality(library, faces, images, photo, names, data)
    facts["kmeans"] = judged(by_kmeans, photo[coco], names)
    labels, _ = grouping.label(None, faces, "graph", None, False)
    mixed: dict[str, Any] = judged(np.where(coco, labels, -1), photo, names)
    strangers, others = (
        np.bincount(labels[rows & (labels >= 0)], minlength=labels.max() + 1) for rows in (coco, ~coco)
    )
    mixed["with_others"] = int(strangers @ others)
    mixed |= of_lfw(library, faces, images, labels)
    mixed["johns"] = of_johns(labels, photo, uris)
    return facts | {"mixed": mixed}


def of_quality(
    library: LibraryFiles, faces: Faces, images: Any, photo: np.ndarray, names: list[str], data: Path
) -> dict[str, Any]:
    labels = [str(data / folder / "instances.json") for folder in ("coco128", "coco_photos")]
    boxes = read_people(Inputs(images=[], out=Path(), labels=labels))
    shards = manifest.committed(library, faces.fingerprint)
    table = tables.require(library, "faces", faces.fingerprint, ["box_xyxy"], shards)
    corners = matrix(table["box_xyxy"])
    middles = (corners[:, :2] + corners[:, 2:]) / 2
    outside = np.array(
        [_is_outside(boxes.get(names[image]), middle) for image, middle in zip(photo, middles, strict=True)]
    )
    rows, owner = evaluate._nearest_centre(library, faces, images)
    person = images["person"].take(owner)
    labelled, who = rows[person.is_valid()], person.drop_null().to_pylist()
    people_out = np.array([held_out(name, PEOPLE_HELD_OUT) for name in who])
    photos_out = np.array([held_out(names[image], PHOTOS_HELD_OUT) for image in photo])
    low = faces.quality < MIN_QUALITY
    coco = np.array([name in boxes for name in names])[photo]
    return {
        "lfw": round(float(low[labelled].mean()), 4),
        "lfw_kept_out": round(float(low[labelled][people_out].mean()), 4),
        "outside": int(outside.sum()),
        "outside_low": round(float(low[outside].mean()), 4),
        "outside_kept_out": int((outside & photos_out).sum()),
        "outside_kept_out_low": round(float(low[outside & photos_out].mean()), 4),
        "good": int((coco & ~low).sum()),
    }


def _is_outside(people: np.ndarray | None, middle: np.ndarray) -> bool:
    """Of a photo whose people are known."""
    return people is not None and not ((people[:, :2] <= middle) & (middle <= people[:, 2:])).all(1).any()


def of_lfw(library: LibraryFiles, faces: Faces, images: Any, labels: np.ndarray) -> dict[str, float]:
    """As `muster evaluate cluster` has it: of each photo the face nearest the middle."""
    rows, owner = evaluate._nearest_centre(library, faces, images)
    person = images["person"].take(owner)
    rows, truth = rows[person.is_valid()], np.unique(person.drop_null().to_pylist(), return_inverse=True)[1]
    found = labels[rows]
    return {
        "lfw_pairwise_f1": round(metrics.pairwise_f1(found, truth).f1, 5),
        "lfw_bcubed_f1": round(metrics.bcubed_f1(found, truth).f1, 5),
    }


def of_johns(labels: np.ndarray, photo: np.ndarray, uris: list[str]) -> dict[str, Any]:
    """John → his clusters of three faces and more, whoever else is on his photos."""
    johns = defaultdict(list)
    for label, image in zip(labels.tolist(), photo.tolist(), strict=True):
        if "/johns/" in uris[image] and label >= 0:
            johns[uris[image].split("/")[-2]].append(label)
    counts = {name: np.unique(found, return_counts=True) for name, found in sorted(johns.items())}
    return {name: {int(n): int(c) for n, c in zip(*pair, strict=True) if c > 2} for name, pair in counts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="own,published")
    parser.add_argument("--data", type=Path, default=DATA)
    args = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    with tempfile.TemporaryDirectory() as name:
        results = {m: measure(processed(Path(name), m, args.data), m, args.data) for m in args.models.split(",")}
    photos = len(list((args.data / "coco128/images").iterdir()))
    photos += pq.ParquetFile(args.data / "coco_photos/photos.parquet").metadata.num_rows
    print(json.dumps({"photos": photos, **results}))


if __name__ == "__main__":
    main()
