"""A web server of all that can go wrong with a URL. The path says what happens; each request is counted by its path.

    /good/NAME        the image, whatever its name
    /missing/… 404    /gone/… 410    /forbidden/… 403    /never/… 503
    /busy/K/…         503 for the first K requests of this path, then the image
    /throttled/S/…    429 with `Retry-After: S` for the first request of this path, then the image
    /stall/…          nothing is ever answered     /silent/…  headers, and then nothing
    /trickle/…        a byte every tenth of a second, for ever; /headers/…: of the headers
    /drop/…           half of the image; /endless/…: zeros for ever; /short/…: less than Content-Length says
    /loop/…           a redirect to itself; /to?URL: a redirect to URL
    /chunked/…        the image in chunks, without a length; /chunked/cut…: the last of them does not come
    /elsewhere/…      all of the image as a part (206), whatever part is asked for
    /html/…           a web page with status 200; /robots/DIRECTIVE/…: the image, under X-Robots-Tag
    /recovers/K/WHAT/…: WHAT for the first K requests of this path, then the image
    /zipped/NAME      the file of this name, which is compressed, as what it was before
    /noranges/NAME    the image, never a part of it; /plain/NAME: parts, with neither ETag nor Last-Modified
    /counts           requests by path, as JSON

Parts (`Range: bytes=A-B`) are given of every image. Run alone, with the file of the image and a number of hosts
(127.0.0.1 and those that follow), it prints its port and serves until its input ends.
"""

import asyncio
import contextlib
import json
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

STATUS = {"missing": 404, "gone": 410, "forbidden": 403, "never": 503}
MODIFIED = "Tue, 03 Nov 2026 10:00:00 GMT"


@dataclass
class UrlServer:
    """`data`: what it serves as an image; `files`: name → what it serves of that name instead."""

    data: bytes
    files: dict[str, bytes] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    agents: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    most_at_once: int = 0  # requests that were answered at once
    at_once: int = 0
    port: int = 0
    tls: ssl.SSLContext | None = None

    @property
    def home(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, host: str = "127.0.0.1") -> asyncio.Server:
        """At the port that it has, if it has one."""
        server = await asyncio.start_server(self._serve, host, self.port, backlog=1024, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                request, *lines = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    goes_on = await self._answer(request.split()[1], headers, writer)
                    await writer.drain()
                finally:
                    self.at_once -= 1
                if not goes_on:
                    break
            writer.close()
            await writer.wait_closed()
        writer.transport.abort()

    async def _answer(self, path: str, headers: Mapping[str, str], writer: asyncio.StreamWriter) -> bool:
        """Whether the connection is kept."""
        self.counts[path] += 1
        self.agents[headers.get("user-agent", "")] += 1
        kind, _, rest = path[1:].partition("/")
        if path == "/counts":
            return _send(writer, 200, json.dumps(self.counts).encode())
        if kind == "recovers":
            times, kind, rest = rest.split("/", 2)
            kind = kind if self.counts[path] <= int(times) else "good"
        if path.startswith("/to?"):
            return _send(writer, 302, b"", {"Location": unquote(path[4:])})
        if kind in STATUS:
            return _send(writer, STATUS[kind], b"<html>no</html>")
        if kind == "busy" and self.counts[path] <= int(rest.partition("/")[0]):
            return _send(writer, 503, b"")
        if kind == "throttled" and self.counts[path] == 1:
            return _send(writer, 429, b"", {"Retry-After": rest.partition("/")[0]})
        if kind == "loop":
            return _send(writer, 302, b"", {"Location": path})
        if kind == "chunked":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, len(self.data), 1000):
                piece = self.data[start : start + 1000]
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            writer.write(b"" if rest.startswith("cut") else b"0\r\n\r\n")
            return not rest.startswith("cut")
        if kind == "elsewhere":
            said = {"Content-Range": f"bytes 0-{len(self.data) - 1}/{len(self.data)}"}
            return _send(writer, 206, self.data, said)
        if kind == "html":
            return _send(
                writer, 200, b"<!DOCTYPE html><html><body>Sign in</body></html>", {"Content-Type": "text/html"}
            )
        if kind == "zipped":
            return _send(writer, 200, self.files[rest], {"Content-Encoding": "gzip"})
        if kind in ("stall", "silent", "trickle", "headers", "drop", "endless", "short"):
            return await self._fail(kind, writer)
        extra = {"X-Robots-Tag": unquote(rest.partition("/")[0])} if kind == "robots" else {}
        return self._send_file(kind, unquote(rest.partition("?")[0]), headers, writer, extra)

    async def _fail(self, kind: str, writer: asyncio.StreamWriter) -> bool:
        length = len(self.data)
        if kind in ("silent", "drop", "short"):
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())
        if kind in ("drop", "short"):
            writer.write(self.data[: length // 2])
        elif kind in ("endless", "trickle"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        elif kind == "headers":
            writer.write(b"HTTP/1.1 200 OK\r\n")
        piece = {"endless": bytes(1 << 16), "trickle": b"\xff", "headers": b"a"}.get(kind)
        while kind not in ("drop", "short"):  # until the other side ends it
            await asyncio.sleep(0 if kind == "endless" else 0.1)
            if writer.is_closing():
                break
            if piece:
                writer.write(piece)
                await writer.drain()
        return False

    def _send_file(
        self, kind: str, name: str, headers: Mapping[str, str], writer: asyncio.StreamWriter, extra: Mapping[str, str]
    ) -> bool:
        data = self.files.get(name, self.data)
        said = {} if kind == "plain" else {"Last-Modified": MODIFIED, "ETag": f'"{hash(data):x}"'}
        said |= {"Content-Type": "image/jpeg"} | dict(extra)
        wanted = headers.get("range", "")
        if not wanted.startswith("bytes=") or kind == "noranges":
            return _send(writer, 200, data, said)
        first, last = (int(each) for each in wanted.removeprefix("bytes=").split("-"))
        if first >= len(data):
            return _send(writer, 416, b"", said | {"Content-Range": f"bytes */{len(data)}"})
        last = min(last, len(data) - 1)
        said["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return _send(writer, 206, data[first : last + 1], said)


def _send(writer: asyncio.StreamWriter, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bool:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    return True


@contextmanager
def serving(data: bytes, tls: ssl.SSLContext | None = None) -> Iterator[UrlServer]:
    """A server in a thread of this process."""
    made, loop, ready = UrlServer(data, tls=tls), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        server = await made.start()
        ready.set()
        await stopped.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.01)  # for transports to be closed

    stopped = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        ready.wait()
        yield made
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()


async def _alone(data: bytes, hosts: int) -> None:
    made = UrlServer(data)
    servers = [await made.start(f"127.0.0.{number + 1}") for number in range(hosts)]
    print(made.port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(_alone(Path(sys.argv[1]).read_bytes(), int(sys.argv[2])))
