"""A camera, or a video played as one would send it: its newest frame for whoever has time for it. Others are dropped.

A thread reads and decodes; it keeps one frame, so that neither time nor memory adds up behind a slow reader. FFmpeg
reads, by way of PyAV (`av`), as in video.py.
"""

import os
import re
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any
from urllib.parse import urlsplit

from muster.arrays import Pixels
from muster.distribution import DISTRIBUTION
from muster.errors import ImageError, InputError
from muster.storage.photos import video
from muster.storage.photos.frame import MAX_PIXELS, check_size, pixels

OPENING = 10.0  # seconds that a camera has to answer and to say what it sends
STALL = 10.0  # seconds without a frame, after which it is closed and opened again
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds before it is opened again; the last one again and again
NETWORK = ("rtsp", "rtsps")
_STREAM = {
    "rtsp_transport": "tcp",  # by UDP a packet that is lost is a grey frame, in which nobody is recognised
    "protocol_whitelist": "rtsp,tcp,tls",
    "allowed_media_types": "video",
    # Microseconds that FFmpeg looks before it gives frames, five seconds by itself. It gives these frames too: with
    # `nobuffer` it would not, and nobody was seen until the next keyframe, which some cameras send each ten seconds.
    "analyzeduration": "1000000",
    "max_pixels": str(MAX_PIXELS),
}


@dataclass(frozen=True)
class Frame:
    """`at`: when it came, and `clock` the same in seconds that only ever grow. `position`: seconds from the start of a
    file; None of a camera."""

    picture: Any  # of PyAV
    ratio: Fraction | None  # width of a pixel by its height
    at: datetime
    clock: float
    position: float | None = None

    def pixels(self) -> Pixels:
        """(H, W, 3) uint8 RGB, upright. Raises ImageError where it is too large, or of colours that are not known."""
        import av

        try:
            return pixels(self.picture, self.ratio)
        except av.error.FFmpegError as error:
            raise ImageError("unsupported", f"its colours cannot be shown: {error.strerror}") from None


@dataclass(frozen=True)
class Lost:
    """Nothing comes any more. `reason`: in words, without the address."""

    at: datetime
    reason: str


@dataclass(frozen=True)
class Back:
    """Frames come again."""

    at: datetime


@dataclass(frozen=True)
class _Live:
    """A camera that answers."""

    container: Any
    stream: Any

    def packets(self) -> Iterator[Any]:
        packets: Iterator[Any] = self.container.demux(self.stream)
        return packets

    def close(self) -> None:
        self.container.close()


_Opened = _Live | video.Video


def name_of(source: str) -> str:
    """What a source may be called in texts and events: of a network camera its host alone, since addresses hold user
    names and passwords, in their paths and queries too; of a file its name. Raises InputError where it is none."""
    if not _is_network(source):
        return os.path.basename(source) or source
    try:
        parts = urlsplit(source)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not host or "@" in parts.path + parts.query + parts.fragment:
        raise InputError(
            "`source`: give rtsp://user:password@host:port/path, and in the password %40 for @, %2F for /, %3A for :,"
            " %3F for ? and %23 for #"
        )
    return f"{host}:{port}" if port else host


def _is_network(source: str) -> bool:
    return source.partition("://")[0].lower() in NETWORK


class Camera:
    """An open source: rtsp://… or rtsps://…, a video device as /dev/video0, or a video file, which is played at its own
    pace. To be closed. `seen`: frames that came.

    Raises InputError where it cannot be opened. Later a camera that sends nothing for `stall` seconds, or ends, is
    opened again and again.
    """

    def __init__(self, source: str, stall: float = STALL, pauses: tuple[float, ...] = PAUSES) -> None:
        if not video.installed():
            raise InputError(f"cameras and videos are read where {DISTRIBUTION}[video] is installed")
        self._name, self._stall, self._pauses = name_of(source), stall, pauses
        self._open, self._plays = _opener(source, stall)
        self.seen = 0
        self._frame: Frame | None = None
        self._said: deque[Lost | Back] = deque(maxlen=100)
        self._news, self._ended, self._over = threading.Condition(), False, threading.Event()
        self._problem: Exception | None = None
        try:
            opened = self._open()
        except _Failure as error:
            raise InputError(f"`source` {self._name}: {error}") from None
        self._thread = threading.Thread(target=self._run, args=(opened,), daemon=True, name="camera")
        self._thread.start()

    def newest(self, patience: float) -> Iterator[Frame | Lost | Back | None]:
        """The newest frame each time that one is asked for, and what became of the camera; None where nothing came for
        `patience` seconds. Ends where a file does, and once it is closed; raises what ended the thread otherwise."""
        while True:
            with self._news:
                self._news.wait_for(lambda: self._said or self._frame or self._ended, patience)
                what: Frame | Lost | Back | None = self._said.popleft() if self._said else self._frame
                if what is None and self._ended:
                    break
                if what is self._frame:
                    self._frame = None
            yield what
        if self._problem is not None:
            raise self._problem
        if not self.seen and not self._over.is_set():
            raise InputError(f"`source` {self._name}: no frame of it can be decoded")

    def close(self) -> None:
        """The thread ends with the read that it is in: at most `stall` seconds later, and nobody waits for that."""
        self._over.set()
        self._thread.join(1)

    # ---- the thread --------------------------------------------------------------------------------------------------

    def _run(self, opened: _Opened | None) -> None:
        failed = 0  # times in a row that it was opened, or tried to, without a frame
        try:
            while not self._over.is_set():
                try:
                    with closing(opened or self._open()) as opened:
                        for frame in self._frames(opened):
                            if failed:
                                self._tell(Back(frame.at))
                            failed = 0
                            self._keep(frame)
                    reason = "its stream has ended"
                except (_Failure, ImageError) as error:
                    reason = str(error)
                if self._plays or self._over.is_set():
                    break
                if not failed:
                    self._tell(Lost(datetime.now(UTC), reason))
                opened = None
                self._over.wait(self._pauses[min(failed, len(self._pauses) - 1)])
                failed += 1
        except Exception as error:  # not of the camera: whoever watches is to know
            self._problem = error
        finally:
            with self._news:
                self._ended = True
                self._news.notify_all()

    def _frames(self, opened: _Opened) -> Iterator[Frame]:
        import av

        stream, began, last = opened.stream, None, time.monotonic()
        packets = opened.packets()
        while not self._over.is_set():
            with _failures():
                packet = next(packets, None)
            if packet is None:
                return
            clock, at = time.monotonic(), datetime.now(UTC)
            try:
                pictures = packet.decode()
            except (av.error.FFmpegError, IndexError):  # a damaged one: the next keyframe mends it
                pictures = []
            for picture in pictures:
                if picture.is_corrupt:
                    continue
                check_size(picture.width, picture.height)
                last, position = clock, None
                if isinstance(opened, video.Video) and picture.pts is not None:
                    position = opened.seconds(picture.pts)
                    began = time.monotonic() - position if began is None else began
                    self._over.wait(max(0.0, began + position - time.monotonic()))
                    clock, at = time.monotonic(), datetime.now(UTC)
                yield Frame(picture, stream.sample_aspect_ratio, at, clock, position)
            if clock - last > self._stall:
                raise _Failure(f"no picture within {self._stall:g} seconds")

    def _keep(self, frame: Frame) -> None:
        with self._news:
            self.seen += 1
            self._frame = frame
            self._news.notify_all()

    def _tell(self, what: Lost | Back) -> None:
        with self._news:
            self._said.append(what)
            self._news.notify_all()


# ---- opening -----------------------------------------------------------------------------------------------


class _Failure(Exception):  # noqa: N818  of the camera, not of this code
    """What went wrong, in words that quote no address."""


def _opener(source: str, stall: float) -> tuple[Callable[[], _Opened], bool]:
    """What opens the source, raising _Failure; and whether it is a file, which has an end."""
    if _is_network(source):
        return lambda: _live(source, "rtsp", _STREAM, stall), False
    if re.match(r"[A-Za-z][A-Za-z\d+.-]*:/", source):  # also one that was not typed well: it has its password
        raise InputError(f"`source` {source.partition(':')[0]}:…: give rtsp://, a video device or a video file")
    try:
        if stat.S_ISCHR(os.stat(source).st_mode):
            return lambda: _live(source, "v4l2", {}, stall), False
    except OSError as error:
        raise InputError(f"`source` {source}: {error.strerror}") from None
    return lambda: _file(source), True


def _live(source: str, kind: str, options: dict[str, str], stall: float) -> _Live:
    import av

    with _failures():
        container: Any = av.open(
            source, format=kind, options=options, timeout=(OPENING, stall), metadata_errors="replace"
        )
        streams = container.streams.video
        if not streams or streams[0].codec_context is None:
            container.close()
            raise _Failure("it sends no pictures in a code that is known here")
        streams[0].thread_type = "NONE"  # threads decode a frame each, and keep as many waiting
        streams[0].codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        return _Live(container, streams[0])


def _file(path: str) -> _Opened:
    try:
        return video.open_video(path)
    except ImageError as error:
        raise _Failure(str(error)) from None
    except OSError as error:
        raise _Failure(error.strerror or "it cannot be read") from None


@contextmanager
def _failures() -> Iterator[None]:
    """What FFmpeg says, without the address that it quotes."""
    import av

    try:
        yield
    except av.error.ExitError:
        raise _Failure("no answer in time") from None
    except (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError):
        raise _Failure("it does not take this user name and password") from None
    except av.error.FFmpegError as error:
        raise _Failure(error.strerror or type(error).__name__) from None
