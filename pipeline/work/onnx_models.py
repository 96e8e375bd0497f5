"""Models as ONNX files, as entries of the zoo: `onnx:FILE`, one that Muster wrote, or a detector of a layout that is
declared.

Of what Muster wrote, onnxruntime takes the place of one network, and everything before and after it is the task's own.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from muster.errors import InputError, TaskError
from muster.pipeline.work.published import folder_of
from muster.storage import hub, onnx_file
from muster.storage.onnx_file import OnnxFile
from muster.tasks.models import zoo
from muster.tasks.models.session import CPU, Session
from muster.tasks.models.zoo.entry import Entry
from muster.tasks.onnx import declared, detectors

PROVIDERS = "MUSTER_ONNX_PROVIDERS"  # of onnxruntime, with commas, for devices that are no GPU of CUDA's
FACTS = ("name", "licence", "source", "training_data", "preprocessing", "sha256")  # that Muster writes into its files
# Task → which of its networks may be a file of ONNX
_ROLES: Mapping[str, tuple[str, ...]] = {
    "faces": ("detector", "embedder", "landmarks"),
    "objects": ("detector",),
    "masks": ("segmenter",),
    "labels": ("classifier",),
    "features": ("classifier",),
    "scenes": ("classifier",),
}


def parts(task: str, model: str) -> Mapping[str, Entry | str]:
    """Role → entry, of a task's model at `onnx:…`. InputError says what is wrong with it."""
    what = f"`model` {task}={model}"
    if task not in _ROLES:
        raise TaskError(f"{what}: no ONNX file does this; they do {', '.join(_ROLES)}")
    place = model.partition(":")[2]
    if not place:
        raise InputError(f"{what}: give a file, onnx:FILE")
    _require_packages()
    asked = tuple(name.strip() for name in os.environ.get(PROVIDERS, "").split(",") if name.strip())
    try:
        found = onnx_file.read_onnx(folder_of(place))
        return _parts(task, model, found, asked or (CPU,))
    except InputError as error:
        raise type(error)(f"{what}: {error}") from None


@lru_cache(16)
def _parts(task: str, model: str, found: OnnxFile, providers: tuple[str, ...]) -> Mapping[str, Entry | str]:
    if set(FACTS) <= found.metadata.keys():
        return _own(task, model, found, providers)
    if task != "objects":
        raise InputError("Muster did not write it by `export`: what others wrote does objects alone, as a detector")
    return {"detector": _detector(model, found, providers)}


def _require_packages() -> None:
    for name, package in (("onnxruntime", "onnxruntime"), ("yaml", "pyyaml")):
        try:
            __import__(name)
        except ImportError:
            raise InputError(f"ONNX files need the package {package}: pip install {package}") from None


# ---- that Muster wrote -----------------------------------------------------------------------------------------------


def _own(task: str, model: str, found: OnnxFile, providers: tuple[str, ...]) -> Mapping[str, Entry | str]:
    """The parts of the task's model that has this network: its default, or else the first."""
    name = found.metadata["name"]
    known = zoo.everything()
    usual = zoo.default(task)
    for each in sorted(known[task], key=lambda each: each != usual):
        for role, entry in known[task][each].items():
            if entry == name and role in _ROLES[task]:
                return {**known[task][each], role: _imported(model, found, zoo.ENTRIES[name], providers)}
    does = [
        other
        for other, roles in _ROLES.items()
        if any(parts.get(role) == name for parts in known[other].values() for role in roles)
    ]
    raise InputError(f"it is {name}, which does {' and '.join(does) or 'none of ' + ', '.join(_ROLES)}")


def _imported(model: str, found: OnnxFile, original: Entry, providers: tuple[str, ...]) -> Entry:
    session = Session(found.data, providers)
    if session.outputs != original.outputs:
        raise InputError(
            f"it has the outputs {', '.join(session.outputs)}, and {original.name} has {', '.join(original.outputs)}:"
            " `export` it anew"
        )
    _try(session, original)
    return replace(
        original,
        name=model,
        file=found.path.name,
        url="",
        path="",
        how="",
        sha256=found.sha256,
        licence=found.metadata["licence"],
        source=found.metadata["source"],
        training_data=found.metadata["training_data"],
        build=lambda _: original.imported(session),
        outputs=(),
        load=dict,
        stands_for=original.name,
    )


def _try(session: Session, original: Entry) -> None:
    """Run it once. InputError where it does not take what the network that it stands for takes, or gives less."""
    try:
        made = session(torch.zeros(1, 3, *(original.size or (64, 96))))
    except TaskError as error:
        raise InputError(f"it is not {original.name} as Muster writes it: {error}") from None
    last = made[-1] if isinstance(made, list) else made
    if original.width and last.shape[1:] != (original.width,):
        raise InputError(f"it gives {tuple(last.shape[1:])} numbers, and {original.name} gives {original.width}")


# ---- that others wrote -----------------------------------------------------------------------------------------------


def _detector(model: str, found: OnnxFile, providers: tuple[str, ...]) -> Entry:
    said = [("its metadata", declared.of_metadata(found.metadata))]
    if found.beside is not None:
        file, text = found.beside
        said.append((str(file), declared.read_yaml(text, str(file))))
    facts = declared.together(said)
    session = Session(found.data, providers)
    about = declared.complete(facts, session.size)
    detectors.read(session, np.zeros((1, 3, *about.size), np.float32), about)  # TaskError where it has another layout
    licence = about["licence"] or found.metadata.get("license", "not stated")
    return Entry(
        name=model,
        file=found.path.name,
        url="",
        sha256=found.digest,
        licence=licence,
        source=str(found.path),
        training_data="not stated",
        preprocessing=f"as declared for the layout {about.layout}",
        build=lambda _: session,
        size=about.size,
        outputs=(),
        run=detectors.family_of(about),
        load=dict,
        commercial=hub.allows_commercial_use(licence),
    )
