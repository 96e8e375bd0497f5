"""As the reader of FiftyOne takes it apart: fiftyone/utils/data/importers.py, LegacyFiftyOneDatasetImporter."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from helpers.exchange import DOG, SAMPLE, SAYS, SCHEMA, SKY, photo
from muster.storage.exchange.fiftyone import write_fiftyone
from muster.storage.exchange.photo import Finding
from muster.storage.exchange.samples import Sample, Says, schema_of


def test_samples(tmp_path: Path) -> None:
    write_fiftyone([SAMPLE, replace(SAMPLE, suffix=".png")], tmp_path / "out", SCHEMA)
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_text())
    assert "version" not in metadata, "it would be read as documents of a database"
    samples = json.loads((tmp_path / "out" / "samples.json").read_text())["samples"]
    assert [sample["filepath"] for sample in samples] == ["data/000000000.jpg", "data/000000001.png"]
    assert (tmp_path / "out" / samples[0]["filepath"]).read_bytes() == SAMPLE.data
    [detection] = samples[0]["objects"]["detections"]
    assert (samples[0]["objects"]["_cls"], detection["_cls"]) == ("Detections", "Detection")
    assert (detection["label"], detection["confidence"]) == ("dog", 0.5)
    assert detection["bounding_box"] == pytest.approx([0.1, 0.25, 0.2, 0.25])
    [outline] = samples[0]["masks"]["polylines"]
    assert (outline["label"], len(outline["points"]), outline["closed"], outline["filled"]) == ("sky", 2, True, True)
    assert outline["points"][0][0] == pytest.approx([0.1, 0.25])
    assert (samples[0]["person"], samples[0]["user_width"]) == ("anna", 2.5)


def test_names_that_fields_may_not_have(tmp_path: Path) -> None:
    users = pa.schema({"tags": pa.list_(pa.string()), "_a.b": pa.int64()})
    schema = schema_of(users, {"scenes": Says(False, False, False, False)}, crops=False)
    day = Finding("scenes", "day", 0.9, (0, 0, 0, 0), whole=True)
    shown = replace(photo("a.jpg", DOG, SKY, day), user={"tags": ["x"], "_a.b": 1})
    write_fiftyone([Sample(shown, b"", ".jpg")], tmp_path / "out", schema)
    [sample] = json.loads((tmp_path / "out" / "samples.json").read_text())["samples"]
    assert (sample["tags"], sample["user_tags"], sample["a_b"]) == ([], ["x"], 1)
    assert sample["scenes"]["classifications"][0]["label"] == "day"
    assert not set(SAYS) & sample.keys()


def test_no_sample(tmp_path: Path) -> None:
    write_fiftyone([], tmp_path / "out", SCHEMA)
    assert json.loads((tmp_path / "out" / "samples.json").read_text()) == {"samples": []}
