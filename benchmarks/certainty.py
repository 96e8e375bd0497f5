"""How often is a face in a cluster of somebody else? What `muster.tasks.people.certainty` says, and what it should.

    python benchmarks/certainty.py [--models own,published] [--data DIR]

All of LFW and COCO's photos in one library, clustered by the graph method. A face is right where most of its cluster is
of its person: nobody is in two photos of COCO, and of a pair of two people neither is right. LFW's wrong labels count
as errors. Per model: for faces of some certainty, how many there are, and what share is right; and the constants of a
logistic regression over both models' faces, to be put into tasks/people/certainty.py.

The last line is one JSON object.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.strangers import DATA, processed
from muster.pipeline.evaluate import faces as evaluate
from muster.pipeline.people import grouping
from muster.pipeline.people.faces import Faces, load_faces
from muster.storage import manifest
from muster.storage.library import LibraryFiles
from muster.tasks.people.certainty import certainty, evidence

BINS = (0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0001)


def judged(library: LibraryFiles, model: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of clustered faces of known people: evidence (M, 3), certainty (M,), and which are right (M,)."""
    faces = load_faces(library, model)
    labels, _ = grouping.label(None, faces, "graph", None, False)
    images = manifest.read_manifest(library)
    who = identities(library, faces, images)
    rows = np.flatnonzero((labels >= 0) & (who >= 0))
    pairs, count = np.unique(np.stack([labels[rows], who[rows]]), axis=1, return_counts=True)
    order = np.lexsort((count, pairs[0]))
    last = np.flatnonzero(np.diff(pairs[0][order], append=-1))
    most = {int(pairs[0][i]): (int(pairs[1][i]), int(count[i])) for i in order[last]}
    size = np.bincount(labels[rows])
    right = [most[c][0] == w and 2 * most[c][1] > size[c] for c, w in zip(labels[rows], who[rows], strict=True)]
    known = (faces.embeddings, labels, faces.strangers)
    return evidence(*known)[rows], certainty(*known)[rows], np.array(right)


def identities(library: LibraryFiles, faces: Faces, images: Any) -> np.ndarray:
    """(N,): a number for each person; -1 where nobody knows, such as who stands behind LFW's people."""
    place = {name: i for i, name in enumerate(images["image_id"].to_pylist())}
    photo = np.array([place[name] for name in faces.table["image_id"].to_pylist()])
    uris, names = images["uri"].to_pylist(), images["person"].to_pylist()
    person = {name: i for i, name in enumerate(sorted({name for name in names if name}))}
    who = np.full(len(photo), -1)
    central, owner = evaluate._nearest_centre(library, faces, images)
    for row, image in zip(central.tolist(), owner.tolist(), strict=True):
        who[row] = person.get(names[image], -1)
    coco = np.array(["/coco" in uris[image] for image in photo])
    who[coco] = len(person) + np.arange(coco.sum())
    return who


def fitted(x: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Logistic regression by Newton's method, with a little decay (3,)."""
    weight = np.zeros(x.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-x @ weight))
        slope = x.T @ (right - chance) - 1e-3 * weight
        weight += np.linalg.solve((x * (chance * (1 - chance))[:, None]).T @ x + 1e-3 * np.eye(len(weight)), slope)
    return weight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="own,published")
    parser.add_argument("--data", type=Path, default=DATA)
    args = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    results: dict[str, Any] = {}
    parts = []
    with tempfile.TemporaryDirectory() as name:
        for model in args.models.split(","):
            x, certain, right = judged(processed(Path(name), model, args.data), model)
            parts.append((x, right))
            bins = list(itertools.pairwise(BINS))
            inside = [(certain >= low) & (certain < high) for low, high in bins]
            results[model] = {
                f"{low:g}": {"faces": int(here.sum()), "right": round(float(right[here].mean()), 3)}
                for (low, _), here in zip(bins, inside, strict=True)
                if here.any()
            }
    x, right = (np.concatenate(each) for each in zip(*parts, strict=True))
    results["constants"] = [round(float(each), 3) for each in fitted(x, right)]
    print(json.dumps(results))


if __name__ == "__main__":
    main()
