from datetime import datetime

import numpy as np
import pyarrow as pa

from helpers.searched import NAMED, an_index
from muster.storage.outcomes import IMAGES
from muster.storage.search import columns
from muster.storage.search.words import folded


def below(*pairs: tuple[str, str]) -> list[str]:
    """What is below the source, of each uri and source."""
    found = an_index(*({"uri": uri, "source": source} for uri, source in pairs))
    order = np.argsort([int(i) for i in found.columns.table["image_id"].to_pylist()])
    return [found.paths.below[found.paths.codes[row]] for row in order]


def test_photos_are_in_order_of_time_and_those_without_a_date_last() -> None:
    at = datetime(2019, 5, 3)
    found = an_index({"uri": "/b"}, {"uri": "/z", "taken_at": at}, {"uri": "/a"}, {"uri": "/y", "taken_at": at}).columns
    assert found.table["uri"].to_pylist() == ["/y", "/z", "/a", "/b"]
    assert found.taken.tolist() == [int(np.datetime64(at, "us").astype(int))] * 2


def test_photos_that_are_broken_or_no_longer_in_the_manifest_are_none() -> None:
    rows = [{"image_id": "a", "status": "ok"}, {"image_id": "b", "status": "error"}, {"image_id": "c", "status": "ok"}]
    named = pa.Table.from_pylist([{"image_id": i, "uri": i, "source": ""} for i in "abx"], NAMED)
    found = columns.of(pa.Table.from_pylist(rows, IMAGES).select(columns.READ), named)
    assert found.table["image_id"].to_pylist() == ["a"]
    assert found.rows_of(pa.array(["a", "b"])).tolist() == [0, -1]


def test_folders_are_those_below_the_source() -> None:
    assert below(("/home/anna/Pictures/2019/Lisbon trip/a.jpg", "/home/anna/Pictures")) == ["/2019/lisbon trip/"]
    assert below(("/home/anna/Pictures/a.jpg", "/home/anna/Pictures/")) == ["//"]


def test_below_what_all_share_where_the_source_is_no_folder_of_theirs() -> None:
    pairs = [
        ("s3://photos/anna/2019/a.jpg", "s3://lists/list.parquet"),
        ("s3://photos/anna/2020/b.jpg", "s3://lists/list.parquet"),
    ]
    assert below(*pairs) == ["/2019/", "/2020/"]


def test_names_of_files_are_folded_as_words_are() -> None:
    names = ["IMG_0012.JPG", "Ärger & Spaß (1).jpeg", "no", "日本.png", "a--b..c.jpg"]
    found = an_index(*({"uri": f"/photos/{name}"} for name in names))
    told = dict(zip(found.columns.table["uri"].to_pylist(), found.paths.names.to_pylist(), strict=True))
    assert told == {f"/photos/{name}": f" {folded(name)} " for name in names}


def test_a_file_is_named_by_whole_words_or_by_a_part_where_it_is_asked_for() -> None:
    paths = an_index({"uri": "/photos/savannah_12.jpg"}, {"uri": "/photos/anna 12.jpg"}).paths
    assert paths.named("anna") is not None
    assert paths.named("anna").tolist() == [True, False]  # in order of uri
    assert paths.named("anna", anywhere=True).tolist() == [True, True]
    assert paths.named("bob") is None
    assert paths.named("12 jpg").all()
