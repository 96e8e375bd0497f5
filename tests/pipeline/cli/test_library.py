"""`muster scan` and `photos`: what is taken for a photo, what is said of the rest, and where no library is left."""

import base64
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from helpers.fixtures import Outcome
from helpers.originals import picture
from muster.errors import InputError
from muster.library import scan
from muster.pipeline.cli.library import REASONS
from muster.storage import manifest, tables
from muster.storage.library import open_library
from muster.storage.outcomes import IMAGES_FINGERPRINT

Muster = Callable[..., Outcome]
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make(tmp_path / "photos", "a.jpg", "b.jpg", "private/c.jpg", "#recycle/gone.jpg")
    return tmp_path / "photos"


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(JPEG)


def known(library: Path, photos: Path) -> list[str]:
    uris = manifest.read_manifest(open_library(library))["uri"].to_pylist()
    return sorted(str(Path(uri).relative_to(photos)) for uri in uris)


# ---- what is left out is said ----------------------------------------------------------------------------------------


def test_what_is_left_out_is_said_by_kind(muster: Muster, photos: Path, tmp_path: Path) -> None:
    make(
        photos,
        "@eaDir/a.jpg/t.jpg",
        "x/@eaDir/t.jpg",
        "1.eps",
        "2.psb",
        "3.jp2",
        "a.mp3",
        "IMG_0123456789.j",
        "sent/d.jpg",
    )
    (photos / "sent" / ".nomedia").touch()
    (photos / "notes").write_text("a note")
    command = ("scan", photos, "-l", tmp_path / "L", "--exclude", "private/")
    outcome = muster(*command, "--json")
    assert outcome.facts["found"] == 3
    assert outcome.facts["left_out"] == {"excluded": 1, "recycle bins": 1, "thumbnails": 2, ".nomedia": 1}
    assert outcome.facts["skipped"] == {".eps": 1, ".psb": 1, ".jp2": 1, ".mp3": 1, "": 1}
    line = (
        "muster: left out: 1 excluded, 1 recycle bin, 2 folders of thumbnails, 1 folder with .nomedia, 1 .eps, 1 .jp2,"
        " 1 .psb, 1 without a suffix, 1 .mp3"
    )
    assert outcome.err.splitlines() == [line]
    again = muster(*command)
    assert (again.err.splitlines(), again.out) == ([line], "3 images: 0 new, 0 changed, 0 gone\n")


def test_nothing_is_said_where_nothing_is_left_out(muster: Muster, photos: Path, tmp_path: Path) -> None:
    assert muster("scan", photos / "a.jpg", photos / "private", "-l", tmp_path / "L").err == ""


def test_rows_that_are_left_out_are_said(muster: Muster, photos: Path, tmp_path: Path) -> None:
    uri = str(photos / "a.jpg")
    pq.write_table(pa.table({"uri": [uri, uri, None], "label": ["a", "b", "c"]}), tmp_path / "l.parquet")
    outcome = muster("scan", tmp_path / "l.parquet", "-l", tmp_path / "L")
    said = "muster: left out: 1 row without uri, 1 row of a file that another row has, with its columns"
    assert outcome.err.splitlines() == [said]


def test_a_pattern_that_fits_nothing_is_seen(muster: Muster, photos: Path, tmp_path: Path) -> None:
    assert "left out: 0 excluded, 1 recycle" in muster("scan", photos, "-l", tmp_path / "L", "--exclude", "Private").err


# ---- a scan makes the library what the rules say ---------------------------------------------------------------------


def test_what_is_left_out_later_leaves_the_library(muster: Muster, photos: Path, tmp_path: Path) -> None:
    library = tmp_path / "L"
    muster("scan", photos, "-l", library)
    assert known(library, photos) == ["a.jpg", "b.jpg", "private/c.jpg"]
    assert muster("scan", photos, "-l", library, "--exclude", "private", "--json").facts["gone"] == 1
    assert known(library, photos) == ["a.jpg", "b.jpg"]
    assert muster("scan", photos, "-l", library, "--json").facts["new"] == 1  # it is not remembered
    (photos / ".musterignore").write_text("private/\nb.*\n")
    assert muster("scan", photos, "-l", library, "--json").facts["gone"] == 2
    assert known(library, photos) == ["a.jpg"]


def test_what_another_source_holds_stays(muster: Muster, photos: Path, tmp_path: Path) -> None:
    """As long as its file is there: somebody named that folder."""
    library = tmp_path / "L"
    muster("scan", photos / "private", photos / "#recycle", "-l", library)
    muster("scan", photos, "-l", library, "--exclude", "private")
    assert known(library, photos) == ["#recycle/gone.jpg", "a.jpg", "b.jpg", "private/c.jpg"]
    (photos / "private" / "c.jpg").unlink()
    assert muster("scan", photos, "-l", library, "--exclude", "private", "--json").facts["gone"] == 1


def test_everything_left_out_is_refused(muster: Muster, photos: Path, tmp_path: Path) -> None:
    muster("scan", photos, "-l", tmp_path / "L")
    outcome = muster("scan", photos, "-l", tmp_path / "L", "--exclude", "*")
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
    assert "left out: 3 excluded, 1 recycle bin" in outcome.err
    assert len(known(tmp_path / "L", photos)) == 3


# ---- no library for a scan that is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["scan", "photos"])
@pytest.mark.parametrize(
    "source", ["nope", "empty", "shard.tar", "hf://datasets/a/b", "https://10.0.0.1/b.jpg", "", "-", "*.gif"]
)
def test_a_scan_that_is_refused_leaves_no_library(
    muster: Muster, photos: Path, tmp_path: Path, command: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("000.mov"), io.BytesIO())
    (tmp_path / "there").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for library in ("new/deep", "there"):
        outcome = muster(command, photos, source, "-l", library)
        assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1)
        assert source in outcome.err
        assert "Traceback" not in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


def test_archives_are_read_as_they_lie(muster: Muster, tmp_path: Path) -> None:
    """Also where a folder holds nothing else."""
    jpeg = picture()
    with tarfile.open(tmp_path / "shard-000000.tar", "w") as archive:
        info = tarfile.TarInfo("000.jpg")
        info.size = len(jpeg)
        archive.addfile(info, io.BytesIO(jpeg))
    with zipfile.ZipFile(tmp_path / "takeout.zip", "w") as packed:
        packed.writestr("Takeout/Google Photos/a.jpg", jpeg, zipfile.ZIP_DEFLATED)
    assert muster("scan", tmp_path / "shard-000000.tar", "-l", tmp_path / "one").out.startswith("1 image")
    assert muster("scan", tmp_path, "-l", tmp_path / "L").out.startswith("2 images")


def test_a_library_is_made_with_its_key_once_the_scan_is_good(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_KEY", base64.b64encode(bytes(range(32))).decode())
    with pytest.raises(InputError):
        scan(tmp_path / "none", library=tmp_path / "L")
    assert not (tmp_path / "L").exists()
    assert scan(photos, library=tmp_path / "L").found == 3
    assert (tmp_path / "L").stat().st_mode & 0o777 == 0o700
    assert open_library(tmp_path / "L").key is not None
    assert scan(photos, library=tmp_path / "L").unchanged == 3


def test_a_library_that_another_command_made_meanwhile_is_used(photos: Path, tmp_path: Path) -> None:
    library, other = tmp_path / "L", photos / "private"
    opened = open_library(library, create=True, before=lambda: manifest.scan(open_library(library, True), [str(other)]))
    assert manifest.scan(opened, [str(photos / "a.jpg")]).new == 1
    assert known(library, photos) == ["a.jpg", "private/c.jpg"]


def test_what_cannot_be_a_library_is_said_before_anything_is_listed(photos: Path) -> None:
    with pytest.raises(InputError, match="holds other files"):
        scan(photos / "none", library=photos)


# ---- other programs' addresses ---------------------------------------------------------------------------------------


def test_addresses_that_nothing_is_opened_at(muster: Muster, library: Path, tmp_path: Path) -> None:
    """For every command that takes a source, a library or a place to write."""
    address = "hf://datasets/a/b"
    for command in (
        ("scan", address),
        ("photos", address),
        ("enroll", address, "--consent-given"),
        ("run", "-l", address),
        ("status", "-l", address),
        ("scan", tmp_path, "-l", address),
        ("people", "--out", address),
        ("demo", address),
        ("models", "export", "mobilefacenet", "--out", address),
        ("export", "--format", "coco", "--tasks", "faces", "--out", f"{address}.json"),
        ("overlay", "--out", address),
        ("train", "daynight", "--images", address, "--out", tmp_path / "T"),
        ("train", "daynight", "--images", tmp_path, "--out", address),
    ):
        with_library = () if "-l" in command or command[0] in ("train", "demo", "models") else ("-l", library)
        outcome = muster(*command, *with_library)
        assert (outcome.code, len(outcome.err.splitlines())) == (2, 1), outcome
        assert "hf:/" in outcome.err
    assert not Path("hf:").exists()


def test_rows_that_name_nothing_that_is_read(muster: Muster, photos: Path, tmp_path: Path) -> None:
    """Some are images with an error; all of them are a mistake, which is said."""
    web = [f"http://127.0.0.1:9/{i}.jpg" for i in range(3)]
    for uris, code in {(*web, str(photos / "a.jpg")): 0, tuple(web): 2}.items():
        pq.write_table(pa.table({"uri": uris}), tmp_path / "x.parquet")
        outcome = muster("scan", tmp_path / "x.parquet", "-l", tmp_path / f"L{code}", "--json")
        assert (outcome.code, outcome.facts["found"]) == (code, len(uris))
        assert list(outcome.facts["unread"].values()) == [3]
        said = "3 images cannot be read: they lie on this machine or in a private network, and --allow-private is not"
        assert said in outcome.err
        assert ("none of them can be read" in outcome.err) == (code == 2)
        outcome = muster("scan", tmp_path / "x.parquet", "-l", tmp_path / f"L{code}", "--json", "--allow-private")
        assert (outcome.code, outcome.facts["found"], outcome.facts["unread"]) == (0, len(uris), {})


def test_reasons_of_rows_are_few(muster: Muster, tmp_path: Path) -> None:
    """Whoever wrote them may have made up any number of schemes."""
    uris = [f"x{i}://host/a.jpg" for i in range(100)]
    pq.write_table(pa.table({"uri": [*uris, "a.jpg"]}), tmp_path / "x.parquet")
    outcome = muster("scan", tmp_path / "x.parquet", "-l", tmp_path / "L")
    assert (outcome.code, outcome.err.count("cannot be read")) == (0, REASONS)


def test_every_form_of_a_file_uri(muster: Muster, photos: Path, tmp_path: Path) -> None:
    for form in ("file:", "file://", "file://localhost", "FILE:"):
        outcome = muster("scan", f"{form}{photos}", "-l", f"{form}{tmp_path}/L", "--json")
        assert (outcome.code, outcome.facts["found"]) == (0, 3)
        assert known(tmp_path / "L", photos) == ["a.jpg", "b.jpg", "private/c.jpg"]
        assert muster("status", "-l", f"{form}{tmp_path}/L", "--json").facts["images"] == 3
        outcome = muster("people", "-l", f"{form}{tmp_path}/L")  # its pages would lie in it: this machine has it
        assert "say with --out" not in outcome.err
    for command in (("scan", f"file://host{photos}"), ("status", "-l", f"file://host{tmp_path}/L")):
        outcome = muster(*command)
        assert outcome.code == 2
        assert "another machine" in outcome.err


# ---- what is the same ------------------------------------------------------------------------------------------------


def test_what_moved_is_said_and_what_changed_in_place_is_found(
    muster: Muster, work: Callable[..., object], tmp_path: Path
) -> None:
    """A tool that turns photos by their EXIF and keeps the file's time (exiftool -P, digiKam)."""
    photo, library = tmp_path / "old" / "a.jpg", tmp_path / "L"
    photo.parent.mkdir()
    exif = Image.Exif()
    exif[0x112] = 1
    Image.new("RGB", (60, 40), "red").save(photo, exif=exif)
    assert muster("scan", photo.parent, "-l", library).out == "1 image: 1 new, 0 changed, 0 gone\n"
    work(library, None, ("previews",))
    before = photo.stat()
    exif[0x112] = 6
    Image.new("RGB", (60, 40), "red").save(photo, exif=exif)
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert photo.stat().st_size == before.st_size
    assert muster("scan", photo.parent, "-l", library, "--json").facts["unchanged"] == 1
    assert muster("scan", photo.parent, "-l", library, "--verify").out == "1 image: 0 new, 1 changed, 0 gone\n"
    work(library, None, ("previews",))
    rows = tables.read(open_library(library), "images", IMAGES_FINGERPRINT)
    assert rows is not None
    assert rows["orientation"].to_pylist() == [6]
    images = rows["image_id"].to_pylist()

    os.utime(photo, (1, 1))
    photo.parent.rename(tmp_path / "new")
    out = muster("scan", tmp_path / "new", "-l", library).out
    assert out == "1 image: 0 new, 0 changed, 1 moved or with another time, 0 gone\n"
    assert work(library, None, ("previews",)) == []
    assert manifest.read_manifest(open_library(library))["image_id"].to_pylist() == images
