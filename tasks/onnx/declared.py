"""What is declared of a detector as ONNX: how its outputs are laid out, what it is shown, what it knows.

Nothing is guessed: two layouts may have the same shapes, and rows that are nearly right are worse than an error. Facts
are kept flat, `input.size` → (480, 640), so that those of several places are put together key by key.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from muster.errors import TaskError
from muster.tasks.base import one_of
from muster.tasks.models import coco_labels

Facts = Mapping[str, Any]
KEY = "muster"  # of the file's metadata: facts as YAML
MOST_CLASSES, MOST_SIDE = 100_000, 4096
_LAYOUTS = ("yolov5", "yolov8", "yolov10", "yolox", "fastestdet", "detr", "boxes")


# ---- values ----------------------------------------------------------------------------------------------------------


def _number(least: float, most: float, what: str = "") -> Callable[[Any], float]:
    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"give {what or f'a number from {least:g} to {most:g}'}")
        return float(value)

    return parse


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("give a text")
    return value.strip()


def _three(least: float) -> Callable[[Any], tuple[float, ...]]:
    def parse(value: Any) -> tuple[float, ...]:
        if not isinstance(value, list) or len(value) != 3:
            raise ValueError("give three numbers, such as [0.485, 0.456, 0.406]")
        return tuple(_number(least, 1e6, "three numbers" + " greater than 0" * (least > 0))(each) for each in value)

    return parse


def _size(value: Any) -> tuple[int, int]:
    sides = value if isinstance(value, list) and len(value) == 2 else [None]
    if not all(type(side) is int and 1 <= side <= MOST_SIDE for side in sides):
        raise ValueError(f"give [height, width], whole numbers from 1 to {MOST_SIDE}, such as [640, 640]")
    height, width = value
    return height, width


def _classes(value: Any) -> tuple[str, ...]:
    if isinstance(value, dict) and sorted(value, key=str) == sorted(range(len(value)), key=str):
        value = [value[i] for i in range(len(value))]
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_CLASSES:
        raise ValueError("give the names of all classes, in the order of the outputs: [person, bicycle]")
    if strange := [i for i, name in enumerate(value) if not isinstance(name, str) or not name.strip()]:
        raise ValueError(f"number {strange[0]} is no text: write it in quotes")
    return tuple(coco_labels.SPELLINGS.get(name.strip(), name.strip()) for name in value)  # as COCO spells them


def _first(value: Any) -> int:
    if value not in (0, 1) or isinstance(value, bool):
        raise ValueError("give 0, or 1 where 0 is the background")
    return int(value)


_KEYS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "layout": one_of(*_LAYOUTS),
        "classes": _classes,
        "input.size": _size,
        "input.resize": one_of("stretch", "letterbox", "corner"),
        "input.colour": one_of("rgb", "bgr"),
        "input.scale": _number(1e-6, 1e6),
        "input.mean": _three(-1e6),
        "input.std": _three(1e-6),
        "input.padding": _number(0, 255),
        "outputs.found": _text,
        "outputs.boxes": _text,
        "outputs.scores": _text,
        "outputs.labels": _text,
        "scores": one_of("softmax", "sigmoid"),
        "boxes": one_of("xyxy", "yxyx"),
        "units": one_of("pixels", "sides"),
        "first_label": _first,
        "min_score": _number(0, 1),
        "max_overlap": _number(0, 1),
        "licence": _text,
    }
)


# ---- layouts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """`facts`: those of its publisher, where nothing else is declared. `keys`: those that have a meaning for it alone.
    `needs`: what must be declared, as there is no one usual value."""

    facts: Facts
    keys: tuple[str, ...]
    needs: tuple[str, ...] = ()


_ANY = {"input.mean": (0.0,) * 3, "input.std": (1.0,) * 3, "input.padding": 114.0, "min_score": 0.5, "licence": ""}
_YOLO = {**_ANY, "input.resize": "letterbox", "input.colour": "rgb", "input.scale": 255.0, "max_overlap": 0.45}
_COMMON = (
    "layout",
    "classes",
    *(key for key in _KEYS if key.startswith("input.")),
    "min_score",
    "max_overlap",
    "licence",
)
_SHOWN = ("input.resize", "input.colour", "input.scale")
LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "yolov5": Layout(_YOLO, ("outputs.found",)),
        "yolov8": Layout(_YOLO, ("outputs.found",)),
        "yolov10": Layout({**_YOLO, "max_overlap": 1.0}, ("outputs.found",)),
        "yolox": Layout(
            {**_YOLO, "input.resize": "corner", "input.colour": "bgr", "input.scale": 1.0}, ("outputs.found",)
        ),
        "fastestdet": Layout({**_YOLO, "input.resize": "stretch", "input.colour": "bgr"}, ("outputs.found",)),
        "detr": Layout(
            {**_ANY, "outputs.scores": "logits", "outputs.boxes": "pred_boxes", "max_overlap": 1.0},
            ("outputs.scores", "outputs.boxes", "scores"),
            (*_SHOWN, "scores"),
        ),
        "boxes": Layout(
            {
                **_ANY,
                **{f"outputs.{name}": name for name in ("boxes", "scores", "labels")},
                "boxes": "xyxy",
                "max_overlap": 1.0,
            },
            ("outputs.boxes", "outputs.scores", "outputs.labels", "boxes", "units", "first_label"),
            (*_SHOWN, "units", "first_label"),
        ),
    }
)


# ---- what is said, and by whom ---------------------------------------------------------------------------------------


def read_yaml(text: str, origin: str) -> Facts:
    """What a YAML text declares; TaskError names a key that there is not, and a value that is none, of `origin`."""
    import yaml

    try:
        said = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a date that there is not
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise TaskError(
            f"{origin} is no YAML{line}: {getattr(error, 'problem', None) or 'it cannot be read'}"
        ) from None
    if not isinstance(said, dict):
        raise TaskError(f"{origin} declares nothing: write `layout: yolov8` and what else there is to say")
    return _parsed(_flat(said), origin)


def _flat(said: Mapping[Any, Any]) -> dict[str, Any]:
    groups = {key.partition(".")[0] for key in _KEYS if "." in key}
    found: dict[str, Any] = {}
    for key, value in said.items():
        if key in groups and isinstance(value, dict):
            found |= {f"{key}.{inner}": each for inner, each in value.items()}
        else:
            found[str(key)] = value
    return found


def _parsed(said: Mapping[str, Any], origin: str) -> Facts:
    found = {}
    for key, value in said.items():
        if key not in _KEYS:
            raise TaskError(f"{origin}: there is no `{key[:100]}`; known: {', '.join(_KEYS)}")
        try:
            found[key] = _KEYS[key](value)
        except ValueError as error:
            raise TaskError(f"{origin}: `{key}`: {error}") from None
    return found


def of_metadata(metadata: Mapping[str, str]) -> Facts:
    """What a file's metadata declare: under `KEY`, or as Ultralytics writes them. TaskError as `read_yaml`."""
    said = [("other metadata of it", _of_ultralytics(metadata))]
    if KEY in metadata:
        origin = f"`{KEY}` in its metadata"
        said.append((origin, read_yaml(metadata[KEY], origin)))
    return together(said)


def _of_ultralytics(metadata: Mapping[str, str]) -> Facts:
    """`names` and `imgsz` are as its exporters write them; of a whole set of them, by `author`, the layout follows."""
    said: dict[str, Any] = {}
    for theirs, ours in (("names", "classes"), ("imgsz", "input.size")):
        if theirs in metadata:
            said[ours] = _literal(metadata[theirs])
    if metadata.get("author") == "Ultralytics":
        if (does := metadata.get("task")) != "detect":
            raise TaskError(f"it is for the task {does!r} of Ultralytics: a detector is of the task 'detect'")
        args = _literal(metadata.get("args", ""))
        suppressed = metadata.get("end2end") == "True" or (isinstance(args, dict) and args.get("nms") is True)
        said["layout"] = "yolov10" if suppressed else "yolov8"
    return _parsed(said, "its metadata")


def _literal(text: str) -> Any:
    """What Python's str() was made of; None where that is nothing such."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def together(said: Sequence[tuple[str, Facts]]) -> dict[str, Any]:
    """The facts of several origins. TaskError where two say different things."""
    found: dict[str, Any] = {}
    by: dict[str, str] = {}
    for origin, facts in said:
        for key, value in facts.items():
            if key in found and found[key] != value:
                raise TaskError(f"`{key}` is one thing in {by[key]} and another in {origin}: take it out of one")
            found[key], by[key] = value, origin
    return found


@dataclass(frozen=True)
class Declared:
    """All that is known of a detector. `facts`: with those of its layout."""

    layout: str
    size: tuple[int, int]  # height, width
    facts: Facts

    def __getitem__(self, key: str) -> Any:
        return self.facts[key]

    @property
    def classes(self) -> tuple[str, ...]:
        found: tuple[str, ...] = self.facts["classes"]
        return found


def complete(said: Facts, size: tuple[int | None, int | None]) -> Declared:
    """`said`, with the facts of its layout. `size`: (height, width) that the file itself fixes. TaskError where
    something is missing, or nothing for this layout."""
    if "layout" not in said:
        raise TaskError(
            "it does not say how its outputs are laid out: write a YAML file of the same name beside it, with `layout:"
            f" {' | '.join(LAYOUTS)}` and `classes`"
        )
    layout = LAYOUTS[said["layout"]]
    if strange := [key for key in said if key not in (*_COMMON, *layout.keys)]:
        raise TaskError(f"`{strange[0]}` says nothing of the layout {said['layout']}: take it out")
    if missing := [key for key in ("classes", *layout.needs) if key not in said]:
        raise TaskError(f"the layout {said['layout']} needs `{'`, `'.join(missing)}` too: declare it beside the layout")
    return Declared(said["layout"], _fitting(said.get("input.size"), size), {**layout.facts, **said})


def _fitting(declared: tuple[int, int] | None, own: tuple[int | None, int | None]) -> tuple[int, int]:
    """The size of what goes in, by what is declared and what the file fixes."""
    height, width = (mine or its for mine, its in zip(own, declared or (None, None), strict=True))
    if height is None or width is None:
        raise TaskError("it takes images of any size: say by `input.size: [height, width]` which it is to be shown")
    if declared is not None and (height, width) != declared:
        fixed = " × ".join(str(side or "any") for side in own)
        raise TaskError(f"`input.size` is {list(declared)}, and the file takes images of {fixed} alone")
    if max(height, width) > MOST_SIDE:
        raise TaskError(f"it takes images of {height} × {width} pixels: at most {MOST_SIDE} a side are possible")
    return height, width
