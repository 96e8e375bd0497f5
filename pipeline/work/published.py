"""Published models of the `transformers` library, as entries of the zoo: `hf:FOLDER`, or `hf:NAME` of one that was
fetched.

The library reads settings, and builds the network; the tensors that it is given, and the settings, are the bytes that
were digested. No code that comes with a model is run.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from muster.errors import InputError, MusterError, TaskError
from muster.storage import hub, hub_names
from muster.tasks.base import StateDict
from muster.tasks.hub import kinds
from muster.tasks.hub.kinds import Kind
from muster.tasks.hub.network import Pair, Published
from muster.tasks.models.zoo.entry import Entry


def is_folder(place: str) -> bool:
    """Whether the address of a model is a folder, and no name of one that was fetched."""
    return place.startswith(("/", "./", "../", "~")) or (hub_names.pinned(place) is None and Path(place).is_dir())


def folder_of(place: str) -> Path:
    """A folder or file, `~` resolved."""
    try:
        return Path(place).expanduser()
    except RuntimeError:
        raise InputError(f"{place}: there is no such user") from None


def parts(task: str, model: str) -> Mapping[str, Entry | str]:
    """Role → entry, of a task's model at `hf:…`. InputError says what is wrong with it."""
    place = model.partition(":")[2]
    what = f"`model` {task}={model}"
    if task not in kinds.ROLES:
        raise TaskError(f"{what}: no published model does this; they do {', '.join(kinds.ROLES)}")
    if not place:
        raise InputError(f"{what}: give the folder of a model, or its name")
    try:
        _require_library()
        found = hub.read_model(folder_of(place)) if is_folder(place) else hub_names.find(place)
        return _parts(task, model, found)
    except InputError as error:
        raise type(error)(f"{what}: {error}") from None


def _require_library() -> None:
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise InputError("published models need the package transformers: pip install transformers") from None


@lru_cache(16)
def _parts(task: str, model: str, found: hub.Model) -> Mapping[str, Entry | str]:
    with _offline():
        config, processor = _read_settings(task, found)
        try:
            kind = kinds.kind_of(task, config, processor)
        except TaskError:
            raise
        except Exception as error:  # whatever the library comes upon in settings that cannot be
            raise InputError(f"{found.folder} has settings that do not go together: {_first(error)}") from None
    entry = Entry(
        name=f"{model} as {task}",
        file=found.folder.name,
        url="",
        sha256=found.digest,
        licence=found.licence or "not stated",
        source=str(found.folder),
        training_data="see its model card",
        preprocessing="as its own processor",
        build=partial(_built, found, config, processor, kind),
        size=(kind.side, kind.side),
        outputs=(),
        width=kind.width,
        run=kind.run,
        load=partial(_tensors, found),
        commercial=found.commercial,
        # As it loads, a worker holds the file beside the network, which is in single precision whatever the file is.
        memory=found.size * (4 if config.dtype in (torch.float16, torch.bfloat16) else 2),
    )
    return {kinds.ROLES[task]: entry, **kind.others}


def _read_settings(task: str, found: hub.Model) -> tuple[Any, Any]:
    """The library's configuration of a model, and its processor."""
    import transformers

    with _settings(found) as folder:
        try:
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        except Exception as error:  # it tells of bad settings in a dozen ways
            raise InputError(f"{found.folder}: {_first(error, folder, found)}") from None
        _check_backbones(config, found)
        words = kinds.has_words(task, config)  # TaskError where it is for another task
        here = {"trust_remote_code": False, "local_files_only": True}
        try:
            if words and not kinds.in_two(config):
                return config, transformers.AutoProcessor.from_pretrained(folder, **here)
            pictures = transformers.AutoImageProcessor.from_pretrained(folder, **here)
            if not words:
                return config, pictures
            return config, Pair(pictures, transformers.AutoTokenizer.from_pretrained(folder, **here))
        except Exception as error:
            raise InputError(
                f"{found.folder} lacks its processor, or has a damaged one: take the model's preprocessor_config.json"
                f" too, and its tokenizer where it has one ({_first(error, folder, found)})"
            ) from None


@contextmanager
def _settings(found: hub.Model) -> Iterator[str]:
    """A folder with nothing but the settings that were digested."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in found.settings.items():
            Path(folder, name).write_bytes(data)
        yield folder


def _tensors(found: hub.Model) -> StateDict:
    import safetensors.torch

    state: dict[str, torch.Tensor] = {}
    for (name, _), data in zip(found.weights.items(), hub.tensors(found), strict=True):
        try:
            state |= safetensors.torch.load(data)
        except Exception as error:
            raise InputError(f"{found.folder / name} is damaged, or cut short: {_first(error)}") from None
    return state


def _built(found: hub.Model, config: Any, processor: Any, kind: Kind, state: StateDict) -> Published:
    """The network with its tensors, in single precision. InputError where they are not all its own."""
    from transformers import GenerationConfig

    with _quiet(), _offline():
        try:
            network, told = kind.network.from_pretrained(
                None,
                config=config,
                state_dict=dict(state),
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # which are said below
            )
        except MusterError:
            raise
        except ImportError as error:
            raise InputError(f"{found.folder}: {kind.network.__name__} needs a package more: {_first(error)}") from None
        except Exception as error:
            raise InputError(
                f"{found.folder}: its weights are not those of {kind.network.__name__}: {_first(error)}"
            ) from None
    missing = sorted(name for name in told["missing_keys"] if not kind.may_lack(name))
    wrong = sorted(str(each[0]) for each in told["mismatched_keys"])
    if missing or wrong:
        raise InputError(
            f"{found.folder}: its weights are not those of {kind.network.__name__}:"
            f" {len(missing)} are missing and {len(wrong)} of another shape, such as {(missing or wrong)[0]}"
        )
    if hub.GENERATION in found.settings and network.can_generate():  # the library reads it from a folder alone
        network.generation_config = GenerationConfig.from_dict(json.loads(found.settings[hub.GENERATION]))
    return Published(network.eval().requires_grad_(False), processor, bool(told["missing_keys"]), kind.exact)


@contextmanager
def _quiet() -> Iterator[None]:
    """What the library prints of tensors that are missing is said by us, where it matters."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)


@contextmanager
def _offline() -> Iterator[None]:
    """Nothing is asked of a server meanwhile, whatever settings name."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _check_backbones(config: Any, found: hub.Model) -> None:
    """InputError where a network is a part of it that lies elsewhere; timm builds its own by their names."""
    named = getattr(config, "backbone", None)
    if named and not getattr(config, "use_timm_backbone", False) and getattr(config, "backbone_config", None) is None:
        raise InputError(
            f"{found.folder} has a part that lies elsewhere (backbone {named}): take a model that is whole"
        )


def _first(error: Exception, folder: str = "", found: hub.Model | None = None) -> str:
    """What is wrong, in a line; the folder that the library read is called as the user's."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:2]) if lines else type(error).__name__
    text = text.replace(folder, str(found.folder)) if folder and found else text
    return text if len(text) <= 200 else f"{text[:200]} …"
