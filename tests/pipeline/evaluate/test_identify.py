from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.fixtures import Outcome, School
from helpers.labelled import labelled
from muster.errors import InputError
from muster.pipeline.evaluate.faces import Labelled
from muster.pipeline.evaluate.identify import identify, split


def test_the_split_is_by_person_and_file() -> None:
    images = pa.table({"uri": list("abcdefg"), "person": ["x", "y", "x", "z", "x", None, "y"]})
    found = split(images, "person")
    assert (found.enrolled.tolist(), found.mated.tolist(), found.nonmated.tolist()) == ([0, 1], [2, 4, 6], [3])
    with pytest.raises(InputError, match="nobody has two photos"):
        split(images.slice(3), "person")
    with pytest.raises(InputError, match="everybody has two photos or more"):
        split(images.filter(pa.compute.not_equal(images["person"], "z")), "person")


def test_figures() -> None:
    facts = identify(labelled(60, 4, 400, 0.5), "person")
    counts = {"people": 60, "enrolled": 120, "mated": 120, "nonmated": 400, "undetected": 0}
    assert facts.items() >= counts.items()
    assert facts["rank1"] == 1
    assert facts["fnir_at_fpir_0.1"] <= facts["fnir_at_fpir_0.01"] <= facts["fnir_at_fpir_0.001"]
    for fpir in ("0.1", "0.01"):
        low, high = facts[f"fnir_at_fpir_{fpir}_interval"]
        assert low <= facts[f"fnir_at_fpir_{fpir}"] <= high
    hard = identify(labelled(60, 4, 400, 1.6), "person")
    assert hard["rank1"] < 0.95
    assert hard["fnir_at_fpir_0.01"] > 1 - hard["rank1"]


def test_photos_without_a_face_name_nobody() -> None:
    data = labelled(40, 4, 100, 0.3)
    seen = np.ones(len(data.rows), bool)
    seen[[2, 3, 6]] = False  # three mated probes
    seen[[8, 9]] = False  # all that person 2 would be enrolled by
    half = Labelled(data.faces, data.rows[seen], data.images, data.owner[seen])
    facts = identify(half, "person")
    assert facts["undetected"] == 5
    assert facts["rank1"] == pytest.approx(1 - 5 / 80)
    assert facts["fnir_at_fpir_0.1"] == pytest.approx(5 / 80)


def test_a_stranger_who_is_somebody_under_another_name_is_shown() -> None:
    data = labelled(40, 4, 100, 0.3)
    vectors = data.faces.embeddings.copy()
    vectors[165] = vectors[1]
    facts = identify(replace(data, faces=replace(data.faces, embeddings=vectors)), "person")
    worst = facts["strangers_named"][0]
    assert (worst["is"], worst["named"]) == ("n0045", "n0000")


def test_by_the_command_line(
    muster: Callable[..., Outcome], gallery_library: Path, school: School, tmp_path: Path
) -> None:
    rows = [(str(photos[0]), name) for name, photos in school.enrolled.items()]
    rows += [(str(photos[1]), name) for name, photos in [*school.enrolled.items()][:20]]
    images = pa.table({"uri": [uri for uri, _ in rows], "person": [name for _, name in rows]})
    pq.write_table(images, tmp_path / "labelled.parquet")
    command = ("evaluate", "identify", "--images", tmp_path / "labelled.parquet", "-l", gallery_library, "--label")
    outcome = muster(*command, "person", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.facts.items() >= {"people": 20, "mated": 20, "nonmated": 12, "undetected": 0}.items()
    assert outcome.facts["rank1"] >= 0.9
    assert "20 people, 20 mated and 12 non-mated searches" in muster(*command, "person").out
    wrong = muster(*command, "who")
    assert (wrong.code, "no such column" in wrong.error) == (2, True)


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64()])
def test_names_that_are_numbers(kind: pa.DataType) -> None:
    """The same people, in the same halves, as of texts: pandas makes floats of integers of which one is missing."""
    data = labelled(20, 4, 40, 0.5)
    numbers = pa.array([int(name[1:]) for name in data.images["person"].to_pylist()])
    texts, others = (
        replace(data, images=data.images.set_column(2, "person", numbers.cast(each))) for each in (pa.string(), kind)
    )
    assert identify(others, "person") == identify(texts, "person")
