"""Kinds of public bug reports that were right when they were tried, and had no test: docs/testing.md has all."""

import io
import os
import resource
import struct
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pillow_heif
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from muster.arrays import Pixels
from muster.storage import manifest
from muster.storage.gallery import audit, gallery
from muster.storage.library import LibraryFiles, open_library
from muster.storage.photos.decode import Photo, decode, read
from muster.storage.photos.sources import find_images
from muster.tasks.scenes import SceneParameters, sun_range

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")  # as storage/photos/pixels.py does


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return open_library(tmp_path / "library", create=True)


# ---- pictures --------------------------------------------------------------------------------------------------------

_Y, _X = np.mgrid[0:64, 0:96] / 96
PIXELS: Pixels = (
    np.stack([255 * _X, 255 * _Y, 120 + 100 * np.sin(7 * _X * _Y + 3 * _X)], axis=-1).clip(0, 255).astype("u1")
)
PICTURE = Image.fromarray(PIXELS)
RED = Image.new("RGB", PICTURE.size, "red")
DEEP = PIXELS.astype(np.uint16) * 257


def save(image: Image.Image = PICTURE, format: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.copy().save(
        file, format, **({"quality": 95} if format in ("JPEG", "MPO", "WEBP", "AVIF", "HEIF") else {}) | options
    )
    return file.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def behind_start(*parts: bytes) -> bytes:
    """A JPEG with more behind its first marker."""
    data = save()
    return b"".join([data[:2], *parts, data[2:]])


def tiff(pixels: np.ndarray[Any, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def png_of_16_bits(pixels: np.ndarray[Any, Any]) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def heic_of(*images: Image.Image, primary: int = 0) -> bytes:
    heif, file = pillow_heif.HeifFile(), io.BytesIO()
    for image in images:
        heif.add_from_pillow(image)
    heif.save(file, quality=95, primary_index=primary)
    return file.getvalue()


def heic_of_10_bits() -> bytes:
    file = io.BytesIO()
    pillow_heif.encode("RGB;16", PICTURE.size, DEEP.tobytes(), file, quality=95)
    return file.getvalue()


HALF = Image.merge("RGBA", [*PICTURE.split(), Image.new("L", PICTURE.size, 128)])
ON_WHITE = Image.blend(PICTURE, Image.new("RGB", PICTURE.size, "white"), 0.5)
GREY = PICTURE.convert("L")
BROKEN = b"no profile" * 20
PROFILES = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF")
FRAMES = ("PNG", "WEBP", "AVIF", "TIFF", "GIF")

PICTURES: dict[str, tuple[Callable[[], bytes], Image.Image]] = {
    "a video behind a JPEG": (lambda: save() + b"\0\0\0\x18ftypmp42" + b"\0" * 9999, PICTURE),
    "a JPEG behind a JPEG": (lambda: save() + save(Image.new("RGB", (300, 300), "red")), PICTURE),
    "zeros behind a HEIC": (lambda: save(format="HEIF") + b"\0" * 1000, PICTURE),
    "a gain map": (lambda: save(format="MPO", save_all=True, append_images=[RED.resize((24, 16))]), PICTURE),
    "a gain map cut off": (lambda: save(format="MPO", save_all=True, append_images=[RED.copy()])[:-200], PICTURE),
    "300 kB of XMP": (
        lambda: behind_start(*[segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"x" * 65000)] * 5), PICTURE
    ),
    "a megabyte of comments": (lambda: behind_start(*[segment(0xFE, b"x" * 65000)] * 16), PICTURE),
    "fill bytes": (lambda: behind_start(b"\xff\xff\xff"), PICTURE),
    "no JFIF segment": (lambda: (data := save())[:2] + data[4 + data[5] :], PICTURE),
    "restart markers": (lambda: save(restart_marker_rows=1), PICTURE),
    "RGB in a JPEG": (lambda: save(keep_rgb=True), PICTURE),
    "a PNG without its end": (lambda: save(format="PNG")[:-12], PICTURE),
    "a PNG of 16 bits": (lambda: png_of_16_bits(DEEP), PICTURE),
    "a TIFF of 16 bits": (lambda: tiff(DEEP, photometric="rgb"), PICTURE),
    "a TIFF of 16 bits, big-endian": (lambda: tiff(DEEP.astype(">u2"), photometric="rgb", byteorder=">"), PICTURE),
    "a TIFF of 16 bits in tiles": (lambda: tiff(DEEP, photometric="rgb", tile=(16, 16)), PICTURE),
    "a TIFF in planes": (
        lambda: tiff(PIXELS.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate"), PICTURE
    ),
    "a TIFF whose white is 0": (lambda: tiff(255 - np.asarray(GREY), photometric="miniswhite"), GREY),
    "BigTIFF": (lambda: save(format="TIFF", big_tiff=True), PICTURE),
    "a fax": (lambda: save(PICTURE.convert("1"), "TIFF", compression="group4"), PICTURE.convert("1")),
    "a palette of 4 bits": (lambda: save(PICTURE.quantize(16), "PNG", bits=4), PICTURE.quantize(16)),
    "HEIC of 10 bits": (heic_of_10_bits, PICTURE),
    "HEIC with alpha": (lambda: save(HALF, "HEIF"), ON_WHITE),
    "HEIC of two pictures, the second is the photo": (lambda: heic_of(RED, PICTURE, primary=1), PICTURE),
    "HEIC of two pictures, the first is the photo": (lambda: heic_of(PICTURE, RED), PICTURE),
    **{f"a broken profile in {f}": (partial(save, format=f, icc_profile=BROKEN), PICTURE) for f in PROFILES},
    **{f"frames of {f}": (partial(save, format=f, save_all=True, append_images=[RED.copy()]), PICTURE) for f in FRAMES},
}  # fmt: skip


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures(kind: str) -> None:
    data, expected = PICTURES[kind]
    pixels = decode(data()).pixels
    tolerance = 20 if "GIF" in kind else 4  # a palette of 256
    assert np.abs(pixels.astype(int) - np.asarray(expected.convert("RGB"))).mean() < tolerance


@pytest.mark.parametrize("suffix", [".heic", ".png", ".webp", ".tif", ".gif"])
def test_what_a_file_is_called_does_not_count(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / f"a{suffix}").write_bytes(save(PICTURE.transpose(Image.Transpose.ROTATE_90), exif=exif))
    [uri] = find_images(str(tmp_path), None).rows["uri"].to_pylist()
    found = decode(read(uri))
    assert (found.format, found.orientation, found.size) == ("jpeg", 6, PICTURE.size)


# ---- what a camera wrote ---------------------------------------------------------------------------------------------


def written(base: dict[int, Any], gps: dict[int, Any] | None = None, *behind: bytes) -> Photo:
    exif = Image.Exif()
    for tag, value in base.items():
        exif[tag] = value
    exif.get_ifd(0x8825).update(gps or {})
    data = save(exif=exif)
    return decode(b"".join([data[:2], *behind, data[2:]]))


@pytest.mark.parametrize("year", [1, 1826, 2050, 9999])
def test_times_that_cannot_be_stay_as_the_camera_wrote_them(year: int) -> None:
    taken = written({0x0132: f"{year:04}:12:31 23:59:58"}).taken_at
    assert taken == datetime(year, 12, 31, 23, 59, 58)
    assert None not in sun_range(taken, 51.0, SceneParameters())


def test_a_date_that_phones_write_into_every_photo_is_not_believed_where_there_is_another() -> None:
    """2002:12:08 12:00:00 as the time of digitization, whenever it was."""
    exif = Image.Exif()
    exif[0x0132] = "2020:03:16 12:50:49"
    exif.get_ifd(0x8769).update({0x9003: "2020:03:16 12:50:48", 0x9004: "2002:12:08 12:00:00"})
    assert decode(save(exif=exif)).taken_at == datetime(2020, 3, 16, 12, 50, 48)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/St_Johns", "Nowhere/Atall"])
def test_the_zone_of_the_computer_moves_no_time(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert written({0x0132: "2020:03:29 02:30:00"}).taken_at == datetime(
            2020, 3, 29, 2, 30
        )  # an hour that some skip
    finally:
        monkeypatch.undo()
        time.tzset()


def test_broken_tags_take_no_others_with_them() -> None:
    place = {1: "N", 2: (48.0, 51.0, 0.0), 3: "E", 4: (2.0, 21.0, 0.0)}
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta dc:title='\xa8\xff'/>")
    found = written({0x0132: "2020:02:03 04:05:06", 0x011A: IFDRational(0, 0), 0x010F: "Canon"}, place, xmp)
    assert (found.taken_at, found.camera) == (datetime(2020, 2, 3, 4, 5, 6), "Canon")
    assert found.latitude == pytest.approx(48.85)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_there_is_not_turns_nothing(orientation: int) -> None:
    found = written({0x0112: orientation})
    assert (found.orientation, found.size) == (1, PICTURE.size)


def test_hemispheres_in_small_letters_and_with_padding() -> None:
    found = written({}, {1: "s", 2: (48.0, 51.0, 0.0), 3: "W\0", 4: (2.0, 21.0, 0.0)})
    assert (found.latitude, found.longitude) == (pytest.approx(-48.85), pytest.approx(-2.35))


# ---- folders ---------------------------------------------------------------------------------------------------------


def test_names_that_differ_in_case_or_spelling_only(library: LibraryFiles, tmp_path: Path) -> None:
    names = ["IMG.jpg", "img.JPG", *(unicodedata.normalize(form, "Zoë.jpg") for form in ("NFC", "NFD"))]
    for i, name in enumerate(names):
        (tmp_path / name).write_bytes(bytes([i]))
    assert manifest.scan(library, [str(tmp_path)]).new == 4
    assert manifest.scan(library, [str(tmp_path)]).unchanged == 4
    assert set(manifest.read_manifest(library)["uri"].to_pylist()) == {str(tmp_path / name) for name in names}


@pytest.mark.parametrize("when", [-1e9, 0, 4e9, 1e11])
def test_files_from_before_1970_and_from_the_future(when: float, library: LibraryFiles, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    os.utime(tmp_path / "a.jpg", (when, when))
    assert manifest.scan(library, [str(tmp_path)]).new == 1
    assert manifest.scan(library, [str(tmp_path)]).unchanged == 1
    [modified] = manifest.read_manifest(library)["modified"].to_pylist()
    assert modified == datetime.fromtimestamp((tmp_path / "a.jpg").stat().st_mtime, UTC)  # not all disks keep any time


@contextmanager
def few_open_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_scan_keeps_no_files_open(tmp_path: Path) -> None:
    for i in range(100):
        (tmp_path / f"{i}" / "b").mkdir(parents=True)
        (tmp_path / f"{i}" / "b" / "a.jpg").touch()
    with few_open_files():
        assert find_images(str(tmp_path), None).rows.num_rows == 100


# ---- tables ----------------------------------------------------------------------------------------------------------

DELTA = {"uri": "DELTA_BYTE_ARRAY", "n": "DELTA_BINARY_PACKED"}
WRITERS: dict[str, dict[str, Any]] = {
    "format 1.0": {"version": "1.0", "data_page_version": "1.0"},
    "page index": {"write_page_index": True, "write_page_checksum": True},
    "delta encodings": {"data_page_version": "2.0", "use_dictionary": False, "column_encoding": DELTA},
    "times of 96 bits": {"use_deprecated_int96_timestamps": True},
    "without Arrow's schema": {"store_schema": False},
    **{name: {"compression": name} for name in ("none", "snappy", "gzip", "brotli", "lz4", "zstd")},
}


@pytest.mark.parametrize("kind", WRITERS)
def test_parquet_as_others_write_it(kind: str, tmp_path: Path) -> None:
    when = datetime(2020, 1, 2, 3, 4, 5)
    table = pa.table({"uri": ["a.jpg", "b.jpg"], "n": [1, 2], "when": [when, None]})
    pq.write_table(table, tmp_path / "x.parquet", **WRITERS[kind])
    rows = find_images(str(tmp_path), None).rows
    assert rows["uri"].to_pylist() == [str(tmp_path / name) for name in ("a.jpg", "b.jpg")]
    assert rows["n"].to_pylist() == [1, 2]
    assert rows["when"].cast(pa.timestamp("us")).to_pylist() == [when, None]


def test_parquet_of_duckdb(library: LibraryFiles, tmp_path: Path) -> None:
    query = """select unnest(['a.jpg', 'b.jpg']) uri, 'x'::enum('x', 'y') kind, [1, 2] list, {'a': 1} struct,
        1.5::decimal(18, 3) price, date '2020-01-01' born, 'ab'::blob content, 3::utinyint small"""
    duckdb.sql(f"copy ({query}) to '{tmp_path / 'x.parquet'}' (format parquet, parquet_version v2)")
    assert manifest.scan(library, [str(tmp_path / "x.parquet")]).new == 2
    row = manifest.read_manifest(library).to_pylist()[0]
    assert (row["kind"], row["list"], row["struct"], row["content"], row["small"]) == ("x", [1, 2], {"a": 1}, b"ab", 3)
    assert (float(row["price"]), row["born"].year) == (1.5, 2020)


def test_names_that_pandas_keeps_in_its_index(tmp_path: Path) -> None:
    index = pd.Index(["a.jpg", "b.jpg"], name="uri")
    pd.DataFrame({"n": [1, 2]}, index=index).to_parquet(tmp_path / "x.parquet")
    rows = find_images(str(tmp_path), None).rows
    assert rows["uri"].to_pylist() == [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
    assert rows["n"].to_pylist() == [1, 2]


# ---- people ----------------------------------------------------------------------------------------------------------

IDS = ["a/b", "..", "[test]", "😀", "x" * 300, "'; drop table people; --", " ", "%2F"]


def test_ids_of_any_form_come_back_and_can_be_taken_out(library: LibraryFiles) -> None:
    face = {"embedding": [1.0] + [0.0] * 127, "pseudonym": "p"}
    rows = [
        {"person_id": who, "name": who, "face_id": f"{i}-0", "image_id": f"{i}"} | face for i, who in enumerate(IDS)
    ]
    gallery.write(library, gallery.empty("f" * 16, "own", width=128).with_faces(rows), "enroll", {})
    known = gallery.require(library)
    assert known.people == sorted(IDS)
    for who in IDS:
        known = known.without([who])
        assert who not in known.people
    assert known.people == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be somebody else")
def test_a_user_whom_the_system_does_not_know(library: LibraryFiles) -> None:
    """As in a container that is started with any number."""
    os.setresuid(54321, 0, 0)
    try:
        audit.append(library, "verify", {"people": []})
    finally:
        os.setresuid(0, 0, 0)
    assert audit.entries(library)[-1]["by"].startswith("54321@")


def test_a_clock_that_was_set_back_breaks_no_log(library: LibraryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a small computer without a battery, which begins in 1970 wherever there is no network."""
    for year in (2026, 1970, 2027, 1970):
        when = datetime(year, 1, 1, tzinfo=UTC)
        monkeypatch.setattr(audit, "datetime", SimpleNamespace(now=lambda zone, when=when: when))
        audit.append(library, "verify", {"people": []})
    found = audit.check(library)
    assert (found.lines, found.problem) == (4, None)
    assert [entry["at"][:4] for entry in audit.entries(library)] == ["2026", "1970", "2027", "1970"]
