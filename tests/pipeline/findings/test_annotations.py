"""Photo by photo: which photos, and their masks at full size and as outlines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask
from scipy import ndimage

from helpers.findings import STREETS, commit, dog, scanned, sky
from muster.errors import InputError, MusterError
from muster.pipeline.findings.annotations import annotations_of, full_size, outlined
from muster.pipeline.work.choice import TaskChoice
from muster.storage import manifest
from muster.storage.exchange.photo import AnnotatedPhoto, Finding
from muster.storage.library import LibraryFiles, open_library
from muster.tasks.geometry import rle

Bools = np.ndarray[Any, np.dtype[np.bool_]]


def test_photos_that_not_every_task_has_looked_at(tmp_path: Path, photos: Path) -> None:
    library = scanned(tmp_path / "library", photos)
    (first, images), *_ = manifest.shards(library)
    bad = manifest.read_shard(library, first)["image_id"][0].as_py()
    commit(library, TaskChoice(name="objects").description, lambda i: [dog()], fails=lambda i: i == bad)
    commit(library, STREETS, lambda i: [sky()], shards=slice(1))
    annotations = annotations_of(library, ("objects", "masks"), {})
    assert (annotations.shards, annotations.pending) == ([(first, images)], 20 - images)
    seen = list(annotations.photos([first]))
    assert len(seen) == images - 1
    assert bad not in {photo.image_id for photo in seen}


def test_no_shard_in_common(tmp_path: Path, photos: Path) -> None:
    library = scanned(tmp_path / "library", photos)
    commit(library, TaskChoice(name="objects").description, shards=slice(1))
    commit(library, STREETS, shards=slice(1, None))
    with pytest.raises(InputError, match=r"no photo that all of objects, masks have looked at: `run` first"):
        annotations_of(library, ("objects", "masks"), {})


def test_an_empty_library(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no images yet: `scan` first"):
        annotations_of(open_library(tmp_path / "library", create=True), ("objects",), {})


def test_names_begin_after_the_folder_of_all(found: LibraryFiles) -> None:
    annotations = annotations_of(found, ("objects",), {})
    names = {photo.name for shard, _ in annotations.shards for photo in annotations.empty_photos(shard)}
    assert names == {*(f"a/{i:04d}.jpg" for i in range(10)), *(f"b/{i:04d}.jpg" for i in range(9, 19))}


# ---- masks -----------------------------------------------------------------------------------------------------------


def photo_of(mask: Bools, width: int, height: int) -> AnnotatedPhoto:
    finding = Finding("masks", "sky", 0.9, (0, 0, 1, 1), rle.encode(mask))
    return AnnotatedPhoto("x", "/x.jpg", "x.jpg", width, height, [finding])


@settings(max_examples=50)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)), st.integers(1, 9))
def test_full_size(mask: Bools, times: int) -> None:
    mask[0, 0] = True
    height, width = (side * times for side in mask.shape)
    [finding] = full_size(photo_of(mask, width, height)).findings
    assert finding.rle
    whole = rle.decode(finding.rle)
    assert whole.shape == (height, width)
    assert (whole == np.kron(mask, np.ones((times, times)))).all()
    assert finding.box == rle.box(finding.rle)


@pytest.mark.parametrize("change", [full_size, outlined])
def test_a_mask_that_does_not_fit_its_image(change: Callable[[AnnotatedPhoto], AnnotatedPhoto]) -> None:
    mask = np.ones((30, 40), bool)
    for width, height in ((40, 30), (4000, 3000), (4040, 3000), (410, 300)):
        change(photo_of(mask, width, height))
    change(photo_of(np.ones((1, 640), bool), 30000, 1))  # a side is 1 at least
    for width, height in ((30, 40), (3000, 4000), (20, 15), (400, 400)):
        with pytest.raises(MusterError, match=rf"/x.jpg: a mask of 40×30 pixels does not fit .* {width}×{height}"):
            change(photo_of(mask, width, height))


@settings(max_examples=20)
@given(st.integers(10, 40), st.integers(10, 40), st.integers(1, 6), st.integers(0, 2**32))
def test_outlines_at_full_size_by_pycocotools(height: int, width: int, times: int, seed: int) -> None:
    """Its fill is another one: half a pixel more or less on a side."""
    blob = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(4 * height, 4 * width)), 9) > 0
    photo = photo_of(blob, 4 * width * times, 4 * height * times)
    [finding], [whole] = outlined(photo).findings, full_size(photo).findings
    parts = [np.ravel(outline).tolist() for outline in finding.outlines]
    union = coco_mask.merge(coco_mask.frPyObjects(parts, photo.height, photo.width)) if parts else None
    truth = rle.encode(ndimage.binary_fill_holes(rle.decode(whole.rle), np.ones((3, 3))))
    if union is not None and rle.area(truth) > 0.1 * photo.width * photo.height:
        assert coco_mask.iou([truth], [union], [0])[0, 0] > 0.95
