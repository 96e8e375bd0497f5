"""What is sent to the service, read within limits: of length, of time, and of memory for all together."""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from muster.web.door.errors import RefusedError
from muster.web.door.shapes import MOST_IMAGES

MOST_IMAGE = 10 << 20  # bytes of an image file
MOST_JSON = 4 * MOST_IMAGE // 3 * 2 + (1 << 16)  # bytes of JSON: two of the largest images
IN_HAND = 256 << 20  # bytes of requests that are held at once
SECONDS = 15.0  # in which a request has to arrive
THREAD_FROM = 1 << 18  # bytes of JSON from which on others would wait for its parsing
RAW = ("image/", "application/octet-stream")

Shaped = TypeVar("Shaped", bound=BaseModel)


class Bodies:
    """`held`: bytes of the requests that are answered now."""

    def __init__(self) -> None:
        self.held = 0

    async def read(self, request: Request, most: int) -> bytes:
        """The body; `release` its length when the request is done. RefusedError where it is too long, or slow."""
        length = self.length(request, most)
        if self.held + length > IN_HAND:
            raise RefusedError("busy", "too much is being sent at once: ask again in a second", retry=1)
        self.held += length
        try:
            async with asyncio.timeout(SECONDS):
                return await request.body()
        except TimeoutError:
            self.held -= length
            raise RefusedError("timeout", f"the request did not arrive within {SECONDS:.0f} seconds") from None
        except BaseException:
            self.held -= length
            raise

    def release(self, body: bytes) -> None:
        self.held -= len(body)

    def length(self, request: Request, most: int) -> int:
        given = request.headers.get("content-length", "")
        if not (given.isascii() and given.isdigit()):
            raise RefusedError("no_length", "send the header Content-Length")
        if len(given) > 12 or int(given) > most:
            raise RefusedError("too_large", f"a request of {given[:20]} bytes: at most {most} are taken here")
        return int(given)


def is_image(request: Request) -> bool:
    """Whether the body is an image file, and not JSON. RefusedError where it says that it is neither."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return False
    if kind.startswith(RAW):
        return True
    raise RefusedError("unsupported_type", "send an image with Content-Type image/…, or JSON with application/json")


async def parsed(shape: type[Shaped], body: bytes) -> Shaped:
    """RefusedError that names the first field that is not as it has to be."""
    try:
        if len(body) >= THREAD_FROM:
            return await run_in_threadpool(shape.model_validate_json, body)
        return shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RefusedError("bad_request", f"{where}: {first['msg']}" if where else first["msg"]) from None


async def images_of(texts: Sequence[str]) -> list[bytes | RefusedError]:
    """The files, and why one is none."""
    assert len(texts) <= MOST_IMAGES
    return await run_in_threadpool(lambda: [_decoded(text) for text in texts])


def _decoded(text: str) -> bytes | RefusedError:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return RefusedError("bad_request", "the image is not in base64")
    if len(data) > MOST_IMAGE:
        return RefusedError("too_large", f"an image of {len(data)} bytes: at most {MOST_IMAGE} are taken")
    return data


__all__ = ["Bodies", "ClientDisconnect", "images_of", "is_image", "parsed"]
