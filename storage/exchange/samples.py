"""Photos, or what was found in them cut out, with their rows: what data sets for training elsewhere are made of."""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from muster.colour import in_srgb
from muster.errors import ImageError
from muster.storage.exchange.photo import AnnotatedPhoto, Finding, LeftOut, Photos, public_uri
from muster.storage.photos.decode import decode
from muster.storage.photos.first_bytes import HEAD, RAW_SUFFIXES, format_of, suffix_of
from muster.storage.photos.reader import Reader
from muster.storage.photos.rows import free_name
from muster.storage.uris import path_of, split_inside

IMAGE = "image"  # the column of a table that has the file
QUALITY = 95  # of crops, as JPEG
Crop = tuple[int, int, int, int]  # x0, y0, x1, y1
Cut = Callable[[Mapping[str, Any], Crop], Mapping[str, Any]]  # of a mask, as COCO has it, this part
_OWN = {
    "image_id": pa.string(),
    "uri": pa.string(),
    "file_name": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "sha256": pa.string(),
}
_BOX = pa.list_(pa.float64())
_WHO = {"face_id": pa.string(), "person": pa.string(), "person_name": pa.string(), "certainty": pa.float64()}


@dataclass(frozen=True, slots=True)
class Sample:
    """`photo`: what was found in it, in pixels of the image that `data` is, upright. `data`: bytes of an image file;
    `suffix`: its, with the dot. `crop`: box of it in the photo that it was cut out of."""

    photo: AnnotatedPhoto
    data: bytes
    suffix: str
    crop: Sequence[float] | None = None


@dataclass(frozen=True)
class Says:
    """What the findings of a task have: see muster.tasks.base.Findings."""

    placed: bool
    mask: bool
    landmarks: bool
    faces: bool


def schema_of(users: pa.Schema, tasks: Mapping[str, Says], crops: bool) -> pa.Schema:
    """Of rows: ours, the user's, and a list of findings for each task. A column of the user that is called like one of
    ours is called user_… there."""
    own = _OWN | ({"crop_box": _BOX} if crops else {})
    taken = {IMAGE, *own, *tasks}
    fields = [pa.field(name, kind) for name, kind in own.items()]
    for user in users:
        fields.append(pa.field(free_name(user.name, taken), user.type, metadata={"user": user.name}))
        taken.add(fields[-1].name)
    return pa.schema([*fields, *(pa.field(task, pa.list_(_finding(says))) for task, says in tasks.items())])


def _finding(says: Says) -> pa.DataType:
    fields = {"label": pa.string(), "score": pa.float64()}
    if says.placed:
        fields["box"] = _BOX
    if says.mask:
        fields["rle"] = pa.struct({"size": pa.list_(pa.int32()), "counts": pa.string()})
    if says.landmarks:
        fields["landmarks"] = pa.list_(_BOX)
    return pa.struct(fields | (_WHO if says.faces else {}))


def row_of(sample: Sample, schema: pa.Schema) -> dict[str, Any]:
    """As Python has it, in the order of the schema."""
    photo = sample.photo
    own = {
        "image_id": photo.image_id,
        "uri": public_uri(photo.uri),
        "file_name": photo.name.encode(errors="replace").decode(),
        "width": photo.width,
        "height": photo.height,
        "sha256": hashlib.sha256(sample.data).hexdigest(),
        "crop_box": sample.crop and list(sample.crop),
    }
    row = {}
    for field in schema:
        user = (field.metadata or {}).get(b"user")
        if user is not None:
            row[field.name] = photo.user.get(user.decode())
        elif field.name in own:
            row[field.name] = own[field.name]
        else:
            names = [part.name for part in field.type.value_type]
            row[field.name] = [_as_row(each, names) for each in photo.findings if each.task == field.name]
    return row


def _as_row(finding: Finding, names: Sequence[str]) -> dict[str, Any]:
    about = {
        "label": finding.label,
        "score": finding.score,
        "box": list(finding.box),
        "rle": finding.rle,
        "landmarks": [list(point) for point in finding.landmarks],
        **dict.fromkeys(_WHO),
        **finding.who,
    }
    return {name: about[name] for name in names}


def plain(value: Any) -> Any:
    """What JSON can hold: times as ISO 8601 has them, bytes as hexadecimal digits, what is no number as null."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return str(value)
    return None if isinstance(value, float) and not np.isfinite(value) else value


# ---- reading ---------------------------------------------------------------------------------------------------------


def samples(photos: Photos, cut: Cut | None, left_out: list[LeftOut]) -> Iterator[Sample]:
    """Each photo as it lies, or, where masks can be `cut`, each find that has a box.

    What cannot be read, or is another file than the one that was looked at, goes to `left_out`.
    """
    reader = Reader()
    for photo in photos:
        try:
            data = reader.read(photo.uri, photo.source)
            if photo.sha256 not in (None, hashlib.sha256(data).hexdigest()):
                raise ImageError("unreadable", f"{public_uri(photo.uri)}: it was changed since it was looked at")
            found = list(_crops(photo, data, cut)) if cut else [Sample(photo, data, _suffix(photo.uri, data))]
        except ImageError as error:
            left_out.append(LeftOut(photo, str(error)))
            continue
        yield from found


def _suffix(uri: str, data: bytes) -> str:
    """Its own, if it is one of such files; else the usual one."""
    inside = split_inside(uri)
    own, form = suffix_of(inside.key.partition("&at=")[0] if inside else path_of(uri)), format_of(data[:HEAD])
    known = form.suffixes.split() if form else []
    return own if own in known or own in RAW_SUFFIXES or not known else known[0]


def _crops(photo: AnnotatedPhoto, data: bytes, cut: Cut) -> Iterator[Sample]:
    whole = None
    for finding in photo.findings:
        x0, y0, x1, y1 = _pixels(finding.box, photo)
        if finding.whole or x0 >= x1 or y0 >= y1:
            continue
        if whole is None:  # few photos have nothing in them, but it is a large part of the work
            decoded = decode(data)
            whole = Image.fromarray(in_srgb(decoded.pixels, decoded.profile))
            if whole.size != (photo.width, photo.height):  # camera raw is developed at half its size
                whole = whole.resize((photo.width, photo.height))
        out = io.BytesIO()
        whole.crop((x0, y0, x1, y1)).save(out, "JPEG", quality=QUALITY)
        part = replace(photo, width=x1 - x0, height=y1 - y0, findings=[_moved(finding, (x0, y0, x1, y1), cut)])
        yield Sample(part, out.getvalue(), ".jpg", finding.box)


def _pixels(box: Sequence[float], photo: AnnotatedPhoto) -> Crop:
    """Those that the box touches, and that are there: a face may reach past the edge of its photo."""
    x0, y0, x1, y1 = box
    return (
        max(int(np.floor(x0)), 0),
        max(int(np.floor(y0)), 0),
        min(int(np.ceil(x1)), photo.width),
        min(int(np.ceil(y1)), photo.height),
    )


def _moved(finding: Finding, crop: Crop, cut: Cut) -> Finding:
    """The same in pixels of the crop."""
    left, top, _, _ = crop
    x0, y0, x1, y1 = finding.box
    return replace(
        finding,
        box=(x0 - left, y0 - top, x1 - left, y1 - top),
        rle=finding.rle and cut(finding.rle, crop),
        landmarks=[(x - left, y - top) for x, y in finding.landmarks],
        outlines=[[(x - left, y - top) for x, y in outline] for outline in finding.outlines],
    )
