"""Listings of folders, globs and buckets, with everything that a file system can hold."""

import codecs
import contextlib
import os
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow.fs as pafs
import pytest

from benchmarks.url_server import UrlServer
from helpers.urls import private, quick, web
from muster.errors import InputError, MissingError, MusterError, UnreachableError
from muster.storage.library import LibraryFiles, open_library
from muster.storage.photos.listing import covers, head_of, list_files, locate
from muster.storage.uris import local_path

__all__ = ["private", "quick", "web"]


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return open_library(tmp_path / "photos" / "library", create=True)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir(exist_ok=True)
    return folder


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def listed(source: str | Path, library: LibraryFiles) -> list[str]:
    return [file.uri for file in list_files(locate(str(source)), library).files]


def below(photos: Path, source: str, library: LibraryFiles) -> list[str]:
    return [os.path.relpath(uri, photos) for uri in listed(photos / source, library)]


def test_folder_is_searched_through(photos: Path, library: LibraryFiles) -> None:
    make(photos, "a.jpg", "b/c/d.jpg", ".hidden.jpg", ".git/e.jpg", "b/.thumbnails/f.jpg", "b/@eaDir/g.jpg")
    make(photos, "library/faces.jpg")
    assert below(photos, ".", library) == ["a.jpg", "b/c/d.jpg"]
    assert below(photos, ".git", library) == [".git/e.jpg"]  # asked for by name


def test_size_and_time(photos: Path, library: LibraryFiles) -> None:
    make(photos, "a.jpg")
    os.utime(photos / "a.jpg", ns=(0, 1_234_567_891_234_567_999))
    [file] = list_files(locate(str(photos)), library).files
    assert file == (str(photos / "a.jpg"), 5, 1_234_567_891_234_567)
    assert list_files(locate(str(photos / "a.jpg")), library).files == [file]


def test_links(photos: Path, library: LibraryFiles, tmp_path: Path) -> None:
    make(photos, "m/x.jpg")
    make(tmp_path / "elsewhere", "y.jpg")
    (photos / "a-link-to-m").symlink_to(photos / "m")  # sorts before m, yet m keeps its name
    (photos / "m" / "up").symlink_to(photos)
    (photos / "self").symlink_to(photos / "self")
    (photos / "out").symlink_to(tmp_path / "elsewhere")
    (photos / "out.jpg").symlink_to(tmp_path / "elsewhere" / "y.jpg")
    (photos / "gone out.jpg").symlink_to(tmp_path / "elsewhere" / "gone.jpg")
    (photos / "z.jpg").symlink_to(photos / "m" / "x.jpg")
    (photos / "broken.jpg").symlink_to(photos / "gone.jpg")
    (photos / "to-library").symlink_to(photos / "library")
    within = {"m/x.jpg": 7, "z.jpg": 7, "broken.jpg": None, "self": None}
    without = {"gone out.jpg": None, "out.jpg": 5, "out/y.jpg": 5}
    for follow, expected, left_out in (
        (False, within, ["gone out.jpg", "out", "out.jpg"]),
        (True, within | without, []),
    ):
        listing = list_files(locate(str(photos)), library, follow)
        assert {os.path.relpath(f.uri, photos): f.size for f in listing.files} == expected
        assert sorted(os.path.relpath(uri, photos) for uri in listing.outside) == left_out


def test_a_place_may_be_a_link(photos: Path, library: LibraryFiles, tmp_path: Path) -> None:
    make(photos, "a.jpg")
    (tmp_path / "album").symlink_to(photos)
    for source in (tmp_path / "album", tmp_path / "album" / "*.jpg", tmp_path / "album" / "a.jpg"):
        assert listed(source, library) == [f"{tmp_path}/album/a.jpg"]


def test_pipes_are_not_opened(photos: Path, library: LibraryFiles) -> None:
    os.mkfifo(photos / "pipe.jpg")
    assert listed(photos, library) == []
    with pytest.raises(InputError, match=r"pipe\.jpg"):
        locate(str(photos / "pipe.jpg"))


NAMES = ["new\nline.jpg", "e\u0301.jpg", "\u00e9.jpg", "😀.jpg", "a%20b?.jpg", "x.parquet#row=3", "[1].jpg", " .jpg"]


def test_strange_names(photos: Path, library: LibraryFiles) -> None:
    for name in NAMES:
        (photos / name).touch()
    (photos / os.fsdecode(b"\xff\xfe.jpg")).touch()
    found = [local_path(uri) for uri in listed(photos, library)]
    assert sorted(map(str, found)) == sorted(
        os.path.join(photos, name) for name in os.listdir(photos) if name != "library"
    )
    for name in NAMES:  # also named one by one, though some look like globs
        assert [local_path(uri) for uri in listed(photos / name, library)] == [str(photos / name)]


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.jpg", ["a.jpg", "b.jpg"]),
        ("**/*.jpg", ["2024/c.jpg", "2024/may/d.jpg", "a.jpg", "b.jpg"]),
        ("**", ["2024/c.jpg", "2024/may/d.jpg", "2024/may/e.png", "a.jpg", "b.jpg"]),
        ("*/*.jpg", ["2024/c.jpg"]),
        ("20??/**/*.png", ["2024/may/e.png"]),
        ("[ab].jpg", ["a.jpg", "b.jpg"]),
        ("[!a].jpg", ["b.jpg"]),
        ("*.(jpg)", []),
    ],
)
def test_globs(photos: Path, library: LibraryFiles, glob: str, expected: list[str]) -> None:
    make(photos, "a.jpg", "b.jpg", "2024/c.jpg", "2024/may/d.jpg", "2024/may/e.png", ".x/f.jpg")
    assert below(photos, glob, library) == expected


def test_ways_to_write_a_path(photos: Path, library: LibraryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    make(photos, "a b.jpg")
    monkeypatch.chdir(photos.parent)
    monkeypatch.setenv("HOME", str(photos))
    wanted = [str(photos / "a b.jpg")]
    for source in (
        "photos",
        "photos/",
        "./photos/../photos/*.jpg",
        "~",
        f"file://{photos}/a%20b.jpg",
        f"file://{photos}",
        f"file:{photos}/*.jpg",
        f"file://localhost{photos}",
        f"FILE:{photos}/a%20b.jpg",
    ):
        assert listed(source, library) == wanted
    assert locate("photos/").source == str(photos)
    assert locate("photos/*.jpg").source == f"{photos}/*.jpg"


@pytest.mark.parametrize(
    "source",
    [
        *(
            "missing",
            "missing/*.jpg",
            "a.jpg/*",
            "foo://bucket/a",
            "s3://",
            "fsspec+memory://none/x",
            "-",
            "C:\\photos",
        ),
        *(
            "hf://datasets/a/b",
            "http://127.0.0.1/b.jpg",
            "https://a:b@c/b.jpg",
            "S3://bucket/a",
            "fsspec+nothing://a",
            "fsspec+none://a",
        ),
        *("~nobody.of.this.name/a", "mailto:a", "gdrive://a", "file://host/a.jpg", "file:/missing"),
    ],
)
def test_nothing_there(photos: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make(photos, "a.jpg")
    monkeypatch.chdir(photos)
    with pytest.raises(InputError) as refused:
        locate(source)
    assert source in str(refused.value)


@pytest.mark.parametrize("source", ["", " "])
def test_an_empty_text_is_not_the_current_folder(photos: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make(photos, "a.jpg")
    monkeypatch.chdir(photos)
    with pytest.raises(InputError, match="empty"):
        locate(source)


def test_advice_for_what_cannot_be_a_source() -> None:
    for source, advice in {
        "hf://datasets/a/b": "hf://.*download",
        "ftp://a/b.jpg": "ftp://.*download",
        "https://10.0.0.1/b.jpg": "`allow_private` is not set",
        "file://host/a.jpg": "another machine",
        "C:\\photos": "Windows",
        "-": "standard input",
        "a\0b": "null byte",
    }.items():
        with pytest.raises(InputError, match=advice):
            locate(source)


@contextlib.contextmanager
def as_owner_of(folder: str) -> Iterator[None]:
    """Permissions do not bind root, as which tests run in containers: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_folders_that_may_not_be_listed() -> None:
    with tempfile.TemporaryDirectory() as folder, as_owner_of(folder):
        photos = Path(folder)
        make(photos, "a.jpg", "closed/b.jpg")
        library = open_library(photos / "library", create=True)
        (photos / "closed").chmod(0)
        listing = list_files(locate(folder), library)
        assert [f.uri for f in listing.files] == [f"{folder}/a.jpg"]
        assert listing.unreadable == [f"{folder}/closed"]
        with pytest.raises(MusterError, match=r"closed: Permission denied"):
            list_files(locate(f"{folder}/closed"), library)
        (photos / "closed").chmod(0o700)


def test_other_filesystems(tmp_path: Path) -> None:
    fs = pafs.FileSystem.from_uri("fsspec+memory://listing/")[0]
    root = "fsspec+memory://listing"
    library = open_library(f"{root}/library", create=True)
    for name in ("a.jpg", "sub/b c#1?.jpg", "sub/.hidden.jpg", ".git/c.jpg", "library/faces.jpg"):
        fs.create_dir(os.path.dirname(f"/listing/{name}"))
        with fs.open_output_stream(f"/listing/{name}") as out:
            out.write(b"abc")
    all_of_it = [f"{root}/a.jpg", f"{root}/sub/b%20c%231%3F.jpg"]
    assert listed(root, library) == listed(root + "/", library) == listed(f"{root}/**/*.jpg", library) == all_of_it
    assert listed(f"{root}/*.jpg", library) == all_of_it[:1]
    assert [f.size for f in list_files(locate(all_of_it[1]), library).files] == [3]
    assert listed(all_of_it[1], library) == all_of_it[1:]
    assert listed(root, open_library(tmp_path / "L", create=True)) == all_of_it  # nor what another library holds


PAGES = (
    b'{\n"note": "Made by muster people. Run again, it replaces and removes the files listed here, and no others.",\n'
)


def test_what_muster_made_is_passed_over(photos: Path, tmp_path: Path) -> None:
    other = open_library(photos / "b" / "another library", create=True)
    make(
        photos, "a.jpg", "b/b.jpg", "b/another library/people/x.jpg", "out/faces/00/f.jpg", "mine/c.jpg", "mine2/d.jpg"
    )
    (photos / "out" / "muster-pages.json").write_bytes(PAGES)
    (photos / "mine" / "library.json").write_text('{"books": []}')  # not of Muster
    (photos / "mine2" / "muster-pages.json").mkdir()
    os.mkfifo(photos / "mine2" / "library.json")
    library = open_library(tmp_path / "L", create=True)
    found = [name for name in below(photos, ".", library) if name.endswith(".jpg")]
    assert found == ["a.jpg", "b/b.jpg", "mine/c.jpg", "mine2/d.jpg"]
    assert below(photos, "**/*.jpg", library) == found
    assert listed(photos / "out", library) == listed(other.path, library) == []
    assert below(photos, "out/faces/00/f.jpg", library) == ["out/faces/00/f.jpg"]  # asked for by name


def test_what_muster_made_is_passed_over_elsewhere(tmp_path: Path) -> None:
    fs = pafs.FileSystem.from_uri("fsspec+memory://own/")[0]
    root = "fsspec+memory://own"
    open_library(f"{root}/another library", create=True)
    files = {"a.jpg": b"", "another library/x.jpg": b"", "out/muster-pages.json": PAGES, "out/faces/f.jpg": b""}
    for name, data in {**files, "outer/b.jpg": b"", "mine/library.json": b"{}", "mine/c.jpg": b""}.items():
        fs.create_dir(os.path.dirname(f"/own/{name}"))
        with fs.open_output_stream(f"/own/{name}") as out:
            out.write(data)
    found = listed(f"{root}/**/*.jpg", open_library(tmp_path / "L", create=True))
    assert found == [f"{root}/a.jpg", f"{root}/mine/c.jpg", f"{root}/outer/b.jpg"]


# ---- what is left out ------------------------------------------------------------------------------------------------

LEFT_OUT = {
    "recycle bins": "#recycle @Recycle $RECYCLE.BIN RECYCLER Recycled .Trash .Trash-1000 .Trashes u/files_trashbin"
    " .stversions .dtrash .Recycle.Bin",
    "thumbnails": "@eaDir @eadir/IMG_1.jpg @__thumb .@__thumb .thumbnails thumbs/1/2 .photoprism storage/cache"
    " storage/sidecar X.lrdata/0 CaptureOne/Cache/Thumbnails A.cocatalog/Cache data/appdata_1/preview protected_media"
    " P.photoslibrary/resources/derivatives P.photoslibrary/database P.PHOTOSLIBRARY/resources A.aplibrary/Previews"
    " M.migratedphotolibrary/Thumbnails _data/i V.imovielibrary/a",
    "snapshots": "#snapshot/GMT-1 @Recently-Snapshot ~snapshot .snapshot .zfs/snapshot/a u/files_versions",
    "system folders": "lost+found __MACOSX/a .AppleDouble @tmp FOUND.000",
    "hidden": ".git/objects .cache",
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_folders_of_programs_are_left_out(photos: Path, library: LibraryFiles, kind: str) -> None:
    make(photos, "kept.jpg", *(f"{number}/{name}/x.jpg" for number, name in enumerate(LEFT_OUT[kind].split())))
    assert below(photos, ".", library) == below(photos, "**/*.jpg", library) == ["kept.jpg"]
    assert list_files(locate(str(photos)), library).left_out == {kind: len(LEFT_OUT[kind].split())}


def test_system_folders_with_blanks(photos: Path, library: LibraryFiles) -> None:
    make(photos, "System Volume Information/x.jpg", "Network Trash Folder/x.jpg")
    make(photos, "a/Iphoto Library/Data/x.jpg", "a/iPhoto Library/Originals/y.jpg")
    assert below(photos, ".", library) == ["a/iPhoto Library/Originals/y.jpg"]


def test_of_apples_libraries_the_originals_are_listed(photos: Path, library: LibraryFiles) -> None:
    originals = ["A.aplibrary/Masters/2/a.jpg", "P.photoslibrary/Masters/b.jpg", "P.photoslibrary/originals/0/c.jpg"]
    make(photos, *originals, "P.photoslibrary/scopes/d.jpg", "P.photoslibrary/originals/thumbs/e.jpg")
    assert below(photos, ".", library) == originals
    assert below(photos, "P.photoslibrary", library) == originals[1:]


@pytest.mark.parametrize(
    "name", ["my#recycle", "Trash", "Thumbelina", "snapshot", "cache", "sidecar", "preview", "tmp"]
)
def test_folders_of_people_are_not(photos: Path, library: LibraryFiles, name: str) -> None:
    make(photos, f"{name}/x.jpg")
    assert below(photos, ".", library) == [f"{name}/x.jpg"]


@pytest.mark.parametrize("name", ["#recycle", "Thumbs", "@eaDir", ".hidden", "P.photoslibrary/resources"])
def test_what_is_named_itself_counts(photos: Path, library: LibraryFiles, name: str) -> None:
    make(photos, f"{name}/x.jpg", f"{name}/y/z.jpg", f"{name}/.nomedia")
    assert below(photos, name, library) == [f"{name}/x.jpg", f"{name}/y/z.jpg"]
    assert below(photos, f"{name}/*.jpg", library) == [f"{name}/x.jpg"]
    make(photos, f"2019/{name}/x.jpg")
    assert below(photos, f"20??/{name}/*.jpg", library) == [f"2019/{name}/x.jpg"]


def test_hidden_files(photos: Path, library: LibraryFiles) -> None:
    """Photos are counted; not what lies everywhere, and beside every photo from a Mac."""
    make(photos, "a.jpg", ".b.jpg", ".trashed-1700000000-c.jpg", ".DS_Store", "._a.jpg")
    listing = list_files(locate(str(photos)), library)
    assert [file.uri for file in listing.files] == [f"{photos}/a.jpg"]
    assert listing.left_out == {"hidden": 1, "recycle bins": 1}


def test_nomedia(photos: Path, library: LibraryFiles) -> None:
    make(photos, "a.jpg", "sent/.nomedia", "sent/b.jpg", "sent/c/d.jpg", "seen/e.jpg")
    listing = list_files(locate(str(photos)), library)
    assert [file.uri for file in listing.files] == [f"{photos}/a.jpg", f"{photos}/seen/e.jpg"]
    assert listing.left_out == {".nomedia": 1}


IGNORED = {  # text of the file in the source → what is left of TREE
    "*.png": "a.jpg b.jpg private/c.jpg trip/d.jpg trip/private/e.jpg trip/x/y/f.jpg",
    "private": "a.jpg a.png b.jpg trip/d.jpg trip/x/y/f.jpg",
    "/private/": "a.jpg a.png b.jpg trip/d.jpg trip/private/e.jpg trip/x/y/f.jpg",
    "trip/private": "a.jpg a.png b.jpg private/c.jpg trip/d.jpg trip/x/y/f.jpg",
    "b.jpg/": "a.jpg a.png b.jpg private/c.jpg trip/d.jpg trip/private/e.jpg trip/x/y/f.jpg",
    "trip/**/f.jpg": "a.jpg a.png b.jpg private/c.jpg trip/d.jpg trip/private/e.jpg",
    "trip/**": "a.jpg a.png b.jpg private/c.jpg",
    "*\n!a.*": "a.jpg a.png",
    "# *.jpg\n\n/\n!\n  \r\n[ab].jpg\r\n": "a.png private/c.jpg trip/d.jpg trip/private/e.jpg trip/x/y/f.jpg",
    "*.JPG": "a.jpg a.png b.jpg private/c.jpg trip/d.jpg trip/private/e.jpg trip/x/y/f.jpg",
}
TREE = "a.jpg a.png b.jpg private/c.jpg trip/d.jpg trip/private/e.jpg trip/x/y/f.jpg"


@pytest.mark.parametrize("text", IGNORED)
def test_musterignore(photos: Path, library: LibraryFiles, text: str) -> None:
    make(photos, *TREE.split())
    (photos / ".musterignore").write_text(text)
    assert below(photos, ".", library) == IGNORED[text].split()


def test_musterignore_of_a_folder_below_speaks_for_it(photos: Path, library: LibraryFiles) -> None:
    make(photos, *TREE.split())
    (photos / ".musterignore").write_text("*.jpg")
    (photos / "trip" / ".musterignore").write_text("!*.jpg\n/x")
    assert below(photos, ".", library) == ["a.png", "trip/d.jpg", "trip/private/e.jpg"]
    assert list_files(locate(str(photos)), library).left_out == {".musterignore": 4}


@pytest.mark.parametrize(
    "content",
    [
        "private/\nZoë/\n".encode("utf-8-sig"),
        "private/\r\nZoë/\r\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "private/\r\nZoë/\r\n".encode("utf-16-be"),
        b"private/\r\n" + "Zo?/\r\n".encode("utf-16-le"),
        unicodedata.normalize("NFD", "private/\nZoë/").encode(),
    ],
    ids=["UTF-8 with a mark", "UTF-16", "big-endian", "UTF-16 added", "NFD"],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_musterignore_as_windows_and_macs_write_it(
    photos: Path, library: LibraryFiles, content: bytes, form: Literal["NFC", "NFD"]
) -> None:
    """`echo private/ > .musterignore` in PowerShell is UTF-16. Who wrote it believes that these photos are left out."""
    make(photos, "a.jpg", "private/b.jpg", f"{unicodedata.normalize(form, 'Zoë')}/c.jpg")
    (photos / ".musterignore").write_bytes(content)
    assert below(photos, ".", library) == ["a.jpg"]


def test_musterignore_that_is_no_text_file(photos: Path, library: LibraryFiles, tmp_path: Path) -> None:
    make(photos, "a.jpg", "b/a.jpg", "c/a.jpg", "d/a.jpg")
    (photos / "d" / os.fsdecode(b"\xff.jpg")).touch()
    (tmp_path / "other").write_text("*")
    (photos / "b" / ".musterignore").symlink_to(tmp_path / "other")  # a link may lead anywhere
    os.mkfifo(photos / "c" / ".musterignore")
    (photos / "d" / ".musterignore").write_bytes(b"\xff*")
    assert below(photos, ".", library) == ["a.jpg", "b/a.jpg", "c/a.jpg", "d/a.jpg"]


EXCLUDED = {
    ("*.png",): IGNORED["*.png"],
    ("private/", "a.*"): "b.jpg trip/d.jpg trip/x/y/f.jpg",
    ("#a.jpg",): TREE,
    ("./private",): IGNORED["/private/"],
    ("{photos}/trip/private",): IGNORED["trip/private"],
    ("{photos}/trip*/",): IGNORED["trip/**"],
}


@pytest.mark.parametrize("patterns", EXCLUDED)
def test_exclude(photos: Path, library: LibraryFiles, patterns: tuple[str, ...]) -> None:
    make(photos, *TREE.split())
    asked = [pattern.format(photos=photos) for pattern in patterns]
    for source in (photos, photos / "**"):
        listing = list_files(locate(str(source)), library, exclude=asked)
        assert [os.path.relpath(file.uri, photos) for file in listing.files] == EXCLUDED[patterns].split()
    assert (listing.left_out["excluded"] == 0) == (EXCLUDED[patterns] == TREE)


def test_a_pattern_that_fits_nothing_is_counted(photos: Path, library: LibraryFiles) -> None:
    make(photos, "a.jpg")
    assert list_files(locate(str(photos)), library, exclude=["b"]).left_out == {"excluded": 0}


@pytest.mark.parametrize("pattern", ["", "/", "!", "!/"])
def test_exclude_of_nothing_is_refused(photos: Path, library: LibraryFiles, pattern: str) -> None:
    make(photos, "a.jpg")
    for source in (photos, photos / "a.jpg"):
        with pytest.raises(InputError, match="`exclude`"):
            list_files(locate(str(source)), library, exclude=[pattern])


def test_what_is_left_out_elsewhere(tmp_path: Path) -> None:
    fs = pafs.FileSystem.from_uri("fsspec+memory://left/")[0]
    root, names = "fsspec+memory://left", ["@eaDir/a/b.jpg", "@eaDir/c.jpg", "u/#recycle/d.jpg", "sent/.nomedia"]
    names += [
        "sent/e/f.jpg",
        ".g.jpg",
        "ignored/h.jpg",
        "ignored/i.png",
        "kept/j.jpg",
        "P.photoslibrary/originals/k.jpg",
    ]
    names += ["P.photoslibrary/resources/l.jpg", "raw/m.jpg", "/".join(["n"] * 300) + "/n.jpg"]
    for name in names:
        fs.create_dir(os.path.dirname(f"/left/{name}"))
        with fs.open_output_stream(f"/left/{name}") as out:
            out.write(b"abc")
    with fs.open_output_stream("/left/ignored/.musterignore") as out:
        out.write(b"*.png")
    library = open_library(tmp_path / "L", create=True)
    listing = list_files(locate(root), library, exclude=["raw/"])
    kept = ["P.photoslibrary/originals/k.jpg", "ignored/h.jpg", "kept/j.jpg", names[-1]]
    assert [file.uri for file in listing.files] == [f"{root}/{name}" for name in kept]
    assert listing.left_out == {
        "excluded": 1, "thumbnails": 2, "recycle bins": 1, ".nomedia": 1, "hidden": 1, ".musterignore": 1
    }  # fmt: skip
    assert listed(f"{root}/u/%23recycle", library) == [f"{root}/u/%23recycle/d.jpg"]  # named itself


@pytest.mark.usefixtures("private")
def test_a_url_is_one_file_whatever_stands_in_it(web: UrlServer, library: LibraryFiles) -> None:
    for name in ("a.jpg", "a*[1].jpg?w=2", "a"):
        place = locate(f"{web.home}/good/{name}#part")
        assert place.source == f"{web.home}/good/{name}"
        [file] = list_files(place, library).files
        assert (file.uri, file.size, file.modified) == (place.source, len(web.data), 1793700000_000000)
        assert head_of(place) == web.data[:512]
    for path, error in {"missing/a": MissingError, "forbidden/a": InputError, "stall/a": UnreachableError}.items():
        with pytest.raises(error, match=path):
            locate(f"{web.home}/{path}")
    assert head_of(locate(f"{web.home}/noranges/a.jpg")) == web.data[:512]


def test_what_a_url_covers() -> None:
    covered = covers("https://host/photos/x.tar")
    assert covered("https://host/photos/x.tar")
    assert covered("https://host/photos/x.tar#member=a.jpg&at=0+9")
    assert not covered("https://host/photos/x.tar.jpg")
    assert covers("https://host/photos/")("https://host/photos/a/b.jpg?w=1")
    assert not covers("https://host/photos/a.jpg?id=1")("https://host/photos/a.jpg?id=2")
