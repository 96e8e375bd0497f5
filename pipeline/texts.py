"""Texts as numbers that are near the embeddings of the photos that they fit, where a model of pictures and words has
made those of a library.

Nothing here imports a network before the first text comes: the live page is to be there at once.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muster.arrays import F32
from muster.errors import InputError, MusterError
from muster.storage import hub, hub_names, tables
from muster.storage.library import LibraryFiles
from muster.storage.search.alike import TABLE

if TYPE_CHECKING:
    from muster.pipeline.work.machine import Machine
    from muster.tasks.hub.pairs import TextEncoder

HUB = "hf:"  # how published models are called: hf:FOLDER, or hf:ORG/NAME
TEXTLESS = (
    "words that name nothing find photos by what they look like where `features` are of a model of pictures and words:"
    " `run` with `tasks` features and `model` features=siglip2-b16 (`models pin` siglip2-b16 fetches it), or hf:FOLDER"
)


def texts_of(library: LibraryFiles, fingerprint: str, machine: "Machine | None" = None) -> "ModelTexts | None":
    """By the model that the features of this fingerprint are of; None where it knows no texts. `machine`: where; None:
    on a processor, which is quick enough for what is typed.

    Where its folder is gone this is not known, and whoever asks is told so.
    """
    model = str(tables.descriptions(library)[fingerprint]["model"])
    if not model.startswith(HUB):
        return None
    config = _config(model[len(HUB) :])
    return ModelTexts(fingerprint, model, machine) if config is None or "text_config" in config else None


def _config(place: str) -> Mapping[str, Any] | None:
    """Of the model in a folder, or of this name; None where it is not here, or damaged."""
    try:
        pinned = None if Path(place).is_dir() else hub_names.pinned(place)
        config = json.loads((Path(pinned["folder"] if pinned else place) / hub.CONFIG).read_bytes())
    except (OSError, ValueError, MusterError):
        return None
    return config if isinstance(config, dict) else None


class ModelTexts:
    """Loaded with the first texts; threads may share it."""

    def __init__(self, fingerprint: str, model: str, machine: "Machine | None") -> None:
        self.fingerprint, self.model, self.machine = fingerprint, model, machine
        self._lock = threading.Lock()
        self._encoder: TextEncoder | None = None
        self._last: tuple[tuple[str, ...], F32] | None = None  # a page asks for the parts of a list one by one

    def __call__(self, texts: Sequence[str]) -> F32:
        """(N, D), L2-normalised. InputError where the model is not there any more, is another one, or needs what is not
        installed."""
        with self._lock:
            if self._last is None or self._last[0] != tuple(texts):
                if self._encoder is None:
                    self._encoder = self._loaded()
                self._last = (tuple(texts), self._encoder(texts))
            return self._last[1]

    def _loaded(self) -> "TextEncoder":
        import torch

        from muster.pipeline.work.choice import TaskChoice
        from muster.tasks.hub.pairs import TextEncoder
        from muster.tasks.models import zoo

        choice = TaskChoice(name=TABLE, model=self.model)
        if choice.fingerprint != self.fingerprint:
            raise InputError(
                f"`model` {TABLE}={self.model}: it is not the model any more that made the features of this library, or"
                " of another version: words are compared once features were made again"
            )
        entry = zoo.ENTRIES[choice.task.models["classifier"]]
        assert entry.load is not None  # of all entries that HUB names
        device = self.machine.torch_device if self.machine else torch.device("cpu")
        return TextEncoder(entry.build(entry.load()), device)
