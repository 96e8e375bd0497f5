import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import InputError
from muster.storage.new_files import (
    FORMULA,
    PRIVATE,
    cell,
    check_new,
    check_replaced,
    new_file,
    new_folder,
    new_text,
    no_link,
)


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def break_off(maker: Any) -> None:
        with maker(tmp_path / "out"):
            raise KeyboardInterrupt

    for maker in (new_file, new_text, new_folder):
        with pytest.raises(KeyboardInterrupt):
            break_off(maker)
        assert list(tmp_path.iterdir()) == []


def test_a_file_gives_way_to_a_new_one_and_what_a_link_names_does_not(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out").symlink_to(tmp_path / "mine")
    with new_text(tmp_path / "out") as file:
        file.write("new\udcff")
    with new_file(tmp_path / "out", PRIVATE) as binary:
        binary.write(b"newer")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "out").read_bytes() == b"newer"
    assert stat.S_IMODE((tmp_path / "out").lstat().st_mode) == 0o600
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "fifo"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    there = tmp_path / "out.csv"
    (tmp_path / "mine").touch()
    make = {
        "link": lambda: there.symlink_to(tmp_path / "mine"),
        "dangling": lambda: there.symlink_to(tmp_path / "nothing"),
        "folder": there.mkdir,
        "fifo": lambda: os.mkfifo(there),
    }
    make[kind]()
    with pytest.raises(InputError, match=r"out.csv is there already, and is no file"):
        check_replaced(there)
    with pytest.raises(InputError, match=r"out.csv is there already, and is not overwritten: give a new name"):
        check_new(there)
    if kind != "folder":
        with pytest.raises(OSError, match=r"out\.csv"), open(there, "w", opener=no_link):
            pass


def test_a_link_to_an_empty_folder_is_no_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(InputError, match="give an empty folder"):
        check_new(tmp_path / "link", folder=True)


@pytest.mark.parametrize(
    ("value", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("  =1", "'  =1"),
        ("\t1", "'\t1"),
        ("\r1", "'\r1"),
        ("\n1", "'\n1"),
        ("\uff1d1", "'\uff1d1"),
        ("'=1", "''=1"),
        ("a;=1", "a;'=1"),
        ("a\n=1", "a\n'=1"),
        ("a-1.jpg", "a-1.jpg"),
        ("Zoë, 7", "Zoë, 7"),
        ("'s", "'s"),
        ("", ""),
        (-1.5, -1.5),
        (None, None),
    ],
)
def test_formulas(value: Any, safe: Any) -> None:
    assert cell(value) == safe


@given(text=st.text(st.sampled_from("=+-@';\t\r\n a\uff1d")))
def test_no_cell_of_any_spreadsheet_begins_with_a_formula(text: str) -> None:
    safe = cell(text)
    for part in safe.replace("\n", ";").replace("\r", ";").replace("\t", ";").split(";"):
        assert part.lstrip(" ")[:1] not in {*"=+-@\uff1d"} - {""}
    assert safe[:1] not in {"\t", "\r", "\n"}
    assert re.sub(f"(?:{FORMULA.pattern})'", "", safe) == text  # how a reader has the text back
    assert (safe == text) == (FORMULA.search(text) is None)
