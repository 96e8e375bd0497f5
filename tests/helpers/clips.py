"""Small videos, made here. What each frame shows tells when it is shown."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HEIGHT = 64, 48
MARK = (slice(0, HEIGHT // 4), slice(0, WIDTH // 4))  # red, the corner that is up and to the left


def shown(number: int) -> np.ndarray:
    """Frame `number`, below 64: a grey of its own, with a corner that is red."""
    image = np.full((HEIGHT, WIDTH, 3), number * 4 + 2, np.uint8)
    image[MARK] = (255, 0, 0)
    return image


def number_of(pixels: np.ndarray) -> int:
    """Which frame this is."""
    middle = pixels[HEIGHT // 2 - 2 : HEIGHT // 2 + 2, WIDTH // 2 - 2 : WIDTH // 2 + 2]
    return int(middle.mean() / 4)


def write_clip(
    path: Path,
    times: Sequence[float],
    keyframes: int = 12,
    turned: int = 0,
    codec: str = "libx264",
    preset: str = "ultrafast",
    options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    frames: Sequence[np.ndarray] | None = None,
    pixel_format: str = "yuv420p",
    ratio: Fraction | None = None,
) -> Path:
    """A video of frames that are shown at `times` (seconds), of which each `keyframes`-th is a keyframe at least."""
    import av

    frames = frames or [shown(number) for number in range(len(times))]
    with av.open(str(path), "w", options=options or {}) as file:
        file.metadata.update(metadata or {})
        stream: Any = file.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.time_base = pixel_format, Fraction(1, 1000)
        stream.codec_context.time_base, stream.gop_size = Fraction(1, 1000), keyframes
        stream.bit_rate = 4_000_000
        if codec == "libx264":
            stream.options = {"preset": preset, "crf": "10"}
        if ratio:
            stream.codec_context.sample_aspect_ratio = ratio
        if turned:
            stream.set_display_rotation(turned)
        for time, image in zip(times, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def even(count: int, fps: float = 25) -> list[float]:
    return [number / fps for number in range(count)]
