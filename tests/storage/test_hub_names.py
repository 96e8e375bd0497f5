"""Published models by name: fetched from a server that speaks as the hub of models does, checked, and pinned."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from safetensors.numpy import save

from muster.errors import InputError, MusterError
from muster.storage import downloads, hub, hub_names

COMMIT = "0123456789" * 4
CARD = b"---\nlicense: apache-2.0\n---\n"


class Server(ThreadingHTTPServer):
    """`files`: of its one model. `asked`: paths. `wrong`: files that it gives other bytes of than it says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        weights = save({"a": np.zeros(5000, np.float32)})
        self.files = {"config.json": b'{"model_type": "vit"}', "README.md": CARD, "model.safetensors": weights}
        self.files |= {"pytorch_model.bin": b"pickled", "modeling_own.py": b"raise SystemExit"}
        self.asked: list[str] = []
        self.wrong: set[str] = set()
        self.status = 200
        self.said: dict[str, Any] = {}

    def model(self) -> dict[str, Any]:
        siblings = [self._said(name, data) for name, data in self.files.items()]
        return {"sha": COMMIT, "siblings": siblings, "cardData": {"license": "apache-2.0"}, **self.said}

    @staticmethod
    def _said(name: str, data: bytes) -> dict[str, Any]:
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        large = (
            {"lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}}
            if "." in name[-12:] and name.endswith("safetensors")
            else {}
        )
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


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "PAUSES", (0.0, 0.0))
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))
    with Server() as made:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{made.server_address[1]}")
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_a_model_is_fetched_once_and_pinned(server: Server) -> None:
    found = hub_names.look_up("org/net")
    assert (found.revision, found.licence, sorted(found.files)) == (
        COMMIT,
        "apache-2.0",
        ["README.md", "config.json", "model.safetensors"],
    )
    assert found.bytes == sum(len(server.files[name]) for name in found.files)
    model = hub_names.pin(found)
    assert (model.licence, list(model.weights)) == ("apache-2.0", ["model.safetensors"])
    asked = len(server.asked)
    assert hub_names.find("org/net") == model
    assert len(server.asked) == asked, "a model that is pinned needs no network"
    assert not any(name in path for path in server.asked for name in ("pytorch_model", "modeling_own"))
    assert hub_names.pinned("org/net") == {"revision": COMMIT, "digest": model.digest, "folder": model.folder}


def test_a_revision_is_asked_for(server: Server) -> None:
    hub_names.pin(hub_names.look_up("org/net@refs-pr-1"))
    assert "/api/models/org/net/revision/refs-pr-1" in server.asked
    assert hub_names.find("org/net@refs-pr-1").digest
    with pytest.raises(InputError, match="org/net is not here"):
        hub_names.find("org/net")


def test_what_is_not_here_says_what_to_fetch_and_where_to_put_it(server: Server) -> None:
    with pytest.raises(InputError) as raised:
        hub_names.find("org/net")
    text = str(raised.value)
    for part in ("`models pin` hf:org/net", f"{hub_names.endpoint()}/org/net", "config.json", "hf:FOLDER"):
        assert part in text
    assert server.asked == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_other_bytes_than_the_server_says(server: Server, name: str) -> None:
    server.wrong = {name}
    with pytest.raises(MusterError, match=r"SHA-256|not the file that the server says it is"):
        hub_names.pin(hub_names.look_up("org/net"))
    with pytest.raises(InputError, match="is not here"):
        hub_names.find("org/net")
    server.wrong = set()
    assert hub_names.pin(hub_names.look_up("org/net")).digest


def test_a_folder_that_was_changed_is_not_used(server: Server) -> None:
    model = hub_names.pin(hub_names.look_up("org/net"))
    (model.folder / "config.json").write_text('{"model_type": "deit"}')
    with pytest.raises(InputError, match="is no longer what was fetched"):
        hub_names.find("org/net")
    hub_names.pin(hub_names.look_up("org/net"))
    assert hub_names.find("org/net").config == {"model_type": "vit"}


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_is_refused(server: Server, status: int) -> None:
    server.status = status
    with pytest.raises(InputError, match=rf"accept its licence \({status}\)"):
        hub_names.look_up("org/net")


def test_a_server_that_fails_or_is_no_hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.status = 503
    with pytest.raises(MusterError, match="answers 503"):
        hub_names.look_up("org/net")
    server.status = 200
    for said in ({"sha": None}, {"sha": "../.."}, {"siblings": 3}, {"siblings": [{}]}, {"cardData": 3}):
        server.said = said
        with pytest.raises(MusterError, match="does not answer as the hub of models does"):
            hub_names.look_up("org/net")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(MusterError, match=r"cannot reach http://127\.0\.0\.1:1"):
        hub_names.look_up("org/net")


def test_models_that_cannot_be_used_are_not_fetched(server: Server) -> None:
    del server.files["model.safetensors"]
    with pytest.raises(InputError, match="takes weights as safetensors alone"):
        hub_names.look_up("org/net")
    del server.files["config.json"]
    with pytest.raises(InputError, match="no model of the `transformers` library"):
        hub_names.look_up("org/net")


@pytest.mark.parametrize(
    "name", ["", "net", "a/b/c", "../net", "org/..", "org/net@", "org/net@../x", "org/n t", "ö/net"]
)
def test_names_that_are_none(server: Server, name: str) -> None:
    for verb in (hub_names.find, hub_names.look_up):
        with pytest.raises(InputError, match="give a folder, or the name of a model"):
            verb(name)
    assert server.asked == []


def test_notes_that_are_damaged(server: Server) -> None:
    hub_names.pin(hub_names.look_up("org/net"))
    pins = downloads.cache_dir() / "hub" / "pins.json"
    for text in ("{", "[]", '{"org/net": 3}', '{"org/net": {}}'):
        pins.write_text(text)
        with pytest.raises(MusterError, match="is not as Muster wrote it"):
            hub_names.find("org/net")


def test_a_name_in_a_file_of_the_server_stays_below_the_folder(server: Server) -> None:
    server.files |= {"../../evil.json": b"{}", "model-1-of-1.safetensors/../../x": b""}
    assert set(hub_names.look_up("org/net").files) == {"README.md", "config.json", "model.safetensors"}


def test_hub_reads_what_was_fetched(server: Server) -> None:
    assert hub.read_model(hub_names.pin(hub_names.look_up("org/net")).folder).licence == "apache-2.0"
