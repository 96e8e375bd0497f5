"""A folder with a published model: which of its files count, and which it may not be without."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from muster.errors import InputError, MusterError
from muster.storage import hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text('{"model_type": "vit"}')
    (made / "preprocessor_config.json").write_text("{}")
    save_file({"a": np.zeros(3, np.float32)}, made / "model.safetensors")
    return made


def test_what_is_read(folder: Path) -> None:
    model = hub.read_model(folder)
    assert model.config == {"model_type": "vit"}
    assert list(model.settings) == ["config.json", "preprocessor_config.json"]
    assert [len(data) for data in hub.tensors(model)] == [(folder / "model.safetensors").stat().st_size] == [model.size]


def test_every_file_that_is_read_is_part_of_the_digest(folder: Path) -> None:
    before = hub.read_model(folder).digest
    for name in ("config.json", "preprocessor_config.json"):
        text = (folder / name).read_text()
        (folder / name).write_text(text + " ")
        assert hub.read_model(folder).digest != before, name
        (folder / name).write_text(text)
    assert hub.read_model(folder).digest == before
    save_file({"a": np.ones(3, np.float32)}, folder / "model.safetensors")
    assert hub.read_model(folder).digest != before


def test_code_and_notes_are_not(folder: Path) -> None:
    before = hub.read_model(folder)
    (folder / "modeling_own.py").write_text("raise SystemExit")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    after = hub.read_model(folder)
    assert after.digest == before.digest
    assert after.settings == before.settings
    assert (before.licence, after.licence) == ("", "mit")


def test_weights_in_several_files(folder: Path) -> None:
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    (folder / "model.safetensors").rename(folder / names[0])
    save_file({"b": np.ones(2, np.float32)}, folder / names[1])
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": names[0], "b": names[1]}}))
    assert list(hub.read_model(folder).weights) == names
    (folder / names[1]).unlink()
    with pytest.raises(
        InputError, match=r"has no model-00002-of-00002.safetensors, which .*index.json names: take the"
    ):
        hub.read_model(folder)


@pytest.mark.parametrize(
    ("index", "text"),
    [
        ("{}", "it has no `weight_map`"),
        ("[]", "it has no `weight_map`"),
        ("{", "it is no JSON"),
        ('{"weight_map": {}}', "names no files"),
        ('{"weight_map": {"a": "../../etc/passwd"}}', "as files of weights"),
        ('{"weight_map": {"a": "pytorch_model.bin"}}', "as files of weights"),
        ('{"weight_map": {"a": 3}}', "is damaged"),
    ],
)
def test_a_damaged_index(folder: Path, index: str, text: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(InputError, match=text):
        hub.read_model(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.ckpt", "tf_model.h5", "flax_model.msgpack"])
def test_pickled_weights_are_named(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(InputError, match=rf"weights as {name}, which may run any code.*takes safetensors alone"):
        hub.read_model(folder)


def test_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model.safetensors: give the folder of a whole model"):
        hub.read_model(folder)


def test_without_a_configuration(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"has no config.json: give the folder of one model"):
        hub.read_model(folder)
    with pytest.raises(InputError, match="no such folder"):
        hub.read_model(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no such folder"):
        hub.read_model(folder / "model.safetensors")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_code_that_comes_with_a_model_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text('{"auto_map": {"AutoModel": "modeling_own.Own"}}')
    with pytest.raises(InputError, match=rf"{name} asks for code that comes with the model \(auto_map\)"):
        hub.read_model(folder)


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"[" * 100_000, b"3", b"[]"])
def test_a_damaged_configuration(folder: Path, text: bytes) -> None:
    (folder / "config.json").write_bytes(text)
    with pytest.raises(InputError, match=r"config.json is damaged"):
        hub.read_model(folder)


def test_what_changed_since_is_not_loaded(folder: Path) -> None:
    model = hub.read_model(folder)
    save_file({"a": np.ones(3, np.float32)}, folder / "model.safetensors")
    with pytest.raises(InputError, match="is no longer the file that it was when the run began"):
        list(hub.tensors(model))


def test_links_to_what_is_not_there(folder: Path) -> None:
    """As in a cache that was tidied up."""
    (folder / "notes.json").symlink_to(folder / "gone")
    assert hub.read_model(folder).digest
    (folder / "tokenizer.json").symlink_to(folder / "gone")
    with pytest.raises(InputError, match=r"tokenizer.json is a link to what is not there"):
        hub.read_model(folder)


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    os.mkfifo(folder / "preprocessor_config.json")
    assert list(hub.read_model(folder).settings) == ["config.json"]
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    with pytest.raises((InputError, MusterError)):
        hub.read_model(folder)


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\ntags:\n- vision\n---\n# A model", "apache-2.0"),
        ('---\nlicense: "cc-by-nc-4.0"  # alas\n---\n', "cc-by-nc-4.0"),
        (
            "---\nlicense: other\nlicense_name: fair-noncommercial-research-license\n---\n",
            "fair-noncommercial-research-license",
        ),
        ("---\nlicense: other\n---\n", ""),
        ("---\ntags: []\n---\nlicense: mit\n", ""),
        ("license: mit\n", ""),
        ("", ""),
    ],
)
def test_the_licence_of_a_card(card: str, licence: str) -> None:
    assert hub.licence_of(card) == licence


@pytest.mark.parametrize(
    ("licence", "commercial"),
    [
        ("apache-2.0", True),
        ("mit", True),
        ("", True),
        ("openrail", True),
        ("cc-by-nc-4.0", False),
        ("cc-by-nc-sa-3.0", False),
        ("fair-noncommercial-research-license", False),
        ("Research-Only", False),
        ("apple-amlr", False),
        ("bsd-3-clause", True),
        ("incommon", True),
    ],
)
def test_what_a_licence_allows(folder: Path, licence: str, commercial: bool) -> None:
    (folder / "README.md").write_text(f"---\nlicense: {licence}\n---\n" if licence else "")
    assert hub.read_model(folder).commercial is commercial


@given(st.text())
def test_any_card(card: str) -> None:
    assert "\n" not in hub.licence_of(card)
