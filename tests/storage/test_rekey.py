"""A library's key changes, in place: nothing is lost, nothing is in the clear, whatever is cut off and whenever."""

import base64
import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import muster as face
from helpers.fixtures import Killed, Outcome, School
from muster.errors import DecryptionError, InputError, LibraryGoneError, MusterError
from muster.storage import manifest
from muster.storage.disk import TEMPORARY, Folder
from muster.storage.encryption import KEY, KEY_FILE, MAGIC, NEW_KEY, NEW_KEY_FILE, encrypt
from muster.storage.gallery import audit, gallery
from muster.storage.layout import GALLERY, LOCK, LOG_LOCK, MARKER, MODELS, PAGES, REPORT
from muster.storage.library import CHANGING, ENCRYPTED, LibraryFiles, open_library
from muster.storage.rekey import rekeyed
from muster.storage.tags.beside import writer_of

Muster = Callable[..., Outcome]
Env = pytest.MonkeyPatch
OLD, NEW, OTHER = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3))


def keys(patch: Env, now: str = "", new: str = "") -> None:
    patch.setenv(KEY, now)
    patch.setenv(NEW_KEY, new)


def small(folder: Path) -> LibraryFiles:
    """A library of few files, which say what no name of a file says."""
    library = open_library(folder, create=True)
    library.write("faces/f/shard-a.parquet", b"embedding of Anna Berg")
    library.write("_commits/f/shard-a.json", b"/photos/anna.jpg")
    library.write(GALLERY, b"Anna Berg")
    library.write(MODELS, b"{}")
    return library


def content(library: LibraryFiles) -> dict[str, bytes]:
    names = (name for name in library.files() if not name.rpartition("/")[2].startswith("."))
    return {name: library.read(name) for name in names if name != MARKER}


def stored(folder: Path) -> dict[str, bytes]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in (LOCK, LOG_LOCK))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def change(library: LibraryFiles) -> LibraryFiles:
    with library.lock():
        return rekeyed(library)[0]


def opens(folder: Path, key: str, patch: Env) -> dict[str, bytes] | None:
    """What a library says with this key alone; None where it is refused."""
    keys(patch, key)
    try:
        return content(open_library(folder))
    except InputError:
        return None


@pytest.mark.parametrize("old", [OLD, ""])
def test_the_old_key_is_refused_and_all_is_as_it_was(tmp_path: Path, monkeypatch: Env, old: str) -> None:
    keys(monkeypatch, old)
    before = content(small(tmp_path / "L"))
    keys(monkeypatch, old, NEW)
    library = change(open_library(tmp_path / "L"))
    assert content(library) == before
    assert opens(tmp_path / "L", old, monkeypatch) is None
    assert opens(tmp_path / "L", OTHER, monkeypatch) is None
    assert opens(tmp_path / "L", NEW, monkeypatch) == before
    assert json.loads(library.read(MARKER))["format"] == ENCRYPTED
    for name, data in stored(tmp_path / "L").items():
        assert name == MARKER or data.startswith(MAGIC), name
        assert not TEMPORARY.fullmatch(name.rpartition("/")[2])
    assert (tmp_path / "L").stat().st_mode & 0o777 == 0o700
    keys(monkeypatch, NEW, NEW)
    assert rekeyed(open_library(tmp_path / "L"))[1] == 0


@pytest.mark.parametrize("old", [OLD, ""])
def test_a_kill_at_any_write(tmp_path: Path, monkeypatch: Env, kills: Callable[[int], None], old: str) -> None:
    """Exactly one of the two keys opens it, with all that was in it, and the same command again completes."""
    keys(monkeypatch, old)
    before, turns = content(small(tmp_path / "whole")), []
    for number in range(99):
        folder = Path(shutil.copytree(tmp_path / "whole", tmp_path / f"copy{number}"))
        keys(monkeypatch, old, NEW)
        library = open_library(folder)
        kills(number)
        try:
            change(library)
            kills(-1)
            break
        except Killed:
            kills(-1)
        cut = Path(shutil.copytree(folder, tmp_path / f"cut{number}"))
        answers = [opens(folder, key, monkeypatch) for key in (old, NEW)]
        turns.append(answers[1] is not None)
        assert answers in ([before, None], [None, before])
        keys(monkeypatch, old, NEW)
        assert content(change(open_library(cut))) == before
        assert opens(cut, old, monkeypatch) is None
        assert not any(TEMPORARY.fullmatch(name.rpartition("/")[2]) for name in stored(cut))
    assert turns == sorted(turns)  # first the old key, and from one moment on the new one
    assert len(turns) == 2 * len(before) + 2
    assert set(turns) == {False, True}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.integers(0, 30), st.sampled_from([OLD, ""]))
def test_whatever_is_cut_off_twice(
    tmp_path_factory: pytest.TempPathFactory, files: list[bytes], cut: int, old: str
) -> None:
    """At any call of the system that gives a file its name, and once more when it is finished."""
    folder = tmp_path_factory.mktemp("rekey") / "L"
    with pytest.MonkeyPatch.context() as patch:
        keys(patch, old)
        library = open_library(folder, create=True)
        for number, data in enumerate(files):
            library.write(f"facts/{number}.json", data)
        before, left, replace = content(library), [cut], os.replace
        keys(patch, old, NEW)

        def dying(*arguments: Any, **named: Any) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            replace(*arguments, **named)

        for again in (cut, 1, 2, 0):
            left[0] = again
            patch.setattr(os, "replace", dying)
            try:
                change(open_library(folder))
            except Killed:
                pass
            finally:
                patch.setattr(os, "replace", replace)
        assert opens(folder, NEW, patch) == before
        assert opens(folder, old, patch) is None


def test_nothing_is_in_the_clear_at_any_moment(tmp_path: Path, monkeypatch: Env, kills: Callable[[int], None]) -> None:
    """Of a library that was encrypted before; of a plain one, no file that was not there."""
    words = (b"Anna", b"anna", b"embedding")
    for old in (OLD, ""):
        keys(monkeypatch, old)
        small(tmp_path / f"whole{old[:1]}")
        for number in range(99):
            folder = Path(shutil.copytree(tmp_path / f"whole{old[:1]}", tmp_path / f"{old[:1]}{number}"))
            there = stored(folder)
            keys(monkeypatch, old, NEW)
            kills(number)
            try:
                change(open_library(folder))
                kills(-1)
                assert number > 5
                break
            except Killed:
                kills(-1)
            readable = {n: d for n, d in stored(folder).items() if any(word in d for word in words)}
            assert readable.items() <= there.items()
            assert not (old and readable)
        assert not any(word in data for data in stored(folder).values() for word in words)


def test_a_process_that_is_really_killed(tmp_path: Path, monkeypatch: Env) -> None:
    """By SIGKILL, in the middle of the renaming: who opened it before is told, and who opens it now finishes it."""
    keys(monkeypatch, OLD)
    before = content(small(tmp_path / "L"))
    reader = open_library(tmp_path / "L")
    keys(monkeypatch, OLD, NEW)
    code = (
        "import os, signal, muster\n"
        "from muster.storage.library import LibraryFiles\n"
        "put = LibraryFiles.put_in_place\n"
        "def last(*arguments):\n"
        "    put(*arguments)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "LibraryFiles.put_in_place = last\n"
        f"muster.open({str(tmp_path / 'L')!r}).rekey()\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert json.loads((tmp_path / "L" / MARKER).read_text())["format"] == CHANGING
    read = 0
    for name, data in before.items():
        try:
            assert reader.read(name) == data  # not yet renamed
            read += 1
        except LibraryGoneError:
            pass
    assert read == len(before) - 1
    assert opens(tmp_path / "L", OTHER, monkeypatch) is None
    assert json.loads((tmp_path / "L" / MARKER).read_text())["format"] == CHANGING  # another key finishes nothing
    assert opens(tmp_path / "L", NEW, monkeypatch) == before
    assert json.loads((tmp_path / "L" / MARKER).read_text())["format"] == ENCRYPTED


def test_a_full_disk_leaves_the_old_key(tmp_path: Path, monkeypatch: Env) -> None:
    keys(monkeypatch, OLD)
    library = small(tmp_path / "L")
    before, there = content(library), stored(tmp_path / "L")
    write = Folder.write
    for room in range(len(before) + 1):  # the last: none for the marker
        left = [room]

        def full(self: Folder, name: str, *arguments: Any, left: list[int] = left, **named: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
            write(self, name, *arguments, **named)

        keys(monkeypatch, OLD, NEW)
        with monkeypatch.context() as patch:
            patch.setattr(Folder, "write", full)
            with pytest.raises(OSError, match="No space left"):
                change(open_library(tmp_path / "L"))
        now = stored(tmp_path / "L")
        assert now == there
        assert opens(tmp_path / "L", OLD, monkeypatch) == before


def test_nobody_else_writes_meanwhile(tmp_path: Path, monkeypatch: Env) -> None:
    """With the lock or without it, as edits are; and who opened it before writes nothing with the old key after it."""
    for old in (OLD, ""):
        keys(monkeypatch, old)
        small(tmp_path / f"L{old[:1]}")
        others = open_library(tmp_path / f"L{old[:1]}")
        keys(monkeypatch, old, NEW)
        library = open_library(tmp_path / f"L{old[:1]}")
        put, tried = LibraryFiles.put_aside, []

        def meanwhile(
            self: LibraryFiles, *arguments: Any, others: LibraryFiles = others, tried: list[str] = tried, put: Any = put
        ) -> None:
            for attempt in (lambda: others.write(MODELS, b"{1}"), lambda: others.create("facts/1.json", b"x")):
                with pytest.raises(MusterError, match="is being changed by another process: wait"):
                    attempt()
            with pytest.raises(MusterError, match="is in use by process"), others.lock():
                pass
            assert others.read(GALLERY) == b"Anna Berg"
            tried.append(arguments[0])
            put(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(LibraryFiles, "put_aside", meanwhile)
            after = change(library)
        assert len(tried) == 4
        for attempt in (
            lambda others=others: others.write(MODELS, b"{1}"),
            lambda others=others: others.create("facts/1.json", b"x"),
            lambda others=others: others.read(GALLERY),
            lambda others=others: others.lock().__enter__(),
        ):
            with pytest.raises(LibraryGoneError, match="was changed since it was opened here: open it again"):
                attempt()
        assert content(after)[GALLERY] == b"Anna Berg"
        assert not after.has("facts/1.json")


def test_what_cannot_be_rekeyed(tmp_path: Path, monkeypatch: Env) -> None:
    """Said before anything is written."""
    keys(monkeypatch, OLD)
    small(tmp_path / "L")
    with pytest.raises(InputError, match="no new key is given: set MUSTER_NEW_KEY_FILE to its file, or MUSTER_NEW_KEY"):
        rekeyed(open_library(tmp_path / "L"))
    monkeypatch.setenv(NEW_KEY_FILE, "/none")
    with pytest.raises(InputError, match="cannot read MUSTER_NEW_KEY_FILE=/none"):
        rekeyed(open_library(tmp_path / "L"))
    monkeypatch.setenv(NEW_KEY_FILE, "")
    keys(monkeypatch, OLD, NEW)
    (tmp_path / "L" / "Thumbs.db").write_text("x")
    with pytest.raises(DecryptionError, match=r"Thumbs.db cannot be decrypted"):
        change(open_library(tmp_path / "L"))
    (tmp_path / "L" / "Thumbs.db").unlink()
    keys(monkeypatch, "", "")
    small(tmp_path / "plain")
    keys(monkeypatch, "", NEW)
    for name, text in ((f"{PAGES}/index.html", "pages with copies of photos"), ("note.txt", "is not Muster's")):
        (tmp_path / "plain" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "plain" / name).write_text("x")
        there = stored(tmp_path / "plain")
        with pytest.raises(InputError, match=text):
            change(open_library(tmp_path / "plain"))
        assert stored(tmp_path / "plain") == there
        (tmp_path / "plain" / name).unlink()
    change(open_library(tmp_path / "plain"))


def test_what_a_killed_writer_left_in_the_clear_goes(tmp_path: Path, monkeypatch: Env) -> None:
    small(tmp_path / "L")
    left = tmp_path / "L" / "gallery" / f".gallery.parquet.{'a' * 32}.tmp"
    left.write_text("Anna Berg")
    keys(monkeypatch, "", NEW)
    change(open_library(tmp_path / "L"))
    assert not left.exists()


def test_a_library_in_a_bucket_is_refused(monkeypatch: Env) -> None:
    import pyarrow.fs as pafs

    fs = pafs.SubTreeFileSystem("/none", pafs.LocalFileSystem())
    keys(monkeypatch, OLD, NEW)
    with pytest.raises(InputError, match="lies in a bucket, which has neither locks nor renaming"):
        rekeyed(LibraryFiles("s3://bucket/L", fs, "bucket/L"))


def test_a_library_of_the_first_encryption(tmp_path: Path, monkeypatch: Env) -> None:
    """Its files were not bound to it, and its report not encrypted: the former are then, and the latter is gone."""
    master, folder = base64.b64decode(OLD), tmp_path / "L"
    (folder / "gallery").mkdir(parents=True)
    check = base64.b64encode(encrypt(master, MARKER, b"")).decode()
    (folder / MARKER).write_text(json.dumps({"format": 2, "muster": "0", "check": check}))
    (folder / MODELS).write_bytes(encrypt(master, MODELS, b"data"))
    (folder / REPORT).write_text("<!doctype html>")
    for new in (OLD, NEW):  # the same key too: then only the form is another
        keys(monkeypatch, OLD, new)
        assert content(change(open_library(folder))) == {MODELS: b"data"}
        assert json.loads((folder / MARKER).read_text())["format"] == ENCRYPTED


# ---- commands --------------------------------------------------------------------------------------------------------


def test_a_gallery(
    muster: Muster, gallery_library: Path, school: School, monkeypatch: Env, rows_of: Callable[[Path], dict[str, Any]]
) -> None:
    """Encrypted in place, and given another key: roster, faces, manifest and the audit log are what they were."""
    at, head = ("-l", gallery_library, "--json"), audit.check(open_library(gallery_library)).head

    def all_of() -> tuple[Any, ...]:
        library = open_library(gallery_library)
        images = manifest.read_manifest(library)
        return gallery.require(library).faces, gallery.read_roster(library), images, rows_of(gallery_library)

    before, now = all_of(), ""
    for key in (OLD, NEW):
        keys(monkeypatch, now, key)
        outcome = muster("rekey", *at)
        assert outcome.code == 0, outcome.error
        assert outcome.facts == {"library": str(gallery_library), "files": len(content(open_library(gallery_library)))}
        assert muster("rekey", *at).facts["files"] == 0  # again
        keys(monkeypatch, now)
        refused = muster("status", *at)
        assert (refused.code, refused.out) == (2, "")
        keys(monkeypatch, key)
        assert all_of() == before
        assert muster("audit", "verify", "--head", head, *at).facts["problem"] is None
        now = key
    [person, *_] = school.enrolled
    assert muster("forget", person, *at).facts.items() >= {"people": [person], "found_afterwards": []}.items()


def test_a_gallery_and_a_kill(
    gallery_library: Path, tmp_path: Path, monkeypatch: Env, kills: Callable[[int], None], rows_of: Callable[..., Any]
) -> None:
    """At the first and last of each step, and between: whoever opens it next finds everybody, and a whole log."""
    library = open_library(gallery_library)
    known, rows, files = gallery.require(library), rows_of(gallery_library), len(content(library))
    for number in (0, files // 2, files - 1, files, files + 1, files + files // 2, 2 * files, 2 * files + 1):
        folder = Path(shutil.copytree(gallery_library, tmp_path / f"copy{number}"))
        keys(monkeypatch, "", NEW)
        opened = face.open(folder)
        kills(number)
        with pytest.raises(Killed):
            opened.rekey()
        kills(-1)
        for again in range(2):
            keys(monkeypatch, NEW if number > files or again else "")
            now = open_library(folder)
            assert gallery.require(now).faces.equals(known.faces)
            assert rows_of(folder) == rows
            assert audit.check(now).problem is None
            keys(monkeypatch, "", NEW)
            face.open(folder).rekey()


def test_a_wrong_key_and_none(muster: Muster, tmp_path: Path, monkeypatch: Env) -> None:
    keys(monkeypatch, OLD)
    small(tmp_path / "L")
    there = stored(tmp_path / "L")
    text = "was encrypted with another key than the one in MUSTER_KEY_FILE or MUSTER_KEY, or the one in MUSTER_NEW_KEY"
    for now in (OTHER, ""):
        keys(monkeypatch, now, NEW)
        outcome = muster("rekey", "-l", tmp_path / "L")
        assert (outcome.code, outcome.out, text in outcome.error) == (2, "", True)
        assert stored(tmp_path / "L") == there
    keys(monkeypatch, "")
    small(tmp_path / "plain")
    keys(monkeypatch, OLD)
    outcome = muster("rekey", "-l", tmp_path / "plain")
    assert (outcome.code, "or see `muster rekey`" in outcome.error) == (2, True)
    assert muster("rekey", "-l", tmp_path / "none").code == 2


def test_key_files(muster: Muster, tmp_path: Path, monkeypatch: Env) -> None:
    for name, key in (("old", OLD), ("new", NEW)):
        (tmp_path / name).write_text(f"{key}\n")
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv(KEY_FILE, str(tmp_path / "old"))
    small(tmp_path / "L")
    monkeypatch.setenv(NEW_KEY_FILE, str(tmp_path / "new"))
    outcome = muster("rekey", "-l", tmp_path / "L")
    assert outcome.code == 0
    assert "4 files encrypted with the new key" in outcome.out
    assert "it has the new key already" in muster("rekey", "-l", tmp_path / "L").out


def test_in_python(tmp_path: Path, monkeypatch: Env) -> None:
    """The object goes on with the new key."""
    small(tmp_path / "L")
    keys(monkeypatch, "", NEW)
    library = face.open(tmp_path / "L")
    assert not library.encrypted
    assert library.rekey() == 4
    assert library.encrypted
    assert library.rekey() == 0


def test_no_file_is_named_after_a_person(
    muster: Muster, gallery_library: Path, school: School, monkeypatch: Env
) -> None:
    """By person_id, pseudonym, image_id or name of a photo; also not by receipts, edits, or while it is encrypted."""
    keys(monkeypatch, "", NEW)
    assert muster("rekey", "-l", gallery_library).code == 0
    library = open_library(gallery_library)
    known, images = gallery.require(library), manifest.read_manifest(library)
    [gone, *_] = known.people
    assert muster("forget", gone, "-l", gallery_library).code == 0
    assert muster("calibrate", "-l", gallery_library).code == 0
    photos = [Path(uri).stem for uri in images["uri"].to_pylist()]
    ids = [*known.people, *known.faces["pseudonym"].to_pylist(), *images["image_id"].to_pylist(), *photos]
    files = library.files()
    assert any(name.startswith("receipts/") for name in files)
    assert [(name, each) for name in files for each in ids if each.casefold() in name.casefold()] == []


# ---- what was lost, left or in the way -------------------------------------------------------------------------------


def halfway(folder: Path, patch: Env, kills: Callable[[int], None], old: str, writes: int) -> None:
    """A library whose new key is said by its marker, killed after so many more files were put in their places."""
    keys(patch, old)
    library = small(folder)
    keys(patch, old, NEW)
    library = open_library(folder)
    kills(len(content(library)) + 1 + writes)
    with pytest.raises(Killed):
        change(library)
    kills(-1)
    assert json.loads((folder / MARKER).read_text())["format"] == CHANGING


@pytest.mark.parametrize("old", [OLD, ""])
@pytest.mark.parametrize("renamed", [0, 2])
def test_a_change_whose_temporary_files_are_gone_is_not_finished(
    tmp_path: Path, monkeypatch: Env, kills: Callable[[int], None], old: str, renamed: int
) -> None:
    """Nothing is written then, and the old marker, which the new one keeps, opens what has the old key."""
    folder = tmp_path / "L"
    halfway(folder, monkeypatch, kills, old, renamed)
    for path in folder.rglob(".*.tmp"):
        path.unlink()
    there = stored(folder)
    with pytest.raises(MusterError, match=r"has not the new key, and the file that was to replace it is gone"):
        open_library(folder)
    now = stored(folder)
    assert now == there
    if not renamed:
        (folder / MARKER).write_text(json.dumps(json.loads((folder / MARKER).read_text())["before"]))
        assert opens(folder, old, monkeypatch) == content(small(tmp_path / "again"))


def test_a_finished_change_keeps_nothing_of_the_old_marker(tmp_path: Path, monkeypatch: Env) -> None:
    keys(monkeypatch, OLD)
    small(tmp_path / "L")
    keys(monkeypatch, OLD, NEW)
    change(open_library(tmp_path / "L"))
    marker = json.loads((tmp_path / "L" / MARKER).read_text())
    assert marker.keys() == {"format", "muster", "id", "check", "writer"}


@pytest.mark.parametrize("old", [OLD, ""])
def test_a_library_knows_its_sidecars_after_it(tmp_path: Path, monkeypatch: Env, old: str) -> None:
    keys(monkeypatch, old)
    writer = writer_of(small(tmp_path / "L"))
    for new in (NEW, OTHER):
        keys(monkeypatch, old, new)
        assert writer_of(change(open_library(tmp_path / "L"))) == writer
        old = new


@pytest.mark.parametrize(
    "name",
    [
        "gallery/anna.jpg",
        "index/mine/notes.txt",
        "facts/.hidden.json",
        ".DS_Store",
        "tags/more/tags.parquet",
        "faces/shard-a.parquet",
        "audit/anna.jsonl",
        "manifest/anna.txt",
        "_parts/note.txt",
        "faces/.f/shard-a.parquet",
    ],
)
def test_what_is_not_of_a_plain_library_is_refused(tmp_path: Path, monkeypatch: Env, name: str) -> None:
    small(tmp_path / "L")
    path = tmp_path / "L" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    keys(monkeypatch, "", NEW)
    with pytest.raises(InputError, match=r"is not Muster's, and stays as it is"):
        change(open_library(tmp_path / "L"))
    assert path.read_text() == "x"


def test_an_index_of_before_0_2_is_of_it(tmp_path: Path, monkeypatch: Env) -> None:
    library = small(tmp_path / "L")
    for name in ("index.json", f"ids-{'a' * 8}", f"vectors-{'a' * 8}"):
        library.write(f"index/f/{name}", b"x")
    keys(monkeypatch, "", NEW)
    assert len(content(change(library))) == 7


def test_nobody_removes_meanwhile(tmp_path: Path, monkeypatch: Env) -> None:
    """Or what was read before would be there again."""
    others = small(tmp_path / "L")
    keys(monkeypatch, "", NEW)
    put = LibraryFiles.put_aside

    def meanwhile(self: LibraryFiles, *arguments: Any) -> None:
        for attempt in (lambda: others.remove(GALLERY), lambda: others.remove_folder("faces")):
            with pytest.raises(MusterError, match="is being changed by another process: wait"):
                attempt()
        put(self, *arguments)

    monkeypatch.setattr(LibraryFiles, "put_aside", meanwhile)
    assert content(change(others))[GALLERY] == b"Anna Berg"
    with pytest.raises(LibraryGoneError, match="open it again"):
        others.remove(GALLERY)


def test_a_writer_that_does_not_end_stops_it(tmp_path: Path, monkeypatch: Env) -> None:
    """After a while; and the marker is opened to write, without which NFS locks no file for one alone."""
    others = small(tmp_path / "L")
    keys(monkeypatch, "", NEW)
    monkeypatch.setattr("muster.storage.library.PATIENCE", 0.1)
    with others.holding_key(), pytest.raises(MusterError, match="cannot be changed while others write: wait"):
        change(others)
    modes, lock = [], fcntl.flock

    def noting(file: Any, how: int) -> None:
        if how & fcntl.LOCK_EX:
            modes.append(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", noting)
    change(others)
    assert set(modes) == {os.O_RDWR}
    assert len(modes) == 3  # the library, the marker, and the log for a moment


def test_a_full_disk_leaves_the_folder_as_open_as_it_was(tmp_path: Path, monkeypatch: Env) -> None:
    keys(monkeypatch, "")
    library = open_library(tmp_path / "L", create=True)
    library.write(MODELS, b"{}")
    (tmp_path / "L").chmod(0o755)

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    keys(monkeypatch, "", NEW)
    with monkeypatch.context() as patch:
        patch.setattr(LibraryFiles, "put_aside", full)
        with pytest.raises(OSError, match="No space left"):
            change(library)
    assert (tmp_path / "L").stat().st_mode & 0o777 == 0o755


def test_a_report_of_the_first_encryption_stays_until_the_new_key_holds(tmp_path: Path, monkeypatch: Env) -> None:
    master, folder = base64.b64decode(OLD), tmp_path / "L"
    (folder / "gallery").mkdir(parents=True)
    check = base64.b64encode(encrypt(master, MARKER, b"")).decode()
    (folder / MARKER).write_text(json.dumps({"format": 2, "muster": "0", "check": check}))
    (folder / REPORT).write_text("<!doctype html>")
    keys(monkeypatch, OLD, NEW)
    with monkeypatch.context() as patch:
        patch.setattr(LibraryFiles, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(OSError, match="full"):
            change(open_library(folder))
    assert (folder / REPORT).exists()
    change(open_library(folder))
    assert not (folder / REPORT).exists()


def test_a_new_key_that_was_left_in_the_environment_stops_nothing(tmp_path: Path, monkeypatch: Env) -> None:
    for old in (OLD, ""):
        keys(monkeypatch, old, "no key")
        small(tmp_path / f"L{old[:1]}")
        assert open_library(tmp_path / f"L{old[:1]}").read(MODELS) == b"{}"
        with pytest.raises(InputError, match="MUSTER_NEW_KEY is no key"):
            change(open_library(tmp_path / f"L{old[:1]}"))
