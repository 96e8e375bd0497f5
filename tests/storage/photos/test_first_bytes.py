"""What files are, by how they begin."""

import io
import re
import subprocess
import sys
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


def test_kinds_that_other_packages_read() -> None:
    for head in (b"\xff\x0a\0", b"\0\0\0\x0cJXL \r\n", b"\0\0\0\x18ftypcrx \0\0", b"II\x1a\0\0\0HEAPCCDR", b"8BPS\0\1"):
        assert is_photo(head)
    assert {".nef", ".dng", ".jxl", ".psd"} <= IMAGE_SUFFIXES
    assert not {".raw", ".ptx"} & (IMAGE_SUFFIXES | NO_PHOTOS), "point clouds are called so too"


WITHOUT = """
import sys
sys.modules["rawpy"] = sys.modules["pillow_jxl"] = None
from muster.errors import ImageError
from muster.storage.photos.decode import decode
from muster.storage.photos.first_bytes import IMAGE_SUFFIXES, NO_PHOTOS, is_photo, refusal
assert {".nef", ".raw", ".jxl"} <= NO_PHOTOS - IMAGE_SUFFIXES
for head, suffix in ((b"\\0\\0\\0\\x18ftypcrx \\0\\0", ".cr3"), (b"II*\\0", ".nef"), (b"\\xff\\x0a\\0", ".jxl")):
    print(refusal(head, suffix))
    try:
        decode(head if suffix != ".nef" else b"II*\\0\\x10\\0\\0\\0CR\\2\\0\\0\\0\\0\\0")
    except ImageError as error:
        print(error.kind, error)
"""


def test_without_these_packages_it_is_said_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    raw = r"camera raw needs rawpy: pip install 'muster-photos\[raw\]'"
    jxl = r"JPEG XL needs pillow-jxl-plugin: .*\[jxl\]"
    for line, said in zip(done.stdout.splitlines(), [raw, raw, raw, raw, jxl, jxl], strict=True):
        assert re.search(said, line), done.stderr
    assert done.stdout.count("unsupported ") == 3


def test_a_suffix_is_of_one_kind() -> None:
    assert not IMAGE_SUFFIXES & NO_PHOTOS
