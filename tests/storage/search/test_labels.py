import numpy as np
import pyarrow as pa
import pytest

from helpers.searched import an_index
from muster.storage.search.labels import counted, distinct, labelled, plural
from muster.web.album import LabelTable

ROWS = pa.table(
    {
        "image_id": ["0", "1", "2", "3", "4"],
        "label": ["dog", "dog", "cat", None, "night"],
        "score": pa.array([0.4, 0.6, 0.9, 0.9, None], pa.float32()),
        "source": ["both", "both", "both", "both", "pixels"],
    }
)


def shown(**what: object) -> list[str]:
    return counted(ROWS, LabelTable(table="objects", fingerprint="f", **what))["image_id"].to_pylist()


def test_rows_count_as_on_the_pages() -> None:
    assert shown() == ["0", "1", "2", "4"]
    assert shown(score="score", least_scores={"dog": 0.5, "night": 0.1}) == ["1"]
    assert shown(hidden=[{"label": "night", "source": "pixels"}]) == ["0", "1", "2"]
    assert shown(least_scores={"dog": 0.5}) == ["0", "1", "2", "4"]  # there is no column of scores


def test_a_least_score_is_enough() -> None:
    assert shown(score="score", least_scores={"dog": float(np.float32(0.4))}) == ["0", "1"]


def test_labels_are_found_also_as_several() -> None:
    found = an_index({}, {})
    field = labelled(
        "object",
        pa.chunked_array([["0", "0", "1", "x"]]),
        pa.chunked_array([["dog", "dog", "box", "dog"]]),
        found.columns,
    )
    assert field.rows.tolist() == [0, 1]
    assert field.find("dogs") == field.find("dog") == (0,)
    assert field.find("boxes") == (1,)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("dog", "dogs"),
        ("bus", "buses"),
        ("couch", "couches"),
        ("teddy", "teddies"),
        ("toy", "toys"),
        ("knife", "knives"),
    ],
)
def test_plurals(one: str, many: str) -> None:
    assert plural(one) == many


def test_pairs_are_there_once() -> None:
    rows, groups = distinct(np.array([1, 1, 0, -1]), np.array([2, 2, 0, 1]), 3)
    assert (rows.tolist(), groups.tolist()) == ([0, 1], [0, 2])
