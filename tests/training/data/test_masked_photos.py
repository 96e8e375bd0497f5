import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from muster.errors import InputError
from muster.training.data.masked_photos import VOID, Framing, MaskedPhotos, cropped, pasted, read_masked
from muster.training.inputs import Inputs

VALUES = {0: 0, 1: 1, 255: 1, 11: None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos, 60×40 and 30×50: the left half is of class 1, and red."""
    for name, (width, height) in {"a": (60, 40), "b": (30, 50)}.items():
        left = np.arange(width) < width // 2
        photo = np.zeros((height, width, 3), np.uint8)
        photo[:, left, 0] = 255
        for part, array in (
            ("images", photo),
            ("labels", np.broadcast_to(left * 255, (height, width)).astype(np.uint8)),
        ):
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / part / f"{name}.png")
    return tmp_path


def inputs(folder: Path, *labels: str) -> Inputs:
    return Inputs(
        images=[str(folder / "images")] * len(labels),
        out=folder / "out",
        labels=[str(folder / each) for each in labels],
    )


def coco(folder: Path, change: Callable[[dict[str, Any]], Any] = lambda content: None) -> Path:
    """The same as a COCO file: a person each, and in b a crowd at the bottom right."""
    people = [
        {"image_id": 1, "category_id": 3, "bbox": [0, 0, 30, 40], "segmentation": [[0, 0, 30, 0, 30, 40, 0, 40]]},
        {"image_id": 2, "category_id": 3, "bbox": [0, 0, 15, 50], "segmentation": [[0, 0, 15, 0, 15, 50, 0, 50]]},
        {"image_id": 2, "category_id": 3, "bbox": [10, 40, 20, 10], "iscrowd": 1}
        | {"segmentation": {"size": [50, 30], "counts": [500 + 40, *[10, 40] * 19, 10]}},
        {"image_id": 1, "category_id": 4, "bbox": [40, 0, 20, 40], "segmentation": [[40, 0, 60, 0, 60, 40, 40, 40]]},
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "categories": [{"id": 3, "name": "person"}, {"id": 4, "name": "dog"}],
        "annotations": people,
    }
    change(content)
    (folder / "coco.json").write_text(json.dumps(content))
    return folder / "coco.json"


def test_photos_with_label_images(folder: Path) -> None:
    photos = read_masked(inputs(folder, "labels"), 40, VALUES, None)
    assert (photos.names, photos.first) == (["a.png", "b.png"], 2)
    assert photos.sizes.tolist() == [[27, 40], [40, 24]]
    assert photos.images.shape == (2, 3, 40, 40)
    a, b = photos.labels
    assert a[:27, :20].eq(1).all() and a[:27, 20:].eq(0).all() and a[27:].eq(VOID).all()  # noqa: PT018
    assert b[:, 24:].eq(VOID).all()
    inside = photos.labels != VOID
    red = photos.images[:, 0] > 127
    assert (red == (photos.labels == 1))[inside].float().mean() > 0.98  # but for the column between the halves


def test_photos_with_a_coco_file(folder: Path) -> None:
    coco(folder)
    photos = read_masked(inputs(folder, "labels", "coco.json"), 60, VALUES, "person")
    assert (len(photos.names), photos.first) == (4, 2)
    torch.testing.assert_close(photos.labels[0], photos.labels[2])
    crowd = photos.labels[3, 40:50, 15:30]
    assert crowd.eq(VOID).all()
    assert photos.labels[3, 40:50, 11:15].eq(1).all()  # who is outlined stands before the crowd
    assert photos.labels[3, :40].equal(photos.labels[1, :40])


def test_label_images_whose_names_are_written_otherwise(folder: Path) -> None:
    (folder / "images/a.png").rename(folder / "images/Zoe\u0308.png")
    (folder / "labels/a.png").rename(folder / "labels/Zoë.png")
    assert set(read_masked(inputs(folder, "labels"), 40, VALUES, None).names) == {"Zoë.png", "b.png"}
    coco(folder, lambda content: content["images"][0].update(file_name="C:\\photos\\Zoë.png"))
    assert set(read_masked(inputs(folder, "coco.json"), 40, VALUES, "person").names) == {"Zoë.png", "b.png"}


@pytest.mark.parametrize(
    ("break_it", "text"),
    [
        (lambda f: (f / "labels/b.png").unlink(), r"has no b\.png, the labels of b\.png"),
        (lambda f: Image.new("L", (3, 3)).save(f / "labels/b.png"), "are 3×3 pixels, the photo is 30×50"),
        (lambda f: Image.new("RGB", (30, 50)).save(f / "labels/b.png"), "an image of mode RGB"),
        (lambda f: (f / "images/b.png").unlink(), "1 photos with labels in .*: at least 2 are needed"),
    ],
)
def test_labels_that_do_not_fit(folder: Path, break_it: Callable[[Path], Any], text: str) -> None:
    break_it(folder)
    with pytest.raises(InputError, match=text):
        read_masked(inputs(folder, "labels"), 40, VALUES, None)


def test_coco_files_that_do_not_fit(folder: Path) -> None:
    coco(folder)
    with pytest.raises(InputError, match="this recipe needs a folder of label images"):
        read_masked(inputs(folder, "coco.json"), 40, VALUES, None)
    with pytest.raises(InputError, match="has no category cat"):
        read_masked(inputs(folder, "coco.json"), 40, VALUES, "cat")
    coco(folder, lambda content: (content["images"].pop(), content["annotations"].__delitem__(slice(1, 3))))
    with pytest.raises(InputError, match=r"has no entry for b\.png"):
        read_masked(inputs(folder, "coco.json"), 40, VALUES, "person")
    with pytest.raises(InputError, match="1 `images` and 0 `labels`: this recipe needs for each source"):
        read_masked(Inputs(images=[str(folder / "images")], out=folder), 40, VALUES, None)


@pytest.mark.parametrize("outline", [None, [], [[1, 2, 3, 4]], {"size": [3, 3], "counts": [9]}, {"counts": [9]}])
def test_people_without_an_outline(folder: Path, outline: object) -> None:
    coco(folder, lambda content: content["annotations"][0].update(segmentation=outline))
    with pytest.raises(InputError, match=r"coco\.json, a\.png: an annotation is outlined by no polygon, nor by runs"):
        read_masked(inputs(folder, "coco.json"), 40, VALUES, "person")


def scene(count: int = 4, side: int = 64) -> MaskedPhotos:
    """Class = which quarter of brightness: labels can be told from the pixels."""
    ramp = torch.arange(side).expand(side, side) * 4
    images = ramp.expand(count, 3, side, side).to(torch.uint8).contiguous()
    labels = (ramp // 64).expand(count, side, side).to(torch.uint8).contiguous()
    return MaskedPhotos(images, labels, torch.full((count, 2), side), [str(i) for i in range(count)])


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.floats(0.5, 1.5))
def test_labels_move_with_the_pixels(seed: int, zoom: float) -> None:
    framing = Framing(32, (zoom, zoom * 1.5))
    images, labels = cropped(scene(), framing, torch.Generator().manual_seed(seed))
    assert images.shape == (4, 3, 32, 32)
    known = labels != VOID
    expected = (images[:, 0] * 255 / 64).long()
    assert (expected == labels)[known].float().mean() > 0.85  # but for the borders, where pixels are mixed
    assert (images[:, 0][~known] < 0.5).all() or known.all()
    again, _ = cropped(scene(), framing, torch.Generator().manual_seed(seed))
    assert again.equal(images)


def test_who_is_pasted_is_labelled() -> None:
    images = torch.zeros(8, 3, 16, 16)
    labels = torch.zeros(8, 16, 16, dtype=torch.int64)
    images[::2, 0, 4:12, 4:12], labels[::2, 4:12, 4:12] = 1.0, 1
    labels[1, 0] = VOID
    made, asked = pasted(images.clone(), labels.clone(), 1.0, torch.Generator().manual_seed(3))
    new = (asked == 1) & (labels != 1)
    assert new.any()
    assert (made[:, 0][new] > 0).all()
    assert made[:, :, 0].equal(images[:, :, 0])
    assert asked[1, 0].eq(VOID).all()
    unchanged, same = pasted(images.clone(), labels.clone(), 0.0, torch.Generator().manual_seed(3))
    assert unchanged.equal(images)
    assert same.equal(labels)
