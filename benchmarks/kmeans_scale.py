"""k-means of a million embeddings, beside faiss.Kmeans and scikit-learn's MiniBatchKMeans.

    python benchmarks/kmeans_scale.py [--faces 1000000] [--k 1000 10000]

The faces are made: random people of 20 faces each on average, two faces of one with a cosine of .65 on average, in 128
dimensions, L2-normalised. For each k, in this order and each once, in this process with as many threads as cores:

- ours: `muster.tasks.people.mergeable_kmeans.kmeans`.
- scikit_learn: MiniBatchKMeans in batches of 16,384 faces, until it stops by itself, at most `--passes` over all. Its
  usual 1,024 are few for so many clusters: at k 1000 its 1 - cosine was .745, with 4,096 .696, with 16,384 .686.
- faiss: faiss.Kmeans, spherical, on all faces, `--iterations` of them, and a search for each face's centroid.

All end with a cluster for each face. Quality is that of these clusters, each about its own mean:

- squared: squared distance of face and mean, on average, which k-means minimises.
- cosine: 1 - cosine of face and mean, on average, which spherical k-means minimises.

The last line is one JSON object, its figures the worse of all k. `objective_to_faiss`: ours over that of faiss.Kmeans,
squared; `cosine_to_faiss`: the same of 1 - cosine. `ratio_to_sklearn`: scikit-learn's seconds over ours;
`objective_to_sklearn` and `cosine_to_sklearn` as for faiss.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
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


def measure(cluster: Callable[[Floats, int, argparse.Namespace], Ints], faces: Floats, k: int, args: Any) -> Any:
    """Seconds and quality of one way to cluster."""
    start = time.perf_counter()
    labels = cluster(faces, k, args)
    seconds = time.perf_counter() - start
    row = {"seconds": round(seconds, 1), **quality(faces, labels, k)}
    print(f"{cluster.__name__} k={k}: {row}", file=sys.stderr, flush=True)
    return row


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
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--k", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16_384)
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    faces = make_faces(args.faces, args.seed)
    ways = {"ours": by_ours, "scikit_learn": by_sklearn, "faiss": by_faiss}
    sizes = {k: {name: measure(cluster, faces, k, args) for name, cluster in ways.items()} for k in args.k}
    names = {"objective": "squared", "cosine": "cosine"}
    result = {
        f"{name}_to_{short}": max(size["ours"][measure] / size[peer][measure] for size in sizes.values())
        for short, peer in (("faiss", "faiss"), ("sklearn", "scikit_learn"))
        for name, measure in names.items()
    }
    result["ratio_to_sklearn"] = min(s["scikit_learn"]["seconds"] / s["ours"]["seconds"] for s in sizes.values())
    print(json.dumps({**{name: round(value, 4) for name, value in result.items()}, "faces": args.faces, "k": sizes}))


if __name__ == "__main__":
    main()
