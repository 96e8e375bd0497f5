import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from helpers.fixtures import Outcome
from muster.errors import InputError, MusterError
from muster.pipeline.work import weights as models
from muster.storage.downloads import read
from muster.tasks import registry
from muster.tasks.models import zoo
from muster.tasks.models.zoo.entry import Entry
from muster.tasks.models.zoo.listed import LISTED


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MUSTER_WEIGHTS", raising=False)


def test_every_entry_says_where_it_comes_from() -> None:
    rows = models.describe_all(None)
    assert {row["name"] for row in rows} == known()
    for row in rows:
        assert all(row[name] for name in ("licence", "source", "training_data"))
        assert len({bool(row[name]) for name in ("task", "model", "role")}) == 1
        assert len(row["sha256"]) in (0 if row["how"] else 8, 64)
        assert [bool(row["url"]), row["packaged"], bool(row["how"])].count(True) == 1
        assert row["path"] == (str(models.PACKAGED / row["file"]) if row["packaged"] else None)


def known() -> set[str]:
    """All that there are, but for the models that a test before named by their address."""
    return {name for name, entry in zoo.ENTRIES.items() if entry.load is None} | LISTED_NAMES


LISTED_NAMES = {f"hf:{each.repository}" for models in LISTED.values() for each in models.values()}

# torchvision's are known by the first digits of their SHA-256, and no copy of them is among the test data.
HERE = {name for name, entry in zoo.ENTRIES.items() if len(entry.sha256) == 64}


def test_where_the_weights_are(weights: Path) -> None:
    for row in (row for row in models.describe_all(weights) if row["name"] in HERE):
        assert row["path"] == str((models.PACKAGED if row["packaged"] else weights) / row["file"])


def test_pull_finds_what_is_here(weights: Path) -> None:
    assert models.pull(["yunet-n"], weights, None) == {"yunet-n": str(weights / "yunet_n.pth")}
    assert set(models.pull(sorted(HERE), weights, None)) == HERE
    with pytest.raises(InputError, match="no weights 'yolo'; known: yunet-n"):
        models.pull(["yolo"], weights, None)


def test_verify(weights: Path, tmp_path: Path) -> None:
    published = {name for name, entry in zoo.ENTRIES.items() if not entry.packaged and entry.sha256}
    assert {name for name, state in models.verify(None).items() if state == "missing"} == published
    assert {name for name, state in models.verify(weights).items() if state == "ok"} == HERE
    cache = tmp_path / "cache" / "weights"
    cache.mkdir(parents=True)
    (cache / "yunet_n.pth").write_bytes(b"cut short")
    assert models.verify(None).items() >= {"yunet-n": "wrong", "mobilefacenet": "missing"}.items()


def test_a_wrong_file_is_exit_code_1(
    muster: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUSTER_WEIGHTS", raising=False)
    (tmp_path / "yunet_n.pth").write_bytes(b"cut short")
    outcome = muster("models", "verify", "--weights-dir", tmp_path, "--json")
    assert (outcome.code, outcome.facts["models"]["yunet-n"]) == (1, "wrong")


def test_a_folder_that_is_not_there_is_named(muster: Callable[..., Outcome]) -> None:
    outcome = muster("models", "list", "--weights-dir", "/none")
    assert (outcome.code, "/none" in outcome.error) == (2, True)
    outcome = muster("models", "verify", "--weights-dir", "/none")
    assert (outcome.code, "/none" in outcome.error) == (2, True)


# ---- weights of our own ----------------------------------------------------------------------------------------------

STATE = {"weight": torch.tensor([[0.5, -2.0]], dtype=torch.float16), "count": torch.tensor([3])}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """An entry whose file lies where those of the package do."""
    monkeypatch.setattr(models, "PACKAGED", tmp_path / "package")
    models.PACKAGED.mkdir()
    data = safetensors.torch.save(STATE)
    (models.PACKAGED / "own.safetensors").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    entry = Entry("own", "own.safetensors", "", digest, "Apache-2.0", "ours", "photos", "RGB", dict)
    monkeypatch.setattr(zoo, "ENTRIES", {**zoo.ENTRIES, "own": entry})
    return entry


def test_half_precision_becomes_float32(own: Entry) -> None:
    state = models.load_weights(own, None)
    assert {name: value.dtype for name, value in state.items()} == {"weight": torch.float32, "count": torch.int64}
    assert state["weight"].tolist() == [[0.5, -2.0]]


def test_a_packaged_file_is_found_without_a_network(own: Entry) -> None:
    assert own.packaged
    assert models.pull(["own"], None, None) == {"own": str(models.PACKAGED / "own.safetensors")}
    assert models.verify(None)["own"] == "ok"


def test_a_folder_that_is_given_comes_first(own: Entry, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    assert models.pull(["own"], folder, None) == {"own": str(models.PACKAGED / "own.safetensors")}
    (folder / "own.safetensors").write_bytes(safetensors.torch.save(STATE))
    assert models.pull(["own"], folder, None) == {"own": str(folder / "own.safetensors")}
    (folder / "own.safetensors").write_bytes(b"of another training")
    with pytest.raises(InputError, match=r"given/own\.safetensors is not the file .*: remove it: Muster has this file"):
        models.load_weights(own, folder)
    assert models.verify(folder)["own"] == "wrong"


@pytest.mark.parametrize("state", ["missing", "damaged"])
def test_a_packaged_file_that_is_not_what_it_was(own: Entry, tmp_path: Path, state: str) -> None:
    file = models.PACKAGED / "own.safetensors"
    file.unlink() if state == "missing" else file.write_bytes(file.read_bytes()[:-1])
    cache = tmp_path / "cache" / "weights"
    cache.mkdir(parents=True)
    (cache / "own.safetensors").write_bytes(safetensors.torch.save(STATE))  # the cache is not where it comes from
    with pytest.raises(
        MusterError, match=rf"own\.safetensors is {state}: .*; in a checkout of git: git -C .*/package checkout own"
    ):
        models.load_weights(own, None)
    assert models.verify(None)["own"] == ("missing" if state == "missing" else "wrong")


def test_what_only_the_user_can_have(muster: Callable[..., Outcome], weights: Path) -> None:
    given = {name for name, entry in zoo.ENTRIES.items() if entry.given and not entry.sha256}
    assert given == {"muster-yolo", "sam", "muster-head", "squeezenet-head", "muster-style-net"}
    assert not given & models.verify(weights).keys()
    assert {row["name"] for row in models.describe_all(weights) if row["how"] and not row["sha256"]} == {
        *given,
        *LISTED_NAMES,
    }
    for name in given:
        outcome = muster("models", "pull", name)
        assert (outcome.code, f"Muster has no weights of {name}: " in outcome.error) == (2, True)
        assert "--weights " in outcome.error
    lines = muster("models", "list").out.splitlines()
    assert any(re.match(r"objects=own .* yours$", line) for line in lines)
    assert any("--weights objects=DIR/objects.safetensors" in line for line in lines)


@pytest.mark.usefixtures("own")
def test_the_commands_say_what_is_shipped(muster: Callable[..., Outcome]) -> None:
    path = models.PACKAGED / "own.safetensors"
    assert muster("models", "pull", "own").out == f"{path}, shipped with Muster\n"
    assert muster("models", "pull", "own", "--json").facts == {"paths": {"own": str(path)}}
    path.unlink()
    outcome = muster("models", "pull", "own")
    assert (outcome.code, "own.safetensors is missing" in outcome.error) == (1, True)


def test_weights_are_verified_before_they_are_loaded(tmp_path: Path, weights: Path) -> None:
    entry = zoo.ENTRIES["yunet-n"]
    network = entry.build(models.load_weights(entry, weights))
    assert all(isinstance(value, torch.Tensor) for value in network.state_dict().values())
    (tmp_path / entry.file).write_bytes((weights / entry.file).read_bytes() + b"\0")
    with pytest.raises(InputError, match="is not the file this model needs"):
        models.load_weights(entry, tmp_path)


@pytest.mark.usefixtures("own")
def test_networks_of_no_task_come_last(muster: Callable[..., Outcome]) -> None:
    rows = models.describe_all(None)
    assert {row["name"] for row in rows} == known()
    assert (rows[-1]["name"], rows[-1]["task"], rows[-1]["packaged"]) == ("own", None, True)
    lines = muster("models", "list").out.partition("\n\n")[0].splitlines()
    assert re.match(r"–  +–  +own  +Apache-2\.0  +shipped$", lines[-1])


# ---- files that the user gives ---------------------------------------------------------------------------------------


class Code:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch owned",)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
def test_a_file_that_is_given(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"mine{suffix}"
    safetensors.torch.save_file(STATE, file) if suffix == ".safetensors" else torch.save(STATE, file)
    state = models.parse_given(read(file))
    assert {name: value.tolist() for name, value in state.items()} == {"weight": [[0.5, -2.0]], "count": [3]}
    whole = file.read_bytes()
    for damaged in (b"", b"hello", whole[: len(whole) // 2], whole[:-30]):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=rf"mine\{suffix} cannot be read as weights .*: give a whole file"):
            models.parse_given(read(file))


@pytest.mark.parametrize("held", [[1, 2], {"model": STATE, "epoch": 3}, torch.zeros(3)])
def test_a_file_that_holds_something_else(tmp_path: Path, held: object) -> None:
    torch.save(held, tmp_path / "mine.pth")
    with pytest.raises(InputError, match="something else than weights, or more than them: give"):
        models.parse_given(read(tmp_path / "mine.pth"))


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Code()}, "mine.pth")
    with pytest.raises(InputError, match=r"mine\.pth cannot be read as weights \(UnpicklingError\)"):
        models.parse_given(read(Path("mine.pth")))
    assert not (tmp_path / "owned").exists()


def test_in_whose_place_it_is() -> None:
    assert models.given_entry(registry.create("objects")).name == "fastestdet"
    assert models.given_entry(registry.create("objects", "own")).name == "muster-yolo"
    assert models.given_entry(registry.create("masks", "sam")).name == "sam"
    with pytest.raises(InputError, match=r"task faces has several networks \(detector, embedder, quality\)"):
        models.given_entry(registry.create("faces"))
    with pytest.raises(InputError, match="task previews has no network, so that it takes no file"):
        models.given_entry(registry.create("previews"))
