"""Names from inside a library, links planted in it, who may read and write it, tables changed, libraries that move."""

import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.fixtures import Outcome, School
from helpers.runs import config_of
from muster.errors import LibraryGoneError, MusterError
from muster.storage import manifest, shared_shards, tables
from muster.storage.index import vectors
from muster.storage.layout import MARKER
from muster.storage.library import LibraryFiles, open_library
from muster.web.site import Site

Muster = Callable[..., Outcome]
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder outside of the library, whose files nobody may change."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "precious.txt").write_text("mine")
    return folder


def untouched(victim: Path) -> bool:
    return [(p.name, p.read_text()) for p in victim.rglob("*")] == [("precious.txt", "mine")]


def commits(library: Path, table: str) -> list[Path]:
    """The commits that name files of this table."""
    return [
        p
        for p in library.glob("_commits/*/*.json")
        if table in [f["table"] for f in json.loads(p.read_text())["files"]]
    ]


def edit(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    facts = json.loads(file.read_text())
    change(facts)
    file.write_text(json.dumps(facts))


# ---- links and names -------------------------------------------------------------------------------------------------


def test_07_the_lock_is_no_link(muster: Muster, library: Path, victim: Path, album: Path) -> None:
    (library / ".lock").unlink(missing_ok=True)
    (library / ".lock").symlink_to(victim / "precious.txt")
    for command in (("scan", album), ("run", "--device", "cpu"), ("cluster",), ("people",)):
        outcome = muster(*command, "-l", library)
        assert (outcome.code, f"{library}/.lock is a link" in outcome.error) == (1, True), outcome.error
    assert untouched(victim)


def test_07_the_lock_is_no_second_name_of_a_file(muster: Muster, library: Path, victim: Path, album: Path) -> None:
    (library / ".lock").unlink(missing_ok=True)
    (library / ".lock").hardlink_to(victim / "precious.txt")
    outcome = muster("scan", album, "-l", library)
    assert (outcome.code, "is no plain file of its own" in outcome.error) == (1, True)
    assert untouched(victim)


def test_07_a_marker_of_pages_removes_nothing_through_a_link(library: Path, victim: Path) -> None:
    pages = library / "people"
    pages.mkdir()
    (pages / "x").symlink_to(victim)
    note = "Made by muster people"
    (pages / "muster-pages.json").write_text(json.dumps({"note": note, "stamp": {}, "files": ["x/precious.txt"]}))
    with pytest.raises(MusterError, match="people/x is a link"):
        Site(pages, {}).finish(set())
    assert untouched(victim)


@pytest.mark.parametrize("name", ["../victim/precious.txt", "/etc/passwd", "a/../../victim/precious.txt", "a\0b", ""])
def test_07_a_marker_of_pages_names_nothing_outside(library: Path, victim: Path, name: str) -> None:
    pages = library / "people"
    pages.mkdir()
    (pages / "muster-pages.json").write_text(json.dumps({"note": "", "stamp": {}, "files": [name]}))
    with pytest.raises(MusterError, match=r"muster-pages.json is damaged"):
        Site(pages, {})
    assert untouched(victim)


def test_07_pages_that_become_a_link_are_refused(library: Path, victim: Path) -> None:
    """Between the look at their marker and their use."""
    pages = library / "people"
    pages.mkdir()
    note = {"note": "Made by muster people", "stamp": {}, "files": ["precious.txt"]}
    (pages / "muster-pages.json").write_text(json.dumps(note))
    site = Site(pages, {})
    pages.rename(library / "moved")
    pages.symlink_to(victim)
    for use in (lambda: site.finish(set()), lambda: site.begin({"x.html"}), lambda: site.write("x.html", b"")):
        with pytest.raises(MusterError):
            use()
    assert untouched(victim)


def test_07_a_link_to_pages_stops_a_deletion_before_it_begins(
    muster: Muster, gallery_library: Path, school: School, victim: Path
) -> None:
    (gallery_library / "people").symlink_to(victim)
    [person, *_] = school.enrolled
    outcome = muster("forget", person, "-l", gallery_library)
    assert (outcome.code, "people is a link" in outcome.error) == (1, True)
    assert not (gallery_library / "gallery/_forgetting.json").exists()
    (gallery_library / "people").unlink()
    assert muster("forget", person, "-l", gallery_library).code == 0
    assert untouched(victim)


def test_07_what_is_in_a_library_s_place_as_a_pipe_is_not_waited_for(library: Path) -> None:
    os.mkfifo(library / "_parts")
    shared_shards.remove_all(open_library(library))


def test_07_pages_are_not_written_through_a_link(muster: Muster, library: Path, victim: Path) -> None:
    assert muster("cluster", "-l", library).code == 0
    (victim / "precious.txt").rename(victim.parent / "precious.txt")
    (library / "people").symlink_to(victim)  # an empty folder, which would do for pages
    outcome = muster("people", "-l", library)
    assert (outcome.code, "people is a link" in outcome.error) == (2, True)
    assert not list(victim.iterdir())


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "../victim/precious.txt"), ("name", "/etc/passwd"), ("table", "../victim/planted"), ("table", "x/y")],
)
def test_07_a_commit_names_its_own_files_alone(
    muster: Muster, library: Path, victim: Path, album: Path, field: str, value: str
) -> None:
    for commit in commits(library, "images"):
        edit(commit, lambda facts: facts["files"][0].update({field: value}))
    for command in (("run", "--retry-errors", "--device", "cpu"), ("forget", album / "0000.jpg"), ("status",)):
        outcome = muster(*command, "-l", library)
        assert (outcome.code, "is not as Muster wrote it: delete it, and run again" in outcome.error) == (1, True)
    assert untouched(victim)
    assert not (victim / "planted").exists()


@pytest.mark.parametrize("folder", ["_commits", "_tasks", "manifest", "images", "faces", "previews"])
def test_07_a_folder_of_a_library_is_no_link(muster: Muster, library: Path, victim: Path, folder: str) -> None:
    moved = victim.parent / "moved"
    shutil.move(library / folder, moved)
    (library / folder).symlink_to(moved)
    before = sorted(moved.rglob("*"))
    outcome = muster("cluster", "-l", library)
    if folder not in ("previews", "_tasks"):  # which clustering does not read
        assert (outcome.code, f"{folder} is a link, and Muster follows none" in outcome.error) == (1, True)
    opened = open_library(library)
    for use in (opened.read, opened.has, opened.names, opened.remove, lambda name: opened.write(name, b"x")):
        with pytest.raises(MusterError, match=f"{folder} is a link"):
            use(f"{folder}/x/y")
    opened.remove_folder(folder)
    opened.remove_temporary()
    assert sorted(moved.rglob("*")) == before
    assert not [name for name in opened.files() if name.startswith(f"{folder}/")]


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a//b", ".", "a/.", "", "a\0b"])
def test_07_no_name_leads_out_of_a_library(library: Path, name: str) -> None:
    opened = open_library(library)
    for use in (opened.read, opened.has, opened.remove, lambda each: opened.write(each, b"")):
        with pytest.raises(MusterError, match="is not a name that Muster gives to files"):
            use(name)


class Planted:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_07_no_pickle_in_an_index_is_opened(library: Path, tmp_path: Path) -> None:
    opened, sink = open_library(library), io.BytesIO()
    planted = np.array([Planted(tmp_path / "opened")], object)
    np.savez(sink, allow_pickle=True, **dict.fromkeys(vectors.FORMAT, planted))
    opened.write("index/f/faces", hashlib.sha256(sink.getvalue()).digest() + sink.getvalue())
    assert vectors.load(opened, "f/faces") is None
    assert not (tmp_path / "opened").exists()
    np.load(io.BytesIO(sink.getvalue()), allow_pickle=True)["keys"]
    assert (tmp_path / "opened").exists()


def test_07_what_a_killed_writer_left_is_removed_in_the_library_alone(library: Path, victim: Path) -> None:
    name = f".x.{'0' * 32}.tmp"
    (victim / name).write_text("mine")
    (library / "linked").symlink_to(victim)
    (library / "faces" / name).write_text("ours")
    (library / "_parts").symlink_to(victim)
    opened = open_library(library)
    opened.remove_temporary()
    shared_shards.remove_all(opened)
    assert (victim / name).exists()
    assert not (library / "faces" / name).exists()


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_07_a_library_that_others_may_write_is_refused_without_a_word(
    muster: Muster, library: Path, mode: int, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.chmod(mode)
    for command in (
        ("scan", album),
        ("status",),
        ("run", "--device", "cpu"),
        ("cluster",),
        ("export", "--format", "csv", "--out", "x"),
    ):
        outcome = muster(*command, "-l", library)
        assert (outcome.code, outcome.out) == (2, "")
        assert "may be written by other users" in outcome.error
        assert "say --trust" in outcome.error
    assert muster("status", "-l", library, "--trust").code == 0
    monkeypatch.setenv("MUSTER_TRUST", "1")
    assert muster("status", "-l", library).code == 0


@root_only
def test_07_a_library_of_another_user_is_refused_without_a_word(muster: Muster, library: Path) -> None:
    os.chown(library, 65534, 65534)
    outcome = muster("status", "-l", library)
    assert (outcome.code, "belongs to another user (number 65534)" in outcome.error) == (2, True)
    assert muster("status", "-l", library, "--trust").code == 0


# ---- who may read ----------------------------------------------------------------------------------------------------


def test_10_a_new_library_is_never_for_others_to_write(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        library = open_library(tmp_path / "library", create=True)
        library.write("faces/f/x", b"")
        with library.lock():
            pass
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "library", *tmp_path.rglob("*"))}
    assert not [name for name, mode in modes.items() if mode & 0o022]
    assert modes[".lock"] == 0o600  # who may read it could lock it


@root_only
def test_10_a_gallery_is_for_its_owner_alone(gallery_library: Path, muster: Muster, tmp_path: Path) -> None:
    assert stat.S_IMODE(gallery_library.stat().st_mode) == 0o700
    tmp_path.chmod(0o755)
    for path in ("gallery/gallery.parquet", "audit/head.json", ".lock"):
        done = subprocess.run([*NOBODY, "cat", gallery_library / path], capture_output=True, text=True)
        assert (done.returncode, "Permission denied" in done.stderr) == (1, True)
    assert muster("calibrate", "-l", gallery_library).code == 0
    assert stat.S_IMODE((gallery_library / "gallery/calibration.html").stat().st_mode) == 0o600


def test_10_a_library_whose_gallery_is_older_is_closed_by_the_next_command(
    muster: Muster, gallery_library: Path
) -> None:
    gallery_library.chmod(0o755)
    (gallery_library / ".lock").touch()
    (gallery_library / ".lock").chmod(0o644)
    assert muster("calibrate", "-l", gallery_library).code == 0
    assert stat.S_IMODE(gallery_library.stat().st_mode) == 0o700
    assert stat.S_IMODE((gallery_library / ".lock").stat().st_mode) == 0o600


def test_10_names_are_in_no_library_that_others_read(
    school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the first enrolment is at work."""
    from muster.pipeline.gallery import enroll

    [(name, (photo, _)), *_] = school.enrolled.items()
    (tmp_path / "roster.csv").write_text(f"person_id,image,consent\n{name},{photo},yes\n")
    modes: list[int] = []

    def process(*_: object) -> None:
        modes.append(stat.S_IMODE((tmp_path / "library").stat().st_mode))
        raise MusterError("killed")

    monkeypatch.setattr(enroll, "process", process)
    request = enroll.Request(str(tmp_path / "roster.csv"))
    open_library(tmp_path / "library", create=True)
    with pytest.raises(MusterError, match="killed"):
        enroll.enroll(request, config_of(tmp_path / "library", "faces"), lambda _: None)
    assert modes == [0o700]


def test_10_a_library_that_a_group_shares_is_shared_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_TRUST", "1")
    library = open_library(tmp_path / "library", create=True)
    (tmp_path / "library").chmod(0o2775)
    library.write("faces/f/x", b"")
    with library.lock():
        pass
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "library").rglob("*")}
    assert modes == {"faces": 0o2775, "f": 0o2775, "x": 0o664, ".lock": 0o660, MARKER: 0o644}


def test_10_an_encrypted_library_is_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_KEY", "A" * 43 + "=")
    library = open_library(tmp_path / "library", create=True)
    library.write("faces/f/x", b"")
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "library", *(tmp_path / "library").rglob("*"))}
    assert modes == {0o700, 0o600}


def test_10_a_decrypted_copy_is_for_its_owner_alone(
    muster: Muster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_KEY", "A" * 43 + "=")
    open_library(tmp_path / "library", create=True).write("faces/f/x", b"")
    assert muster("decrypt", tmp_path / "plain", "-l", tmp_path / "library").code == 0
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "plain", *(tmp_path / "plain").rglob("*"))}
    assert modes == {0o700, 0o600}


# ---- tables that were changed ----------------------------------------------------------------------------------------


def test_13_a_table_that_was_changed_is_refused(muster: Muster, library: Path) -> None:
    [file, *_] = [path for path in library.glob("faces/*/*.parquet") if pq.read_metadata(path).num_rows]
    table = pq.read_table(file)
    one = pa.array([table["embedding"][0].as_py()] * table.num_rows, table.schema.field("embedding").type)
    place = table.schema.get_field_index("embedding")
    file.write_bytes(tables.to_parquet(table.set_column(place, table.schema.field(place), one)))
    for command in (
        ("cluster",),
        ("export", "--format", "csv", "--tasks", "faces", "--out", library.parent / "out.csv"),
    ):
        outcome = muster(*command, "-l", library)
        assert (outcome.code, "it was changed since it was written" in outcome.error) == (1, True), outcome.error


def test_13_two_workers_with_other_last_digits_agree(library: Path) -> None:
    """The commit is of the files that are in place, whoever was first."""
    opened, rows = open_library(library), pa.table({"image_id": ["a"], "x": [1.0]})

    class Slow(LibraryFiles):
        def create(self, name: str, data: bytes) -> bool:
            if name.startswith("_commits"):
                tables.write_shard(opened, "f", "s", {"faces": rows})  # another worker was quicker
                LibraryFiles.write(self, "faces/f/shard-s.parquet", self.mine)
            return LibraryFiles.create(self, name, data)

        def write(self, name: str, data: bytes) -> None:
            object.__setattr__(self, "mine", data)
            LibraryFiles.write(self, name, data)

        mine = b""

    slow = Slow(opened.uri, opened.fs, opened.path)
    other = pa.table({"image_id": ["a"], "x": [1.0000001]})
    assert not tables.write_shard(slow, "f", "s", {"faces": other})
    assert tables.require(opened, "faces", "f")["x"].to_pylist() == [1.0000001]


# ---- a library that moves --------------------------------------------------------------------------------------------


def test_20_a_library_that_moved_is_not_made_again(library: Path) -> None:
    opened = open_library(library)
    library.rename(library.parent / "moved")
    for use in (lambda: opened.write("faces/x", b""), lambda: opened.create("x", b""), lambda: opened.read(MARKER)):
        with pytest.raises(LibraryGoneError, match="was moved, unmounted or replaced while Muster worked in it"):
            use()
    assert not library.exists()
    library.mkdir()  # what lies below a mount that went
    with pytest.raises(LibraryGoneError):
        opened.write("faces/x", b"")
    assert not list(library.iterdir())
    library.rmdir()
    (library.parent / "moved").rename(library)
    opened.write("faces/x", b"")


def test_20_a_run_stops_when_its_library_goes(tmp_path: Path, album: Path, weights: Path) -> None:
    from muster.pipeline.run import pending
    from muster.pipeline.work.worker import ShardWorker, is_fatal

    folder = tmp_path / "library"
    library = open_library(folder, create=True)
    manifest.scan(library, [str(album)])
    choices = config_of(folder, "previews").choices
    worker = ShardWorker(str(folder), choices, "cpu", weights)
    order = pending(library, choices)[0]
    folder.rename(tmp_path / "moved")
    with pytest.raises(MusterError) as error:
        worker.process(order)
    assert is_fatal(error.value)
    assert not folder.exists()


def test_20_an_inode_that_changed_is_looked_at_again(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network mounts give a folder another number; it is the same library by its marker."""
    opened = open_library(library)
    copy = Path(shutil.copytree(library, library.parent / "copy"))
    library.rename(library.parent / "moved")
    copy.rename(library)
    opened.write("faces/x", b"")
    assert (library / "faces/x").exists()
