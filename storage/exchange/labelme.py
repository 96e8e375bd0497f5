"""labelme's folder: a JSON file for each photo."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from muster.storage.exchange.photo import AnnotatedPhoto, Finding, LeftOut, Photos, file_of
from muster.storage.new_files import new_folder
from muster.storage.uris import local_path, split_inside


def write_labelme(photos: Photos, out: Path, categories: Mapping[str, int], info: Mapping[str, Any]) -> list[LeftOut]:
    """`<name>.json` per photo."""
    left_out = []
    with new_folder(out) as folder:
        for photo in photos:
            file = file_of(folder, photo, ".json")
            if isinstance(file, LeftOut):
                left_out.append(file)
                continue
            with file:
                json.dump(_labelme(photo), file)
    return left_out


def _labelme(photo: AnnotatedPhoto) -> dict[str, Any]:
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": [shape for number, finding in enumerate(photo.findings, 1) for shape in _shapes(number, finding)],
        "imagePath": _image_path(photo),
        "imageData": None,
        "imageHeight": photo.height,
        "imageWidth": photo.width,
    }


def _image_path(photo: AnnotatedPhoto) -> str:
    """As labelme looks for it, from the folder of the JSON: where it lies, or, if that is no file here, beside it."""
    path = None if split_inside(photo.uri) else local_path(photo.uri)
    name = PurePosixPath(photo.name)
    return path or (name.name if name.suffix else f"{name.name}.jpg")


def _shapes(number: int, finding: Finding) -> Iterator[dict[str, Any]]:
    """The parts of one mask have one `group_id`. The description of a face is its person."""
    x0, y0, x1, y1 = finding.box
    polygons = finding.rle is not None
    for points in finding.outlines if polygons else [[(x0, y0), (x1, y1)]]:
        yield {
            "label": finding.label,
            "points": points,
            "group_id": number if len(finding.outlines) > 1 else None,
            "description": finding.person_name or finding.person or "",
            "shape_type": "polygon" if polygons else "rectangle",
            "flags": {},
            "score": finding.score,  # labelme keeps what it does not know
            **finding.who,
        }
