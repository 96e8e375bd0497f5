"""Files of a folder over HTTP and, as far as reading goes, over the S3 protocol, each request some milliseconds late.

    python benchmarks/objects_server.py FOLDER [--latency 5]

`http://127.0.0.1:PORT/BUCKET/KEY`: GET, also of a range, HEAD, and ListObjectsV2 of a bucket, which is a folder below
FOLDER. It prints its port, and serves until its standard input ends. Nobody is asked who they are.

Made to take little of the processors that it shares with what is measured: one thread, and files held in memory.
"""

import argparse
import asyncio
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from functools import partial
from hashlib import md5
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000  # keys that a listing names at once
MODIFIED = datetime(2026, 1, 1, tzinfo=UTC)
_RANGE = re.compile(r"range: *bytes=(\d+)-(\d*)\r", re.IGNORECASE)


class Server(asyncio.Protocol):
    """One connection. Requests without bodies, one after the other."""

    def __init__(self, files: Mapping[str, bytes], latency: float) -> None:
        self.files, self.latency, self.received = files, latency, b""
        self.buckets = {name.partition("/")[0] for name in files}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            answer = self.answer(head.decode("latin-1") + "\r\n")
            asyncio.get_running_loop().call_later(self.latency, self.transport.write, answer)

    def answer(self, head: str) -> bytes:
        method, target, _ = head.split(" ", 2)
        url = urlsplit(target)
        query = parse_qs(url.query)
        if "list-type" in query:
            return _message(
                "200 OK", listing(self.files, unquote(url.path).strip("/"), query), "application/xml", method
            )
        name = unquote(url.path).strip("/")
        if method == "HEAD" and name in self.buckets:
            return _message("200 OK", b"", "application/xml", method)
        body = self.files.get(name)
        if body is None:
            return _message("404 Not Found", b"", "text/plain", method)
        if match := _RANGE.search(head):
            first, last = int(match[1]), min(int(match[2] or len(body) - 1), len(body) - 1)
            if first > last:
                return _message("416 Range Not Satisfiable", b"", "text/plain", method)
            part = f"Content-Range: bytes {first}-{last}/{len(body)}\r\n"
            return _message("206 Partial Content", body[first : last + 1], "application/octet-stream", method, part)
        return _message("200 OK", body, "application/octet-stream", method)


def _message(status: str, body: bytes, kind: str, method: str, more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nContent-Type: {kind}\r\nAccept-Ranges: bytes\r\n"
        f'ETag: "{md5(body, usedforsecurity=False).hexdigest() if len(body) < 1 << 16 else len(body)}"\r\n'
        f"Last-Modified: {formatdate(MODIFIED.timestamp(), usegmt=True)}\r\n{more}\r\n"
    )
    return head.encode() + (b"" if method == "HEAD" else body)


def listing(files: Mapping[str, bytes], bucket: str, query: Mapping[str, list[str]]) -> bytes:
    """A page of ListObjectsV2; keys are in order, and a page goes on behind the last one of the page before."""
    prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
    keys = sorted(name.removeprefix(f"{bucket}/") for name in files if name.startswith(f"{bucket}/{prefix}"))
    keys = [key for key in keys if key > after]
    page, rest = keys[: int(query.get("max-keys", [str(PAGE)])[0])], len(keys) > PAGE
    return "".join(_listing(files, bucket, page, rest)).encode()


def _listing(files: Mapping[str, bytes], bucket: str, page: list[str], rest: bool) -> Iterator[str]:
    yield f'<?xml version="1.0"?><ListBucketResult><Name>{bucket}</Name><KeyCount>{len(page)}</KeyCount>'
    yield f"<IsTruncated>{str(rest).lower()}</IsTruncated>"
    if rest:
        yield f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
    for key in page:
        size = len(files[f"{bucket}/{key}"])
        yield f"<Contents><Key>{escape(key)}</Key><Size>{size}</Size><LastModified>{MODIFIED:%Y-%m-%dT%H:%M:%SZ}"
        yield "</LastModified></Contents>"
    yield "</ListBucketResult>"


async def serve(files: Mapping[str, bytes], latency: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(Server, files, latency), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--latency", type=float, default=5.0, help="milliseconds that an answer is late")
    args = parser.parse_args()
    names = [path for path in args.folder.rglob("*") if path.is_file()]
    files = {quote(str(path.relative_to(args.folder)), safe="/ "): path.read_bytes() for path in names}
    asyncio.run(serve(files, args.latency / 1000))


if __name__ == "__main__":
    main()
