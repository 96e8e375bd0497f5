"""What tasks found in a library's photos, photo by photo, and the files that others read of it."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from muster.errors import InputError, MusterError, NotYetError, TaskError
from muster.pipeline import forget
from muster.pipeline.work.choice import TaskChoice
from muster.storage import manifest, tables
from muster.storage.exchange import export
from muster.storage.exchange.export import Name, Photo, Thing
from muster.storage.library import Library, open_library
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.tasks.geometry import rle
from muster.tasks.geometry.outlines import outlines
from muster.tasks.models import coco_labels, zoo
from muster.tasks.models.zoo import masks
from muster.tasks.objects import Objects

EXPORTED = ("objects", "masks", "faces")
COLUMNS = {
    "objects": ["image_id", "label", "score", "box_xyxy"],
    "masks": ["image_id", "label", "score", "box_xyxy", "height", "width", "rle"],
    "faces": ["image_id", "face_id", "score", "box_xyxy", "landmarks"],
    "scenes": ["image_id", "label"],
}


@dataclass(frozen=True)
class Source:
    """The rows of one task, as one model with one choice of parameters made them."""

    task: str
    fingerprint: str
    model: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Annotations:
    """The photos that every source has looked at. `shards`: theirs; `pending`: images of the other shards."""

    library: Library
    sources: Sequence[Source]
    shards: Sequence[tuple[str, int]]
    pending: int

    @cached_property
    def root(self) -> Name:
        """The folder that all images of the manifest lie below, and that names in exports begin after."""
        return export.common_folder(
            export.name_of(uri)
            for shard, _ in manifest.shards(self.library)
            for uri in manifest.read_shard(self.library, shard)["uri"].to_pylist()
        )

    def photos(self, shards: Iterable[str]) -> Iterator[Photo]:
        """Photos with what was found in each, task by task; masks in the frame they were decided in."""
        for shard in shards:
            found = _things(self, shard)
            for photo in self.empty_photos(shard):
                yield replace(photo, things=found.get(photo.image_id, ()))

    def empty_photos(self, shard: str) -> Iterator[Photo]:
        """The shard's photos without things; left out are those that could not be read, or failed in one of the tasks.

        They are named as their file, or as the user's column `file` says, where there is one.
        """
        facts = _read(self, "images", IMAGES_FINGERPRINT, ["image_id", "width", "height", "sha256"], shard)
        known = {row.pop("image_id"): row for row in facts.to_pylist()}
        used = [IMAGES_FINGERPRINT, *(source.fingerprint for source in self.sources)]
        failed = tables.failures(self.library, [c for f in used for c in tables.commits(self.library, f, [shard])])
        rows = manifest.read_shard(self.library, shard)
        for row, (uri, source) in zip(rows.to_pylist(), manifest.named(self.library, rows), strict=True):
            if row["image_id"] not in failed:
                name = export.parts_of(str(row.get("file") or "")) or export.name_of(uri)[len(self.root) :]
                yield Photo(row["image_id"], uri, "/".join(name), **known[row["image_id"]], source=source)


def _read(annotations: Annotations, table: str, fingerprint: str, columns: Sequence[str], shard: str) -> pa.Table:
    return tables.require(annotations.library, table, fingerprint, columns, [shard])


def _things(annotations: Annotations, shard: str) -> dict[str, list[Thing]]:
    """image_id → what was found there."""
    found: dict[str, list[Thing]] = {}
    for source in annotations.sources:
        rows = _read(annotations, source.task, source.fingerprint, COLUMNS[source.task], shard).to_pylist()
        for image_id, group in groupby(rows, key=lambda row: row["image_id"]):
            found.setdefault(image_id, []).extend(_thing(source.task, row) for row in group)
        if source.task in ("objects", "masks"):
            _check_labels(annotations.library, source, {row["label"] for row in rows})
    return found


def _check_labels(library: Library, source: Source, labels: set[str]) -> None:
    known = classes_of(source)
    if strange := [label for label in labels if coco_labels.SPELLINGS.get(label, label) not in known]:
        raise MusterError(
            f"library {library.uri} has {source.task} labelled {strange[0]!r}, which their model does not know: the"
            f" table was changed; delete {source.task}/{source.fingerprint} and _commits/{source.fingerprint}, and run"
            " again"
        )


def _thing(task: str, row: Mapping[str, Any]) -> Thing:
    if task == "scenes":
        return Thing(task, row["label"] or "unsure", None, (0, 0, 0, 0))
    label = "face" if task == "faces" else coco_labels.SPELLINGS.get(row["label"], row["label"])
    x0, y0, x1, y1 = map(_short, row["box_xyxy"])
    mask = {"size": [row["height"], row["width"]], "counts": row["rle"]} if task == "masks" else None
    landmarks = row.get("landmarks") or ()
    return Thing(task, label, _short(row["score"]), (x0, y0, x1, y1), mask, (), landmarks, row.get("face_id"))


def _short(value: float) -> float:
    """The shortest decimal number that is still this float32: 0.9, not 0.8999999761581421."""
    return float(str(np.float32(value)))


# ---- which rows ------------------------------------------------------------------------------------------------------


def annotations_of(library: Library, tasks: Sequence[str], models: Mapping[str, str]) -> Annotations:
    """The annotations of these tasks; `models`: as `chosen_source` takes them."""
    forget.settled(library)
    shards = manifest.shards(library)
    if not shards:
        raise NotYetError(f"library {library.uri} has no images yet", "scan", library.uri)
    sources = [chosen_source(library, task, models.get(task), dict(shards)) for task in tasks]
    used = [IMAGES_FINGERPRINT, *(source.fingerprint for source in sources)]
    done = set.intersection(*(set(tables.committed(library, fingerprint)) for fingerprint in used))
    there = [(shard, images) for shard, images in shards if shard in done]
    if not there:
        text = f"library {library.uri} has no photo that all of {', '.join(tasks)} have looked at"
        raise NotYetError(text, "run", library.uri, tuple(tasks))
    return Annotations(library, sources, there, sum(dict(shards).values()) - sum(dict(there).values()))


def chosen_source(library: Library, task: str, wanted: str | None, shards: Mapping[str, int]) -> Source:
    """The first of `sources_of`; InputError says what there is where there is none."""
    if fitting := sources_of(library, task, shards, wanted):
        return fitting[0]
    if there := sources_of(library, task, shards):
        raise InputError(f"`model` {task}={wanted}: library {library.uri} has {task} by {_list(there)}")
    raise NotYetError(f"library {library.uri} has no {task} for its images yet", "run", library.uri, (task,))


def sources_of(library: Library, task: str, shards: Mapping[str, int], model: str | None = None) -> list[Source]:
    """A task's rows for images of `shards` (id → images), as different models or options made them; use the first.

    It covers most images; of equals, it is what `muster run` makes without other options; then it is the first by
    fingerprint. `model`: only those of this model, or under this fingerprint.
    """
    known = [_source(name, what) for name, what in tables.descriptions(library).items() if what.get("task") == task]
    covered = {s.fingerprint: sum(shards.get(i, 0) for i in tables.committed(library, s.fingerprint)) for s in known}
    there = [s for s in known if covered[s.fingerprint] and model in (None, s.model, s.fingerprint)]
    usual = TaskChoice(name=task, model=model).fingerprint if len(there) > 1 else None  # a fingerprint is no model
    return sorted(there, key=lambda s: (-covered[s.fingerprint], s.fingerprint != usual, s.fingerprint))


def _source(fingerprint: str, description: Mapping[str, Any]) -> Source:
    return Source(description["task"], fingerprint, description["model"], description["parameters"])


def _list(sources: Sequence[Source]) -> str:
    return ", ".join(f"{s.model}: {s.fingerprint}" for s in sources)


# ---- classes ---------------------------------------------------------------------------------------------------------


def classes_of(source: Source) -> tuple[str, ...]:
    """What its model can find, as COCO spells it; InputError where this Muster does not know the model."""
    try:
        if source.task == "faces":
            return ("face",)
        if source.task == "objects":
            names = Objects(source.model).family.classes
        else:
            form = masks.FORMS[zoo.roles("masks", source.model)["segmenter"]]
            left_out = form.background if isinstance(form, masks.Semantic) else None
            names = tuple(name for i, name in enumerate(form.classes) if i != left_out)
    except TaskError as error:
        raise InputError(f"library has {source.task} of a model that is not known here: {error}") from None
    return tuple(coco_labels.SPELLINGS.get(name, name) for name in names)


def categories_of(sources: Sequence[Source]) -> dict[str, int]:
    """Class → category id: COCO's own (1 to 90) where COCO has the class; the others from 91 on, in their order."""
    names = dict.fromkeys(name for source in sources for name in classes_of(source))
    known = dict(zip(coco_labels.NAMES, coco_labels.CATEGORY_IDS, strict=True))
    others = [name for name in names if name not in known]
    return {name: known.get(name) or max(coco_labels.CATEGORY_IDS) + 1 + others.index(name) for name in names}


# ---- masks -----------------------------------------------------------------------------------------------------------


def full_size(photo: Photo) -> Photo:
    """With its masks at the size of the image, and their boxes around what is set there."""
    return _with_masks(photo, lambda thing: _full_size(thing, photo))


def _full_size(thing: Thing, photo: Photo) -> Thing:
    mask = rle.resized(thing.rle or {}, photo.height, photo.width)
    return replace(thing, rle=mask, box=rle.box(mask))


def outlined(photo: Photo) -> Photo:
    """With the outlines of its masks, in pixels of the image."""
    return _with_masks(photo, lambda thing: _outlined(thing, photo))


def _outlined(thing: Thing, photo: Photo) -> Thing:
    mask = rle.decode(thing.rle or {})
    factor = np.array([photo.width / mask.shape[1], photo.height / mask.shape[0]])
    return replace(thing, outlines=[np.round(points * factor, 2).tolist() for points in outlines(mask)])


def _with_masks(photo: Photo, change: Any) -> Photo:
    for thing in photo.things:
        if thing.rle is not None:
            _check_frame(thing.rle["size"], photo)
    try:
        return replace(photo, things=[change(thing) if thing.rle is not None else thing for thing in photo.things])
    except ValueError as error:
        raise MusterError(
            f"a mask of {photo.name} is none ({error}): its table was changed; run the masks anew"
        ) from None


def _check_frame(size: Sequence[int], photo: Photo) -> None:
    """A mask's frame is its image at a smaller scale; decoding and shrinking round its sides, each once."""
    height, width = size
    scale = max(size) / max(photo.height, photo.width)
    if scale > 1 or abs(height - photo.height * scale) > 1.5 or abs(width - photo.width * scale) > 1.5:
        raise MusterError(
            f"{photo.uri}: a mask of {width}×{height} pixels does not fit the image's {photo.width}×{photo.height}:"
            " a table was changed; run the task again into another library"
        )


# ---- export ----------------------------------------------------------------------------------------------------------


def export_annotations(
    uri: str, form: str, out: Path, tasks: Sequence[str], models: Mapping[str, str], min_score: float
) -> dict[str, Any]:
    """Write what these tasks found into `out`, and say what that was; InputError before anything is written."""
    if form not in export.FORMATS:
        raise InputError(f"`format` {form}: choose one of {', '.join(export.FORMATS)}")
    if form == "yolo" and len(tasks) > 1:
        raise InputError(f"`format` yolo: its files hold boxes or masks, so give one task, not {','.join(tasks)}")
    chosen, out = export.FORMATS[form], Path(os.path.expanduser(out))
    library = open_library(uri)
    export.check_out(out, library, chosen.folder)
    annotations = annotations_of(library, tasks, models)
    counts: Counter[str] = Counter()
    found = (_above(photo, min_score) for photo in annotations.photos(shard for shard, _ in annotations.shards))
    shaped = map(full_size if chosen.mask == "rle" else outlined, found)
    facts = {"library": export.public_uri(library.uri), "sources": [vars(source) for source in annotations.sources]}
    chosen.write(_counted(shaped, counts), out, categories_of(annotations.sources), {"description": "Muster", **facts})
    looked_at = sum(images for _, images in annotations.shards)
    return {
        "format": form,
        "out": str(out),
        **{name: counts[name] for name in ("images", "annotations")},
        "errors": looked_at - counts["images"],
        "pending": annotations.pending,
        **facts,
    }


def _above(photo: Photo, min_score: float) -> Photo:
    return replace(photo, things=[t for t in photo.things if (t.score or 0) >= min_score]) if min_score else photo


def _counted(photos: Iterable[Photo], counts: Counter[str]) -> Iterator[Photo]:
    for photo in photos:
        counts["images"] += 1
        counts["annotations"] += len(photo.things)
        yield photo
