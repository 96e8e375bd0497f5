"""The contract of a task as a test, for packages that add one: `check_task(MyTask)` in a test of theirs.

Muster's own tasks are held to it too (tests/tasks/test_contract.py).
"""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from muster.errors import TaskError
from muster.pipeline.work.weights import load_weights
from muster.tasks import registry
from muster.tasks.base import CHOSEN, Findings, Image, Option, StateDict, Task
from muster.tasks.geometry import rle
from muster.tasks.models import zoo

CPU = torch.device("cpu")
COSINE = 0.999  # of embeddings that count as the same
PIXEL = 1.0  # between boxes, and between landmarks, that do
CLOSE = 0.02  # between other floats


def check_task(
    task: type[Task],
    *,
    model: str | None = None,
    options: Mapping[str, Any] | None = None,
    weights: Mapping[str, StateDict] | None = None,
    weights_dir: Path | None = None,
    images: Sequence[Image] | None = None,
) -> None:
    """AssertionError says in one sentence where a task does not keep the contract of muster.tasks.base.Task.

    `model`, `options`: as a user would choose them; where options change rows, parameters must change too. `weights`:
    zoo entry → state dict, of networks that the zoo cannot fetch; the others come from `weights_dir`, the cache or the
    network. `images`: what it is tried on, beside images that show nothing in particular; best some where it finds
    something.
    """
    _check_description(task)
    chosen = _made(task, model, options)
    _check_made(task, model, options)
    tried = [*(images or ()), *plain_images()]
    given = dict(weights or {}) | {
        name: load_weights(zoo.ENTRIES[name], weights_dir)
        for name in chosen.models.values()
        if name not in (weights or {})
    }
    chosen.load(CPU, given)
    rows = _check_rows(chosen, tried)
    _check_batches(chosen, tried, rows)
    _check_reduced(chosen, tried, rows)
    again = _made(task, model, options)
    again.load(CPU, given)
    _that(again(tried).equals(rows), "two tasks made and loaded alike must give the same rows, bit for bit")
    if options:
        _check_options_count(task, model, chosen, given, tried, rows)


def plain_images() -> list[Image]:
    """Noise, at full size and decoded at half of it; one colour; coloured squares; three rows of pixels; one pixel."""
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    squares = np.full((240, 320, 3), 40, np.uint8)
    for number, colour in enumerate(((250, 20, 20), (20, 250, 20), (20, 20, 250), (250, 250, 250))):
        squares[60:140, 20 + 75 * number : 80 + 75 * number] = colour
    pixels = {"noise": noise, "grey": np.full((64, 64, 3), 128, np.uint8), "squares": squares}
    pixels |= {"narrow": np.ascontiguousarray(noise[:3]), "pixel": noise[:1, :1].copy()}
    whole = [Image(f"plain-{name}", each, 1.0, (each.shape[1], each.shape[0])) for name, each in pixels.items()]
    return [*whole, Image("plain-noise-half", np.ascontiguousarray(noise[::2, ::2]), 0.5, (300, 200))]


# ---- the parts of the contract ---------------------------------------------------------------------------------------


def _check_description(task: type[Task]) -> None:
    try:
        registry.check(getattr(task, "name", ""), task)
    except TaskError as error:
        raise AssertionError(f"{task.__name__}: {error}") from None
    for name, option in task.options.items():
        _that(bool(option.help), f"its option {name!r} needs a line of help")
        if option.default is not None:
            _check_default(name, option)
    try:
        same = pickle.loads(pickle.dumps(task)) is task
    except (pickle.PicklingError, AttributeError):
        same = False
    _that(same, f"{task.__name__} must be found in its module by its name, so that worker processes find it")


def _check_default(name: str, option: Option) -> None:
    try:
        parsed = option.parse(option.default)
    except ValueError as error:
        raise AssertionError(
            f"its option {name!r} does not take its own default, {option.default!r}: {error}"
        ) from None
    _that(parsed == option.default, f"the default of its option {name!r} is parsed as {parsed!r}")


def _made(task: type[Task], model: str | None, options: Mapping[str, Any] | None) -> Task:
    try:
        return task(model, **registry.parsed(task, options or {}))
    except TaskError as error:
        raise AssertionError(str(error)) from None


def _check_made(task: type[Task], model: str | None, options: Mapping[str, Any] | None) -> None:
    made, again = _made(task, model, options), _made(task, model, options)
    problem = registry.schema_problem(made.schema, made.findings)
    _that(problem is None, f"{problem}")
    _that(
        isinstance(made.max_side, int) and made.max_side > 0, f"max_side is {made.max_side}, and must be a whole number"
    )
    try:
        registry.check_parameters(made)
    except TaskError as error:
        raise AssertionError(str(error)) from None
    _that(dict(made.parameters) == dict(again.parameters), "two tasks made alike must have the same parameters")
    strange = sorted(set(made.models.values()) - set(zoo.ENTRIES))
    _that(not strange, f"its models name {', '.join(strange)}, and the zoo has no such entry")
    _that(
        bool(made.classes) or not (made.findings.label and made.findings.placed),
        "its rows have labels and places, so `classes` must say which labels there are",
    )


def _check_rows(task: Task, images: Sequence[Image]) -> pa.Table:
    before = [image.pixels.copy() for image in images]
    rows = task(images)
    _that(isinstance(rows, pa.Table), f"it must return a pyarrow.Table, not {type(rows).__name__}")
    _that(rows.schema.equals(task.schema), f"it declares the schema\n{task.schema}\nand its rows have\n{rows.schema}")
    rows.validate(full=True)
    unchanged = all(map(np.array_equal, before, (image.pixels for image in images)))
    _that(unchanged, "it must not change the pixels that it is given: other tasks see them too")
    order, seen = [image.image_id for image in images], list(dict.fromkeys(rows["image_id"].to_pylist()))
    _that(set(seen) <= set(order), f"it has rows of {sorted(set(seen) - set(order))}, and was given no such image")
    _that(seen == [name for name in order if name in seen], "its rows must be in the order of the images")
    _that(len({str(row) for row in rows.to_pylist()}) == rows.num_rows, "two of its rows are the same")
    _check_values(task, rows, {image.image_id: image.size for image in images})
    nothing = task([])
    _that(nothing.num_rows == 0 and nothing.schema.equals(task.schema), "no images must give no rows, with its schema")
    return rows


def _check_values(task: Task, rows: pa.Table, sizes: Mapping[str, tuple[int, int]]) -> None:
    """What its findings say of its columns holds for their values."""
    says: Findings = task.findings
    for row in rows.to_pylist():
        width, height = sizes[row["image_id"]]
        where = f"in image {row['image_id']!r}"
        if says.score and row[says.score] is not None:
            _that(0 <= row[says.score] <= 1, f"{where} a score is {row[says.score]}, and must be in 0..1")
        if says.box and row[says.box] is not None:
            x0, y0, x1, y1 = row[says.box]
            inside = -PIXEL <= x0 <= x1 <= width + PIXEL and -PIXEL <= y0 <= y1 <= height + PIXEL
            # faces may reach out of a picture, and so do their boxes
            _that(
                x0 <= x1 and y0 <= y1 and (inside or not says.label),
                f"{where} a box is {row[says.box]}, of {width}×{height} pixels",
            )
        if says.label and says.placed:
            _that(
                row[says.label] in task.classes, f"{where} a label is {row[says.label]!r}, which is not in its classes"
            )
        if says.mask:
            mask = rle.decode({"size": [row["height"], row["width"]], "counts": row[says.mask]})
            _that(bool(mask.any()), f"{where} a mask is empty")
    if says.id:
        _that(len(set(rows[says.id].to_pylist())) == rows.num_rows, f"two rows have one {says.id}")


def _check_reduced(task: Task, images: Sequence[Image], rows: pa.Table) -> None:
    """What a shard keeps depends on its rows, not on how they were put together."""
    parts = [task.reduced(task(images[i : i + 3])) for i in range(0, len(images), 3)]
    whole = task.reduced(rows)
    _that_close(
        task.findings, task.reduced(pa.concat_tables(parts)), whole, "what parts of a shard keep must be enough"
    )
    _that(task.reduced(whole).equals(whole), "`reduced` must keep everything of what it kept")
    fewer = rows.num_rows != whole.num_rows or pa.concat_tables(parts).num_rows != whole.num_rows
    marked = set(CHOSEN) <= {key.decode() for key in task.schema.metadata or {}}
    _that(
        marked or not fewer, "a task that leaves rows out must have muster.tasks.base.CHOSEN as its schema's metadata"
    )


def _check_batches(task: Task, images: Sequence[Image], rows: pa.Table) -> None:
    _that(task(images).equals(rows), "called again, it must give the same rows, bit for bit")
    alone = task.reduced(pa.concat_tables([task([image]) for image in images]))
    _that_close(task.findings, alone, rows, "a batch of one image must give what a batch of many gives")
    turned = alone.take(_rows_by_image(alone, images[::-1]))
    _that_close(task.findings, turned, task(images[::-1]), "the order of the images must not change their rows")


def _check_options_count(
    task: type[Task],
    model: str | None,
    chosen: Task,
    weights: Mapping[str, StateDict],
    images: Sequence[Image],
    rows: pa.Table,
) -> None:
    usual = _made(task, model, None)
    usual.load(CPU, weights)
    differ = not usual(images).equals(rows)
    _that(
        not differ or dict(usual.parameters) != dict(chosen.parameters),
        "its options change rows, so they must be among its parameters: else these rows count as those without options",
    )


def _rows_by_image(table: pa.Table, images: Sequence[Image]) -> pa.Array:
    ids = table["image_id"].to_pylist()
    return pa.array([row for image in images for row, name in enumerate(ids) if name == image.image_id], pa.int64())


def _that_close(says: Findings, one: pa.Table, other: pa.Table, sentence: str) -> None:
    """The same rows: embeddings within a cosine, boxes and landmarks within a pixel, other floats nearly."""
    _that(one.num_rows == other.num_rows, f"{sentence}: {one.num_rows} rows, not {other.num_rows}")
    for field in one.schema if one.num_rows else ():
        a, b = one[field.name].to_pylist(), other[field.name].to_pylist()
        if field.name == says.embedding:
            same = float((np.array(a) * np.array(b)).sum(1).min()) > COSINE
        elif field.name in (says.box, says.landmarks):
            same = float(np.abs(np.array(a) - np.array(b)).max()) <= PIXEL
        elif pa.types.is_floating(field.type):
            same = bool(np.allclose(np.array(a, float), np.array(b, float), rtol=0, atol=CLOSE, equal_nan=True))
        else:
            same = pa.types.is_binary(field.type) or a == b
        _that(same, f"{sentence}: column {field.name!r} differs")


def _that(holds: bool, sentence: str) -> None:
    if not holds:  # no `assert`: these checks are the product, and stay with `python -O`
        raise AssertionError(sentence)
