"""Rosters as spreadsheets of any system save them: read as meant, or refused with what to do."""

import csv
import io
from datetime import date
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import InputError
from muster.storage.gallery.entry import Entry
from muster.storage.gallery.roster_csv import read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("ann.jpg", "bo.jpg"):
        (tmp_path / name).touch()
    return tmp_path


def people_of(folder: Path, text: str | bytes, columns: dict[str, str] | None = None) -> list[Entry]:
    return both(folder, text, columns)[0]


def both(folder: Path, text: str | bytes, columns: dict[str, str] | None = None) -> tuple[list[Entry], list[str]]:
    (folder / "r.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return read(str(folder / "r.csv"), columns or {})


LINES = (["person_id", "name", "image", "consent"], ["007", "Núñez, Zoë", "ann.jpg", "yes"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("named", ["", "sep=%s", '"sep=%s"', "SEP=%s;;;"])
def test_every_way_in_which_a_spreadsheet_saves(
    folder: Path, encoding: str, separator: str, end: str, named: str
) -> None:
    out = io.StringIO()
    rows = [["", "", "", ""], *LINES, ["", " ", "\u00a0", ""], [""]]
    csv.writer(out, delimiter=separator, lineterminator=end).writerows([*row, "", ""] for row in rows)
    text = named.replace("%s", separator) + (end if named else "") + out.getvalue()
    [entry], remarks = both(folder, text.encode(encoding))
    assert (entry.person_id, entry.name, entry.consent) == ("007", "Núñez, Zoë", True)
    assert entry.images == (str(folder / "ann.jpg"),)
    said = [f"{folder}/r.csv was read as Windows-1252, with 'Núñez': if that looks wrong, save it as CSV UTF-8"]
    assert remarks == (said if encoding == "cp1252" else [])


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp", "Zs"]), min_size=1).filter(
    lambda text: not text.startswith("#")
)


@given(st.lists(CELLS, min_size=1, max_size=4), st.sampled_from(";,\t|"), st.booleans())
def test_cells_are_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], separator: str, quoted: bool
) -> None:
    out = io.StringIO()
    style = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    rows = [["person_id", "name", "image"], *([str(i), name, ""] for i, name in enumerate(names))]
    csv.writer(out, delimiter=separator, quoting=style).writerows(rows)
    people = people_of(tmp_path_factory.mktemp("r"), out.getvalue())
    assert [each.name for each in people] == [normalize("NFC", name) for name in names]


@pytest.mark.parametrize(
    "header",
    [
        "Person ID;Name;Image;Valid until",
        "person-id;NAME;image 1;valid\u00a0until",
        '"\ufeffperson_id";"name";"image";"valid_until"',
        "“person_id”;“name”;“image”;“valid_until”",
        "  PersonID ;name;IMAGE;ValidUntil",
    ],
)
def test_names_of_columns(folder: Path, header: str) -> None:
    [entry] = people_of(folder, f"{header}\n1;Ann;ann.jpg;31.12.2099\n")
    assert (entry.person_id, entry.valid_until) == ("1", date(2099, 12, 31))
    assert entry.images == (str(folder / "ann.jpg"),)


def test_a_byte_order_mark_within_and_blanks_that_do_not_break(folder: Path) -> None:
    text = "person_id,name,image\n1,Ann,ann.jpg\n\ufeff2,\u00a0Bo\u00a0,\u00a0bo.jpg \n"
    assert [(each.person_id, each.name) for each in people_of(folder, text)] == [("1", "Ann"), ("2", "Bo")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("person_id,name,image\n1,#N/A,ann.jpg\n", "line 2: name is #N/A: a formula of the spreadsheet failed there"),
        ("person_id,name,image\n1,Ann,#REF!\n", "line 2: image is #REF!: a formula"),
        ("person_id,image,valid_until\n1,ann.jpg,########\n", "line 2: valid_until is ########: a formula"),
        ("person_id,image\n1.23457E+11,ann.jpg\n", "person_id 1.23457E.11 was rounded by a spreadsheet"),
        ("person_id,image,\n1,ann.jpg,x\n", "line 2: 'x' stands in a column without a name"),
        ("sep=;\nperson_id;image\n1;ann.jpg\n;bo.jpg\n", "line 4: no person_id"),
        ("person_id,image\n1,\\photos\\a.jpg\n", r"photos\\a.jpg is a path of a Windows machine"),
        ("person_id,image,valid_until\n1,ann.jpg,03/04/2099\n", "it may be 2099-04-03 or 2099-03-04"),
        ("person_id,group,image\n1,no group,ann.jpg\n", "those without a group are shown as 'no group'"),
        ("Class 7b,,\nperson_id,name,image\n", "its first line has Class 7b. `columns` says what they are called"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        people_of(folder, text)


def test_a_code_page_that_is_not_known_for_certain(folder: Path) -> None:
    for data in ("person_id,name,image\n1,Иванов,a.jpg".encode("cp1251"), b"PK\x03\x04\0\x06\0\x08"):
        with pytest.raises(InputError, match=r"r.csv cannot be read as text: .*: save it as CSV UTF-8"):
            people_of(folder, data)


def test_the_whole_column_says_which_number_is_the_day(folder: Path) -> None:
    head = "person_id,image,valid_until\n"
    by_day = people_of(folder, head + "1,ann.jpg,03/04/2099\n2,bo.jpg,25/12/2099\n")
    by_month = people_of(folder, head + "1,ann.jpg,03/04/2099\n2,bo.jpg,12/25/2099\n")
    assert [each.valid_until for each in by_day] == [date(2099, 4, 3), date(2099, 12, 25)]
    assert [each.valid_until for each in by_month] == [date(2099, 3, 4), date(2099, 12, 25)]


# ---- columns that are called otherwise -------------------------------------------------------------------------------

SCHOOL = "Student ID;Full name;Photo;Photo 2;E-mail;name\n7;Ann A;ann.jpg;bo.jpg;a@b.org;ann\n"


def test_a_school_s_export_works_by_mapping_alone(folder: Path) -> None:
    given = {"person_id": "Student ID", "name": "full NAME", "image": "Photo", "image2": "Photo 2"}
    [entry], remarks = both(folder, SCHOOL, given)
    assert (entry.person_id, entry.name) == ("7", "Ann A")
    assert entry.images == (str(folder / "ann.jpg"), str(folder / "bo.jpg"))
    assert remarks == [f"columns of {folder}/r.csv that were left out: name, E-mail"]


def test_one_column_may_say_two_things(folder: Path) -> None:
    [entry] = people_of(folder, "Pupil,image\nAnn,ann.jpg\n", {"person_id": "Pupil", "name": "Pupil"})
    assert (entry.person_id, entry.name) == ("Ann", "Ann")


def test_the_separator_is_that_of_the_mapped_columns(folder: Path) -> None:
    text = "Name, first;Number, own;Photo, new\nAnn;7;ann.jpg\n"
    [entry] = people_of(folder, text, {"person_id": "Number, own", "name": "Name, first", "image": "Photo, new"})
    assert (entry.person_id, entry.name) == ("7", "Ann")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "needs columns person_id and image; .* `columns` says what they are called there"),
        ({"person_id": "Pupil"}, "`columns` person_id=Pupil: roster .* has no column of that name; it has Student ID,"),
        ({"colour": "Student ID"}, "`columns` colour: person_id, name, group, born, consent, valid_until and image"),
        ({"name": "Full name"}, "needs columns person_id and image; its first line has Student ID"),
    ],
)
def test_a_mapping_that_does_not_fit(folder: Path, given: dict[str, str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        people_of(folder, SCHOOL, given)


def test_two_columns_that_are_called_alike(folder: Path) -> None:
    text = "Student ID,student-id,image\n1,2,ann.jpg\n"
    assert people_of(folder, text, {"person_id": "student-id"})[0].person_id == "2"
    with pytest.raises(InputError, match="has 2 columns of that name"):
        people_of(folder, text, {"person_id": "STUDENT ID"})


# ---- names of images -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("of_folder", ["NFC", "NFD"])
@pytest.mark.parametrize("of_file", ["NFC", "NFD"])
@pytest.mark.parametrize("slash", ["/", "\\"])
def test_each_part_of_a_name_in_either_form(
    folder: Path, written: str, of_folder: str, of_file: str, slash: str
) -> None:
    image = folder / normalize(of_folder, "Klasse Ä") / normalize(of_file, "Zoë.jpg")
    image.parent.mkdir()
    image.touch()
    name = normalize(written, f"Klasse Ä{slash}Zoë.jpg")
    [entry], remarks = both(folder, f"person_id,image\n1,{name}\n")
    assert (entry.images, remarks) == ((str(image),), [])


def test_case_and_blanks_are_passed_over_where_one_file_is_meant(folder: Path) -> None:
    (folder / "Photos").mkdir()
    for name in ("IMG_1.JPG", "IMG  2.jpg ", "Both.jpg", "both.JPG"):
        (folder / "Photos" / name).touch()
    text = "person_id,image\n1,photos/img_1.jpg\n2,photos/img 2.jpg\n3,photos/BOTH.jpg\n4,photos/Both.jpg\n5,x/y.jpg\n"
    people, remarks = both(folder, text)
    photos = folder / "Photos"
    assert [each.images[0] for each in people[:4]] == [
        f"{photos}/IMG_1.JPG",
        f"{photos}/IMG  2.jpg ",
        f"{photos}/BOTH.jpg",  # two are like it: none is guessed, and it is not there
        f"{photos}/Both.jpg",
    ]
    assert people[4].images == (f"{folder}/x/y.jpg",)
    assert "such as" in remarks[0]
    assert "differ in case or blanks" in remarks[0]


def test_addresses_of_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    (folder / "a b.jpg").touch()
    files = [f"{start}{folder}/a%20b.jpg" for start in ("file://", "file:", "file://localhost")]
    rows = [*files, "~/ann.jpg", "./bo.jpg", "s3://bucket/x%20y.jpg"]
    people = people_of(folder, "person_id,image\n" + "".join(f"{i},{row}\n" for i, row in enumerate(rows)))
    found = [each.images[0] for each in people]
    assert found == [*[f"{folder}/a b.jpg"] * 3, f"{folder}/ann.jpg", f"{folder}/bo.jpg", "s3://bucket/x%20y.jpg"]
