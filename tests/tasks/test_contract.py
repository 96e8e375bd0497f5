"""The contract that every registered task keeps, whatever it computes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image as PillowImage

from muster import tasks
from muster.errors import TaskError
from muster.pipeline.work.choice import TaskChoice
from muster.tasks import base
from muster.tasks.models import zoo

BOXES, VECTORS = ("box_xyxy", "landmarks"), ("embedding",)
CPU = torch.device("cpu")
CANONICAL_BOX = [177.5, 60.3, 269.5, 177.7]
CANONICAL_LANDMARKS = [[201.5, 105.1], [245.2, 104.6], [222.6, 128.4], [203.7, 145.5], [241.5, 145.2]]


@pytest.fixture(scope="module")
def loaded(weights: Path) -> dict[str, base.Task]:
    return {name: TaskChoice(name=name).load(CPU, weights) for name in base.names()}


@pytest.fixture(scope="module")
def images() -> list[base.Image]:
    """A portrait at three scales, decoded at less than full size; noise; one colour; long and narrow; one pixel."""
    from skimage import data

    portrait = data.astronaut()
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    found = [image(f"portrait-{side}", _resized(portrait, side)) for side in (512, 300, 800)]
    found.append(base.Image("portrait-half", _resized(portrait, 256), 0.5, (512, 512)))
    found.append(image("noise", noise))
    found.append(image("grey", np.full((64, 64, 3), 128, np.uint8)))
    found.append(image("narrow", np.ascontiguousarray(noise[:3])))
    found.append(image("pixel", noise[:1, :1].copy()))
    return found


def image(name: str, pixels: np.ndarray[Any, Any]) -> base.Image:
    return base.Image(name, pixels, 1.0, (pixels.shape[1], pixels.shape[0]))


def _resized(pixels: np.ndarray[Any, Any], side: int) -> np.ndarray[Any, Any]:
    return np.asarray(PillowImage.fromarray(pixels).resize((side, side)))


def close(one: pa.Table, other: pa.Table) -> None:
    """The same rows: embeddings within a cosine of 0.999, boxes and landmarks within a pixel, numbers nearly."""
    assert one.num_rows == other.num_rows
    for field in one.schema:
        a, b = one[field.name].to_pylist(), other[field.name].to_pylist()
        if field.name in VECTORS and a:
            assert (np.array(a) * np.array(b)).sum(1).min() > 0.999
        elif field.name in BOXES and a:
            assert np.abs(np.array(a) - np.array(b)).max() <= 1
        elif pa.types.is_floating(field.type):
            np.testing.assert_allclose(a, b, atol=0.02)
        elif not pa.types.is_binary(field.type):
            assert a == b


@pytest.mark.parametrize("name", base.names())
def test_description(name: str) -> None:
    task = base.create(name)
    assert task.name == name
    assert task.version >= 1
    assert task.max_side > 0
    assert task.schema[0] == pa.field("image_id", pa.string(), nullable=False)
    assert set(task.models.values()) <= set(zoo.ENTRIES)
    assert name in tasks.__all__
    with pytest.raises(TaskError, match="registered twice"):
        base.register(type(task))


@pytest.mark.parametrize("name", base.names())
def test_schema_and_order(name: str, loaded: dict[str, base.Task], images: Sequence[base.Image]) -> None:
    table = loaded[name](images)
    assert table.schema.equals(loaded[name].schema)
    table.validate(full=True)
    order = [image.image_id for image in images]
    seen = list(dict.fromkeys(table["image_id"].to_pylist()))
    assert seen == [name for name in order if name in seen]
    assert len({str(row) for row in table.to_pylist()}) == table.num_rows


@pytest.mark.parametrize("name", base.names())
def test_empty_batch(name: str, loaded: dict[str, base.Task]) -> None:
    table = loaded[name]([])
    assert table.num_rows == 0
    assert table.schema.equals(loaded[name].schema)


@pytest.mark.parametrize("name", base.names())
def test_a_batch_of_one_equals_a_batch_of_many(
    name: str, loaded: dict[str, base.Task], images: Sequence[base.Image]
) -> None:
    alone = pa.concat_tables([loaded[name]([image]) for image in images])
    close(alone, loaded[name](images))
    close(alone.take(_by_image(alone, images[::-1])), loaded[name](images[::-1]))


def _by_image(table: pa.Table, images: Sequence[base.Image]) -> list[int]:
    ids = table["image_id"].to_pylist()
    return [row for image in images for row, name in enumerate(ids) if name == image.image_id]


@pytest.mark.parametrize("name", base.names())
def test_deterministic(name: str, loaded: dict[str, base.Task], images: Sequence[base.Image], weights: Path) -> None:
    before = [image.pixels.copy() for image in images]
    first = loaded[name](images)
    assert loaded[name](images).equals(first)
    assert TaskChoice(name=name).load(CPU, weights)(images).equals(first)
    for image, pixels in zip(images, before, strict=True):
        np.testing.assert_array_equal(image.pixels, pixels)


@pytest.mark.parametrize("name", ["faces"])
def test_boxes_are_in_full_size_pixels(name: str, loaded: dict[str, base.Task], images: Sequence[base.Image]) -> None:
    """An image decoded at half its size gives the rows of the whole one, nearly."""
    rows = loaded[name]([image for image in images if image.image_id in ("portrait-512", "portrait-half")])
    whole, half = (rows.take(_by_image(rows, [image])) for image in (images[0], images[3]))
    for column in set(BOXES) & set(rows.column_names):
        assert whole.num_rows == half.num_rows == 1
        assert np.abs(np.array(whole[column].to_pylist()) - np.array(half[column].to_pylist())).max() < 12


def test_canonical_face(loaded: dict[str, base.Task], images: Sequence[base.Image]) -> None:
    """Eileen Collins, in skimage's astronaut.png: about where the published detector sees her."""
    [row] = loaded["faces"](images[:1]).to_pylist()
    np.testing.assert_allclose(row["box_xyxy"], CANONICAL_BOX, atol=12)
    np.testing.assert_allclose(row["landmarks"], CANONICAL_LANDMARKS, atol=9)  # a fifth of the eye distance
    assert row["score"] > 0.8
    assert row["quality"] > 0.5


def test_canonical_preview(loaded: dict[str, base.Task], images: Sequence[base.Image]) -> None:
    rows = loaded["previews"](images).to_pylist()
    sizes = {row["image_id"]: (row["width"], row["height"]) for row in rows}
    assert sizes["portrait-800"] == sizes["portrait-512"] == (512, 512)
    assert (sizes["portrait-300"], sizes["pixel"]) == ((300, 300), (1, 1))


def test_names() -> None:
    assert base.names() == sorted(tasks.__all__)
    with pytest.raises(TaskError, match="no task 'smiles'; known: faces, masks, objects, previews"):
        base.create("smiles")


@pytest.mark.parametrize(("side", "size"), [(100, (100, 50)), (200, (200, 100)), (500, (200, 100)), (1, (1, 1))])
def test_shrink(side: int, size: tuple[int, int]) -> None:
    small = base.shrink(image("x", np.zeros((100, 200, 3), np.uint8)), side)
    assert (small.pixels.shape[1], small.pixels.shape[0]) == size
    assert small.scale == pytest.approx(size[0] / 200)
    assert small.size == (200, 100)
