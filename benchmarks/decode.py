"""Bytes of phone photos to RGB pixels: at full size, and reduced to what the tasks ask for, by library.

    python benchmarks/decode.py [--photos FOLDER] [--side 1280] [--rounds N]

One thread each, the photos in memory. Reduced, every library may do what it has for that: Pillow's `draft`,
simplejpeg's `min_width` and OpenCV's `IMREAD_REDUCED_COLOR_*` scale while they decode, in steps of 2, never below
`--side`; torchvision cannot. They are then resized to `--side` with antialiasing, as muster does by itself.

muster (`muster.storage.photos.decode.decode`) does more for its time: it reads EXIF and turns the photo upright, hashes
the bytes and the picture, and finds out what broken files are. `muster_pixels` is its pixels alone.

Libraries take turns at each photo; figures are medians over the rounds, then the mean over the photos. The last line is
one JSON object: milliseconds of processor time per photo; a library that is not installed is left out.
"""

import argparse
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from muster.storage.photos import decode
from muster.storage.photos.pixels import dct_divisor, upright_pixels

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))

Pixels = npt.NDArray[np.uint8]
Decoder = Callable[[bytes, int | None], Pixels]  # bytes and longest side; None for full size


def muster(data: bytes, side: int | None) -> Pixels:
    return decode.decode(data, side).pixels


def muster_pixels(data: bytes, side: int | None) -> Pixels:
    image = Image.open(io.BytesIO(data))
    return upright_pixels(image, data, min(side or max(image.size), max(image.size)), 1)


def pillow(data: bytes, side: int | None) -> Pixels:
    image: Image.Image = Image.open(io.BytesIO(data))
    if side is not None:
        divisor = dct_divisor(image.size, side)
        image.draft("RGB", (image.width // divisor, image.height // divisor))
    return _resized(image.convert("RGB"), side)


def simplejpeg(data: bytes, side: int | None) -> Pixels:
    import simplejpeg

    if side is None:
        return simplejpeg.decode_jpeg(data, "RGB")
    height, width = simplejpeg.decode_jpeg_header(data)[:2]
    divisor = dct_divisor((width, height), side)
    pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=height // divisor, min_width=width // divisor)
    return _resized(Image.fromarray(pixels), side)


def torchvision(data: bytes, side: int | None) -> Pixels:
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    pixels = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
    return _resized(Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()), side)


def opencv(data: bytes, side: int | None) -> Pixels:
    import cv2

    buffer = np.frombuffer(data, np.uint8)
    flags = cv2.IMREAD_COLOR_RGB
    if side is not None:
        reduced = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
        flags = reduced.get(dct_divisor(Image.open(io.BytesIO(data)).size, side), flags)
    pixels = cv2.imdecode(buffer, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    assert pixels is not None
    if flags != cv2.IMREAD_COLOR_RGB:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    if side is not None:
        pixels = cv2.resize(pixels, _fit((pixels.shape[1], pixels.shape[0]), side), interpolation=cv2.INTER_AREA)
    return np.asarray(pixels, np.uint8)


def _resized(image: Image.Image, side: int | None) -> Pixels:
    if side is not None and max(image.size) > side:
        image = image.resize(_fit(image.size, side), Image.Resampling.HAMMING, reducing_gap=2.0)
    return np.asarray(image)


def _fit(size: tuple[int, int], side: int) -> tuple[int, int]:
    return round(size[0] * side / max(size)), round(size[1] * side / max(size))


def decoders() -> dict[str, Decoder]:
    """Those that are installed."""
    known: dict[str, Decoder] = {"muster": muster, "muster_pixels": muster_pixels, "pillow": pillow}
    others = {"simplejpeg": simplejpeg, "torchvision": torchvision, "cv2": opencv}
    return known | {name: decoder for name, decoder in others.items() if find_spec(name)}


def measure(photo: bytes, sides: dict[str, int | None], rounds: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of one photo: size → decoder → ms. Exits where the pictures are not of one size."""
    times: dict[str, dict[str, list[float]]] = {size: {name: [] for name in decoders()} for size in sides}
    for turn in range(rounds + 1):  # the first does not count: libraries load
        for size, side in sides.items():
            shapes = {}
            for name, decoder in decoders().items():
                start = time.process_time()
                pixels = decoder(photo, side)
                times[size][name] += [1000 * (time.process_time() - start)] if turn else []
                shapes[name] = tuple(sorted(pixels.shape))  # sorted: muster has turned it upright
            if len(set(shapes.values())) > 1:
                sys.exit(f"not the same picture: {shapes}")
    return {size: {name: statistics.median(each) for name, each in by.items()} for size, by in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=DATA / "photos/phone", help="a folder of JPEG files")
    parser.add_argument("--side", type=int, default=1280, help="longest side of the reduced pictures")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    if find_spec("cv2"):
        import cv2

        cv2.setNumThreads(1)
    paths = sorted(path for path in args.photos.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    measured = {}
    for path in paths:
        photo = path.read_bytes()
        measured[path.name] = measure(photo, {"full": None, "reduced": args.side}, args.rounds)
        megapixels = np.prod(Image.open(path).size) / 1e6
        shown = ", ".join(f"{name} {ms:.0f}" for name, ms in measured[path.name]["reduced"].items())
        print(f"{path.name} ({megapixels:.1f} MP), reduced, ms: {shown}", file=sys.stderr)
    mean = {
        size: {name: statistics.mean(each[size][name] for each in measured.values()) for name in decoders()}
        for size in ("full", "reduced")
    }
    result = {
        "photos": len(paths),
        "side": args.side,
        **{f"{size}_ms": {name: round(ms, 1) for name, ms in by.items()} for size, by in mean.items()},
        "ratio_reduced_to_full": round(mean["full"]["muster"] / mean["reduced"]["muster"], 2),
        "ratio_to_pillow": round(mean["reduced"]["pillow"] / mean["reduced"]["muster"], 2),
        "ratio_to_opencv": round(mean["reduced"]["cv2"] / mean["reduced"]["muster"], 2) if find_spec("cv2") else None,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
