"""k-means of a million embeddings, beside faiss.Kmeans and scikit-learn's MiniBatchKMeans.

    python benchmarks/kmeans_scale.py [--size 1000000 1000] [--size 500000 5000]

The faces are made: random people of 20 faces each on average, two faces of one with a cosine of .65 on average, in 128
dimensions, L2-normalised. For each size, faces and k, in this process with as many threads as cores, ours first,
between the others and last, and the others once:

- ours: `muster.tasks.people.mergeable_kmeans.kmeans`; the median of the three. The clusters are the same each time.
- scikit_learn: MiniBatchKMeans in batches of 16,384 faces, until it stops by itself, at most `--passes` over all. Its
  usual 1,024 are few for so many clusters: at k 1000 its 1 - cosine was .745, with 4,096 .696, with 16,384 .686.
- faiss: faiss.Kmeans, spherical, on all faces, `--iterations` of them, and a search for each face's centroid.

A step compares every face with every centroid: 10,000 clusters of a million faces take ten minutes of two idle cores,
nine of them the peers'. Half as many of both, so as many faces to a cluster, take a quarter of that; docs/benchmarks.md
has both. `--size 1000000 10000` is the whole.

All end with a cluster for each face. Quality is that of these clusters, each about its own mean:

- squared: squared distance of face and mean, on average, which k-means minimises.
- cosine: 1 - cosine of face and mean, on average, which spherical k-means minimises.

The last line is one JSON object, its figures the worse of all sizes. `objective_to_faiss`: ours over that of
faiss.Kmeans, squared; `cosine_to_faiss`: the same of 1 - cosine. `ratio_to_sklearn`: scikit-learn's processor seconds
over ours, because the others on a machine count into seconds: the same work of ours once took 5.0 and then 10.5 of
them. `seconds_to_sklearn`: of seconds. `objective_to_sklearn` and `cosine_to_sklearn` as for faiss.
"""

import argparse
import json
import sys
import time
from typing import Any

import faiss
import numpy as np

from muster.tasks.people import mergeable_kmeans

try:
    from sklearn.cluster import MiniBatchKMeans
except ImportError:
    print("scikit-learn is missing: .venv/bin/pip install scikit-learn", file=sys.stderr)
    sys.exit(2)

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float32]]

DIMENSIONS, FACES_EACH, COSINE = 128, 20, 0.65
SIZES = [(1_000_000, 1000), (500_000, 5000)]  # faces, clusters


def make_faces(n: int, seed: int) -> Floats:
    """(n, DIMENSIONS) float32, L2-normalised: people in random directions, their faces around them."""
    random = np.random.default_rng(seed)
    people = normalised(random.standard_normal((n // FACES_EACH, DIMENSIONS), np.float32))
    faces = np.empty((n, DIMENSIONS), np.float32)
    spread = np.float32(np.sqrt((1 / COSINE - 1) / DIMENSIONS))
    for block in np.array_split(faces, n // 65_536 + 1):  # views
        who = random.integers(0, len(people), len(block))
        block[:] = normalised(people[who] + spread * random.standard_normal(block.shape, np.float32))
    return faces


def normalised(vectors: Floats) -> Floats:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_ours(faces: Floats, k: int, args: argparse.Namespace) -> Ints:
    return mergeable_kmeans.kmeans(mergeable_kmeans.InMemory(faces), k, args.seed)[1]


def by_sklearn(faces: Floats, k: int, args: argparse.Namespace) -> Ints:
    model = MiniBatchKMeans(k, batch_size=args.batch, max_iter=args.passes, random_state=args.seed).fit(faces)
    print(f"scikit-learn: {model.n_steps_} steps of {args.batch}", file=sys.stderr)
    return model.labels_


def by_faiss(faces: Floats, k: int, args: argparse.Namespace) -> Ints:
    model = faiss.Kmeans(
        DIMENSIONS,
        k,
        niter=args.iterations,
        spherical=True,
        seed=args.seed,
        min_points_per_centroid=1,
        max_points_per_centroid=len(faces),
    )
    model.train(faces)
    return model.index.search(faces, 1)[1][:, 0]


WAYS = {"ours": by_ours, "scikit_learn": by_sklearn, "faiss": by_faiss}


def measure(n: int, k: int, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds and quality of each way to cluster n faces into k."""
    faces = make_faces(n, args.seed)
    rows: dict[str, Any] = {}
    times: dict[str, list[tuple[float, float]]] = {}
    for name in ("ours", "scikit_learn", "ours", "faiss", "ours"):
        wall, processor = time.perf_counter(), time.process_time()
        labels = WAYS[name](faces, k, args)
        times.setdefault(name, []).append((time.perf_counter() - wall, time.process_time() - processor))
        found = quality(faces, labels, k)
        assert found == rows.setdefault(name, found), "ours differs from one time to the next"
        print(f"{name}, {n:,} faces, k={k}: {times[name][-1]} s, {found}", file=sys.stderr, flush=True)
    for name, taken in times.items():
        seconds, processor = np.median(taken, 0).round(1).tolist()
        rows[name] |= {"seconds": seconds, "processor_seconds": processor}
    return {"faces": n, "k": k, **rows}


def quality(faces: Floats, labels: Ints, k: int) -> dict[str, float]:
    """Of clusters about their means; both follow from the length of each cluster's sum, as faces have length 1."""
    sums = np.zeros((k, DIMENSIONS))
    order = np.argsort(labels, kind="stable")
    found, first = np.unique(labels[order], return_index=True)
    for i, start, end in zip(found, first, [*first[1:], len(labels)], strict=True):
        sums[i] = faces[order[start:end]].sum(0, dtype=np.float64)
    length = np.linalg.norm(sums, axis=1)
    sizes = np.maximum(np.bincount(labels, minlength=k), 1)
    n = len(faces)
    return {
        "cosine": round(float(1 - length.sum() / n), 5),
        "squared": round(float(1 - (length**2 / sizes).sum() / n), 5),
        "clusters": len(found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, action="append", metavar=("FACES", "K"))
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16_384)
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sizes = [measure(n, k, args) for n, k in args.size or SIZES]
    names = {"objective": "squared", "cosine": "cosine"}
    result = {
        f"{name}_to_{short}": max(size["ours"][figure] / size[peer][figure] for size in sizes)
        for short, peer in (("faiss", "faiss"), ("sklearn", "scikit_learn"))
        for name, figure in names.items()
    }
    for name, figure in {"ratio": "processor_seconds", "seconds": "seconds"}.items():
        result[f"{name}_to_sklearn"] = min(size["scikit_learn"][figure] / size["ours"][figure] for size in sizes)
    print(json.dumps({**{name: round(value, 4) for name, value in result.items()}, "sizes": sizes}))


if __name__ == "__main__":
    main()
