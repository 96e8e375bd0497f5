import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.packets import bag, image_with, packet
from muster.storage.photos import pixels  # noqa: F401 - has Pillow open HEIC
from muster.storage.tags.embedded import MOST, packets

PACKET = packet(bag("dc:subject", ["lake"]))
GUID = b"0123456789ABCDEF0123456789ABCDEF"


def read(data: bytes) -> tuple[list[bytes], list[str]]:
    return packets(io.BytesIO(data))


def segment(content: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def jpeg(*segments: bytes) -> bytes:
    plain = io.BytesIO()
    Image.new("RGB", (8, 8)).save(plain, "JPEG")
    return b"\xff\xd8" + b"".join(segments) + plain.getvalue()[2:]


def standard(xmp: bytes) -> bytes:
    return segment(b"http://ns.adobe.com/xap/1.0/\0" + xmp)


def extended(part: bytes, offset: int, whole: int, guid: bytes = GUID) -> bytes:
    return segment(b"http://ns.adobe.com/xmp/extension/\0" + guid + struct.pack(">II", whole, offset) + part)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_a_packet_in_a_file_of_each_format(format: str) -> None:
    assert read(image_with(PACKET, format)) == ([PACKET], [])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF", "GIF", "BMP"])
def test_a_file_without_one(format: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, format)
    assert read(file.getvalue()) == ([], [])


def test_several_packets_in_their_order() -> None:
    other = packet(bag("dc:subject", ["sea"]))
    assert read(jpeg(standard(PACKET), standard(other))) == ([PACKET, other], [])


def test_extended_xmp_is_put_together() -> None:
    main, more = packet(attributes=f'xmp:Label="{GUID.decode()}"'), bytes(range(256)) * 300
    parts = [extended(more[i : i + 30_000], i, len(more)) for i in (30_000, 0, 60_000)]
    assert read(jpeg(standard(main), *parts)) == ([main, more], [])
    assert read(jpeg(standard(PACKET), *parts)) == ([PACKET], [])  # which knows of no extension
    assert read(jpeg(standard(main), parts[0])) == ([main], ["a part of its extended XMP is missing"])


def test_xmp_that_is_too_long() -> None:
    main = packet(attributes=f'xmp:Label="{GUID.decode()}"')
    parts = [extended(b" " * 60_000, i * 60_000, 0) for i in range(MOST // 60_000 + 1)]
    assert read(jpeg(standard(main), *parts)) == ([main], ["extended XMP of more than 16 MiB is not read"])
    webp = b"RIFF\0\0\0\0WEBPXMP " + struct.pack("<I", 40 << 20)
    assert read(webp + b" " * 100) == ([], ["XMP of 40 MiB is not read (limit 16)"])


def test_a_packed_text_of_png_unpacks_to_a_limit() -> None:
    def png(text: bytes) -> bytes:
        content = b"iTXtXML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(text)
        chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
        return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IEND\xaeB`\x82"

    assert read(png(PACKET)) == ([PACKET], [])
    assert [len(found) for found in read(png(bytes(50 << 20)))[0]] == [MOST]


def test_boxes_of_other_formats() -> None:
    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + kind + content

    jxl = b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    assert read(jxl + box(b"jxlc", b"x" * 50) + box(b"xml ", PACKET)) == ([PACKET], [])
    assert read(jxl + box(b"brob", b"xml " + b"x" * 50)) == ([], ["its XMP is packed by Brotli, and is not read"])
    uuid = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
    assert read(box(b"ftyp", b"crx \0\0\0\1crx ") + box(b"uuid", uuid + PACKET)) == ([PACKET], [])
    assert read(jxl + b"\0\0\0\1xml " + (16 + len(PACKET)).to_bytes(8, "big") + PACKET) == ([PACKET], [])


@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"]), st.data())
def test_broken_files_raise_nothing(format: str, draws: st.DataObject) -> None:
    data = bytearray(FILES[format])
    for _ in range(draws.draw(st.integers(0, 6))):
        data[draws.draw(st.integers(0, len(data) - 1))] = draws.draw(st.integers(0, 255))
    found, remarks = read(bytes(data[: draws.draw(st.integers(0, len(data)))]))
    assert all(isinstance(each, bytes) for each in found)
    assert all(isinstance(each, str) for each in remarks)


FILES = {name: image_with(PACKET, name) for name in ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF")}


def test_real_photos_have_what_pillow_finds(data: Path) -> None:
    """And those that Pillow does not open for it: DNG, JPEG XL, CR3."""
    files = [path for folder in ("formats", "formats2", "phone") for path in (data / "photos" / folder).glob("*.*")]
    seen = 0
    for path in files:
        with path.open("rb") as file:
            found, remarks = packets(file)
        assert remarks == []
        try:
            with Image.open(path) as image:
                theirs = image.info.get("xmp") if path.suffix.lower() not in (".png", ".dng") else None
        except OSError:
            continue
        if theirs:
            assert found[:1] == [theirs], path
            seen += 1
    assert seen >= 20
    counts = {"Reagan.jxl": 1, "canon_eos_6d.dng": 1, "Canon-R6-pruned.CR3": 1, "16-bit-grey-alpha.png": 1}
    for path in files:
        if path.name in counts:
            with path.open("rb") as file:
                assert len(packets(file)[0]) == counts.pop(path.name)
    assert not counts


def test_hostile_files_raise_nothing(data: Path) -> None:
    for path in (data / "broken").rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                packets(file)
