"""Videos as images: an item is a moment, `clip.mp4#t=12.4` (seconds), and its bytes are the frame that is shown then.

FFmpeg reads them, by way of PyAV (`av`). It is given the bytes of one file and no names: what a playlist or a reference
in a file leads to is not opened.
"""

import io
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from muster.arrays import F64
from muster.distribution import DISTRIBUTION
from muster.errors import ImageError
from muster.storage.bytes_at import Bytes, open_bytes
from muster.storage.photos.containers import Container, Items
from muster.storage.photos.frame import MAX_PIXELS, as_tiff, check_size, facts
from muster.storage.photos.listing import File
from muster.storage.photos.moments import DIGITS, SAME, moments
from muster.storage.photos.rows import rows_of, with_user_columns
from muster.storage.photos.wishes import Wishes
from muster.storage.uris import inside_uri, local_path

SUFFIXES = (
    *(".3g2", ".3gp", ".avi", ".m2ts", ".m4v", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".qt", ".webm", ".wmv"),
)
KIND = "t"  # of addresses
MOST = 100_000  # moments of one video where nobody says fewer: 27 hours at one a second. A header may claim centuries
LATEST = 1e9  # seconds; a moment is before
FAR = 10.0  # seconds; in a file without an index, what is further ahead is sought instead of decoded up to
LATE = 0.25  # seconds that a moment may lie behind the last frame: indexes count in the order of decoding
BACK = (0, 1, 4, 16, 64)  # seconds that are gone further back where a file's index led behind what was wanted
UNKNOWN = "its pictures are in a code that is not known here"
PIECE = 1 << 18  # bytes that are read at once
_DEMUXERS = "mov,matroska,webm,avi,mpegts,mpeg,asf"  # no playlist, and nothing that opens other files
_NO_INDEX = ("mpegts", "mpeg")  # demuxers: their files have none


def installed() -> bool:
    return find_spec("av") is not None


def missing(suffixes: Iterable[str]) -> str | None:
    """What to install where some of these are of videos, and nothing reads them; None where nothing is missing."""
    if installed() or not {*suffixes} & {*SUFFIXES}:
        return None
    return f"videos are read where {DISTRIBUTION}[video] is installed"


def length(uri: str) -> float:
    """Seconds, as the file claims. Raises as `open_video` does."""
    import av

    with closing(open_video(uri)) as video:
        return float(video.container.duration or 0) / av.time_base


# ---- listing -----------------------------------------------------------------------------------------------


def list_moments(file: File, wishes: Wishes) -> Items:
    """A row for each moment. One that cannot be listed has one, at 0, and reading that says why."""
    found = _moments(file.uri, wishes)
    keys = [_key(moment) for moment in found]
    rows = rows_of(file._replace(uri=inside_uri(file.uri, KIND, key)) for key in keys)
    name = os.path.basename(unquote(file.uri.partition("?")[0]) if "://" in file.uri else file.uri)
    columns = {"video": pa.array([name] * len(keys), pa.string()), "moment": pa.array(found, pa.float64())}
    fields = {name: (pa.field(name, values.type), values) for name, values in columns.items()}
    return Items(with_user_columns(rows, fields))


def _moments(uri: str, wishes: Wishes) -> list[float]:
    try:
        with closing(open_video(uri)) as video:
            times = frame_times(video)
    except (ImageError, OSError) as error:
        if isinstance(error, OSError) and local_path(uri) is None:  # as of a web server that gives no parts of files
            raise
        return [0.0]
    found = moments(times.frames, times.keyframes, wishes.fps, min(wishes.frames or MOST, MOST))
    return found.tolist() or [0.0]


def _key(moment: float) -> str:
    return f"{moment:.{DIGITS}f}".rstrip("0").rstrip(".")


class Times(NamedTuple):
    """When frames are shown, seconds from the start, ascending; and those that are keyframes."""

    frames: F64
    keyframes: F64


def frame_times(video: "Video") -> Times:
    """By the index of the file where it lists all frames, else by going through its packets. Nothing is decoded."""
    with errors():
        return _by_index(video) or _by_packets(video)


def _by_index(video: "Video") -> Times | None:
    """None where there is no index of all frames, or another length is claimed than it has.

    An index has the times of decoding; how far behind them a frame is shown is taken from the first one.
    """
    stream, entries = video.stream, video.stream.index_entries
    if not 0 < len(entries) == stream.frames <= video.file.size or not stream.duration:
        return None
    times = _times(
        (video.seconds(each.timestamp) + video.shift, each.is_keyframe) for each in entries if not each.is_discard
    )
    longest = np.diff(times.frames).max(initial=1.0)  # the last frame may be shown as long as any
    claimed = float(stream.duration * stream.time_base)
    return times if len(times.frames) and abs(np.ptp(times.frames) - claimed) <= longest else None


def _by_packets(video: "Video") -> Times:
    return _times(
        (video.seconds(time), packet.is_keyframe)
        for packet in video.packets()
        if packet.size and (time := packet.dts if packet.pts is None else packet.pts) is not None
    )


def _times(found: Iterable[tuple[float, bool]]) -> Times:
    pairs = np.array(sorted(found), np.float64).reshape(-1, 2)
    return Times(pairs[:, 0], pairs[pairs[:, 1] > 0, 0])


# ---- opening -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Video:
    """`container`, `stream`: of PyAV. `start`: seconds on the file's clock that players call 0. `shift`: seconds from
    when a frame is decoded to when it is shown, by the first packet."""

    file: "_File"
    container: Any
    stream: Any
    start: float
    shift: float = 0.0

    def seconds(self, ticks: int) -> float:
        """From the start."""
        return float(ticks * self.stream.time_base) - self.start

    def ticks(self, seconds: float) -> int:
        """The last that is no later."""
        return math.floor((seconds + self.start) / float(self.stream.time_base))

    def packets(self) -> Iterator[Any]:
        """From the start. A file that is cut ends where it is cut."""
        self.container.seek(0)
        return _to_the_end(self.container.demux(self.stream))

    def close(self) -> None:
        self.container.close()
        self.file.close()


def _to_the_end(packets: Iterator[Any]) -> Iterator[Any]:
    import av

    try:
        yield from packets
    except (av.error.FFmpegError, IndexError):  # the latter of PyAV, where a stream begins in the middle of the file
        return


def open_video(uri: str) -> Video:
    """Raises ImageError where it is no video that is read here, and what opening a file raises."""
    import av

    options = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "", "max_pixels": str(MAX_PIXELS)}
    with errors(), ExitStack() as closed:
        file = closed.enter_context(closing(_File(open_bytes(uri))))
        if not file.size:
            raise ImageError("empty", "the file is empty")
        container: Any = av.open(file, options=options, buffer_size=PIECE, metadata_errors="replace")
        closed.callback(container.close)
        start = 0.0 if container.start_time is None else container.start_time / av.time_base
        video = Video(file, container, _stream(container), start)
        video = replace(video, shift=_shift(video))
        closed.pop_all()
        return video


def _stream(container: Any) -> Any:
    """The pictures of a video, not of the cover of its sound."""
    from av.stream import Disposition

    streams = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
    if not streams:
        raise ImageError("unsupported", "a file without moving pictures")
    stream = streams[0]
    if stream.codec_context is None:
        raise ImageError("unsupported", UNKNOWN)
    check_size(stream.codec_context.width, stream.codec_context.height)
    stream.thread_type = "NONE"  # as many workers as cores do so at once
    stream.codec_context.options = {"err_detect": "explode", "max_pixels": str(MAX_PIXELS)}
    return stream


def _shift(video: Video) -> float:
    first = next((each for each in video.packets() if each.size), None)
    if first is None:
        raise ImageError("truncated", "a video without a frame")
    if first.has_sidedata("encryption_info"):
        raise ImageError("unsupported", "it is encrypted")
    return 0.0 if first.pts is None or first.dts is None else float((first.pts - first.dts) * video.stream.time_base)


@contextmanager
def errors() -> Iterator[None]:
    """What FFmpeg says, as ImageErrors. Errors of reading the file come through as they are."""
    import av

    try:
        yield
    except (av.error.FFmpegError, IndexError) as error:
        raise _image_error(error) from error


def _image_error(error: Exception) -> ImageError:
    import av

    if isinstance(error, av.error.EOFError):
        return ImageError("truncated", "the file is cut short")
    if isinstance(error, av.error.MemoryError):
        return ImageError("too_large", "too large to decode")
    if isinstance(error, av.error.DecoderNotFoundError | av.error.PatchWelcomeError):
        return ImageError("unsupported", UNKNOWN)
    return ImageError("corrupt", "no video that can be read: its index is broken or missing, as where a file was cut")


class _File(io.RawIOBase):
    """A file as FFmpeg reads it."""

    def __init__(self, content: Bytes) -> None:
        self._content, self._at, self.size = content, 0, content.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, length: int = -1) -> bytes:
        left = max(self.size - self._at, 0)
        data = self._content.read_at(self._at, min(left, length) if length >= 0 else left) if left else b""
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self.size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        if not self.closed:
            self._content.close()
        super().close()


# ---- reading -----------------------------------------------------------------------------------------------


class _Frame(NamedTuple):
    """`time`: seconds from the start. `damaged`: this one, or one that it may be made from."""

    time: float
    picture: Any
    damaged: bool


class Frames:
    """The frames of one video by their moments: one pass over it where these are asked for in rising order.

    What lies between two moments is decoded, but for what lies before the last keyframe that is no later than the
    second.
    """

    def __init__(self, uri: str) -> None:
        """Raises as `open_video` does."""
        self._video = open_video(uri)
        self._frames: Iterator[_Frame] = iter(())
        self._shown: _Frame | None = None  # the last that was decoded, but for
        self._next: _Frame | None = None  # the one after it
        self._end = math.inf  # when the last frame is shown, once it was come to

    def read(self, key: str) -> bytes:
        try:
            moment = float(key)
        except ValueError:
            moment = -1.0
        if not 0 <= moment < LATEST:
            raise ImageError("unreadable", "no moment of a video is called so")
        try:
            with errors():
                frame = self._at(moment)
            if frame.damaged:
                raise ImageError("corrupt", f"its frame at {key} s is damaged")
            stream = self._video.stream
            tags = facts({**stream.metadata, **self._video.container.metadata}, moment)
            return as_tiff(frame.picture, stream.sample_aspect_ratio, tags)
        except BaseException:
            self._shown = None  # whatever it was about, the next one is sought anew
            raise

    def close(self) -> None:
        self._video.close()

    def _at(self, moment: float) -> _Frame:
        """The frame that is shown then: the last that is no later, to DIGITS of a second."""
        if moment > self._end + LATE:
            raise ImageError("truncated", f"the video ends before {moment} s: it is cut short, or damaged there")
        shown = self._shown
        if shown is None or moment < shown.time - SAME or self._is_far(shown.time, moment):
            shown = self._sought(moment)
        while shown.time < moment - SAME:
            self._next = self._next or next(self._frames, None)
            if self._next is None or self._next.time > moment + SAME:
                break
            shown, self._next = self._next, None
        self._shown = shown
        if self._next is None and shown.time < moment - LATE:
            self._end = shown.time
            return self._at(moment)
        if shown.time > moment + LATE:
            raise ImageError("corrupt", f"its frames up to {moment} s cannot be decoded")
        return shown

    def _is_far(self, now: float, moment: float) -> bool:
        """Whether a keyframe lies between."""
        video = self._video
        if video.container.format.name in _NO_INDEX:
            return moment - now > FAR
        entries = video.stream.index_entries
        place = entries.search_timestamp(video.ticks(moment + SAME - video.shift)) if len(entries) else -1
        return place >= 0 and video.seconds(entries[place].timestamp) + video.shift > now + SAME

    def _sought(self, moment: float) -> _Frame:
        """The first frame that is decoded from the last keyframe on that is no later; or of the file."""
        video = self._video
        for back in BACK:
            video.container.seek(video.ticks(moment + SAME - back), stream=video.stream)
            self._frames, self._next = self._decoded(), None
            first = next(self._frames, None)
            if first is not None and first.time <= moment + SAME:
                return first
        video.container.seek(0)
        self._frames = self._decoded()
        first = next(self._frames, None)
        if first is None:
            raise ImageError("truncated", "no frame of it can be decoded")
        return first

    def _decoded(self) -> Iterator[_Frame]:
        import av

        damaged = False
        for packet in _to_the_end(self._video.container.demux(self._video.stream)):
            try:
                pictures = packet.decode()
            except av.error.InvalidDataError:
                damaged = True
                continue
            for picture in pictures:
                if picture.pts is not None:
                    damaged = picture.is_corrupt or (damaged and not picture.key_frame)
                    yield _Frame(self._video.seconds(picture.pts), picture, damaged)


CONTAINER = Container(suffixes=SUFFIXES, list=list_moments, open=Frames, beside_photos=True, in_order=True)
