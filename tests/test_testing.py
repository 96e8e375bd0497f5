"""muster/testing.py: a task that breaks one part of the contract is told which."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from muster.tasks.base import IMAGE_ID, Findings, Image, Option, Task, number
from muster.testing import check_task, plain_images

BOX = pa.list_(pa.float32(), 4)


class Boxes(Task):
    """A task that keeps the contract: the whole frame of each image that is not dark, with a label."""

    name = "boxes"
    version = 1
    schema = pa.schema(
        [
            IMAGE_ID,
            pa.field("label", pa.string()),
            pa.field("score", pa.float32()),
            pa.field("box", BOX),
            pa.field("id", pa.string()),
        ]
    )
    max_side = 64
    options = {"least": Option(number(0, 255), "darker images have no row", 0)}  # noqa: RUF012
    findings = Findings(noun="box", label="label", score="score", box="box", id="id")
    classes: Sequence[str] = ("frame",)

    def __init__(self, model: str | None = None, least: float = 0) -> None:
        self.parameters = {"least": least}

    def rows(self, images: Sequence[Image]) -> list[dict[str, Any]]:
        return [
            {"image_id": i.image_id, "label": "frame", "score": 0.5, "box": [0, 0, *i.size], "id": f"{i.image_id}-0"}
            for i in images
            if i.pixels.mean() >= self.parameters["least"]
        ]

    def __call__(self, images: Sequence[Image]) -> pa.Table:
        return pa.Table.from_pylist(self.rows(images), self.schema)


def test_a_task_that_keeps_it() -> None:
    check_task(Boxes)
    check_task(Boxes, options={"least": "100"})


class NoHelp(Boxes):
    options = {"least": Option(number(0, 255), "", 0)}  # noqa: RUF012


class BadDefault(Boxes):
    options = {"least": Option(number(0, 255), "help", "a")}  # noqa: RUF012


class OtherDefault(Boxes):
    options = {"least": Option(lambda value: str(value), "help", 3)}  # noqa: RUF012


class WrongSchema(Boxes):
    schema = pa.schema([pa.field("image_id", pa.string()), *list(Boxes.schema)[1:]])


class NoClasses(Boxes):
    classes = ()


class NoSide(Boxes):
    max_side = 0


class NoJson(Boxes):
    def __init__(self, model: str | None = None, least: float = 0) -> None:
        self.parameters: Any = {"least": {1, 2}}


class Endless(Boxes):
    def __init__(self, model: str | None = None, least: float = 0) -> None:
        itself: list[Any] = []
        itself.append(itself)
        self.parameters: Any = {"least": itself}


class EachItsOwn(Boxes):
    made = 0

    def __init__(self, model: str | None = None, least: float = 0) -> None:
        EachItsOwn.made += 1
        self.parameters = {"least": least, "number": EachItsOwn.made}


class NoEntry(Boxes):
    models = {"network": "nothing-of-the-kind"}  # noqa: RUF012


class Other(Boxes):
    """Whose rows a subclass changes."""

    def changed(self, rows: list[dict[str, Any]], images: Sequence[Image]) -> list[dict[str, Any]]:
        return rows

    def rows(self, images: Sequence[Image]) -> list[dict[str, Any]]:
        return self.changed(super().rows(images), images)


class Unordered(Other):
    def changed(self, rows: list[dict[str, Any]], images: Sequence[Image]) -> list[dict[str, Any]]:
        return rows[::-1]


class Unknown(Other):
    def changed(self, rows: list[dict[str, Any]], images: Sequence[Image]) -> list[dict[str, Any]]:
        return [{**row, "image_id": "?"} for row in rows]


class Twice(Other):
    def changed(self, rows: list[dict[str, Any]], images: Sequence[Image]) -> list[dict[str, Any]]:
        return [row for row in rows for _ in (0, 1)]


class OneId(Other):
    def changed(self, rows: list[dict[str, Any]], images: Sequence[Image]) -> list[dict[str, Any]]:
        return [{**row, "id": "1"} for row in rows]


class NoLabel(Other):
    def changed(self, rows: list[dict[str, Any]], images: Sequence[Image]) -> list[dict[str, Any]]:
        return [{**row, "label": None} for row in rows]


class Sure(Other):
    def changed(self, rows: list[dict[str, Any]], images: Sequence[Image]) -> list[dict[str, Any]]:
        return [{**row, "score": 1.5} for row in rows]


class Outside(Other):
    def changed(self, rows: list[dict[str, Any]], images: Sequence[Image]) -> list[dict[str, Any]]:
        return [{**row, "box": [0, 0, 2000, 10]} for row in rows]


class AtItsOwnScale(Other):
    def changed(self, rows: list[dict[str, Any]], images: Sequence[Image]) -> list[dict[str, Any]]:
        return [{**row, "box": [5, 9, 4, 10]} for row in rows]


class NewLabel(Other):
    def changed(self, rows: list[dict[str, Any]], images: Sequence[Image]) -> list[dict[str, Any]]:
        return [{**row, "label": "picture"} for row in rows]


class OfTheBatch(Other):
    def changed(self, rows: list[dict[str, Any]], images: Sequence[Image]) -> list[dict[str, Any]]:
        return [{**row, "score": 1 / len(images)} for row in rows]


class FewerInABatch(Other):
    def changed(self, rows: list[dict[str, Any]], images: Sequence[Image]) -> list[dict[str, Any]]:
        return rows if len(images) == 1 else rows[1:]


class Wandering(Other):
    called = 0

    def changed(self, rows: list[dict[str, Any]], images: Sequence[Image]) -> list[dict[str, Any]]:
        Wandering.called += 1
        return [{**row, "score": Wandering.called / 1e6} for row in rows]


class OfItsMaking(Other):
    made = 0

    def load(self, device: Any, weights: Any) -> None:
        OfItsMaking.made += 1
        self.number = OfItsMaking.made

    def changed(self, rows: list[dict[str, Any]], images: Sequence[Image]) -> list[dict[str, Any]]:
        return [{**row, "score": self.number / 1e6} for row in rows]


class Paints(Boxes):
    def __call__(self, images: Sequence[Image]) -> pa.Table:
        rows = super().__call__(images)
        for image in images:
            image.pixels[:] = 0
        return rows


class OtherTable(Boxes):
    def __call__(self, images: Sequence[Image]) -> pa.Table:
        return super().__call__(images).drop(["id"])


class NoTable(Boxes):
    def __call__(self, images: Sequence[Image]) -> pa.Table:
        return super().__call__(images).to_pylist()


class NoEmpty(Boxes):
    def __call__(self, images: Sequence[Image]) -> pa.Table:
        return super().__call__(images) if images else pa.table({"image_id": []})


class Forgets(Boxes):
    """Its options change rows, and are not among its parameters."""

    def __init__(self, model: str | None = None, least: float = 0) -> None:
        self.least = least

    def rows(self, images: Sequence[Image]) -> list[dict[str, Any]]:
        self.parameters = {"least": self.least}
        rows = super().rows(images)
        self.parameters = {}
        return rows


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (NoHelp, "its option 'least' needs a line of help"),
        (BadDefault, "'least' does not take its own default, 'a': give a number from 0 to 255"),
        (OtherDefault, "the default of its option 'least' is parsed as '3'"),
        (WrongSchema, "begins with image_id, a string that is not null"),
        (NoClasses, "its rows have labels and places, so `classes` must say which labels there are"),
        (NoSide, "max_side is 0, and must be a whole number"),
        (NoJson, "its parameters must be what JSON can hold"),
        (Endless, "its parameters must be what JSON can hold: Circular reference detected"),
        (EachItsOwn, "two tasks made alike must have the same parameters"),
        (NoEntry, "its models name nothing-of-the-kind, and the zoo has no such entry"),
        (Unordered, "its rows must be in the order of the images"),
        (Unknown, r"it has rows of \['\?'\], and was given no such image"),
        (Twice, "two of its rows are the same"),
        (OneId, "two rows have one id"),
        (Sure, "in image 'plain-noise' a score is 1.5, and must be in 0..1"),
        (Outside, r"in image 'plain-noise' a box is \[0.0, 0.0, 2000.0, 10.0\], of 300×200 pixels"),
        (AtItsOwnScale, "in image 'plain-noise' a box is"),
        (NoLabel, "in image 'plain-noise' a label is None, which is not in its classes"),
        (NewLabel, "in image 'plain-noise' a label is 'picture', which is not in its classes"),
        (OfTheBatch, "a batch of one image must give what a batch of many gives: column 'score' differs"),
        (FewerInABatch, "a batch of one image must give what a batch of many gives: 6 rows, not 5"),
        (Wandering, "called again, it must give the same rows, bit for bit"),
        (OfItsMaking, "two tasks made and loaded alike must give the same rows, bit for bit"),
        (Paints, "it must not change the pixels"),
        (OtherTable, "it declares the schema"),
        (NoTable, "it must return a pyarrow.Table, not list"),
        (NoEmpty, "no images must give no rows, with its schema"),
    ],
)
def test_what_breaks_it(task: type[Task], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_task(task)


def test_options_that_are_not_among_the_parameters() -> None:
    check_task(Forgets)
    with pytest.raises(AssertionError, match="its options change rows, so they must be among its parameters"):
        check_task(Forgets, options={"least": 100})


def test_options_that_there_are_not() -> None:
    with pytest.raises(AssertionError, match="task 'boxes' has no option 'last'; the nearest it has: least"):
        check_task(Boxes, options={"last": 1})


def test_a_class_that_no_worker_could_find() -> None:
    class Local(Boxes):
        pass

    with pytest.raises(AssertionError, match="Local must be found in its module by its name"):
        check_task(Local)


def test_the_images_that_it_is_tried_on() -> None:
    images = plain_images()
    assert len({image.image_id for image in images}) == len(images)
    assert {image.scale for image in images} == {1.0, 0.5}
    assert min(min(image.pixels.shape[:2]) for image in images) == 1
