"""Files of web servers: whole ones, as images are read, and parts of them, as a Parquet file or an archive is.

Nothing is waited for longer than ITEM, whatever a server does, and nothing longer than the caller's limit is held.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from random import uniform
from typing import TypeVar

from urllib3 import BaseHTTPResponse

from muster.errors import ImageError
from muster.storage.http.connections import clock_now
from muster.storage.http.hosts import Clock
from muster.storage.http.requests import Passing, answer, public
from muster.storage.http.room import Room

T = TypeVar("T")

ITEM = 30.0  # seconds that one file, or one part of one, may take with all attempts, redirects and waits
ATTEMPTS = 3
FIRST = 0.5  # seconds: the wait is drawn from 0 to FIRST, then to twice that
PIECE = 1 << 16  # bytes read at once
_PART = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})", re.ASCII)  # more digits fit no int64
_HTML = re.compile(rb"\s*<(?:!doctype html|html|head|body|script)", re.IGNORECASE)
_room = Room()


@dataclass(frozen=True)
class Facts:
    """What a server says of a file. `size`: bytes. `modified`: microseconds since 1970. `etag`: as it is written.
    `parts`: whether it gives parts of it. None: not said."""

    size: int | None = None
    modified: int | None = None
    etag: str | None = None
    parts: bool = False

    @property
    def version(self) -> int | None:
        """When it was changed; else, where it has an ETag, a time in 1970 that stands for this one: another version of
        the file has another."""
        if self.modified is not None or self.etag is None:
            return self.modified
        return int.from_bytes(blake2b(self.etag.encode(), digest_size=5).digest(), "big")  # 2^40 µs: up to 12 days


def read(url: str, limit: int) -> bytes:
    """All of a file. Raises ImageError: `gone`, `refused`, `private`, `not_an_image`, `too_large` and `unsupported` are
    final; `unreadable` and `timeout` may pass."""

    def attempt() -> bytes:
        with answer(url, {}) as (_, response):
            if response.status != 200:
                raise ImageError("refused", f"its server gives a part of it, unasked ({response.status})")
            data = _body(response, limit)
        if _HTML.match(data[:64]):
            raise ImageError("not_an_image", f"{public(url)}: its server sent a web page in its place")
        return data

    return _patiently(url, attempt)


def look(url: str) -> Facts:
    """What its server says of a file, of which the first byte is asked for: many servers answer HEAD with an error, or
    with another size. Raises ImageError."""

    def attempt() -> Facts:
        with answer(url, {"Range": "bytes=0-0"}) as (_, response):
            return _facts(response)

    return _patiently(url, attempt)


def first(url: str, length: int) -> bytes:
    """The bytes that a file begins with. Raises ImageError."""

    def attempt() -> bytes:
        data = b""
        with answer(url, {"Range": f"bytes=0-{length - 1}"}) as (_, response):
            while len(data) < length and (piece := response.read1(length - len(data))):
                data += piece
        return b"" if response.status == 416 else data

    return _patiently(url, attempt)


def part(url: str, offset: int, length: int, known: Facts) -> bytes:
    """Bytes of a file, of which `known` was said before. Raises ImageError, also where it is another by now."""

    def attempt() -> bytes:
        with answer(url, {"Range": f"bytes={offset}-{offset + length - 1}"}) as (_, response):
            now = _facts(response)
            if not now.parts:
                raise ImageError("unreadable", f"{public(url)}: its server gives no parts of it any more")
            if (now.size, now.version) != (known.size, known.version):
                raise ImageError("unreadable", f"{public(url)}: it was changed while it was read")
            starts = response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
            data = _body(response, length) if starts else b""
        if len(data) != length:
            raise Passing("its server gives other parts than those it was asked for")
        return data

    return _patiently(url, attempt)


def _patiently(url: str, attempt: Callable[[], T]) -> T:
    """What an attempt gives, in the end. The errors name the URL."""
    clock = Clock(ITEM)
    token = clock_now.set(clock)
    try:
        failed = 0
        while True:
            try:
                return attempt()
            except Passing as passing:
                failed += not passing.asked
                delay = uniform(0, FIRST * 2**failed)
                if failed == ATTEMPTS or not passing.again or delay > clock.left:
                    raise ImageError(passing.kind, f"{public(url)}: {passing}") from passing
            except ImageError as error:
                raise _naming(url, error) from error
            time.sleep(delay)
    finally:
        clock_now.reset(token)


def _naming(url: str, error: ImageError) -> ImageError:
    return error if "://" in str(error) else ImageError(error.kind, f"{public(url)}: {error}")


def _body(response: BaseHTTPResponse, limit: int) -> bytes:
    _check_length(response.length_remaining or 0, limit)
    data = bytearray()
    with _room.taken(clock_now.get()) as take:
        while piece := response.read1(PIECE):
            _check_length(len(data) + len(piece), limit)
            take(len(piece))
            data += piece
    return bytes(data)


def _check_length(length: int, limit: int) -> None:
    if length > limit:
        raise ImageError("too_large", f"longer than {limit >> 20} MiB, the limit")


def _facts(response: BaseHTTPResponse) -> Facts:
    headers = response.headers
    match = _PART.fullmatch(headers.get("Content-Range", "")) if response.status in (206, 416) else None
    size = int(match[3]) if match else None if response.status != 200 else response.length_remaining
    return Facts(size, _modified(headers), headers.get("ETag"), parts=match is not None)


def _modified(headers: Mapping[str, str]) -> int | None:
    try:
        when = parsedate_to_datetime(headers.get("Last-Modified", ""))
        return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()) * 1_000_000
    except (TypeError, ValueError, OverflowError):
        return None
