"""YOLO's folder: a text file of boxes, or outlines, for each photo."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from muster.storage.exchange.photo import AnnotatedPhoto, LeftOut, Photos, file_of
from muster.storage.new_files import new_folder
from muster.storage.uris import split_inside


def write_yolo(photos: Photos, out: Path, categories: Mapping[str, int], info: Mapping[str, Any]) -> list[LeftOut]:
    """`labels/<name>.txt`, a line per box, or per part of a mask; empty where nothing was found. And `data.yaml`.

    Its images are those of `images.txt`, and not whatever the user puts into `images`: readers take an image without
    labels for one that shows nothing, and give `1.png` the labels of `1.jpg`.
    """
    numbers, left_out = {name: i for i, name in enumerate(categories)}, []
    with new_folder(out) as folder:
        lines = [f"  {i}: {_quoted(name)}\n" for name, i in numbers.items()]
        # Without `path`: Ultralytics takes "." for where it was started, and nothing for the folder of this file.
        with open(folder / "data.yaml", "x", encoding="utf-8") as data:
            data.writelines(["train: images.txt\nval: images.txt\nnames:\n", *lines])
        (folder / "labels").mkdir()
        with open(folder / "images.txt", "x", encoding="utf-8") as images:
            for photo in photos:
                file = file_of(folder / "labels", photo, ".txt")
                if isinstance(file, LeftOut):
                    left_out.append(file)
                    continue
                with file:
                    file.writelines(_yolo_lines(photo, numbers))
                image = f"images/{photo.name}.jpg" if split_inside(photo.uri) else f"images/{photo.name}"
                if Path(file.name) == folder / _yolo_label(image) and _is_line(image):
                    images.write(f"./{image}\n")
    return left_out


def _is_line(text: str) -> bool:
    """Whether readers of a list, which they split as Python does and take for UTF-8, find this in it."""
    return text.isprintable() and text.splitlines() == [text.strip()]


def _quoted(text: str) -> str:
    """A text in YAML, which knows JSON's escapes, but no pairs of them for what lies beyond U+FFFF."""
    return '"' + "".join(f"\\U{ord(c):08x}" if c > "\uffff" else json.dumps(c)[1:-1] for c in text) + '"'


def _yolo_label(image: str) -> str:
    """Where YOLO's readers look for an image's labels: `images/a/1.jpg` → `labels/a/1.txt`."""
    before, _, after = f"/{image}".rpartition("/images/")
    return f"{before}/labels/{after.rpartition('.')[0]}.txt"[1:]


def _yolo_lines(photo: AnnotatedPhoto, numbers: Mapping[str, int]) -> Iterator[str]:
    width, height = photo.width, photo.height
    for finding in photo.findings:
        if finding.rle is not None:
            rows = [[v for x, y in outline for v in (x / width, y / height)] for outline in finding.outlines]
        else:
            # A face may reach past the edge of its photo; a reader that finds a number above 1 drops the photo.
            x0, x1 = (min(max(x, 0), width) for x in finding.box[::2])
            y0, y1 = (min(max(y, 0), height) for y in finding.box[1::2])
            rows = [[(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height]]
        for row in rows:
            yield " ".join([str(numbers[finding.label]), *(f"{value:.6f}" for value in row)]) + "\n"
