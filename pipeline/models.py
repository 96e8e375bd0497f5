"""The zoo on this machine: which weights are here, fetching them, checking them, loading them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

import tasks
from storage import weights
from storage.errors import InputError
from tasks.base import StateDict
from tasks.models import zoo
from tasks.models.entry import Entry

PACKAGED = Path(tasks.__file__).parent / "weights"  # of our own recipes, shipped as package data


def describe_all(weights_dir: Path | None) -> list[dict[str, Any]]:
    """A row per task, model and role: the entry, its licence and data, and its file where it is here."""
    rows = []
    for task, models in zoo.MODELS.items():
        for model, roles in models.items():
            for role, name in roles.items():
                entry = zoo.ENTRIES[name]
                path = weights.find(weights_file(entry), weights_dir)
                facts = {
                    f: getattr(entry, f)
                    for f in ("name", "file", "url", "packaged", "sha256", "licence", "source", "training_data")
                }
                rows.append({"task": task, "model": model, "role": role, **facts, "path": str(path) if path else None})
    return rows


def find_entry(name: str) -> Entry:
    """The entry of this name; InputError lists the known ones."""
    if name not in zoo.ENTRIES:
        raise InputError(f"no weights {name!r}; known: {', '.join(zoo.ENTRIES)}")
    return zoo.ENTRIES[name]


def pull(names: Sequence[str] | None, weights_dir: Path | None, on_download: weights.Progress | None) -> dict[str, str]:
    """Fetch these entries (all, by default); name → file. Those that are shipped with Muster are only checked."""
    entries = [find_entry(name) for name in names or zoo.ENTRIES]
    return {e.name: str(weights.fetch(weights_file(e), weights_dir, on_download)) for e in entries}


def verify(weights_dir: Path | None) -> dict[str, str]:
    """Entry → "ok", "wrong" (another checksum) or "missing", of the files in `weights_dir`, package and cache."""
    if weights_dir is not None and not weights_dir.is_dir():
        raise InputError(f"--weights-dir {weights_dir}: no such folder")
    return {name: _state(entry, weights_dir) for name, entry in zoo.ENTRIES.items()}


def _state(entry: Entry, weights_dir: Path | None) -> str:
    folders = [weights_dir, PACKAGED if entry.packaged else weights.cache_dir()]
    files = [folder / entry.file for folder in folders if folder is not None and (folder / entry.file).is_file()]
    if not files:
        return "missing"
    return "ok" if all(weights.verify(file, entry.sha256) for file in files) else "wrong"


def weights_file(entry: Entry) -> weights.WeightsFile:
    packaged = PACKAGED / entry.file if entry.packaged else None
    return weights.WeightsFile(entry.file, entry.url, entry.sha256, packaged)


def load_weights(entry: Entry, weights_dir: Path | None, on_download: weights.Progress | None = None) -> StateDict:
    """The verified state dict of a zoo entry, on the CPU; half precision becomes float32. Never unpickles code."""
    path = weights.fetch(weights_file(entry), weights_dir, on_download)
    if path.suffix != ".safetensors":
        return torch.load(path, map_location="cpu", weights_only=True)
    state = safetensors.torch.load_file(path)
    return {name: value.float() if value.dtype == torch.float16 else value for name, value in state.items()}
