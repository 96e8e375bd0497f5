"""Published models by name: fetched from a server that speaks as the hub of models does, checked, and pinned."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from helpers.hub_server import COMMIT, Server, serving
from muster.errors import InputError, MusterError
from muster.storage import downloads, hub, hub_names

CARD = b"---\nlicense: apache-2.0\n---\n"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "PAUSES", (0.0, 0.0))
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))
    weights = save({"a": np.zeros(5000, np.float32)})
    files = {"config.json": b'{"model_type": "vit"}', "README.md": CARD, "model.safetensors": weights}
    with serving({**files, "pytorch_model.bin": b"pickled", "modeling_own.py": b"raise SystemExit"}) as made:
        monkeypatch.setenv("HF_ENDPOINT", made.address)
        yield made


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
