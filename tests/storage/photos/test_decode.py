import io
import os
import pickle
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFilter
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from helpers.profiles import ADOBE
from muster.colour import MAX_PROFILE
from muster.errors import ImageError
from muster.storage.photos import decode as images
from muster.storage.photos.decode import KINDS, Photo, decode, read
from muster.storage.photos.pixels import perceptual_hash, upright
from muster.storage.photos.rendered import MAX_MEMORY

# muster.storage.photos.decode ignores Pillow's warnings; pytest's "error" goes before that and would turn them into
# exceptions.
pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

SAVE = {
    "jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP", "quality": 95},
    "avif": {"format": "AVIF", "quality": 95},
    "heic": {"format": "HEIF", "quality": 95},
    "tiff": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
}


def picture(width: int = 96, height: int = 64) -> Image.Image:
    """A smooth colour picture without any symmetry."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    red, green, blue = 255 * x, 255 * y, 120 + 100 * np.sin(7 * x * y + 3 * x)
    return Image.fromarray(np.stack([red, green, blue], axis=-1).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, **options)  # type: ignore[arg-type]
    return file.getvalue()


def difference(photo: Photo, expected: Image.Image) -> float:
    """The mean distance in levels."""
    return float(np.abs(photo.pixels.astype(int) - np.asarray(expected.convert("RGB"))).mean())


def try_decode(data: bytes, max_side: int | None = None) -> Photo | ImageError:
    """What becomes of the bytes, after checks that hold for any."""
    try:
        photo = decode(data, max_side)
    except ImageError as raised:
        error = raised
    else:
        height, width, channels = photo.pixels.shape
        assert photo.pixels.dtype == np.uint8
        assert channels == 3
        assert photo.pixels.flags.c_contiguous
        assert photo.scale == max(width, height) / max(photo.size)
        assert max_side is None or max(width, height) == min(max_side, max(photo.size))
        assert -(2**63) <= perceptual_hash(photo.pixels) < 2**63
        return photo
    assert error.kind in KINDS
    assert str(error)
    assert "\n" not in str(error)
    assert error.sha256
    return error


def failure(data: bytes, max_side: int | None = None) -> ImageError:
    error = try_decode(data, max_side)
    assert isinstance(error, ImageError)
    return error


# ---- formats and modes


@pytest.mark.parametrize("name", SAVE)
def test_formats(name: str) -> None:
    photo = decode(encode(picture(), **SAVE[name]))
    assert (photo.format, photo.size, photo.scale, photo.orientation) == (name, (96, 64), 1.0, 1)
    assert difference(photo, picture()) < 4


@pytest.mark.parametrize("name", SAVE)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_are_applied_once(name: str, orientation: int) -> None:
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that stores the picture the way the tag says
    stored = picture() if orientation == 1 else picture().transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = decode(encode(stored, exif=exif.tobytes(), **SAVE[name]))
    assert photo.size == (96, 64)
    assert photo.orientation == orientation
    assert difference(photo, picture()) < 4


def test_heif_is_turned_by_its_own_properties_not_by_exif() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = decode(encode(picture(), exif=exif, **SAVE["heic"]))  # pillow_heif writes no irot for an Exif object
    assert photo.orientation == 1, "what was applied"
    assert difference(photo, picture()) < 4


def test_avif_is_turned_by_its_own_properties_not_by_exif() -> None:
    exif = Image.Exif()
    exif[0x0128] = 6  # a unit that becomes the orientation, which Pillow would write as irot
    data = encode(picture(), exif=exif.tobytes(), **SAVE["avif"])
    other = next(each for each in (b"\x28\x01\x03\0", b"\x01\x28\0\x03") if each in data)
    photo = decode(data.replace(other, other.replace(b"\x28", b"\x12")))
    assert (photo.orientation, photo.size) == (1, (96, 64))
    assert difference(photo, picture()) < 4


@pytest.mark.parametrize("name", SAVE)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_in_xmp_is_applied_or_not_said(name: str, orientation: int) -> None:
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="{orientation}"/></x:xmpmeta>'
    if name == "png":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp)
        data = encode(picture(), pnginfo=info, **SAVE[name])
    elif name == "tiff":
        data = encode(picture(), tiffinfo={700: xmp.encode()}, **SAVE[name])
    else:
        data = encode(picture(), xmp=xmp.encode(), **SAVE[name])
    photo = try_decode(data)
    assert isinstance(photo, Photo)
    assert photo.size == photo.pixels.shape[1::-1]
    expected = upright(np.asarray(picture()), photo.orientation)
    assert np.abs(photo.pixels.astype(int) - expected).mean() < 4


@pytest.mark.parametrize(("mode", "levels", "save"), [
    ("L", 3, {"format": "JPEG"}), ("RGB", 3, {"format": "JPEG", "progressive": True}), ("CMYK", 3, {"format": "JPEG"}),
    ("L", 0.6, {"format": "PNG"}), ("LA", 0.6, {"format": "PNG"}), ("RGBA", 0.6, {"format": "PNG"}),
    ("P", 20, {"format": "PNG"}), ("P", 20, {"format": "GIF"}), ("RGB", 0, {"format": "BMP"}),
    ("RGBA", 0.6, {"format": "WEBP", "lossless": True}), ("RGBA", 4, {"format": "AVIF"}),
    ("RGBA", 4, {"format": "HEIF"}), ("L", 4, {"format": "HEIF"}),
    ("CMYK", 1, {"format": "TIFF"}), ("LAB", 8, {"format": "TIFF"}), ("RGB", 0, {"format": "TIFF"}),
    ("YCbCr", 8, {"format": "TIFF", "compression": "jpeg"}), ("RGB", 0, {"format": "TIFF", "compression": "tiff_lzw"}),
])  # fmt: skip
@pytest.mark.parametrize("max_side", [None, 40])
def test_modes(mode: str, levels: float, save: dict[str, object], max_side: int | None) -> None:
    image = picture()
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        stored = ImageCms.buildTransform(srgb, lab, "RGB", "LAB").apply(image)
    else:
        stored = image.convert(mode)
    photo = try_decode(encode(stored, **save), max_side)
    assert isinstance(photo, Photo)
    expected = image.convert("L") if mode in ("L", "LA") else image
    if max_side:
        expected = expected.resize((40, 27), Image.Resampling.HAMMING)
    assert difference(photo, expected) <= levels + (1 if max_side else 0)


def test_alpha_lies_over_white() -> None:
    image = picture().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert (decode(encode(image, format="PNG")).pixels == 255).all()
    assert (decode(encode(image, format="WEBP", lossless=True), 30).pixels == 255).all()
    palette = Image.new("RGB", (8, 8), "red").quantize(4)
    assert (decode(encode(palette, format="PNG", transparency=0)).pixels == 255).all()


def test_one_bit() -> None:
    image = Image.new("1", (8, 8), 1)
    image.putpixel((0, 0), 0)
    pixels = decode(encode(image, format="PNG")).pixels
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[1, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_deep_grey_fills_eight_bits(kind: type) -> None:
    ramp = np.linspace(0, 65535, 256).reshape(16, 16).astype(kind)
    pixels = decode(encode(Image.fromarray(ramp), format="TIFF")).pixels
    assert np.abs(pixels[:, :, 0].ravel().astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("save", [{"format": "TIFF"}, {"format": "PNG"}, {"format": "TIFF", "compression": "tiff_lzw"}])
@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_fewer_bits_in_sixteen_are_stretched_by_what_is_in_them(bits: int, save: dict[str, object]) -> None:
    ramp = np.linspace(2**bits // 8, 2**bits - 1, 256).reshape(16, 16).astype(np.uint16)
    pixels = decode(encode(Image.fromarray(ramp), **save)).pixels
    assert np.abs(pixels[:, :, 0].ravel().astype(int) - np.arange(256)).max() <= (2 if bits == 8 else 1)


@pytest.mark.parametrize("greatest", [2**14, 2**15, 2**16 - 1])
def test_sixteen_bits_stay_as_they_are(greatest: int) -> None:
    ramp = np.linspace(300, greatest, 256).reshape(16, 16).astype(np.uint16)
    pixels = decode(encode(Image.fromarray(ramp), format="PNG")).pixels
    assert (pixels[:, :, 0] == ramp >> 8).all()


def test_a_flat_deep_picture_is_black() -> None:
    assert (decode(encode(Image.fromarray(np.full((8, 8), 900, np.uint16)), format="PNG")).pixels == 0).all()


def test_sixteen_bit_png() -> None:
    ramp = np.linspace(0, 65535, 256).reshape(16, 16).astype(np.uint16)
    pixels = decode(encode(Image.fromarray(ramp), format="PNG")).pixels
    assert (pixels[:, :, 1].ravel() == np.arange(256)).all()


def test_a_broken_cmyk_profile_is_no_error() -> None:
    photo = decode(encode(picture().convert("CMYK"), format="JPEG", quality=95, icc_profile=b"no profile"))
    assert difference(photo, picture()) < 4


@pytest.mark.parametrize("name", SAVE)
def test_a_profile_goes_along_with_the_pixels_that_are_in_it(name: str) -> None:
    photo = decode(encode(picture(), icc_profile=ADOBE, **SAVE[name]), 40)
    assert photo.profile == ADOBE
    plain = decode(encode(picture(), **SAVE[name]), 40)
    assert plain.profile is None
    assert (photo.pixels == plain.pixels).all(), "networks see what they saw"


def test_no_profile_goes_along_with_pixels_that_were_converted_or_as_a_burden() -> None:
    assert decode(encode(picture().convert("CMYK"), format="JPEG", icc_profile=ADOBE)).profile is None
    assert decode(encode(picture(), format="JPEG", icc_profile=ADOBE + bytes(MAX_PROFILE))).profile is None


def test_multi_picture_jpeg_is_its_first_picture() -> None:
    data = encode(picture(), format="MPO", quality=95, save_all=True, append_images=[Image.new("RGB", (20, 20))])
    photo = decode(data)
    assert photo.format == "jpeg"
    assert difference(photo, picture()) < 8


def test_the_first_frame_of_a_gif() -> None:
    data = encode(picture(), format="GIF", save_all=True, append_images=[Image.new("RGB", (96, 64), "red")])
    assert difference(decode(data), picture()) < 20


# ---- max_side


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    side=st.integers(1, 400),
    name=st.sampled_from(["jpeg", "png", "webp"]),
)
@settings(max_examples=60, deadline=None)
def test_any_size_at_any_side(width: int, height: int, side: int, name: str) -> None:
    photo = try_decode(encode(picture(width, height), **SAVE[name]), side)
    assert isinstance(photo, Photo)
    assert photo.size == (width, height)
    h, w, _ = photo.pixels.shape
    assert abs(w - width * photo.scale) <= 1
    assert abs(h - height * photo.scale) <= 1


@pytest.mark.parametrize("side", [800, 799, 401, 400, 399, 200, 101, 100, 50])
def test_jpeg_is_not_decoded_below_max_side(side: int) -> None:
    photo = decode(encode(picture(800, 600), format="JPEG", quality=95), side)
    expected = picture(800, 600).resize((side, round(side * 0.75)), Image.Resampling.LANCZOS)
    assert photo.pixels.shape == (round(side * 0.75), side, 3)
    assert difference(photo, expected) < 3


def test_heic_in_bands_equals_heic_in_one() -> None:
    data = encode(picture(700, 2300), format="HEIF", quality=95)
    assert difference(decode(data, 100), picture(700, 2300).resize((30, 100), Image.Resampling.LANCZOS)) < 3


def test_max_side_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_side"):
        decode(encode(picture(), format="PNG"), 0)


# ---- facts


def exif_of(base: dict[int, object], detail: dict[int, object], gps: dict[int, object]) -> Image.Exif:
    exif = Image.Exif()
    for tag, value in base.items():
        exif[tag] = value
    exif.get_ifd(0x8769).update(detail)
    exif.get_ifd(0x8825).update(gps)
    return exif


def with_exif(base: dict[int, object], detail: dict[int, object], gps: dict[int, object]) -> Photo:
    return decode(encode(picture(), format="JPEG", exif=exif_of(base, detail, gps)))


def test_facts() -> None:
    photo = with_exif(
        {0x010F: "Apple\0", 0x0110: "iPhone 6 Plus ", 0x0132: "2020:01:01 00:00:00"},
        {0x9003: "2014:10:31 13:32:37", 0x9291: "539 "},
        {1: "N", 2: (51.0, 28.0, 58.782), 3: "W", 4: (3.0, 11.0, 7.212)},
    )
    assert photo.camera == "Apple iPhone 6 Plus"
    assert photo.taken_at == datetime(2014, 10, 31, 13, 32, 37, 539000)
    assert photo.latitude == pytest.approx(51.482995)
    assert photo.longitude == pytest.approx(-3.18533667)


@pytest.mark.parametrize(("make", "model", "camera"), [
    ("Canon", "Canon EOS 5D", "Canon EOS 5D"), ("NIKON CORPORATION", "NIKON D70", "NIKON D70"), ("", "X", "X"),
    ("Google", "", "Google"), ("", "", None), ("samsung", "SM-G935L", "samsung SM-G935L"),
])  # fmt: skip
def test_camera(make: str, model: str, camera: str | None) -> None:
    assert with_exif({0x010F: make, 0x0110: model}, {}, {}).camera == camera


@pytest.mark.parametrize(("base", "detail", "expected"), [
    ("2020:02:03 04:05:06", {}, datetime(2020, 2, 3, 4, 5, 6)),
    ("2023-09-27T14:35:33+02:00", {}, datetime(2023, 9, 27, 14, 35, 33)),
    ("2020:02:03 04:05:06", {0x9004: "2019:02:03 04:05:06"}, datetime(2019, 2, 3, 4, 5, 6)),
    ("2020:02:03 04:05:06", {0x9003: "0000:00:00 00:00:00"}, datetime(2020, 2, 3, 4, 5, 6)),
    ("2020:02:31 04:05:06", {}, None),
    ("    :  :     :  :  ", {}, None),
    ("yesterday", {}, None),
])  # fmt: skip
def test_taken_at(base: str, detail: dict[int, object], expected: datetime | None) -> None:
    assert with_exif({0x0132: base}, detail, {}).taken_at == expected


@pytest.mark.parametrize("gps", [
    {}, {2: (51.0, 0.0, 0.0)}, {1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (1.0, 0.0, 0.0)},
    {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)},
    {1: "N", 2: (IFDRational(0, 0),) * 3, 3: "E", 4: (1.0, 0.0, 0.0)},
])  # fmt: skip
def test_no_position(gps: dict[int, object]) -> None:
    photo = with_exif({}, {}, gps)
    assert (photo.latitude, photo.longitude) == (None, None)


@given(st.binary(max_size=200), st.integers(0, 150))
@settings(max_examples=100, deadline=None)
def test_broken_exif_costs_no_pixels(noise: bytes, at: int) -> None:
    good = exif_of(
        {0x0112: 1, 0x0132: "2020:02:03 04:05:06"}, {0x9003: "2020:02:03 04:05:06"}, {1: "N", 2: (1.0, 2.0, 3.0)}
    )
    block = good.tobytes()
    broken = b"Exif\0\0" + (block[:at] + noise + block[at + len(noise) :])[6:]
    photo = decode(encode(picture(), format="JPEG", quality=95, exif=broken))
    assert sorted(photo.size) == [64, 96]


def test_the_same_bytes_have_the_same_sha256() -> None:
    data = encode(picture(), format="PNG")
    assert decode(data).sha256 == decode(data, 10).sha256
    assert decode(data).sha256 != decode(data + b"\0").sha256


# ---- perceptual hash


def distance(one: int, other: int) -> int:
    return ((one ^ other) & (2**64 - 1)).bit_count()


def test_hash_of_a_flat_picture_is_zero() -> None:
    assert perceptual_hash(np.full((50, 70, 3), 77, np.uint8)) == 0
    assert perceptual_hash(np.full((1, 1, 3), 255, np.uint8)) == 0


def test_hash_of_copies_and_of_others(data: Path) -> None:
    photos = [decode(file.read_bytes()) for file in sorted((data / "photos" / "groups").glob("*.jpg"))]
    for photo in photos:
        image = Image.fromarray(photo.pixels)
        copies = [
            image.resize((image.width // 2, image.height // 2)),
            image.resize((300, 300 * image.height // image.width)),
            image.filter(ImageFilter.GaussianBlur(1)),
            image.point(lambda level: min(255, level + 20)),
        ]
        for copy in copies:
            again = decode(encode(copy, format="JPEG", quality=60))
            assert distance(perceptual_hash(photo.pixels), perceptual_hash(again.pixels)) <= 8
    hashes = [perceptual_hash(photo.pixels) for photo in photos]
    for i, one in enumerate(hashes):
        assert all(distance(one, other) >= 16 for other in hashes[i + 1 :])


def test_hash_at_the_sizes_that_workers_decode_to(data: Path) -> None:
    for file in sorted((data / "photos" / "groups").glob("*.jpg")):
        hashes = [perceptual_hash(decode(file.read_bytes(), side).pixels) for side in (256, 512, 1024, 1600)]
        assert all(distance(hashes[0], other) <= 8 for other in hashes)


# ---- hostile bytes


@given(
    st.sampled_from(
        [b"", *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 ", b"II*\0", b"BM", b"GIF89a")]
    ),
    st.binary(),
)
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes(magic: bytes, rest: bytes) -> None:
    try_decode(magic + rest, 64)


@pytest.mark.parametrize("name", SAVE)
def test_truncation_and_flipped_bytes(name: str) -> None:
    data = encode(picture(160, 120), exif=exif_of({0x0112: 6}, {}, {}), **SAVE[name])
    random = np.random.default_rng(0)
    for cut in random.integers(0, len(data), 60):
        try_decode(data[:cut], 64)
    for _ in range(60):
        broken = bytearray(data)
        for position in random.integers(0, len(data), 3):
            broken[position] = random.integers(256)
        try_decode(bytes(broken), 64)


@pytest.mark.parametrize("name", ["jpeg", "png", "heic", "avif", "webp"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_part_of_a_file_is_truncated(name: str, part: float) -> None:
    data = encode(picture(160, 120), **SAVE[name])
    error = failure(data[: int(len(data) * part)], 40)
    assert error.kind == "truncated"
    if name in ("jpeg", "png"):  # the others cannot be opened in part
        assert (error.format, error.size) == (name, (160, 120))


def test_a_cut_heic_of_tiles_is_truncated(data: Path) -> None:
    content = (data / "photos" / "formats" / "IMG_2682.heic").read_bytes()
    error = failure(content[: len(content) * 9 // 10], 100)
    assert (error.kind, error.format, error.size) == ("truncated", "heic", (4032, 3024))


@pytest.mark.parametrize(("data", "kind"), [
    (b"", "empty"), (b"hello, world", "not_an_image"), (b"%PDF-1.4", "unsupported"), (b"8BPS\0\1", "unsupported"),
    (b"\0\0\0\x18ftypmp42\0\0\0\0", "unsupported"), (b"\x89PNG\r\n\x1a\n", "corrupt"),
    (b"\0\0\0\x18ftypheic", "truncated"), (b"\0\0\0\x0cftypheic", "corrupt"),
])  # fmt: skip
def test_kinds(data: bytes, kind: str) -> None:
    error = failure(data)
    assert error.kind == kind


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\4IDAT"


@pytest.mark.parametrize("data", [
    png_header(20_000, 20_000), png_header(2**31 - 1, 2**31 - 1),
    b"GIF89a" + struct.pack("<HHBBBBHHHHB", 65535, 65535, 0, 0, 0, 44, 0, 0, 65535, 65535, 0) + b"\2\0;",
    b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0),
])  # fmt: skip
def test_bombs_are_refused_by_their_header(data: bytes) -> None:
    error = failure(data, 100)
    assert error.kind == "too_large"


def test_a_progressive_jpeg_with_endless_scans_is_refused() -> None:
    data = encode(Image.new("L", (3000, 2000), 128), format="JPEG", progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    error = failure(data[:-2] + 1000 * last_scan + data[-2:], 100)
    assert error.kind == "too_large"


def test_camera_raw_is_not_its_thumbnail() -> None:
    data = encode(picture(), format="TIFF", tiffinfo={254: 1})
    error = failure(data)
    assert error.kind == "unsupported"


def test_every_broken_file_ends_as_photo_or_error(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = [file for file in sorted((data / "broken").iterdir()) if file.name != "200MP.heic"]  # takes 5 s
    results = {file.name: try_decode(file.read_bytes(), 1024) for file in files}
    assert capfd.readouterr().err == ""
    assert sum(isinstance(result, ImageError) for result in results.values()) > 250
    giant = results["giant-image.jpg"]
    assert isinstance(giant, Photo)
    assert giant.size == (20000, 14000)


def test_a_200_megapixel_heic_is_accepted_when_shrunk_only(data: Path) -> None:
    content = (data / "broken" / "200MP.heic").read_bytes()
    error = failure(content)
    assert (error.kind, error.size) == ("too_large", (12240, 16320))
    assert images._memory(images._open(content), content, 2048) < MAX_MEMORY


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(failure(b"x")))
    assert (error.kind, str(error), error.sha256) == ("not_an_image", str(failure(b"x")), failure(b"x").sha256)


# ---- real photos


def test_no_real_photo_is_lost(data: Path) -> None:
    files = [
        file for file in sorted((data / "photos").rglob("*.*")) if file.suffix != ".xml" and "AVIF" not in file.name
    ]
    for file in files:
        outcome = try_decode(file.read_bytes(), 320)
        # Beside photos `formats2` has clips, raw files and files cut short, whose only duty is to fail cleanly.
        assert isinstance(outcome, Photo) or "formats2" in file.parts, file.name


@pytest.mark.parametrize("name", ["Landscape", "Portrait"])
def test_real_orientations(data: Path, name: str) -> None:
    photos = [decode((data / "photos" / "orientation" / f"{name}_{i}.jpg").read_bytes(), 300) for i in range(9)]
    for i, photo in enumerate(photos):
        assert photo.orientation == max(1, i)
        assert photo.size == photos[0].size
        assert difference(photo, Image.fromarray(photos[0].pixels)) < 8


def test_real_facts(data: Path) -> None:
    photo = decode((data / "photos" / "phone" / "Apple_iPhone_6_plus.jpg").read_bytes(), 400)
    assert (photo.size, photo.camera, photo.format) == ((2448, 3264), "Apple iPhone 6 Plus", "jpeg")
    assert photo.taken_at == datetime(2014, 10, 31, 13, 32, 37, 539000)
    heic = decode((data / "photos" / "formats" / "arrow.heic").read_bytes(), 400)
    assert (heic.size, heic.orientation, heic.camera) == ((3024, 4032), 6, "Apple iPhone 8 Plus")
    assert heic.pixels.shape == (400, 300, 3)


def test_an_inverted_cmyk_photo_has_natural_colours(data: Path) -> None:
    mean = decode((data / "photos" / "formats" / "cmyk.jpg").read_bytes()).pixels.mean(axis=(0, 1))
    assert (np.abs(mean - (120, 126, 115)) < 5).all()


def test_threads_get_what_one_gets(data: Path) -> None:
    folder = data / "photos" / "formats"
    contents = [file.read_bytes() for file in sorted(folder.iterdir()) if file.stat().st_size < 200_000] * 3
    alone = [decode(content, 200) for content in contents]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda content: decode(content, 200), contents))
    for one, other in zip(alone, together, strict=True):
        assert (one.pixels == other.pixels).all()
        assert (one.taken_at, one.sha256, one.camera) == (other.taken_at, other.sha256, other.camera)


# ---- reading


@pytest.mark.parametrize("name", ["a.jpg", "a b#c?d%20é.jpg"])
def test_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"content")
    assert read(str(tmp_path / name)) == b"content"
    assert read((tmp_path / name).as_uri()) == b"content"


def test_read_errors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(images.MAX_FILE + 1)
    expected = {
        str(tmp_path / "absent"): "not_found",
        f"file://{tmp_path}/absent": "not_found",
        str(tmp_path): "unreadable",
        str(tmp_path / "pipe"): "unreadable",
        str(tmp_path / "huge"): "too_large",
        "nonsense://bucket/photo.jpg": "unreadable",
        "bad\0name": "unreadable",
    }
    for uri, kind in expected.items():
        with pytest.raises(ImageError) as caught:
            read(uri)
        assert caught.value.kind == kind, uri


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_read_without_permission(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"content")
    (tmp_path / "a.jpg").chmod(0)
    with pytest.raises(ImageError) as caught:
        read(str(tmp_path / "a.jpg"))
    assert caught.value.kind == "permission"
