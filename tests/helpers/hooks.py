"""A web server that events are sent to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


class Server(HTTPServer):
    """`answers`: status of each request in turn, the last one again and again. It answers while `open` is set."""

    def __init__(self, *answers: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.got, self.open = list(answers), [], threading.Event()
        self.open.set()
        self.url = f"http://127.0.0.1:{self.server_port}/hook/t0ken"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((body, dict(self.headers)))
        self.server.open.wait(10)
        self.send_response(self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0])
        self.send_header("Content-Length", "0")
        self.send_header("Location", "/elsewhere")  # of a redirect; of another answer it means nothing
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@contextmanager
def serving_hooks(*answers: int) -> Iterator[Server]:
    with Server(*answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
