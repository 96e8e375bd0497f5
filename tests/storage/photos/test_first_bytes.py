"""What files are, by how they begin."""

import io
import re
import tarfile
import zipfile
from collections.abc import Callable

import pillow_heif
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from muster.storage.photos.first_bytes import HEAD, IMAGE_SUFFIXES, NO_PHOTOS, is_photo, refusal


def picture(form: str) -> bytes:
    out = io.BytesIO()
    image = Image.new("RGB", (32, 32), "red")
    pillow_heif.from_pillow(image).save(out) if form == "HEIF" else image.save(out, form)
    return out.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "MPO", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "BMP", "GIF"])
def test_every_kind_that_is_read(form: str) -> None:
    assert is_photo(picture(form)[:HEAD])


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    return out.getvalue()


def archived() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "a")
    return out.getvalue()


def table() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"uri": ["a"]}), out)
    return out.getvalue()


OTHERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "shard": (tar, r"tar.*\.tar"),
    "a": (archived, r"zip.*\.zip"),
    "a.tgz": (lambda: b"\x1f\x8b\x08", "gzip.*unpack"),
    "table": (table, r"Parquet.*\.parquet"),
    "a.mp4": (lambda: b"\0\0\0\x18ftypisom\0\0", "video"),
    "a.mkv": (lambda: b"\x1aE\xdf\xa3\0", "video"),
    "a.avi": (lambda: b"RIFF\0\0\0\0AVI LIST", "video"),
    "a.pdf": (lambda: b"%PDF-1.7", "PDF"),
    "a.psd": (lambda: b"8BPS\0\1", "Photoshop"),
    "a.jxl": (lambda: b"\xff\x0a\0", "JPEG XL"),
    "a.cr3": (lambda: b"\0\0\0\x18ftypcrx \0\0", "camera raw.*JPEG"),
    "a.nef": (lambda: picture("TIFF"), "camera raw.*JPEG"),
    "a.csv": (lambda: b"person_id,image\n", "CSV"),
    "a.txt": (lambda: b"BMW 320i and others like it", "text"),
    "a.json": (lambda: b' {"a": 1}', "JSON"),
    "a.html": (lambda: b"<!doctype html>", "HTML"),
    "a.b": (lambda: b"\0\1\2\3", "no format known"),
    "empty": (lambda: b"", "empty"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_others_are(name: str) -> None:
    data, said = OTHERS[name]
    suffix = name[name.rindex(".") :] if "." in name else ""
    assert suffix in NO_PHOTOS or not is_photo(data()[:HEAD])
    assert re.search(said, refusal(data()[:HEAD], suffix))


@given(head=st.binary(max_size=HEAD), suffix=st.sampled_from(["", ".x", ".tar", ".nef"]))
def test_any_bytes_have_an_answer_that_does_not_quote_them(head: bytes, suffix: str) -> None:
    is_photo(head)
    assert refusal(b"secret-of-mine" + head, suffix).count("secret") == 0


def test_a_suffix_is_of_one_kind() -> None:
    assert not IMAGE_SUFFIXES & NO_PHOTOS
