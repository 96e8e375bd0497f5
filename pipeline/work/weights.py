"""The zoo on this machine: which weights are here, fetching them, checking them, loading them."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from muster import tasks
from muster.errors import InputError, MusterError, TaskError
from muster.storage import downloads, hub, hub_names
from muster.tasks.base import StateDict, Task
from muster.tasks.models import zoo
from muster.tasks.models.zoo.entry import Entry
from muster.tasks.models.zoo.listed import LISTED, Listed

PACKAGED = Path(tasks.__file__).parent / "weights"  # of our own recipes, shipped as package data


def describe_all(weights_dir: Path | None) -> list[dict[str, Any]]:
    """A row per task, model and role: the entry, its licence and data, and its file where it is here. Entries of no
    task come last, with None for all three."""
    rows = [
        {"task": task, "model": model, "default": model == zoo.default(task), "role": role, **_facts(name, weights_dir)}
        for task, models in zoo.everything().items()
        for model, roles in models.items()
        for role, name in roles.items()
    ]
    known = [name for name, entry in zoo.ENTRIES.items() if entry.load is None]
    others = set(known) - {row["name"] for row in rows}
    none = {"task": None, "model": None, "default": False, "role": None}
    rows += [{**none, **_facts(name, weights_dir)} for name in known if name in others]
    return rows + [_listed(task, model, each) for task, models in LISTED.items() for model, each in models.items()]


def _listed(task: str, model: str, each: Listed) -> dict[str, Any]:
    """A published model, which is there once it was pinned."""
    pinned = hub_names.pinned(each.repository)
    return {
        "task": task,
        "model": model,
        "default": False,
        "role": None,
        "name": f"hf:{each.repository}",
        "file": None,
        "url": f"{hub_names.endpoint()}/{each.repository}",
        "packaged": False,
        "sha256": pinned["digest"] if pinned else "",
        "licence": each.licence,
        "source": each.accuracy,
        "training_data": each.training_data,
        "how": "",
        "path": str(pinned["folder"]) if pinned else None,
    }


def pin(
    name: str, on_download: downloads.OnDownload | None, on_found: Callable[[hub_names.Published], None]
) -> hub.Model:
    """Fetch a published model, by the name that it has in the list or `hf:ORG/NAME`, and pin its name to what was
    fetched. `on_found`: told what the server has, before it is fetched."""
    listed = [each.repository for models in LISTED.values() for model, each in models.items() if model == name]
    if not listed and not name.startswith("hf:"):
        known = ", ".join(model for models in LISTED.values() for model in models)
        raise InputError(f"no published model {name!r}; known: {known}; any other as hf:ORG/NAME")
    found = hub_names.look_up(listed[0] if listed else name.removeprefix("hf:"))
    on_found(found)
    return hub_names.pin(found, on_download)


def _facts(name: str, weights_dir: Path | None) -> dict[str, Any]:
    entry = zoo.ENTRIES[name]
    found = downloads.find(weights_file(entry), weights_dir) if entry.sha256 else None
    shown = ("name", "file", "url", "packaged", "sha256", "licence", "source", "training_data", "how")
    return {**{fact: getattr(entry, fact) for fact in shown}, "path": str(found.path) if found else None}


def find_entry(name: str) -> Entry:
    """The entry of this name; InputError lists the known ones."""
    zoo.everything()
    if name not in zoo.ENTRIES:
        raise InputError(f"no weights {name!r}; known: {', '.join(zoo.ENTRIES)}")
    return zoo.ENTRIES[name]


def pull(
    names: Sequence[str] | None, weights_dir: Path | None, on_download: downloads.OnDownload | None
) -> dict[str, str]:
    """Fetch these entries (all that can be, by default); name → file. Those shipped with Muster are only checked."""
    zoo.everything()
    entries = [
        find_entry(name) for name in names or (e.name for e in zoo.ENTRIES.values() if not e.given and e.load is None)
    ]
    return {e.name: str(downloads.fetch(weights_file(e), weights_dir, on_download).path) for e in entries}


def verify(weights_dir: Path | None) -> dict[str, str]:
    """Entry → "ok", "wrong" (another checksum) or "missing", of the files in `weights_dir`, package and cache."""
    if weights_dir is not None and not weights_dir.is_dir():
        raise InputError(f"`weights_dir` {weights_dir}: no such folder")
    zoo.everything()
    return {
        name: _state(entry, weights_dir) for name, entry in zoo.ENTRIES.items() if entry.sha256 and entry.load is None
    }


def _state(entry: Entry, weights_dir: Path | None) -> str:
    kept = weights_file(entry).packaged or downloads.cache_dir() / entry.file
    places = [kept] if weights_dir is None else [weights_dir / entry.file, kept]
    files = [file for file in places if file.is_file()]
    if not files:
        return "missing"
    return "ok" if all(downloads.read(file).fits(entry.sha256) for file in files) else "wrong"


def weights_file(entry: Entry) -> downloads.WeightsFile:
    """Raises InputError where only the user can have the file."""
    if entry.given and not entry.sha256:
        raise InputError(f"Muster has no weights of {entry.name}: {entry.how}")
    shipped = (Path(entry.path) if entry.path else PACKAGED / entry.file) if entry.packaged else None
    return downloads.WeightsFile(entry.file, entry.url, entry.sha256, shipped, entry.how)


def load_weights(entry: Entry, weights_dir: Path | None, on_download: downloads.OnDownload | None = None) -> StateDict:
    """The state dict of a zoo entry, as `parse` gives it, or as the entry reads it itself."""
    if entry.load is not None:
        return entry.load()
    return parse(downloads.fetch(weights_file(entry), weights_dir, on_download))


def parse(content: downloads.Content) -> StateDict:
    """A file's state dict, on the CPU; half precision in safetensors becomes float32. Never unpickles code."""
    if content.path.suffix != ".safetensors":
        return torch.load(io.BytesIO(content.data), map_location="cpu", weights_only=True)
    state = safetensors.torch.load(content.data)
    return {name: value.float() if value.dtype == torch.float16 else value for name, value in state.items()}


# ---- files that the user gives ---------------------------------------------------------------------------------------


def given_entry(task: Task) -> Entry:
    """In whose place a user's file is: the network that has no other file, or the only one. InputError for several."""
    entries = [zoo.ENTRIES[name] for name in task.models.values()]
    candidates = [entry for entry in entries if entry.given and not entry.sha256] or entries
    if len(candidates) != 1:
        networks = f"has several networks ({', '.join(task.models)})" if candidates else "has no network"
        raise InputError(
            f"`weights` {task.name}=FILE: task {task.name} {networks}, so that it takes no file of weights"
        )
    return candidates[0]


def parse_given(content: downloads.Content) -> StateDict:
    """As `parse`; InputError where the file is damaged, or holds anything but tensors under their names."""
    file = content.path
    try:
        state = parse(content)
    except Exception as error:  # torch and safetensors tell of bad bytes in a dozen ways
        raise InputError(f"{file} cannot be read as weights ({type(error).__name__}): {_WANTED}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{file} holds something else than weights, or more than them: {_WANTED}")
    return state


def build_given(entry: Entry, file: Path) -> tuple[nn.Module, str]:
    """The network of an entry with the weights of a user's file, and the file's SHA-256; InputError where they are
    not its weights."""
    if not file.is_file():
        raise InputError(f"`weights` {file}: no such file")
    content = downloads.read(file)
    try:
        return entry.build(parse_given(content)), content.sha256
    except TaskError as error:
        raise InputError(f"`weights` {file}: {error}") from None
    except MusterError:
        raise
    except Exception as error:  # a builder looks for what it needs, and comes upon something else
        raise InputError(f"`weights` {file}: {not_weights_of(entry, error)}") from None


def not_weights_of(entry: Entry, error: Exception) -> str:
    """What is said of a state dict that an entry's network cannot be built with, by what its builder raised."""
    cause = f"it has no {error}" if isinstance(error, KeyError) else _first_cause(error)
    return f"these are not weights of {entry.name} ({entry.source}): {cause}"


def _first_cause(error: Exception) -> str:
    """Of what torch says of a state dict that does not fit, under a heading, a line for each tensor."""
    lines = str(error).splitlines()
    text = (lines[1:] or lines or [type(error).__name__])[0].strip()
    return text if len(text) <= 200 else text[:200] + " …"


_WANTED = "give a whole file of safetensors, or of tensors alone as torch.save(network.state_dict(), FILE) writes it"
