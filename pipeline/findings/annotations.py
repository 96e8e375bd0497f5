"""What tasks found in a library's photos, photo by photo."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from muster.errors import MusterError, NotYetError
from muster.pipeline import forget
from muster.pipeline.findings.sources import Source, chosen_source, classes_of, label_of
from muster.storage import manifest, tables
from muster.storage.exchange.photo import AnnotatedPhoto, Finding, Name, common_folder, name_of, parts_of
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.photos.promotion import unite
from muster.storage.who import people_of
from muster.tasks.geometry import rle
from muster.tasks.geometry.outlines import outlines
from muster.tasks.models import coco_labels


@dataclass(frozen=True)
class Annotations:
    """The photos that every source has looked at. `shards`: theirs; `pending`: images of the other shards."""

    library: LibraryFiles
    sources: Sequence[Source]
    shards: Sequence[tuple[str, int]]
    pending: int

    @cached_property
    def root(self) -> Name:
        """The folder that all images of the manifest lie below, and that names in exports begin after."""
        return common_folder(
            name_of(uri)
            for shard, _ in manifest.shards(self.library)
            for uri in manifest.read_shard(self.library, shard)["uri"].to_pylist()
        )

    @cached_property
    def people(self) -> dict[str, tuple[str | None, str | None, float | None]]:
        """face_id → person, name and certainty, of the sources that are clustered, or of whose faces users spoke."""
        found: dict[str, tuple[str | None, str | None, float | None]] = {}
        for source in self.sources:
            if source.says.id is None or (now := people_of(self.library, source.fingerprint)) is None:
                continue
            columns = (now.faces[name].to_pylist() for name in ("face_id", "person_id", "certainty"))
            for face_id, person, certain in zip(*columns, strict=True):
                name = now.people[person].name if person else None
                found[face_id] = person, name or None, None if certain is None else _short(certain)
        return found

    @cached_property
    def users(self) -> pa.Schema:
        """The columns of the user, in types that hold the values of all shards."""
        rows = {shard: manifest.read_shard(self.library, shard).slice(0, 0) for shard, _ in self.shards}
        return pa.schema([field for field in unite(rows).schema if field.name not in manifest.SCHEMA.names])

    def photos(self, shards: Iterable[str]) -> Iterator[AnnotatedPhoto]:
        """Photos with what was found in each, task by task; masks in the frame they were decided in."""
        for shard in shards:
            found = _findings(self, shard)
            for photo in self.empty_photos(shard):
                yield replace(photo, findings=found.get(photo.image_id, ()))

    def empty_photos(self, shard: str) -> Iterator[AnnotatedPhoto]:
        """The shard's photos, without findings; none that could not be read, or failed in one of the tasks.

        They are named as their file, or as the user's column `file` says, where there is one.
        """
        facts = _read(self, "images", IMAGES_FINGERPRINT, ["image_id", "width", "height", "sha256"], shard)
        known = {row.pop("image_id"): row for row in facts.to_pylist()}
        used = [IMAGES_FINGERPRINT, *(source.fingerprint for source in self.sources)]
        failed = tables.failures(self.library, [c for f in used for c in tables.commits(self.library, f, [shard])])
        rows = manifest.read_shard(self.library, shard)
        users = pa.table(
            {each.name: rows[each.name].cast(each.type) for each in self.users if each.name in rows.column_names}
        )
        said = users.to_pylist() if users.num_columns else [{} for _ in range(rows.num_rows)]
        for image_id, user, (uri, source) in zip(
            rows["image_id"].to_pylist(), said, manifest.named(self.library, rows), strict=True
        ):
            if image_id not in failed:
                name = parts_of(str(user.get("file") or "")) or name_of(uri)[len(self.root) :]
                yield AnnotatedPhoto(image_id, uri, "/".join(name), **known[image_id], source=source, user=user)


def _read(annotations: Annotations, table: str, fingerprint: str, columns: Sequence[str], shard: str) -> pa.Table:
    return tables.require(annotations.library, table, fingerprint, columns, [shard])


def _findings(annotations: Annotations, shard: str) -> dict[str, list[Finding]]:
    """image_id → what was found there."""
    found: dict[str, list[Finding]] = {}
    for source in annotations.sources:
        columns = list(dict.fromkeys(["image_id", *source.says.columns]))
        rows = _read(annotations, source.task, source.fingerprint, columns, shard).to_pylist()
        for image_id, group in groupby(rows, key=lambda row: row["image_id"]):
            found.setdefault(image_id, []).extend(_finding(source, row, annotations.people) for row in group)
        if source.says.label and source.says.placed:
            _check_labels(annotations.library, source, {row[source.says.label] for row in rows})
    return found


def _check_labels(library: LibraryFiles, source: Source, labels: set[str]) -> None:
    known = classes_of(source)
    if strange := [label for label in labels if coco_labels.SPELLINGS.get(label, label) not in known]:
        raise MusterError(
            f"library {library.uri} has {source.task} labelled {strange[0]!r}, which their model does not know: the"
            f" table was changed; delete {source.task}/{source.fingerprint} and _commits/{source.fingerprint}, and run"
            " again"
        )


def _finding(
    source: Source, row: Mapping[str, Any], people: Mapping[str, tuple[str | None, str | None, float | None]]
) -> Finding:
    says = source.says
    face_id = row[says.id] if says.id else None
    person, name, certainty = people.get(face_id or "", (None, None, None))
    label = row[says.label] or "unsure" if says.label else label_of(source.task)
    score = None if says.score is None or row[says.score] is None else _short(row[says.score])
    x0, y0, x1, y1 = map(_short, row[says.box]) if says.box else (0.0, 0.0, 0.0, 0.0)
    return Finding(
        task=source.task,
        label=coco_labels.SPELLINGS.get(label, label),
        score=score,
        box=(x0, y0, x1, y1),
        rle={"size": [row["height"], row["width"]], "counts": row[says.mask]} if says.mask else None,
        landmarks=(row[says.landmarks] or ()) if says.landmarks else (),
        face_id=face_id,
        person=person,
        person_name=name,
        certainty=certainty,
        whole=not says.placed,
    )


def _short(value: float) -> float:
    """The shortest decimal number that is still this float32: 0.9, not 0.8999999761581421."""
    return float(str(np.float32(value)))


def annotations_of(library: LibraryFiles, tasks: Sequence[str], models: Mapping[str, str]) -> Annotations:
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


# ---- masks -----------------------------------------------------------------------------------------------------------


def full_size(photo: AnnotatedPhoto) -> AnnotatedPhoto:
    """With its masks at the size of the image, and their boxes around what is set there."""
    return _with_masks(photo, lambda finding: _full_size(finding, photo))


def _full_size(finding: Finding, photo: AnnotatedPhoto) -> Finding:
    mask = rle.resized(finding.rle or {}, photo.height, photo.width)
    return replace(finding, rle=mask, box=rle.box(mask))


def cut_out(mask: Mapping[str, Any], crop: tuple[int, int, int, int]) -> Mapping[str, Any]:
    """The part of a mask that lies in these pixels."""
    x0, y0, x1, y1 = crop
    return rle.encode(rle.decode(mask)[y0:y1, x0:x1])


def outlined(photo: AnnotatedPhoto) -> AnnotatedPhoto:
    """With the outlines of its masks, in pixels of the image."""
    return _with_masks(photo, lambda finding: _outlined(finding, photo))


def _outlined(finding: Finding, photo: AnnotatedPhoto) -> Finding:
    mask = rle.decode(finding.rle or {})
    factor = np.array([photo.width / mask.shape[1], photo.height / mask.shape[0]])
    return replace(finding, outlines=[np.round(points * factor, 2).tolist() for points in outlines(mask)])


def _with_masks(photo: AnnotatedPhoto, change: Any) -> AnnotatedPhoto:
    for finding in photo.findings:
        if finding.rle is not None:
            _check_frame(finding.rle["size"], photo)
    try:
        return replace(
            photo, findings=[change(finding) if finding.rle is not None else finding for finding in photo.findings]
        )
    except ValueError as error:
        raise MusterError(
            f"a mask of {photo.name} is none ({error}): its table was changed; run the masks anew"
        ) from None


def _check_frame(size: Sequence[int], photo: AnnotatedPhoto) -> None:
    """A mask's frame is its image at a smaller scale; decoding and shrinking round its sides, each once."""
    height, width = size
    scale = max(size) / max(photo.height, photo.width)
    if scale > 1 or abs(height - photo.height * scale) > 1.5 or abs(width - photo.width * scale) > 1.5:
        raise MusterError(
            f"{photo.uri}: a mask of {width}×{height} pixels does not fit the image's {photo.width}×{photo.height}:"
            " a table was changed; run the task again into another library"
        )
