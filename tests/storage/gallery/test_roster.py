from datetime import date
from pathlib import Path
from unicodedata import normalize

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from muster.errors import InputError
from muster.storage.gallery.entry import Entry
from muster.storage.gallery.roster import read_roster
from muster.storage.library import LibraryFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for name in ("ann.jpg", "ann 2.jpg", "bo.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name)
    return tmp_path


def people_of(source: str, library: LibraryFiles) -> list[Entry]:
    return read_roster(source, library).people


def test_a_csv(folder: Path, library: LibraryFiles) -> None:
    text = (
        "person_id,name,image,image2,group,consent,valid_until\n"
        "1,Ann Äh,photos/ann.jpg,photos/ann 2.jpg,7b,yes,2031-07-31\n\n2,,photos/bo.jpg,,,no,\n"
    )
    (folder / "roster.csv").write_text(text, encoding="utf-8")
    photos = folder / "photos"
    assert people_of(str(folder / "roster.csv"), library) == [
        Entry(
            person_id="1",
            name="Ann Äh",
            images=(f"{photos}/ann.jpg", f"{photos}/ann 2.jpg"),
            group="7b",
            consent=True,
            valid_until=date(2031, 7, 31),
        ),
        Entry(person_id="2", name="2", images=(f"{photos}/bo.jpg",), group=None, consent=False, valid_until=None),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(("separator", "end"), [(";", "\r\n"), (",", "\n"), ("\t", "\r\n")])
def test_as_excel_saves_it(folder: Path, library: LibraryFiles, encoding: str, separator: str, end: str) -> None:
    lines = [["Person_ID", " Name", "image"], ["7", "Zoë", "photos\\bo.jpg"]]
    text = end.join(separator.join(line) for line in lines)
    (folder / "roster.csv").write_bytes(text.encode(encoding))
    [entry] = people_of(str(folder / "roster.csv"), library)
    assert (entry.person_id, entry.name, entry.images) == ("7", "Zoë", (f"{folder}/photos/bo.jpg",))
    assert entry.consent is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("person_id,image\n1,a.jpg\n1,b.jpg\n", "has person_id 1 more than once"),
        ("person_id,image,colour\n1,a.jpg,red\n", "unknown column 'colour': person_id, name, group, born, consent"),
        ("person_id,image,image consent\n1,a.jpg,no\n", "unknown column 'image consent'"),
        ("name,image\nAnn,a.jpg\n", "needs columns person_id and image"),
        ("person_id,name,name,image\n1,a,b,c.jpg\n", "has column 'name' twice"),
        ("person_id,image\n,a.jpg\n", "line 2: no person_id"),
        ("person_id,image\n1,a.jpg,b.jpg\n", "line 2: 3 cells under 2 columns"),
        ("person_id,image\n1,C:\\photos\\a.jpg\n", r"line 2: C:\\photos\\a.jpg is a path of a Windows machine"),
        ("person_id,image,consent\n1,a.jpg,perhaps\n", "line 2: consent 'perhaps': write yes or no"),
        ("person_id,image,valid_until\n1,a.jpg,31.7.27\n", "line 2: valid_until '31.7.27': its year has two digits"),
        ("person_id,image\n1,a.jpg\n2,a.jpg\n", "a.jpg is listed for 1 and for 2"),
        ("person_id,image\n", "names nobody"),
        ("person_id,image\nZé,a.jpg\nZe\u0301,b.jpg\n", "has person_id Zé more than once"),
        ('person_id,image\n1,a.jpg\n"2\n3",a.jpg\n', r"line 4: person_id '2\\n3' has a control character, '\\n'"),
        ("person_id,name,image\n1,\x1b[2JAnn,a.jpg\n", r"line 2: name '\\x1b\[2JAnn' has a control character"),
        ("person_id,group,image\n1,7\u202eb,a.jpg\n", r"line 2: group '7\\u202eb' has a control character"),
        ("person_id,image\nUNKNOWN,a.jpg\n", "person_id UNKNOWN is what Muster says of nobody"),
        ("person_id,image\nUNSURE,a.jpg\n", "person_id UNSURE is what Muster says of nobody"),
        ("", "is empty: it needs columns person_id and image"),
        ("Nr,Foto,\n1,a.jpg,\n", r"its first line has Nr, Foto\. `columns` says"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, library: LibraryFiles, text: str, complaint: str) -> None:
    (folder / "roster.csv").write_text(text)
    with pytest.raises(InputError, match=complaint):
        people_of(str(folder / "roster.csv"), library)


def test_files_that_are_no_roster(folder: Path, library: LibraryFiles) -> None:
    (folder / "mac.csv").write_bytes("person_id,name,image\n1,Müller,a.jpg".encode("mac_roman"))
    with pytest.raises(
        InputError, match=r"mac.csv cannot be read as text: it is not UTF-8 \(byte 24\): save it as CSV"
    ):
        people_of(str(folder / "mac.csv"), library)
    with pytest.raises(InputError, match=r"cannot read roster .*none.csv: No such file"):
        people_of(str(folder / "none.csv"), library)
    with pytest.raises(InputError, match=r"cannot read none: No such file or directory$"):  # nothing of a scan
        people_of("none", library)
    with pytest.raises(InputError, match="jpg is in no person's folder"):
        people_of(str(folder / "photos"), library)


def test_a_folder_per_person(folder: Path, library: LibraryFiles) -> None:
    for name in ("Ann/1.jpg", "Ann/holiday/2.jpg", "Bo/1.jpg"):
        (folder / "people" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / "people" / name)
    found = {entry.person_id: len(entry.images) for entry in people_of(str(folder / "people"), library)}
    assert found == {"Ann": 2, "Bo": 1}


@pytest.mark.parametrize(("written", "there"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_image_whose_name_a_mac_wrote(folder: Path, library: LibraryFiles, written: str, there: str) -> None:
    image = folder / normalize(there, "Zoë.jpg")
    image.touch()
    (folder / "r.csv").write_text(f"person_id,image\n1,{normalize(written, 'Zoë.jpg')}\n", encoding="utf-8")
    assert people_of(str(folder / "r.csv"), library)[0].images == (str(image),)


def test_one_person_however_the_accent_is_written(folder: Path, library: LibraryFiles) -> None:
    for number, form in enumerate(("NFC", "NFD")):
        (folder / "people" / normalize(form, "Zé")).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "people" / normalize(form, "Zé") / f"{number}.jpg")
    [entry] = people_of(str(folder / "people"), library)
    assert (entry.person_id, entry.name, len(entry.images)) == ("Zé", "Zé", 2)

    people = [normalize(form, "Zé") for form in ("NFC", "NFD")]
    rows = {"uri": ["photos/ann.jpg", "photos/bo.jpg"], "person": people, "name": people[::-1]}
    pq.write_table(pa.table(rows), folder / "roster.parquet")
    [entry] = people_of(str(folder / "roster.parquet"), library)
    assert (entry.person_id, entry.name, len(entry.images)) == ("Zé", "Zé", 2)


def test_control_characters_of_folders_and_parquet(folder: Path, library: LibraryFiles) -> None:
    (folder / "people" / "S1\n2030 root forget S2").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "people" / "S1\n2030 root forget S2" / "1.jpg")
    with pytest.raises(InputError, match=r"people: folder 'S1\\n2030 root forget S2' has a control character"):
        people_of(str(folder / "people"), library)
    pq.write_table(pa.table({"uri": ["photos/ann.jpg"], "person": ["a\x9bb"]}), folder / "roster.parquet")
    with pytest.raises(InputError, match=r"ann.jpg: person 'a\\x9bb' has a control character"):
        people_of(str(folder / "roster.parquet"), library)


def test_what_is_invisible_and_part_of_a_script_stays(folder: Path, library: LibraryFiles) -> None:
    (folder / "r.csv").write_text("person_id,name,image\n1,علی\u200cرضا,photos/ann.jpg\n", encoding="utf-8")
    assert people_of(str(folder / "r.csv"), library)[0].name == "علی\u200cرضا"


def test_a_parquet_manifest(folder: Path, library: LibraryFiles) -> None:
    rows = {
        "uri": ["photos/ann.jpg", "photos/ann 2.jpg", "photos/bo.jpg"],
        "person": ["ann", "ann", "bo"],
        "consent": [True, True, False],
        "valid_until": [date(2030, 1, 1), date(2030, 1, 1), None],
    }
    pq.write_table(pa.table(rows), folder / "roster.parquet")
    ann, bo = people_of(str(folder / "roster.parquet"), library)
    assert (ann.person_id, len(ann.images), ann.consent, ann.valid_until) == ("ann", 2, True, date(2030, 1, 1))
    assert (bo.person_id, bo.consent) == ("bo", False)

    pq.write_table(pa.table(rows | {"name": ["A", "B", "C"]}), folder / "roster.parquet")
    with pytest.raises(InputError, match="person ann: rows differ in name"):
        people_of(str(folder / "roster.parquet"), library)
    pq.write_table(pa.table({"uri": rows["uri"]}), folder / "roster.parquet")
    with pytest.raises(InputError, match="no column person or person_id"):
        people_of(str(folder / "roster.parquet"), library)


def test_cells_that_are_missing_are_empty(folder: Path, library: LibraryFiles) -> None:
    (folder / "r.csv").write_text("person_id,image,consent\n1,photos/ann.jpg,yes\n2,photos/bo.jpg\n")
    assert [entry.consent for entry in people_of(str(folder / "r.csv"), library)] == [True, False]


@pytest.mark.parametrize("name", ["photos/ann.jpg", "students.xlsx"])
def test_a_file_that_is_no_roster(folder: Path, library: LibraryFiles, name: str) -> None:
    (folder / "students.xlsx").write_bytes(b"PK")
    with pytest.raises(
        InputError, match=r"a roster is a file ending in .csv, .tsv, .txt or .parquet, or a folder"
    ) as told:
        people_of(str(folder / name), library)
    assert ("Save the sheet as CSV UTF-8" in str(told.value)) == name.endswith(".xlsx")


def test_odd_names_of_folders(folder: Path, library: LibraryFiles) -> None:
    (folder / "cl?ass" / "Jörg Müller").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "cl?ass/Jörg Müller/1.jpg")
    assert [entry.person_id for entry in people_of(str(folder / "cl?ass"), library)] == ["Jörg Müller"]


def test_partitions_are_people(folder: Path, library: LibraryFiles) -> None:
    """As Spark and pandas write a table by person."""
    names = {"ann": ["ann.jpg", "ann 2.jpg"], "bo": ["bo.jpg"]}
    for person, photos in names.items():
        (folder / "people" / f"person={person}").mkdir(parents=True)
        table = pa.table({"uri": [str(folder / "photos" / photo) for photo in photos]})
        pq.write_table(table, folder / "people" / f"person={person}" / "part-0.parquet")
    entries = people_of(str(folder / "people"), library)
    assert {entry.person_id: len(entry.images) for entry in entries} == {"ann": 2, "bo": 1}
    [entry] = people_of(str(folder / "people" / "person=ann"), library)
    assert entry.person_id == "ann"


@pytest.mark.parametrize("column", ["person_id", "person"])
def test_numbers_that_pandas_made_floats(folder: Path, library: LibraryFiles, column: str) -> None:
    rows = {"uri": ["photos/ann.jpg", "photos/ann 2.jpg", "photos/bo.jpg"], column: [7.0, 7.0, 12.0]}
    facts = {"group": [3.0, 3.0, None], "name": [1.0, 1.0, None], "consent": [1.0, 1.0, None]}
    others = {"seen": pa.array([2**62] * 3, pa.timestamp("us"))}  # a time that Python has not
    pq.write_table(pa.table(rows | facts | others), folder / "r.parquet")
    ann, bo = people_of(str(folder / "r.parquet"), library)
    assert (ann.consent, bo.consent) == (True, False)
    assert (ann.person_id, ann.name, ann.group) == ("7", "1", "3")
    assert (bo.person_id, bo.name, bo.group) == ("12", "12", None)
    for value, complaint in {7.5: "7.5 is a number that is no name", None: f"has no {column}"}.items():
        pq.write_table(pa.table(rows | {column: [7.0, 7.0, value]}), folder / "r.parquet")
        with pytest.raises(InputError, match=complaint):
            people_of(str(folder / "r.parquet"), library)


@pytest.mark.parametrize("form", ["file:{}", "file://{}", "file://localhost{}", "FILE:{}"])
def test_every_form_of_a_file_uri(folder: Path, library: LibraryFiles, form: str) -> None:
    photo = form.format(f"{folder}/photos/ann%202.jpg")
    (folder / "r.csv").write_text(f"person_id,image\n1,{photo}\n")
    for source in (str(folder / "r.csv"), form.format(f"{folder}/r.csv")):
        [entry] = people_of(source, library)
        assert entry.images == (f"{folder}/photos/ann 2.jpg",)


@pytest.mark.parametrize("uri", ["ftp://host/a.jpg", "file://host/a.jpg", "hf://a/b.jpg"])
def test_photos_that_are_not_read(folder: Path, library: LibraryFiles, uri: str) -> None:
    (folder / "r.csv").write_text(f"person_id,image\n1,{uri}\n")
    with pytest.raises(InputError, match=r"person_id 1: .*(is not read|another machine)"):
        people_of(str(folder / "r.csv"), library)


def test_columns_of_parquet(folder: Path, library: LibraryFiles) -> None:
    rows = {
        "uri": ["photos/ann.jpg", "photos/bo.jpg"],
        "Student ID": [7.0, 12345678.0],
        "Class": [3, None],
        "until": ["03/04/2099", "31/12/2099"],
        "phone": ["1", "2"],
    }
    pq.write_table(pa.table(rows), folder / "roster.parquet")
    source = str(folder / "roster.parquet")
    given = {"person_id": "Student ID", "group": "class", "valid_until": "until"}
    found = read_roster(source, library, given)
    assert [(each.person_id, each.group, each.valid_until) for each in found.people] == [
        ("7", "3", date(2099, 4, 3)),
        ("12345678", None, date(2099, 12, 31)),
    ]
    assert found.remarks == [f"columns of {source} that were left out: phone"]
    with pytest.raises(InputError, match=r"`columns`: roster .* is a Parquet file: its photos are in `uri` or `image`"):
        read_roster(source, library, given | {"image": "phone"})
    pq.write_table(pa.table(rows | {"Student ID": [7.5, 8.0]}), folder / "roster.parquet")
    with pytest.raises(InputError, match=r"ann.jpg, Student ID: 7.5 is a number that is no name"):
        read_roster(source, library, given)
    pq.write_table(pa.table(rows | {"Student ID": [float("nan"), 8.0]}), folder / "roster.parquet")
    with pytest.raises(InputError, match=r"ann.jpg has no Student ID"):
        read_roster(source, library, given)


def test_a_folder_has_no_columns(folder: Path, library: LibraryFiles) -> None:
    (folder / "people/Ann").mkdir(parents=True)
    (folder / "people/Ann/1.jpg").touch()
    with pytest.raises(InputError, match="is a folder, and has none"):
        read_roster(str(folder / "people"), library, {"person_id": "x"})


def test_ids_that_differ_in_case_alone_are_said(folder: Path, library: LibraryFiles) -> None:
    (folder / "r.csv").write_text("person_id,image\ns1,photos/ann.jpg\nS1,photos/bo.jpg\nS2,\n")
    found = read_roster(str(folder / "r.csv"), library)
    assert [each.person_id for each in found.people] == ["s1", "S1", "S2"]
    assert found.remarks == ["person_ids that differ in case alone are several people: S1, s1"]


def test_a_date_of_birth_is_read_by_the_other_dates_of_its_own_column(folder: Path, library: LibraryFiles) -> None:
    head = "person_id,image,born,valid_until\n"
    (folder / "r.csv").write_text(
        f"{head}1,photos/ann.jpg,03/04/2012,03/04/2099\n2,photos/bo.jpg,25/12/2011,12/25/2099\n"
    )
    ann, bo = people_of(str(folder / "r.csv"), library)
    assert (ann.born, bo.born) == (date(2012, 4, 3), date(2011, 12, 25))
    assert ann.valid_until == date(2099, 3, 4)
    (folder / "r.csv").write_text("person_id,image,born\n1,photos/ann.jpg,2999-01-01\n")
    with pytest.raises(InputError, match="line 2: born 2999-01-01 is to come"):
        people_of(str(folder / "r.csv"), library)
