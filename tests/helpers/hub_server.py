"""A server that speaks as the hub of models does, of one model: org/net."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789" * 4


class Server(ThreadingHTTPServer):
    """`files`: of its one model. `asked`: paths. `wrong`: files that it gives other bytes of than it says."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.asked: list[str] = []
        self.wrong: set[str] = set()
        self.status = 200
        self.said: dict[str, Any] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def model(self) -> dict[str, Any]:
        siblings = [self._said(name, data) for name, data in self.files.items()]
        return {"sha": COMMIT, "siblings": siblings, "cardData": {"license": "apache-2.0"}, **self.said}

    @staticmethod
    def _said(name: str, data: bytes) -> dict[str, Any]:
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        sha256 = hashlib.sha256(data).hexdigest()
        large = {"lfs": {"sha256": sha256, "size": len(data)}} if name.endswith(".safetensors") else {}
        return {"rfilename": name, "size": len(data), "blobId": blob, **large}


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(path)
        status, data = self.server.status, b""
        if path.startswith("/api/models/org/net/revision/"):
            data = json.dumps(self.server.model()).encode()
        elif path.startswith(f"/org/net/resolve/{COMMIT}/"):
            name = path.rpartition("/")[2]
            data = self.server.files[name] + b" " * (name in self.server.wrong)
        else:
            status = 404
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Server]:
    """The server, while it answers."""
    with Server(files) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
