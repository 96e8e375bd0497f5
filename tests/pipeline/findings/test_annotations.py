"""pipeline/findings/annotations.py: which rows are taken, masks at full size and as outlines, an export by COCO."""

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import ndimage

from helpers.findings import STREETS, commit, dog, face, scanned, sky
from helpers.runs import config_of
from muster.errors import InputError, MusterError
from muster.pipeline.evaluate.objects import evaluate
from muster.pipeline.findings.annotations import (
    annotations_of,
    categories_of,
    chosen_source,
    export_annotations,
    full_size,
    outlined,
    sources_of,
)
from muster.pipeline.run import pending, record
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.worker import ShardWorker
from muster.storage import layout, manifest, tables
from muster.storage.exchange.export import Photo, Thing
from muster.storage.library import Library, open_library
from muster.tasks.geometry import rle

Bools = np.ndarray[Any, np.dtype[np.bool_]]


# ---- which rows ------------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path, make_photos: Callable[..., Path]) -> Path:
    """20 photos in two folders; two have one name."""
    make_photos(tmp_path / "photos" / "a", range(10))
    make_photos(tmp_path / "photos" / "b", range(9, 19))
    return tmp_path / "photos"


@pytest.fixture
def found(tmp_path: Path, photos: Path) -> Library:
    """A library of these, with a dog, a sky, a face and a label in each."""
    library = scanned(tmp_path / "library", photos)
    commit(library, TaskChoice(name="objects").description, lambda i: [dog(), dog(0.2)])
    commit(library, STREETS, lambda i: [sky()])
    commit(library, TaskChoice(name="faces").description, lambda i: [face(i)])
    commit(
        library, TaskChoice(name="scenes").description, lambda i: [{"label": "day", "source": "image", "p_day": 0.9}]
    )
    return library


def other(**parameters: Any) -> dict[str, Any]:
    return {**TaskChoice(name="objects").description, "parameters": parameters}


def test_which_of_several(tmp_path: Path, photos: Path) -> None:
    library = scanned(tmp_path / "library", photos)
    shards = dict(manifest.shards(library))
    assert len(shards) > 1

    def chosen(wanted: str | None = None) -> str:
        return chosen_source(library, "objects", wanted, shards).fingerprint

    with pytest.raises(InputError, match=r"has no objects for its images yet: `run` first"):
        chosen()
    usual = commit(library, TaskChoice(name="objects").description, shards=slice(1))
    assert chosen() == usual
    loose = commit(library, other(min_score=0.1))
    assert chosen() == chosen("fastestdet") == chosen(loose) == loose  # it covers more
    assert chosen(usual) == usual
    strict = commit(library, other(min_score=0.9))
    assert chosen() == chosen("fastestdet") == min(loose, strict)
    assert (chosen(loose), chosen(strict)) == (loose, strict)
    commit(library, TaskChoice(name="objects").description)
    assert chosen() == usual  # as much as the others, and it is what `muster run` makes
    fcos = commit(library, TaskChoice(name="objects", model="fcos").description, shards=slice(1))
    for score in (0.1, 0.2, 0.3, 0.4):
        commit(
            library,
            {**TaskChoice(name="objects", model="fcos").description, "parameters": {"min_score": score}},
            shards=slice(1),
        )
    assert (chosen(), chosen("fcos")) == (usual, fcos)
    with pytest.raises(InputError, match=r"`model` objects=unicorn: library .* has objects by fa.*fcos: "):
        chosen("unicorn")


def test_images_count_and_not_shards(tmp_path: Path, make_photos: Callable[..., Path]) -> None:
    library = open_library(tmp_path / "library", create=True)
    for name, numbers in (("a", [0]), ("b", [1]), ("c", range(2, 6))):
        manifest.scan(library, [str(make_photos(tmp_path / name, numbers))])
    shards = manifest.shards(library)
    place = [images for _, images in shards].index(4)
    assert sorted(images for _, images in shards) == [1, 1, 4]
    two = commit(library, TaskChoice(name="objects").description)
    tables.forget_shard(library, two, shards[place][0])
    four = commit(library, other(min_score=0.1), shards=slice(place, place + 1))
    assert [source.fingerprint for source in sources_of(library, "objects", dict(shards))] == [four, two]


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
    facts = export_annotations(library.uri, "coco", tmp_path / "out.json", ("objects", "masks"), {}, 0)
    assert (facts["images"], facts["annotations"], facts["errors"], facts["pending"]) == (
        images - 1,
        2 * (images - 1),
        1,
        20 - images,
    )


def test_no_shard_in_common(tmp_path: Path, photos: Path) -> None:
    library = scanned(tmp_path / "library", photos)
    commit(library, TaskChoice(name="objects").description, shards=slice(1))
    commit(library, STREETS, shards=slice(1, None))
    with pytest.raises(InputError, match=r"no photo that all of objects, masks have looked at: `run` first"):
        annotations_of(library, ("objects", "masks"), {})


def test_an_empty_library(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no images yet: `scan` first"):
        annotations_of(open_library(tmp_path / "library", create=True), ("objects",), {})


def test_names_begin_after_the_folder_of_all(found: Library) -> None:
    annotations = annotations_of(found, ("objects",), {})
    names = {photo.name for shard, _ in annotations.shards for photo in annotations.empty_photos(shard)}
    assert names == {*(f"a/{i:04d}.jpg" for i in range(10)), *(f"b/{i:04d}.jpg" for i in range(9, 19))}


def test_categories(found: Library) -> None:
    objects, masks, faces = annotations_of(found, ("objects", "masks", "faces"), {}).sources
    both = categories_of([objects, masks, faces])
    assert (both["person"], both["car"], both["toothbrush"], both["sky"], both["face"]) == (1, 3, 90, 91, 101)
    assert len(set(both.values())) == len(both) == 80 + 10 + 1  # a car is a car
    assert categories_of([faces]) == {"face": 91}
    voc = {**STREETS, "model": "lraspp"}
    commit(found, voc)
    source = chosen_source(found, "masks", "lraspp", dict(manifest.shards(found)))
    assert (categories_of([source])["couch"], len(categories_of([source]))) == (63, 20)


# ---- masks -----------------------------------------------------------------------------------------------------------


def photo_of(mask: Bools, width: int, height: int) -> Photo:
    thing = Thing("masks", "sky", 0.9, (0, 0, 1, 1), rle.encode(mask))
    return Photo("x", "/x.jpg", "x.jpg", width, height, [thing])


@settings(max_examples=50)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)), st.integers(1, 9))
def test_full_size(mask: Bools, times: int) -> None:
    mask[0, 0] = True
    height, width = (side * times for side in mask.shape)
    [thing] = full_size(photo_of(mask, width, height)).things
    assert thing.rle
    whole = rle.decode(thing.rle)
    assert whole.shape == (height, width)
    assert (whole == np.kron(mask, np.ones((times, times)))).all()
    assert thing.box == rle.box(thing.rle)


@pytest.mark.parametrize("change", [full_size, outlined])
def test_a_mask_that_does_not_fit_its_image(change: Callable[[Photo], Photo]) -> None:
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
    [thing], [whole] = outlined(photo).things, full_size(photo).things
    parts = [np.ravel(outline).tolist() for outline in thing.outlines]
    union = coco_mask.merge(coco_mask.frPyObjects(parts, photo.height, photo.width)) if parts else None
    truth = rle.encode(ndimage.binary_fill_holes(rle.decode(whole.rle), np.ones((3, 3))))
    if union is not None and rle.area(truth) > 0.1 * photo.width * photo.height:
        assert coco_mask.iou([truth], [union], [0])[0, 0] > 0.95


# ---- exports ---------------------------------------------------------------------------------------------------------


def test_masks_in_a_coco_file(found: Library, tmp_path: Path) -> None:
    facts = export_annotations(found.uri, "coco", tmp_path / "out.json", ("masks", "faces"), {}, 0)
    assert (facts["images"], facts["annotations"], facts["errors"], facts["pending"]) == (20, 40, 0, 0)
    assert [(source["task"], source["model"]) for source in facts["sources"]] == [
        ("masks", "streets"),
        ("faces", "own"),
    ]
    read = COCO(tmp_path / "out.json")
    assert read.dataset["info"]["sources"] == json.loads(json.dumps(facts["sources"]))
    for annotation in read.loadAnns(read.getAnnIds(catIds=[91])):
        image = read.imgs[annotation["image_id"]]
        assert annotation["segmentation"]["size"] == [image["height"], image["width"]] == [300, 400]
        assert annotation["area"] == coco_mask.area(read.annToRLE(annotation)) == 100 * 400 - 8 * 8
        assert annotation["bbox"] == [0, 0, 400, 100]


def test_scores(found: Library, tmp_path: Path) -> None:
    for least, count in ((0, 40), (0.2, 40), (0.3, 20), (1, 0)):
        out = tmp_path / f"{least}.csv"
        assert export_annotations(found.uri, "csv", out, ("objects",), {}, least)["annotations"] == count
    assert "dog,0.2,10.0,20.0,110.5,220.0," in (tmp_path / "0.csv").read_text()


def test_an_interrupted_scan_is_put_in_order_first(found: Library, tmp_path: Path) -> None:
    gone = manifest.read_manifest(found)["image_id"][0].as_py()
    found.write(layout.SCANNING, json.dumps({"gone": [gone], "changed": []}).encode())
    assert export_annotations(found.uri, "csv", tmp_path / "out.csv", ("objects",), {}, 0)["images"] == 19


def test_coco_of_an_export_gives_the_same_average_precision(data: Path, weights: Path, tmp_path: Path) -> None:
    content = json.loads((data / "coco128/instances.json").read_text())
    images = content["images"][:20]
    ids = {image["file_name"]: image["id"] for image in images}
    (tmp_path / "images").mkdir()
    for name in ids:
        shutil.copy(data / "coco128/images" / name, tmp_path / "images")
    wanted = [a for a in content["annotations"] if a["image_id"] in ids.values()]
    truth = tmp_path / "instances.json"
    truth.write_text(json.dumps({**content, "images": images, "annotations": wanted}))
    config = config_of(tmp_path / "library", "objects", options={"min_score": 0.01})
    library = open_library(config.library, create=True)
    manifest.scan(library, [str(tmp_path / "images")])
    record(library, config)
    worker = ShardWorker(config.library, config.choices, "cpu", weights)
    for order in pending(library, config.choices):
        worker.process(order)
    facts = evaluate(str(tmp_path / "images"), truth, config, lambda progress: None)  # of what is there already

    export_annotations(config.library, "coco", tmp_path / "out.json", ("objects",), {}, 0)
    with contextlib.redirect_stdout(io.StringIO()):
        export = COCO(tmp_path / "out.json")
        found = [
            {**annotation, "image_id": ids[export.imgs[annotation["image_id"]]["file_name"]]}
            for annotation in export.dataset["annotations"]
        ]
        known = COCO(truth)
        judged = COCOeval(known, known.loadRes(found), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    assert facts["ap"] > 0.05
    assert [facts["ap"], facts["ap50"]] == pytest.approx(judged.stats[:2].tolist(), abs=1e-5)
