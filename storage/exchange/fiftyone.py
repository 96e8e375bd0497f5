"""FiftyOne's folder, in the JSON that `FiftyOneDataset` reads: written after its documentation and its reader's code,
docs.voxel51.com/user_guide/import_datasets.html and fiftyone/utils/data/importers.py.

A `metadata.json` without a version is what tells that reader that samples are JSON as it stands, and no documents of
its database. Coordinates are parts of the sides.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from muster.storage.exchange.photo import AnnotatedPhoto, Finding
from muster.storage.exchange.samples import Sample, plain, row_of
from muster.storage.new_files import new_folder

_OF_ITS_OWN = ("id", "filepath", "tags", "metadata", "created_at", "last_modified_at", "media_type")


def write_fiftyone(samples: Iterable[Sample], out: Path, schema: pa.Schema) -> None:
    """`data/<number>.jpg` and a sample for each. Equal samples make equal bytes."""
    with new_folder(out) as folder:
        (folder / "data").mkdir()
        with open(folder / "samples.json", "x", encoding="utf-8") as file:
            file.write('{"samples": [')
            for number, sample in enumerate(samples):
                name = f"data/{number:09d}{sample.suffix}"
                (folder / name).write_bytes(sample.data)
                file.write((",\n" if number else "\n") + json.dumps(_sample(name, sample, schema)))
            file.write("\n]}\n")
        (folder / "metadata.json").write_text(json.dumps({"media_type": "image", "info": {"made by": "Muster"}}))


def _sample(name: str, sample: Sample, schema: pa.Schema) -> dict[str, Any]:
    photo, row = sample.photo, row_of(sample, schema)
    tasks = [field.name for field in schema if field.name in row and _is_task(field)]
    facts = {_field(key): plain(value) for key, value in row.items() if key not in tasks}
    size = {"_cls": "ImageMetadata", "width": photo.width, "height": photo.height, "size_bytes": len(sample.data)}
    found = {_field(task): _labels(photo, [f for f in photo.findings if f.task == task]) for task in tasks}
    return {"filepath": name, "tags": [], "metadata": size, "_media_type": "image", **facts, **found}


def _is_task(field: pa.Field) -> bool:
    return b"user" not in (field.metadata or {}) and pa.types.is_list(field.type) and field.name != "crop_box"


def _field(name: str) -> str:
    """A name that a field may have: without dots, no `_` before it, and none of FiftyOne's own."""
    name = name.replace(".", "_").lstrip("_$") or "column"
    return f"user_{name}" if name in _OF_ITS_OWN else name


def _labels(photo: AnnotatedPhoto, findings: list[Finding]) -> Mapping[str, Any]:
    if any(finding.rle is not None for finding in findings):
        return {"_cls": "Polylines", "polylines": [_label(photo, f, "Polyline") for f in findings]}
    if any(finding.whole for finding in findings):
        return {"_cls": "Classifications", "classifications": [_label(photo, f, "Classification") for f in findings]}
    return {"_cls": "Detections", "detections": [_label(photo, f, "Detection") for f in findings]}


def _label(photo: AnnotatedPhoto, finding: Finding, kind: str) -> dict[str, Any]:
    width, height = photo.width, photo.height
    place: dict[str, Any] = {}
    if kind == "Polyline":
        points = [[[x / width, y / height] for x, y in outline] for outline in finding.outlines]
        place = {"points": points, "closed": True, "filled": True}
    elif kind == "Detection":
        x0, y0, x1, y1 = finding.box
        place = {"bounding_box": [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height]}
    return {"_cls": kind, "label": finding.label, "confidence": finding.score, **place, **finding.who}
