"""Accuracy on labelled photos: they take the same path as a user's, and the answers are compared with the labels."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from muster.arrays import F32, I64, Bools, matrix
from muster.errors import InputError
from muster.pipeline.evaluate import sets
from muster.pipeline.evaluate.common import scanned, short_names
from muster.pipeline.people import grouping
from muster.pipeline.people.faces import Faces, load_faces
from muster.pipeline.run import OnProgress, run
from muster.pipeline.work.config import RunConfig
from muster.storage import manifest, tables
from muster.storage.files import read_regular
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.photos.names import names_of
from muster.storage.texts import decoded, file_name
from muster.tasks.metrics import people as metrics
from muster.tasks.models import zoo
from muster.tasks.people.graph import GraphParameters

Check = Callable[[pa.Table], object]


@dataclass(frozen=True)
class Labelled:
    """The labelled face of each image that has a face: the one nearest its centre.

    `faces`: all faces found. `rows`: (M,) the labelled ones among them. `images`: the manifest's rows; `owner`: (M,)
    the image of each labelled face.
    """

    faces: Faces
    rows: I64
    images: pa.Table
    owner: I64

    @property
    def undetected(self) -> int:
        return self.images.num_rows - len(self.rows)


@dataclass(frozen=True)
class VerifySummary:
    """`accuracy`, `std`: over folds, each with the threshold that was best on the others; `threshold`: their mean.

    `tar_at_far_…`: share of same pairs above the threshold that lets that share of different pairs through. A pair with
    an `undetected` face counts as different.
    """

    accuracy: float
    std: float
    threshold: float
    pairs: int
    folds: int
    images: int
    undetected: int
    tar_at_far: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        facts = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "tar_at_far"}
        return facts | {f"tar_at_far_{far}": tar for far, tar in self.tar_at_far.items()}


def labelled(source: str, config: RunConfig, on_progress: OnProgress, check: Check) -> Labelled:
    """Scan and run `source` into a library (config.library, or one thrown away where it is ""), and pick the faces.

    `check` is given the manifest before hours of work, to raise InputError where the labels do not fit.
    """
    with scanned(source, config.library) as library:
        check(manifest.read_manifest(library))
        run(replace(config, library=library.uri), on_progress)
        faces, images = (
            load_faces(library, config.choice("faces").model or zoo.DEFAULTS["faces"]),
            manifest.read_manifest(library),
        )
        rows, owner = _nearest_centre(library, faces, images)
    return Labelled(faces, rows, images, owner)


def _nearest_centre(library: LibraryFiles, faces: Faces, images: pa.Table) -> tuple[I64, I64]:
    shards = manifest.committed(library, faces.fingerprint)
    boxes = tables.require(library, "faces", faces.fingerprint, ["box_xyxy"], shards)
    columns = ["image_id", "width", "height"]
    sizes = tables.require(library, "images", IMAGES_FINGERPRINT, columns, shards)
    position = {name: i for i, name in enumerate(images["image_id"].to_pylist())}
    size = {row["image_id"]: (row["width"], row["height"]) for row in sizes.to_pylist()}
    names = faces.table["image_id"].to_pylist()
    corners = matrix(boxes["box_xyxy"])
    middles = np.array([size[name] for name in names], np.float32).reshape(-1, 2) / 2
    distance = np.linalg.norm((corners[:, :2] + corners[:, 2:]) / 2 - middles, axis=1)
    image = np.array([position[name] for name in names], np.int64)
    order = np.lexsort((distance, image))
    first = np.diff(image[order], prepend=-1) != 0
    return order[first], image[order][first]


def check_pairs(images: pa.Table, pairs: str) -> None:
    """Raises InputError where there is no such file, or it does not speak of these images."""
    if not Path(pairs).is_file():
        raise InputError(f"`pairs` {pairs}: no such file")
    _read_pairs(Path(pairs), images)


def check_label(images: pa.Table, label: str) -> None:
    """Raises InputError where there is no such column, or nothing in it."""
    if label not in images.column_names:
        raise InputError(f"`label` {label}: no such column; the images have {', '.join(images.column_names)}")
    if images[label].null_count == images.num_rows:
        raise InputError(f"`label` {label}: that column is empty for every image")


def verify(data: Labelled, pairs: str) -> VerifySummary:
    """1:1 accuracy over a pairs file: of photos in LFW's View 2 layout, `name i j` (same) or `name i other j`
    (different); of videos, or other sets of photos, in that of YouTube Faces, see `muster.pipeline.evaluate.sets`."""
    read = _read_pairs(Path(pairs), data.images)
    templates, found = _templates(data, read.sets)
    a, b = read.a, read.b
    scores = np.where(found[a] & found[b], (templates[a] * templates[b]).sum(1), -1.0).astype(np.float32)
    accuracies, threshold = metrics.fold_accuracy(scores, read.same, read.folds)
    return VerifySummary(
        accuracy=round(float(accuracies.mean()), 5),
        std=round(float(accuracies.std(ddof=1)), 5) if len(accuracies) > 1 else 0.0,
        threshold=round(float(threshold), 4),
        pairs=len(read.same),
        folds=len(accuracies),
        images=data.images.num_rows,
        undetected=data.undetected,
        tar_at_far={name: round(metrics.tar_at_far(scores, read.same, float(name)), 5) for name in ("1e-2", "1e-3")},
    )


def _templates(data: Labelled, sets: Sequence[Sequence[int]]) -> tuple[F32, Bools]:
    """Of each set of images the mean of the labelled faces that are good enough to be told, of all where none is; and
    whether there is one. (S, D) L2-normalised, (S,)."""
    face = np.full(data.images.num_rows, -1, np.int64)
    face[data.owner] = data.rows
    vectors, quality = data.faces.embeddings, data.faces.quality
    templates, found = np.zeros((len(sets), vectors.shape[1]), np.float32), np.zeros(len(sets), bool)
    for number, images in enumerate(sets):
        rows = face[list(images)]
        rows = rows[rows >= 0]
        good = rows[quality[rows] >= GraphParameters().min_quality]
        mean = vectors[good if len(good) else rows].sum(0)
        found[number] = len(rows) > 0
        templates[number] = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return templates, found


def _read_pairs(path: Path, images: pa.Table) -> sets.Pairs:
    """In either layout. Raises InputError."""
    try:
        text = decoded(read_regular(path))[0]
    except (OSError, ValueError) as error:
        raise InputError(f"`pairs` {path}: not a pairs file, whose first line is `folds pairs`: {error}") from None
    if sets.is_list_of_sets(text):
        return sets.pairs_of(path, text, images)
    a, b, same, folds = _photo_pairs(path, text, _image_names(images))
    return sets.Pairs(a, b, same, folds, [[row] for row in range(images.num_rows)])


def _image_names(images: pa.Table) -> dict[str, int]:
    """File name without folder → row."""
    return {name: i for i, name in enumerate(short_names(images)) if name}


def _photo_pairs(path: Path, text: str, names: dict[str, int]) -> tuple[I64, I64, Bools, I64]:
    """Rows of the first and second images, whether they are one person, and the fold of each pair."""
    try:
        numbered = enumerate(text.splitlines(), 1)
        (_, head), *lines = [(number, _columns(line)) for number, line in numbered if line.strip()]
        sets, size = int(head[0]), int(head[1])
    except (ValueError, IndexError) as error:
        raise InputError(f"`pairs` {path}: not a pairs file, whose first line is `folds pairs`: {error}") from None
    if len(lines) != sets * size * 2 or not lines:
        raise InputError(f"`pairs` {path}: its first line speaks of {sets} × 2 × {size} pairs, but {len(lines)} follow")
    rows = []
    for number, line in lines:
        try:
            person, i, other, j = (line[0], line[1], line[0], line[2]) if len(line) == 3 else line
            files = [file_name(f"{name}_{int(k):04d}.jpg") for name, k in ((person, i), (other, j))]
            rows.append((names[files[0]], names[files[1]], len(line) == 3))
        except ValueError:
            raise InputError(f"`pairs` {path}, line {number}: expected `name i j` or `name i other j`") from None
        except KeyError as error:
            raise InputError(f"`pairs` {path}, line {number}: image {error} is not among `images`") from None
    a, b, same = (np.array(column) for column in zip(*rows, strict=True))
    return a, b, same, np.arange(len(same)) // (2 * size)


def _columns(line: str) -> list[str]:
    """Names may have blanks in them where tabs stand between them."""
    return [cell.strip() for cell in line.split("\t") if cell.strip()] if "\t" in line else line.split()


def cluster(data: Labelled, label: str, methods: Sequence[tuple[str, int | None]]) -> dict[str, dict[str, Any]]:
    """Clusters against the labels in column `label`: method → figures, over all people and over two halves of them.

    All faces found are clustered, as in a library; the labelled ones are compared. A face alone is a cluster of one.
    `unlabelled`: images without a label; their faces are clustered and not compared.
    """
    labelled = names_of(f"`label` {label}", data.images[label].take(pa.array(data.owner)))
    compared = data.rows[[name is not None for name in labelled]]
    names = [name for name in labelled if name is not None]
    truth = np.unique(names, return_inverse=True)[1]
    half = np.array([hashlib.sha256(name.encode()).digest()[0] & 1 for name in names], bool)
    results = {}
    for method, k in methods:
        labels, how = grouping.label(None, data.faces, method, k, same_photo=False)
        mine = labels[compared]
        results[method] = {
            **_figures(mine, truth),
            "people": len(set(names)),
            "faces": len(mine),
            "unlabelled": data.images[label].null_count,
            "how": how,
            "half_a": _figures(mine[~half], truth[~half]),
            "half_b": _figures(mine[half], truth[half]),
        }
    return results


def _figures(labels: I64, truth: I64) -> dict[str, Any]:
    pairwise, bcubed = metrics.pairwise_f1(labels, truth), metrics.bcubed_f1(labels, truth)
    return {
        "pairwise_f1": round(pairwise.f1, 5),
        "pairwise_precision": round(pairwise.precision, 5),
        "pairwise_recall": round(pairwise.recall, 5),
        "bcubed_f1": round(bcubed.f1, 5),
        "bcubed_precision": round(bcubed.precision, 5),
        "bcubed_recall": round(bcubed.recall, 5),
        "clusters": len(np.unique(labels[labels >= 0])) + int((labels < 0).sum()),
    }
