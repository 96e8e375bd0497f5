"""Rows of data sets, and what is cut out of photos."""

import datetime
import decimal
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from helpers.exchange import DOG, SAMPLE, SAYS, SCHEMA, SKY, photo
from muster.storage.exchange.photo import Finding, LeftOut
from muster.storage.exchange.samples import Crop, Says, plain, row_of, samples, schema_of


def test_a_row_has_ours_the_users_and_what_was_found() -> None:
    row = row_of(SAMPLE, SCHEMA)
    assert (row["person"], row["width"], row["user_width"]) == ("anna", 100, 2.5)
    assert row["objects"] == [{"label": "dog", "score": 0.5, "box": [10, 20, 30, 40]}]
    assert row["masks"][0]["rle"] == SKY.rle
    assert pa.RecordBatch.from_pylist([row], SCHEMA).num_rows == 1


def test_names_that_are_taken() -> None:
    users = pa.schema({"image": pa.int64(), "objects": pa.int8(), "user_objects": pa.int8(), "uri2": pa.string()})
    names = schema_of(users, SAYS, crops=False).names
    assert names[6:] == ["user_image", "user_objects", "user_user_objects", "uri2", "objects", "masks"]


def test_what_json_has_no_word_for() -> None:
    odd = {
        "time": datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        "day": datetime.date(2020, 1, 2),
        "long": datetime.timedelta(seconds=90),
        "bytes": b"\x00\xff",
        "none": float("nan"),
        "exact": decimal.Decimal("1.10"),
        "list": [float("inf"), (1, 2)],
    }
    assert json.loads(json.dumps(plain(odd))) == {
        "time": "2020-01-02T03:04:05+00:00",
        "day": "2020-01-02",
        "long": 90.0,
        "bytes": "00ff",
        "none": None,
        "exact": "1.10",
        "list": [None, [1, 2]],
    }


def written(path: Path, size: tuple[int, int] = (100, 80), orientation: int = 1) -> str:
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.stack([2 * x, 3 * y, 0 * x], -1).astype(np.uint8)).save(path, quality=100, exif=exif)
    return str(path)


def test_photos_as_they_lie_and_those_that_cannot_be_read(tmp_path: Path) -> None:
    uri = written(tmp_path / "a.JPG")
    there = replace(photo("a.jpg"), uri=uri)
    changed = replace(there, sha256="0" * 64)
    left_out: list[LeftOut] = []
    gone = replace(there, uri=str(tmp_path / "b.jpg"))
    [sample] = samples([changed, there, gone], None, left_out)
    assert (sample.data, sample.suffix) == (Path(uri).read_bytes(), ".jpg")
    assert [each.error.partition(": ")[2] for each in left_out] == [
        "it was changed since it was looked at",
        "no such file",
    ]


@pytest.mark.parametrize(
    ("name", "suffix"), [("a.jpeg", ".jpeg"), ("a", ".jpg"), ("a.png", ".jpg"), ("x y.jpe", ".jpe")]
)
def test_a_suffix_tells_what_the_bytes_are(tmp_path: Path, name: str, suffix: str) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "plain", "JPEG")
    (tmp_path / name).write_bytes((tmp_path / "plain").read_bytes())
    [sample] = samples([replace(photo("a"), uri=str(tmp_path / name))], None, [])
    assert sample.suffix == suffix


def cut(rle: Mapping[str, Any], crop: Crop) -> Mapping[str, Any]:
    return {"part": crop}


def test_crops(tmp_path: Path) -> None:
    """What is found is in pixels of the upright photo, and so is what is cut out of it."""
    uri = written(tmp_path / "a.jpg", (80, 100), orientation=6)
    face = Finding("faces", "face", 0.9, (-5.0, 60.0, 20.5, 90.0), landmarks=[(3.0, 70.0)], face_id="f")
    whole = Finding("scenes", "day", 0.9, (0, 0, 0, 0), whole=True)
    away = Finding("objects", "cat", 0.9, (200, 10, 210, 20))
    found = list(samples([replace(photo("a.jpg", DOG, SKY, face, whole, away), uri=uri)], cut, []))
    assert [(each.photo.width, each.photo.height, list(each.crop or [])) for each in found] == [
        (20, 20, [10.0, 20.0, 30.0, 40.0]),
        (23, 31, [7.0, 20.0, 30.0, 51.0]),
        (21, 20, [-5.0, 60.0, 20.5, 90.0]),
    ]
    upright = np.asarray(Image.open(uri).transpose(Image.Transpose.ROTATE_270))
    for each, (left, top) in zip(found, [(10, 20), (7, 20), (0, 60)], strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(each.data)))
        expected = upright[top : top + each.photo.height, left : left + each.photo.width]
        assert np.abs(pixels.astype(int) - expected).mean() < 4
    assert found[0].photo.findings[0].box == (0, 0, 20, 20)
    assert found[1].photo.findings[0].rle == {"part": (7, 20, 30, 51)}
    assert found[2].photo.findings[0].landmarks == [(3, 10)]
    schema = schema_of(pa.schema([]), {"faces": Says(True, False, True, True)}, crops=True)
    row = row_of(found[2], schema)
    assert (row["crop_box"], row["faces"][0]["face_id"]) == ([-5.0, 60.0, 20.5, 90.0], "f")
