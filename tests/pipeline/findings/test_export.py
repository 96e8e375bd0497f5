"""Exports of a library, judged by COCO's own program."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from helpers.findings import STREETS, commit, dog, scanned, sky
from helpers.runs import config_of
from muster.errors import InputError
from muster.pipeline.evaluate.objects import evaluate
from muster.pipeline.findings.export import export_annotations
from muster.pipeline.run import pending, record
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.worker import ShardWorker
from muster.storage import manifest
from muster.storage.library import LibraryFiles, open_library


def test_what_was_left_out(tmp_path: Path, photos: Path) -> None:
    library = scanned(tmp_path / "library", photos)
    (first, images), *_ = manifest.shards(library)
    bad = manifest.read_shard(library, first)["image_id"][0].as_py()
    commit(library, TaskChoice(name="objects").description, lambda i: [dog()], fails=lambda i: i == bad)
    commit(library, STREETS, lambda i: [sky()], shards=slice(1))
    facts = export_annotations(library.uri, "coco", tmp_path / "out.json", ("objects", "masks"), {}, 0)
    assert (facts["images"], facts["annotations"], facts["errors"], facts["pending"]) == (
        images - 1,
        2 * (images - 1),
        1,
        20 - images,
    )


def test_masks_in_a_coco_file(found: LibraryFiles, tmp_path: Path) -> None:
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


def test_scores(found: LibraryFiles, tmp_path: Path) -> None:
    for least, count in ((0, 40), (0.2, 40), (0.3, 20), (1, 0)):
        out = tmp_path / f"{least}.csv"
        assert export_annotations(found.uri, "csv", out, ("objects",), {}, least)["annotations"] == count
    assert "dog,0.2,10.0,20.0,110.5,220.0," in (tmp_path / "0.csv").read_text()
    for least in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match=r"`min_score` .*: a score is a number from 0 to 1"):
            export_annotations(found.uri, "csv", tmp_path / "none.csv", ("objects",), {}, least)


def test_an_interrupted_scan_is_put_in_order_first(found: LibraryFiles, tmp_path: Path) -> None:
    gone = manifest.read_manifest(found)["image_id"][0].as_py()
    found.write(manifest.SCANNING, json.dumps({"gone": [gone], "changed": []}).encode())
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
