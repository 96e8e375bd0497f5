"""A data set of `datasets`, looked at by Muster, and read again by `datasets`, `webdataset` and Muster itself."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from helpers.findings import STREETS, commit, dog, scanned, sky
from helpers.runs import config_of
from muster.errors import InputError
from muster.pipeline.findings.export import export_annotations
from muster.pipeline.run import pending, record
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.worker import ShardWorker
from muster.storage import manifest
from muster.storage.library import LibraryFiles, open_library

PHOTOS = 10
# webdataset leaves its files to be closed by whoever collects them
LEAVES_OPEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


def picture(number: int) -> Image.Image:
    """Sky above, ground below; every other one is dark."""
    y, _ = np.mgrid[0:120, 0:160]
    light = 1.0 if number % 2 else 0.1
    pixels = np.stack([120 + y // 2, 160 + 0 * y, 230 - y], -1) * light + number
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    datasets = pytest.importorskip("datasets", reason="needs the package datasets")
    datasets.disable_progress_bars()
    folder = tmp_path_factory.mktemp("datasets")
    rows = {
        "image": [picture(i) for i in range(PHOTOS)],
        "name": [f"n{i}" for i in range(PHOTOS)],
        "label": [i % 2 for i in range(PHOTOS)],
    }
    features = datasets.Features({
        "image": datasets.Image(),
        "name": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["night", "day"]),
    })  # fmt: skip
    data = datasets.Dataset.from_dict(rows, features=features)
    data.save_to_disk(folder / "disk", num_shards=2)
    data.to_parquet(folder / "rows.parquet")
    return folder


@pytest.fixture(scope="module", params=["disk", "rows.parquet"])
def library(request: pytest.FixtureRequest, saved: Path, tmp_path_factory: pytest.TempPathFactory) -> LibraryFiles:
    """What Muster's own model says of day and night, for each row."""
    found = open_library(tmp_path_factory.mktemp("library") / "L", create=True)
    manifest.scan(found, [str(saved / request.param)])
    config = config_of(found.uri, "scenes")
    record(found, config)
    worker = ShardWorker(config.library, config.choices, "cpu", None)
    for order in pending(found, config.choices):
        worker.process(order)
    return found


def read_by_datasets(out: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    import datasets

    files = sorted(str(path) for path in out.glob("*.parquet"))
    data = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(data.features["image"], datasets.Image)
    yield from data


def read_by_webdataset(out: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    wds = pytest.importorskip("webdataset", reason="needs the package webdataset")
    tars = [str(path) for path in sorted(out.glob("*.tar"))]
    for sample in wds.WebDataset(tars, shardshuffle=False).decode("pil"):
        yield {**sample["json"], "image": sample["png"]}


def read_by_lance(out: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    import io

    lance = pytest.importorskip("lance", reason="needs pylance")
    for row in lance.dataset(out).to_table().to_pylist():
        yield {**row, "image": Image.open(io.BytesIO(row["image"]["bytes"]))}


def read_as_fiftyone(out: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    for sample in json.loads((out / "samples.json").read_text())["samples"]:
        found = [{"label": each["label"]} for each in sample["scenes"]["classifications"]]
        yield {**sample, "scenes": found, "image": Image.open(out / sample["filepath"])}


READERS = {
    "parquet": read_by_datasets,
    "webdataset": read_by_webdataset,
    "lance": read_by_lance,
    "fiftyone": read_as_fiftyone,
}


@LEAVES_OPEN
@pytest.mark.parametrize("form", READERS)
def test_a_data_set_comes_back_with_what_was_found(library: LibraryFiles, form: str, tmp_path: Path) -> None:
    out = tmp_path / "x.lance"
    facts = export_annotations(library.uri, form, out, ("scenes",), {}, 0)
    assert (facts["images"], facts["annotations"], facts["left_out"]) == (PHOTOS, PHOTOS, [])
    rows = {row["name"]: row for row in READERS[form](out, tmp_path)}
    assert rows.keys() == {f"n{i}" for i in range(PHOTOS)}
    for i in range(PHOTOS):
        row = rows[f"n{i}"]
        assert (np.asarray(row["image"].convert("RGB")) == np.asarray(picture(i))).all()
        assert row["label"] == i % 2
        assert [found["label"] for found in row["scenes"]] in (["day"], ["night"], ["unsure"])
    with pytest.raises(InputError, match="is there already"):
        export_annotations(library.uri, form, out, ("scenes",), {}, 0)


@pytest.mark.parametrize("form", ["parquet", "lance", "webdataset"])
def test_muster_reads_what_it_wrote(library: LibraryFiles, form: str, tmp_path: Path) -> None:
    out = tmp_path / "x.lance"
    export_annotations(library.uri, form, out, ("scenes",), {}, 0)
    again = open_library(tmp_path / "again", create=True)
    assert manifest.scan(again, [str(out)]).found == PHOTOS
    assert sorted(manifest.read_manifest(again)["name"].to_pylist()) == [f"n{i}" for i in range(PHOTOS)]


def test_crops_and_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(4):
        picture(i).resize((400, 300)).save(tmp_path / "photos" / f"{i}.png")
    library = scanned(tmp_path / "library", tmp_path / "photos")
    commit(library, TaskChoice(name="objects").description, lambda i: [dog(), dog(0.2)])
    facts = export_annotations(library.uri, "parquet", tmp_path / "crops", ("objects",), {}, 0.5, crops=True)
    assert (facts["images"], facts["annotations"]) == (4, 4)
    [row, *others] = pq.read_table(tmp_path / "crops").to_pylist()
    assert (len(others), row["width"], row["height"]) == (3, 101, 200)
    assert row["crop_box"] == [10, 20, 110.5, 220]
    commit(library, STREETS, lambda i: [sky()])
    export_annotations(library.uri, "parquet", tmp_path / "masks", ("masks",), {}, 0, crops=True)
    [row, *_] = pq.read_table(tmp_path / "masks").to_pylist()
    assert (row["width"], row["height"], row["masks"][0]["rle"]["size"]) == (400, 100, [100, 400])
    facts = export_annotations(library.uri, "webdataset", tmp_path / "photos only", (), {}, 0)
    assert (facts["images"], facts["annotations"]) == (4, 0)
    for form, tasks, said in (("coco", ("objects",), "names photos"), ("parquet", (), "names no task")):
        with pytest.raises(InputError, match=said):
            export_annotations(library.uri, form, tmp_path / "out", tasks, {}, 0, crops=True)
    with pytest.raises(InputError, match="choose among"):
        export_annotations(library.uri, "parquet", tmp_path / "out", ("scenes",), {}, 0, crops=True)
