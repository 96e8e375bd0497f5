"""Exports of a library, judged by COCO's own program."""

import contextlib
import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from helpers.findings import STREETS, commit, dog, face, scanned, sky
from helpers.runs import config_of
from muster.errors import InputError
from muster.pipeline.evaluate.objects import evaluate
from muster.pipeline.findings.export import export_annotations
from muster.pipeline.run import pending, record
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.worker import ShardWorker
from muster.storage import clusters, manifest
from muster.storage.library import LibraryFiles, open_library
from muster.storage.uris import local_path


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


ODD = ["a b #1 50%41.jpg", "ä.jpg", "a\u0308.jpg", "\udcff.jpg", "a" * 251 + ".jpg", "x\ny.jpg"]


@pytest.fixture
def odd(tmp_path: Path, make_photos: Callable[..., Path]) -> LibraryFiles:
    """A library of photos with such names, and of two in a Parquet file; a face in each."""
    [photo] = make_photos(tmp_path / "one", range(1)).iterdir()
    (tmp_path / "photos" / "below").mkdir(parents=True)
    for name in ODD:
        (tmp_path / "photos" / "below" / name).write_bytes(photo.read_bytes())
    pq.write_table(pa.table({"image": [photo.read_bytes()] * 2}), tmp_path / "photos" / "inline.parquet")
    library = scanned(tmp_path / "library", tmp_path / "photos" / "below", tmp_path / "photos" / "inline.parquet")
    commit(library, TaskChoice(name="faces").description, lambda i: [face(i)])
    return library


def test_what_exports_name_exists(odd: LibraryFiles, tmp_path: Path) -> None:
    facts = {
        form: export_annotations(odd.uri, form, tmp_path / form, ("faces",), {}, 0)
        for form in ("coco", "csv", "yolo", "labelme")
    }
    below = tmp_path / "photos" / "below"
    files = {str(below / name) for name in ODD}
    inline = [f"{tmp_path}/photos/inline.parquet#row={row}" for row in range(2)]

    coco = COCO(tmp_path / "coco")
    assert len(coco.getAnnIds()) == 8
    assert {local_path(image["uri"]) for image in coco.imgs.values()} == {*files, *inline}
    named = {image["uri"]: tmp_path / "photos" / image["file_name"] for image in coco.imgs.values()}
    assert {str(named.pop(uri).relative_to(tmp_path / "photos")) for uri in inline} == {
        "inline.parquet/0",
        "inline.parquet/1",
    }
    assert {str(path) for path in named.values() if path.is_file()} == files

    with (tmp_path / "csv").open(newline="") as file:
        uris = {row["uri"] for row in csv.DictReader(file)}
    assert {local_path(uri) for uri in uris} == {*files, *inline}

    (tmp_path / "yolo" / "images").symlink_to(tmp_path / "photos")
    listed = [tmp_path / "yolo" / line for line in (tmp_path / "yolo" / "images.txt").read_text().splitlines()]
    there = {path for path in listed if path.is_file()}
    assert {path.name for path in there} == set(ODD) - {"\udcff.jpg", "x\ny.jpg"}
    assert {str(path.relative_to(tmp_path / "yolo" / "images")) for path in set(listed) - there} == {
        "inline.parquet/0.jpg",
        "inline.parquet/1.jpg",
    }

    shown = [json.loads(path.read_text())["imagePath"] for path in (tmp_path / "labelme").rglob("*.json")]
    assert sorted(path for path in shown if path.startswith("/")) == sorted(files - {str(below / ODD[4])})
    assert sorted(path for path in shown if not path.startswith("/")) == ["0.jpg", "1.jpg"]

    assert [(f["images"], f["annotations"], len(f["left_out"])) for f in facts.values()] == [(8, 8, 0)] * 3 + [
        (7, 7, 1)
    ]
    assert facts["labelme"]["left_out"] == [
        {"uri": str(below / ODD[4]), "error": "no file of its name can be written: File name too long"}
    ]


def test_faces_have_their_person_where_the_library_is_clustered(found: LibraryFiles, tmp_path: Path) -> None:
    export_annotations(found.uri, "coco", tmp_path / "before", ("faces", "objects"), {}, 0)
    before = COCO(tmp_path / "before").dataset["annotations"]
    assert [a["person"] for a in before if a["task"] == "faces"] == [None] * 20
    assert not any("person" in a for a in before if a["task"] == "objects")
    ids = manifest.read_manifest(found)["image_id"].to_pylist()
    rows = [{"face_id": f"{i}-0", "image_id": i, "cluster_id": "ab" if n else None} for n, i in enumerate(ids)]
    fingerprint = TaskChoice(name="faces").fingerprint
    table = pa.Table.from_pylist(rows).append_column("certainty", pa.array([None] + [0.9] * 19, pa.float32()))
    for known in (table, table.drop(["certainty"])):  # as an older Muster clustered
        clusters.write(found, fingerprint, known, "graph")
        out = tmp_path / f"{known.num_columns}.json"
        export_annotations(found.uri, "coco", out, ("faces",), {}, 0)
        people = {a["face_id"]: (a["person"], a["certainty"]) for a in COCO(out).dataset["annotations"]}
        assert people.pop(f"{ids[0]}-0") == (None, None)
        assert set(people.values()) == {("ab", 0.9 if known is table else None)}
    export_annotations(found.uri, "csv", tmp_path / "out.csv", ("faces",), {}, 0)
    with (tmp_path / "out.csv").open(newline="") as file:
        assert sorted(row["person"] for row in csv.DictReader(file)) == ["", *["ab"] * 19]


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


def test_csv_takes_what_is_said_of_whole_photos(found: LibraryFiles, tmp_path: Path) -> None:
    """Without a box; the other formats have no place for it."""
    facts = export_annotations(found.uri, "csv", tmp_path / "out.csv", ("scenes", "objects"), {}, 0)
    assert facts["annotations"] == 60
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    days = [row for row in rows if row["task"] == "scenes"]
    assert len(days) == 20
    assert {(row["label"], row["score"], row["x0"], row["y1"]) for row in days} == {("day", "", "", "")}
    assert all(row["x1"] for row in rows if row["task"] == "objects")
    for form in ("coco", "yolo", "labelme"):
        with pytest.raises(InputError, match="choose among faces, masks, objects"):
            export_annotations(found.uri, form, tmp_path / form, ("scenes",), {}, 0)
