"""Make the shapes in tasks/geometry/head.py anew: a mean head, from landmarks of many photos of many people.

    python benchmarks/make_head.py [--images LFW.parquet] [--weights-dir FOLDER]

Structure from motion: each face is taken for a view of one rigid head. The matrix of all landmarks then has rank 3, and
its factors are the head and the cameras (Tomasi and Kanade, Shape and motion from image streams under orthography, IJCV
9(2), 1992; with a scale for each camera). A head is as good seen in the mirror, so that each face counts as two. Twice:
of the five landmarks of yunet-n, and of 68.
Prints the shapes, and how much of the landmarks each rank explains. Runs one thread; all of LFW takes minutes.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from muster.arrays import Floats
from muster.pipeline.work.weights import load_weights
from muster.tasks import faces
from muster.tasks.geometry.align import TEMPLATE
from muster.tasks.models import zoo
from muster.tasks.models.landmarks68 import MIRROR, find68

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
BATCH = 64


def factorised(points: Floats, mirror: Sequence[int]) -> tuple[Floats, Floats]:
    """The head that these views (F, K, 2) are of: (K, 3), x to the right, y down, z to the viewer, in units of its own;
    and the part of the views that each rank explains, (K,). `mirror`: which landmark each becomes in the mirror.

    Where its face looks is where the faces of the views do on the average.
    """
    turned = list(mirror)
    views = np.concatenate([points, points[:, turned] * [-1, 1]])
    views = views - views.mean(1, keepdims=True)
    views /= np.linalg.norm(views, axis=(1, 2), keepdims=True)  # a near face says no more than a far one
    rows = views.transpose(0, 2, 1)
    energy, basis = np.linalg.eigh(np.einsum("frk,frl->kl", rows, rows))
    motion = rows @ (basis := basis[:, :-4:-1])  # (2F, 2, 3), (K, 3): right up to an affine map of space
    # The metric: rows of a camera are at right angles, and as long as one another. Linear in Q Qᵀ.
    i, j = motion[:, 0], motion[:, 1]
    wanted = np.concatenate([_quadratic(i, i) - _quadratic(j, j), _quadratic(i, j)])
    a, b, c, d, e, f = np.linalg.svd(wanted.T @ wanted)[2][-1]
    metric = np.array([[a, d, e], [d, b, f], [e, f, c]])
    lengths, axes = np.linalg.eigh(metric * np.sign(np.trace(metric)))
    root = axes * np.sqrt(lengths)
    shape, motion = basis @ np.linalg.inv(root).T, motion @ root
    # Its axes: across is where the two halves differ, down is where the pictures have it.
    across = np.linalg.svd(shape - shape[turned])[2][0]
    down = (motion[:, 1] / np.linalg.norm(motion[:, 1], axis=1, keepdims=True)).mean(0)
    down -= across * (across @ down)
    down /= np.linalg.norm(down)
    shape = shape @ np.stack([across, down, np.cross(across, down)], 1)
    shape = (shape + shape[turned] * [-1, 1, 1]) / 2
    return shape, energy[::-1] / energy.sum()


def _quadratic(a: Floats, b: Floats) -> Floats:
    """The coefficients of aᵀ X b in the six numbers of a symmetric X, for each row: (N, 6)."""
    products = a[:, :, None] * b[:, None]
    both = products + products.transpose(0, 2, 1)
    return np.concatenate([np.diagonal(products, axis1=1, axis2=2), both[:, [0, 0, 1], [1, 2, 2]]], 1)


def five_of(shape: Floats) -> Floats:
    """The middles of the eyes, tip of the nose and corners of the mouth of the 68: (5, 3)."""
    return np.stack([shape[36:42].mean(0), shape[42:48].mean(0), shape[30], shape[48], shape[54]])


def placed(shape: Floats, five: Floats, nose: int) -> Floats:
    """The shape as large as a face in a crop, and where it is there by its eyes, nose and mouth corners, `five` (5, 3);
    the nose towards the viewer, and their mean depth 0."""
    template = TEMPLATE.numpy().astype(float)
    signs = np.sign([five[1, 0] - five[0, 0], 1, shape[nose, 2] - five[:, 2].mean()])
    shape, five = (shape - five.mean(0)) * signs, (five - five.mean(0)) * signs
    there = template - template.mean(0)
    scale = (five[:, :2] * there).sum() / (five[:, :2] ** 2).sum()
    return shape * scale + [*template.mean(0), 0]


def landmarks_of(images: Path, weights_dir: Path) -> tuple[Floats, Floats]:
    """The five and the 68 landmarks of the surest face of each photo in this Parquet file: (F, 5, 2) and (F, 68, 2)."""
    states = {name: load_weights(zoo.ENTRIES[name], weights_dir) for name in ("yunet-n", "landmarks68")}
    detector, network = (zoo.ENTRIES[name].build(state).eval() for name, state in states.items())
    five, many = [], []
    for batch in pq.ParquetFile(images).iter_batches(BATCH, columns=["image"]):
        photos = [np.array(Image.open(io.BytesIO(file)).convert("RGB")) for file in batch["image"].to_pylist()]
        found = faces.detect(detector, photos, faces.FaceParameters(), torch.device("cpu"), torch.float32)
        seen = [(photo, each.landmarks[0]) for photo, each in zip(photos, found, strict=True) if len(each.scores)]
        if seen:
            five.append(torch.stack([points for _, points in seen]))
            many.append(find68(network, [photo for photo, _ in seen], five[-1]))
    return torch.cat(five).double().numpy(), torch.cat(many).double().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=DATA / "lfw/lfw.parquet")
    parser.add_argument("--weights-dir", type=Path, default=DATA / "weights")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        five, many = landmarks_of(args.images, args.weights_dir)
    shape, ranks = factorised(five, (1, 0, 2, 4, 3))
    shape68, ranks68 = factorised(many, MIRROR)
    print("FIVE =", placed(shape, shape, 2).round(1).tolist())
    print("SHAPE =", placed(shape68, five_of(shape68), 30).round(1).tolist())
    print(
        json.dumps(
            {"faces": len(five), "ranks5": ranks[:5].round(5).tolist(), "ranks68": ranks68[:5].round(5).tolist()}
        )
    )


if __name__ == "__main__":
    main()
