import csv
import stat
from pathlib import Path

import pytest

from muster.errors import MusterError
from muster.storage.tags.people_csv import COLUMNS, write_people


def test_names_are_read_back_and_formulas_are_disarmed(tmp_path: Path) -> None:
    names = ["Anna", "=1+1", 'a"b,c\nd', "שרה", "@x", "\udcff"]
    rows = [("id", "/a.jpg", "a.jpg", 600, 400, "p", name, 1.5, 2.0, 3.0, 4.0) for name in names]
    write_people(rows, tmp_path / "names.csv")
    with open(tmp_path / "names.csv", newline="", encoding="utf-8") as file:
        header, *found = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert [row[6] for row in found] == ["Anna", "'=1+1", 'a"b,c\nd', "שרה", "'@x", "\\udcff"]
    assert found[0][7:] == ["1.5", "2.0", "3.0", "4.0"]
    assert stat.S_IMODE((tmp_path / "names.csv").stat().st_mode) == 0o600


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MusterError, match="cannot write"):
        write_people([], tmp_path / "none/names.csv")
