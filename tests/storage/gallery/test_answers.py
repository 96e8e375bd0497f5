from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from muster.errors import InputError, MusterError
from muster.storage.gallery.answers import check_out, write_answers
from muster.storage.library import open_library

BOX = pa.list_(pa.float32(), 4)
CANDIDATE = pa.struct([("person_id", pa.string()), ("name", pa.string()), ("score", pa.float32())])
ALIKE = [{"person_id": "S1", "name": "=Ann", "score": 0.5}, {"person_id": "S2", "name": "Bo", "score": 0.25}]
ANSWERS = pa.table(
    {
        "image": ["a.jpg", "b.jpg"],
        "box_xyxy": pa.array([[1, 2, 3, 4], None], BOX),
        "candidates": pa.array([ALIKE, None], pa.list_(CANDIDATE)),
    }
)


def test_parquet_and_csv(tmp_path: Path) -> None:
    write_answers(ANSWERS, tmp_path / "a.parquet")
    assert pq.read_table(tmp_path / "a.parquet").equals(ANSWERS)
    write_answers(ANSWERS, tmp_path / "a.CSV")
    rows = pc.read_csv(tmp_path / "a.CSV").to_pylist()
    shown = {"candidate1": "S1", "candidate1_name": "'=Ann", "candidate1_score": 0.5}
    shown |= {"candidate2": "S2", "candidate2_name": "Bo", "candidate2_score": 0.25}
    assert {name: value for name, value in rows[0].items() if value not in (None, "")} == {
        "image": "a.jpg", "x0": 1, "y0": 2, "x1": 3, "y1": 4, **shown
    }  # fmt: skip
    assert "candidate3_name" in rows[0]
    assert {value for name, value in rows[1].items() if name != "image"} <= {None, ""}
    write_answers(ANSWERS, None)


def test_places_where_none_can_be_written(tmp_path: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    with pytest.raises(InputError, match=r"a.txt: its name must end in .parquet or .csv"):
        check_out(tmp_path / "a.txt", library)
    with pytest.raises(InputError, match=r"no folder .* to write it into"):
        check_out(tmp_path / "none/a.csv", library)
    with pytest.raises(InputError, match=r"a.csv lies in the library"):
        check_out(tmp_path / "L" / "a.csv", library)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="is no file"):
        check_out(tmp_path / "folder.csv", library)
    with pytest.raises(MusterError, match="cannot write"):
        write_answers(ANSWERS, tmp_path / "folder.csv")
    check_out(None, library)
