"""Which networks of the `transformers` library do which task, and how each is run."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage

from muster.errors import TaskError
from muster.tasks.hub import classifiers, segmenters, writers
from muster.tasks.hub.classifiers import names
from muster.tasks.hub.detectors import ByWords, Detector, Grounded
from muster.tasks.hub.network import Published
from muster.tasks.hub.writers import TILED, Chooser
from muster.tasks.models import coco_labels, zoo
from muster.tasks.models.zoo.masks import Prompted, Segmenter
from muster.tasks.objects import Family

# Task → the role of its network
ROLES: Mapping[str, str] = MappingProxyType(
    {
        "objects": "detector",
        "masks": "segmenter",
        "labels": "classifier",
        "features": "classifier",
        "captions": "writer",
        "answers": "writer",
    }
)
# Task → the library's lists of networks that do it (transformers.models.auto.modeling_auto)
LISTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "objects": ("OBJECT_DETECTION", "ZERO_SHOT_OBJECT_DETECTION"),
        "masks": ("UNIVERSAL_SEGMENTATION", "INSTANCE_SEGMENTATION", "SEMANTIC_SEGMENTATION", "MASK_GENERATION"),
        "labels": ("IMAGE_CLASSIFICATION",),
        "features": ("ZERO_SHOT_IMAGE_CLASSIFICATION", "IMAGE"),
        "captions": ("IMAGE_TEXT_TO_TEXT",),
        "answers": ("VISUAL_QUESTION_ANSWERING", "IMAGE_TEXT_TO_TEXT"),
    }
)
# Of a photo before it is prepared: more than the network sees, so that it is scaled down once, and as the library does
LEAST_SIDE, MOST_SIDE = 640, 2048


@dataclass(frozen=True)
class Kind:
    """`network`: a class of the library. `run`: how the task runs it, see muster.tasks.models.zoo.entry.Entry. `side`:
    the longest of what goes in, in pixels. `width`: how many numbers it makes of a photo. `may_lack`: which tensors a
    file may be without. `others`: role → entry of the networks of the zoo that it needs besides. `exact`: see
    muster.tasks.hub.network.Published."""

    network: Any
    run: Any
    side: int
    width: int = 0
    may_lack: Callable[[str], bool] = lambda name: False
    others: Mapping[str, str] = field(default_factory=dict)
    exact: bool = False


def class_of(task: str, config: Any) -> tuple[str, Any]:
    """The list that a model is on, and its class. TaskError where it is for another task."""
    import transformers
    from transformers.models.auto import modeling_auto

    said = config.architectures if isinstance(config.architectures, list) else []
    built: str | None = next((each for each in said if isinstance(each, str)), None)
    for name in LISTS[task]:
        known = getattr(modeling_auto, _mapping(name))
        found = known.get(config.model_type, ())
        classes = (found,) if isinstance(found, str) else found
        if classes and (built in classes or built is None or not _is_for_another(built)):
            return name, getattr(transformers, built if built is not None and built in classes else classes[0])
    raise TaskError(f"it is {built or config.model_type}, and none of the networks that do {task}{_does(task, built)}")


def _is_for_another(built: str) -> bool:
    return any(built in _values(name) for name in _all_lists())


def _does(wanted: str, built: str | None) -> str:
    """What it does instead of what is wanted, of what Muster has."""
    others = {task: lists for task, lists in LISTS.items() if task != wanted}
    does = [task for task, lists in others.items() if any(built in _values(_mapping(name)) for name in lists)]
    return f"; it does {' or '.join(does)}" if does else ""


def _all_lists() -> list[str]:
    from transformers.models.auto import modeling_auto

    return [name for name in vars(modeling_auto) if name.startswith("MODEL_FOR_") and name.endswith("_MAPPING_NAMES")]


def _mapping(name: str) -> str:
    return f"MODEL_FOR_{name}_MAPPING_NAMES"


def _values(mapping: str) -> set[str]:
    from transformers.models.auto import modeling_auto

    found = getattr(modeling_auto, mapping).values()
    return {name for each in found for name in ((each,) if isinstance(each, str) else each)}


def has_words(task: str, config: Any) -> bool:
    """Whether its processor has a part for words, or for boxes."""
    return class_of(task, config)[0] in (
        "ZERO_SHOT_OBJECT_DETECTION",
        "MASK_GENERATION",
        "ZERO_SHOT_IMAGE_CLASSIFICATION",
        "VISUAL_QUESTION_ANSWERING",
        "IMAGE_TEXT_TO_TEXT",
    )


def in_two(config: Any) -> bool:
    """Whether what prepares photos and what prepares words lie apart."""
    return bool(config.model_type == "vision-encoder-decoder")


def kind_of(task: str, config: Any, processor: Any) -> Kind:
    """How a model does a task. TaskError where it cannot."""
    name, network = class_of(task, config)
    pictures = getattr(processor, "image_processor", processor)
    _check_words(task, config, processor)
    if task in ("captions", "answers"):
        return _writer(task, config, processor, network)
    side = _side(pictures)
    if task == "objects":
        return Kind(network, _family(name, config, max_side(side)), side)
    if task == "masks":
        others = zoo.roles("objects", zoo.DEFAULTS["objects"]) if name == "MASK_GENERATION" else {}
        return Kind(network, _forms(name, config, pictures, max_side(side)), side, others=others, exact=True)
    if task == "labels":
        return Kind(network, classifiers.Chances, side)
    return Kind(network, classifiers.Embedder, side, _width(network, config, pictures), lambda name: "pooler" in name)


def _check_words(task: str, config: Any, processor: Any) -> None:
    """TaskError where its processor is to have words and has none: without its file, a tokenizer is made of nothing."""
    if not has_words(task, config) or class_of(task, config)[0] == "MASK_GENERATION":
        return
    words = getattr(processor, "tokenizer", None)
    if words is None or set(words.get_vocab()) <= set(words.all_special_tokens):
        raise TaskError(
            "it has no words: take its tokenizer too (tokenizer.json, or the vocabulary that it has instead)"
        )


def _side(pictures: Any) -> int:
    """The longest side, in pixels, of what a processor makes of photos."""
    blanks = [np.zeros((*size, 3), np.uint8) for size in ((64, 64), (64, 128))]
    made = [pictures(images=[PillowImage.fromarray(blank)], return_tensors="pt")["pixel_values"] for blank in blanks]
    return max(max(each.shape[-2:]) for each in made)


def max_side(side: int) -> int:
    """The longest side of the photos that a processor is given which makes images of `side` of them."""
    return min(MOST_SIDE, max(LEAST_SIDE, 2 * side))


def _family(name: str, config: Any, longest: int) -> Family:
    if name == "OBJECT_DETECTION":
        return Family(Detector, longest, 0.5, 1.0, _spelled(names(config)), most=300)
    grounded = hasattr(config, "max_text_len")
    if not grounded and not config.model_type.startswith("owl"):
        raise TaskError(f"{config.model_type} looks for words in a way that Muster does not know")
    # As the library's own least scores; not measured
    return Family(Grounded if grounded else ByWords, longest, 0.25 if grounded else 0.1, 1.0, most=300, by_words=True)


def _writer(task: str, config: Any, processor: Any, network: Any) -> Kind:
    if config.model_type == "vilt":
        return Kind(network, Chooser, _side(processor.image_processor), exact=True)
    way = writers.way_of(task, network.__name__, processor)
    tiled = getattr(processor, "chat_template", None)
    return Kind(network, way, TILED // 2 if tiled else _side(processor.image_processor), exact=True)


def _spelled(found: tuple[str, ...]) -> tuple[str, ...]:
    """As COCO spells its classes."""
    return tuple(coco_labels.SPELLINGS.get(name, name) for name in found)


def _forms(name: str, config: Any, pictures: Any, longest: int) -> Mapping[str, Any]:
    if name == "MASK_GENERATION":
        return {
            "boxes": Prompted(coco_labels.NAMES, longest, masks_in=segmenters.masks_in),
            "points": Segmenter(("thing",), longest, _everything),
        }
    known = names(config)
    background = known.index("background") if "background" in known else None
    forms: dict[str, Any] = {}
    for subtask in ("panoptic", "instance", "semantic"):
        if not hasattr(pictures, f"post_process_{subtask}_segmentation"):
            continue
        find = (
            partial(_classes, background=background) if subtask == "semantic" else partial(_segments, subtask=subtask)
        )
        forms[subtask] = Segmenter(known, longest, find, background, 0.0 if subtask == "semantic" else 0.5)
    if not forms:
        raise TaskError("its processor makes no masks: take the preprocessor_config.json of its publisher")
    return forms


def _segments(network: Any, pixels: Any, least: float, device: torch.device, subtask: str) -> Any:
    return segmenters.segments(network, pixels, subtask, least, device)


def _classes(network: Any, pixels: Any, least: float, device: torch.device, background: int | None) -> Any:
    return segmenters.classes(network, pixels, background, device)


def _everything(network: Any, pixels: Any, least: float, device: torch.device) -> Any:
    return segmenters.everything(network, pixels, device)


def _width(network: Any, config: Any, pictures: Any) -> int:
    """How many numbers it makes of a photo: found by running it without its weights, which computes nothing; but for
    networks that look at numbers as they run, which have some weights then."""
    made = pictures(images=[PillowImage.fromarray(np.zeros((64, 64, 3), np.uint8))], return_tensors="pt")
    for device in ("meta", "cpu"):
        with torch.device(device):
            bare = Published(network(config).eval(), pictures)
        inputs = {name: value.to(device) for name, value in made.items() if isinstance(value, torch.Tensor)}
        with torch.inference_mode(), suppress(RuntimeError):
            return int(classifiers.embeddings(bare, inputs).shape[1])
    raise TaskError(f"{config.model_type} makes no numbers of a photo")
