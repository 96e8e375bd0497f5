"""A folder with a published model, as the `transformers` library saves it: which of its files count, and what they say.

Only files that hold data are looked at, never code: tensors as safetensors, settings as JSON, vocabularies. What was
digested is what is loaded (`Model.settings`, `tensors`), as for every file of weights.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from muster.errors import InputError, MusterError
from muster.storage.files import open_regular, read_regular

CONFIG, WEIGHTS, INDEX, CARD = "config.json", "model.safetensors", "model.safetensors.index.json", "README.md"
GENERATION = "generation_config.json"
# What the library's configurations, processors and tokenizers are read from
SETTINGS = (
    CONFIG,
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    GENERATION,
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "spm.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
    "vocab.json",
    "vocab.txt",
)
READ = frozenset({*SETTINGS, INDEX, CARD})
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
_CHUNK = 1 << 22
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")
# Of licences as model cards call them: for no commercial use, or for research alone
_NOT_COMMERCIAL = re.compile(r"(^|[-_ ])nc([-_ ]|$)|non-?commercial|research[-_ ]only|apple-amlr|apple-ascl", re.I)


@dataclass(frozen=True, eq=False)
class Model:
    """`settings`: file → what it holds. `weights`: file → SHA-256. `digest`: SHA-256 over both. `licence`: as its model
    card states it, "" where that does not. `size`: bytes of the weights."""

    folder: Path
    settings: Mapping[str, bytes] = field(repr=False)
    weights: Mapping[str, str]
    digest: str
    licence: str
    size: int

    @property
    def config(self) -> Mapping[str, Any]:
        return json.loads(self.settings[CONFIG])

    @property
    def commercial(self) -> bool:
        """Whether its licence, as far as it is stated, allows commercial use."""
        return allows_commercial_use(self.licence)


def read_model(folder: Path) -> Model:
    """The model in a folder. InputError says which file is missing, or not as it must be."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    try:
        return _read(folder, _stamp(folder))
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} is a link to what is not there: take the whole model") from None
    except OSError as error:
        raise MusterError(f"cannot read {error.filename or folder}: {error.strerror}") from error


def tensors(model: Model) -> Iterator[bytes]:
    """What each file of weights holds. InputError where one is no longer what it was when the model was read."""
    for name, digest in model.weights.items():
        try:
            data = read_regular(model.folder / name)
        except OSError as error:
            raise MusterError(f"cannot read {model.folder / name}: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise InputError(f"{model.folder / name} is no longer the file that it was when the run began: run again")
        yield data


def allows_commercial_use(licence: str) -> bool:
    """Whether a licence does, as far as its name tells."""
    return not _NOT_COMMERCIAL.search(licence)


def licence_of(card: str) -> str:
    """The licence that a model card states in its first lines, between two lines of dashes; "" where it does not."""
    head = re.match(r"\ufeff?---\s*\n(.*?)\n---", card, re.S)
    said = dict(re.findall(r"^(license|license_name):[ \t]*['\"]?([^'\"\n#]+)", head[1], re.M)) if head else {}
    named = said.get("license_name", "").strip()
    return named if said.get("license", "other").strip() == "other" else said["license"].strip()


def _stamp(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """What tells whether a folder holds the same as before."""
    names = [entry.name for entry in os.scandir(folder) if entry.name in READ or _SAFE_NAME.fullmatch(entry.name)]
    status = ((name, (folder / name).stat()) for name in names)
    return tuple(sorted((name, each.st_size, each.st_mtime_ns, each.st_ino) for name, each in status))


@lru_cache(16)
def _read(folder: Path, _: object) -> Model:
    settings = {name: read_regular(folder / name) for name in SETTINGS if (folder / name).is_file()}
    if CONFIG not in settings:
        raise InputError(
            f"{folder} has no {CONFIG}: give the folder of one model, as the `transformers` library saves it"
        )
    for name, data in settings.items():
        if name.endswith(".json"):
            _check_json(folder / name, data)
    weights = {name: _sha256(folder / name) for name in _weights(folder)}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in settings.items()} | weights
    digest = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
    card = folder / CARD
    text = read_regular(card).decode(errors="replace") if card.is_file() else ""
    size = sum((folder / name).stat().st_size for name in weights)
    return Model(folder, settings, weights, digest, licence_of(text), size)


def _check_json(file: Path, data: bytes) -> None:
    try:
        said = json.loads(data)
    except ValueError as error:  # UnicodeDecodeError too
        raise InputError(f"{file} is damaged: it is no JSON ({error})") from None
    except RecursionError:
        raise InputError(f"{file} is damaged: it is nested too deeply") from None
    if file.name == CONFIG and not isinstance(said, dict):
        raise InputError(f"{file} is damaged: it holds no settings")
    if isinstance(said, dict) and said.get("auto_map"):
        raise InputError(
            f"{file} asks for code that comes with the model (auto_map): Muster runs no such code; choose a model that"
            " the `transformers` library has itself"
        )


def _weights(folder: Path) -> list[str]:
    """The names of the files of weights."""
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    if not (folder / INDEX).is_file():
        pickled = sorted(file.name for pattern in PICKLED for file in folder.glob(pattern))
        if pickled:
            raise InputError(
                f"{folder} has its weights as {pickled[0]}, which may run any code as it is loaded: Muster takes"
                f" safetensors alone; take the model's {WEIGHTS}, or save it anew with save_pretrained"
            )
        raise InputError(f"{folder} has no {WEIGHTS}: give the folder of a whole model")
    data = read_regular(folder / INDEX)
    _check_json(folder / INDEX, data)
    try:
        names = sorted(set(json.loads(data)["weight_map"].values()))
        strange = [name for name in names if not _SAFE_NAME.fullmatch(name)]
    except (KeyError, AttributeError, TypeError):
        raise InputError(f"{folder / INDEX} is damaged: it has no `weight_map`") from None
    if strange or not names:
        raise InputError(f"{folder / INDEX} is damaged: it names {strange[:1] or 'no files'} as files of weights")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise InputError(f"{folder} has no {missing[0]}, which {INDEX} names: take the whole model")
    return names


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(file) as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
