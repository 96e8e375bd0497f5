from pathlib import Path

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.exchange import SKY, a_mask, photo
from muster.storage.exchange.csv import COLUMNS, write_csv
from muster.storage.exchange.photo import AnnotatedPhoto, Finding
from muster.storage.new_files import cell

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@settings(max_examples=40)
@given(st.lists(st.tuples(names, names), min_size=1, max_size=5))
def test_csv_by_pandas(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    out = tmp_path_factory.mktemp("csv") / "out.csv"
    things = [Finding("objects", label, 0.25, (1.5, 2, 3, 4)) for _, label in pairs]
    photos = [AnnotatedPhoto("id", f"/x/{name}", name, 6, 5, [t]) for (name, _), t in zip(pairs, things, strict=True)]
    write_csv(photos, out, {}, {})
    table = pandas.read_csv(out, keep_default_na=False, dtype={"file_name": str, "label": str, "uri": str})
    assert tuple(table.columns) == COLUMNS
    assert list(zip(table["file_name"], table["label"], strict=True)) == [tuple(map(cell, pair)) for pair in pairs]
    assert table["uri"].tolist() == [cell(f"/x/{name}") for name, _ in pairs]
    assert table[["width", "height", "score", "x0", "y1"]].values.tolist() == [[6, 5, 0.25, 1.5, 4]] * len(pairs)


def test_csv_of_masks_and_faces_and_names_that_are_no_unicode(tmp_path: Path) -> None:
    face = Finding("faces", "face", 0.9, (1, 2, 3, 4), face_id="f-0", person="ab12", certainty=0.5)
    write_csv([photo("\udcff.jpg", SKY, face)], tmp_path / "out.csv", {}, {})
    sky, found = pandas.read_csv(tmp_path / "out.csv").to_dict("records")
    assert (sky["file_name"], sky["area"], sky["rle"]) == ("\\udcff.jpg", 401, a_mask()["counts"])
    assert (found["face_id"], found["person"], found["certainty"]) == ("f-0", "ab12", 0.5)
