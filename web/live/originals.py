"""The originals: a photo's own file where browsers show it, else a JPEG made of it. Shown, never downloaded.

A browser names a photo by its id alone; which file that is, the manifest says at this moment. A file that is reached by
a link is the one that was looked at when the library was made, or it is not shown: somebody may have put a link to
another file of yours in the photo's place.
"""

import asyncio
import hashlib
import io
import os
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import quote

import pyarrow.compute as pc
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from muster.errors import ImageError, MusterError
from muster.storage import layout
from muster.web.album import Photo
from muster.web.live.album import LiveAlbum
from muster.web.live.columns import LiveSource, read_part
from muster.web.live.render import Nav
from muster.web.words import file_name

DECODERS = 2  # originals that are decoded at once: 12 MP of HEIC take 0.3 GB
SECONDS = 30  # that one may take, and then that one waits for it
HELD = 48 << 20  # bytes of JPEGs that were made last
PIECE = 1 << 20
POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"  # style: of the browser's own page around a picture
GONE = "The original is not there any more: {}. It was moved or deleted, or its disk is not connected."
CHANGED = "The original is reached by a link now, and is not the file that it was: it is not shown. `scan` again."
SLOW = f"The original takes longer than {SECONDS} seconds to show."


@dataclass(frozen=True, slots=True)
class Named:
    """What the manifest says of an image. `orientation`: of the file, EXIF 1..8. `sha256`: as it was looked at."""

    uri: str
    source: str
    orientation: int
    sha256: str


class Originals:
    """Decodes, two at a time, and keeps what was made last. Many threads may use it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(DECODERS, "original")
        self._free = asyncio.Semaphore(DECODERS)
        self._lock = threading.Lock()
        self._held: OrderedDict[str, bytes] = OrderedDict()

    async def jpeg(self, file: BinaryIO, request: Request) -> bytes:
        """Of a file that is closed then. ImageError where it is none; TimeoutError; b"" if nobody waits any more."""
        async with self._free:
            if await request.is_disconnected():  # somebody went through many photos: the last one is not to wait
                file.close()
                return b""
            made = asyncio.get_running_loop().run_in_executor(self._pool, self._made, file)
            return await asyncio.wait_for(asyncio.shield(made), SECONDS)

    def _made(self, file: BinaryIO) -> bytes:
        from muster.storage.photos import shown

        with file:
            data = file.read()
        digest = hashlib.sha256(data).hexdigest()
        with self._lock:
            if digest in self._held:
                self._held.move_to_end(digest)
                return self._held[digest]
        jpeg = shown.as_jpeg(data)
        with self._lock:
            self._held[digest] = jpeg
            while len(self._held) > 1 and sum(map(len, self._held.values())) > HELD:
                self._held.popitem(last=False)
        return jpeg


async def original(request: Request) -> Response:
    state = request.app.state
    if not hasattr(state, "originals"):
        state.originals = Originals()
    try:
        name, kind, file = await run_in_threadpool(_opened, state.album, request.path_params["image_id"])
        if kind is not None:
            return _Streamed(file, headers=_headers(name, _length(file)), media_type=kind)
        jpeg = await state.originals.jpeg(file, request)
        stem = name if name.lower().endswith((".jpg", ".jpeg")) else f"{name}.jpg"
        return Response(jpeg, headers=_headers(stem), media_type="image/jpeg")
    except LookupError:
        return _refused(404, "There is no such photo in this library.")
    except TimeoutError:
        return _refused(504, SLOW)
    except ImageError as error:
        missing = error.kind in ("not_found", "permission", "unreadable")
        return _refused(404 if missing else 415, GONE.format(error) if missing else f"It cannot be shown: {error}.")
    except MusterError as error:
        return _refused(502, str(error))


def _opened(album: LiveAlbum, image_id: str) -> tuple[str, str | None, BinaryIO]:
    """Its file name, its type where it is shown as it is, and the file. LookupError where there is no such photo."""
    from muster.storage.photos import shown  # it brings all decoders

    photo = album.now().photo(image_id)
    named = None if photo is None else named_in(album.source, photo)
    if named is None:
        raise LookupError(image_id)
    file = _file(named)
    try:
        return file_name(named.uri), shown.media_type(file, named.orientation), file
    except BaseException:
        file.close()
        raise


def named_in(source: LiveSource, photo: Photo) -> Named | None:
    """None where the manifest does not name the photo any more."""
    images = layout.rows("images", source.fingerprints["images"], photo.shard)
    try:
        rows = read_part(source.library, layout.manifest_shard(photo.shard), ["image_id", "uri", "source"])
        facts = read_part(source.library, images, ["image_id", "orientation"])
    except MusterError:  # a scan or `forget` has put others in their place
        return None
    row, fact = (pc.index(part["image_id"], photo.image_id).as_py() for part in (rows, facts))
    if row < 0 or fact < 0:
        return None
    turned = facts["orientation"][fact].as_py()
    return Named(rows["uri"][row].as_py(), rows["source"][row].as_py() or "", turned or 1, photo.sha256)


def _file(named: Named) -> BinaryIO:
    """The original, at its start. Raises ImageError."""
    from muster.storage.photos.reader import Reader
    from muster.storage.uris import local_path, split_inside

    path = local_path(named.uri)
    if path is None or split_inside(named.uri):
        return io.BytesIO(Reader().read(named.uri, named.source))
    return _local(path, named)


def _local(path: str, named: Named) -> BinaryIO:
    from muster.storage.files import open_regular
    from muster.storage.photos.decode import MAX_FILE

    try:
        file = open_regular(path)
    except FileNotFoundError:
        raise ImageError("not_found", f"{named.uri}: no such file") from None
    except (OSError, ValueError) as error:
        raise ImageError("unreadable", f"{named.uri}: {getattr(error, 'strerror', None) or error}") from None
    try:
        if _length(file) > MAX_FILE:
            raise ImageError("too_large", "the file is too long for a photo")
        if os.readlink(f"/proc/self/fd/{file.fileno()}") != path and _digest(file) != named.sha256:
            raise MusterError(CHANGED)
    except BaseException:
        file.close()
        raise
    return file


def _digest(file: BinaryIO) -> str:
    found = hashlib.sha256()
    while piece := file.read(PIECE):
        found.update(piece)
    file.seek(0)
    return found.hexdigest()


def _length(file: BinaryIO) -> int:
    return file.seek(0, io.SEEK_END) - file.seek(0)


class _Streamed(StreamingResponse):
    """A file, closed also where nobody waited for its first piece."""

    def __init__(self, file: BinaryIO, **options: Any) -> None:
        super().__init__(iter(lambda: file.read(PIECE), b""), **options)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


def _headers(name: str, length: int | None = None) -> dict[str, str]:
    headers = {"content-security-policy": POLICY, "content-disposition": f"inline; filename*=UTF-8''{quote(name)}"}
    return headers if length is None else {**headers, "content-length": str(length)}


def _refused(status: int, text: str) -> Response:
    return PlainTextResponse(text, status, {"content-security-policy": POLICY})


NAV: list[Nav] = []
ROUTES = [Route("/original/{image_id}", original)]
