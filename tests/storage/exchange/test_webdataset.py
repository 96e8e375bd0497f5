import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.exchange import SAMPLE, SCHEMA
from muster.storage.exchange import webdataset
from muster.storage.exchange.samples import Sample
from muster.storage.exchange.webdataset import write_webdataset

# webdataset leaves its files to be closed by whoever collects them
LEAVES_OPEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


def members(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as opened:
        files = {member.name: opened.extractfile(member) for member in opened}
        return {name: file.read() for name, file in files.items() if file is not None}


def test_a_photo_and_its_row(tmp_path: Path) -> None:
    write_webdataset(iter([SAMPLE, replace(SAMPLE, suffix=".png")]), tmp_path / "out", SCHEMA)
    found = members(tmp_path / "out" / "00000.tar")
    assert list(found) == ["000000000.jpg", "000000000.json", "000000001.png", "000000001.json"]
    assert found["000000000.jpg"] == SAMPLE.data
    row = json.loads(found["000000000.json"])
    assert (row["person"], row["objects"][0]["label"], row["file_name"]) == ("anna", "dog", "a.jpg")


@pytest.mark.parametrize(("limit", "value", "sizes"), [
    ("SHARD_SAMPLES", 2, [2, 2, 1]),
    ("SHARD_BYTES", 1, [1] * 5),
    ("SHARD_SAMPLES", 5, [5]),
])  # fmt: skip
def test_tars_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, sizes: list[int]
) -> None:
    monkeypatch.setattr(webdataset, limit, value)
    write_webdataset([SAMPLE] * 5, tmp_path / "out", SCHEMA)
    tars = sorted((tmp_path / "out").iterdir())
    assert [tar.name for tar in tars] == [f"{i:05d}.tar" for i in range(len(sizes))]
    assert [len(members(tar)) // 2 for tar in tars] == sizes


def test_equal_samples_make_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_webdataset([SAMPLE] * 3, tmp_path / name, SCHEMA)
    one, other = ((tmp_path / name / "00000.tar").read_bytes() for name in ("a", "b"))
    assert one == other


def test_no_sample_makes_an_empty_folder(tmp_path: Path) -> None:
    write_webdataset([], tmp_path / "out", SCHEMA)
    assert list((tmp_path / "out").iterdir()) == []


@LEAVES_OPEN
def test_webdataset_reads_it(tmp_path: Path, make_photo_bytes: bytes) -> None:
    wds = pytest.importorskip("webdataset", reason="needs the package webdataset")
    samples = [Sample(SAMPLE.photo, make_photo_bytes, ".jpg")] * 3
    write_webdataset(samples, tmp_path / "out", SCHEMA)
    read = wds.WebDataset(str(tmp_path / "out" / "00000.tar"), shardshuffle=False).decode("pil")
    for sample in read:
        assert sample["jpg"].size == (9, 7)
        assert sample["json"]["person"] == "anna"


@pytest.fixture
def make_photo_bytes() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (9, 7), "red").save(out, "JPEG")
    return out.getvalue()
