"""Encryption at rest: what a key protects, and what happens without it or with another."""

import base64
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.fixtures import Outcome, School
from muster.errors import InputError, MusterError
from muster.storage import encryption, manifest
from muster.storage.encryption import KEY, KEY_FILE, MAGIC, NEW_KEY, NEW_KEY_FILE, decrypt, encrypt, key_of
from muster.storage.gallery import audit, gallery
from muster.storage.index import vectors
from muster.storage.layout import GALLERY, LOCK, LOG_LOCK, MARKER, REPORT
from muster.storage.library import LibraryFiles, _create, _locate, open_library

Muster = Callable[..., Outcome]
ANY, OTHER = bytes(range(32)), bytes(32)


def text_of(key: bytes) -> str:
    return base64.b64encode(key).decode()


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a key, which the environment names."""
    file = tmp_path / "school.key"
    file.write_text(text_of(os.urandom(32)) + "\n")
    file.chmod(0o600)
    monkeypatch.setenv(KEY_FILE, str(file))
    return file


@pytest.fixture
def locked(tmp_path: Path, enrolled: Path, key: Path) -> LibraryFiles:
    """The school's gallery, in a library that is encrypted."""
    library = open_library(tmp_path / "library", create=True)
    plain = LibraryFiles(str(enrolled), library.fs, str(enrolled))
    for name in plain.files():
        if name != MARKER and not name.rpartition("/")[2].startswith("."):
            library.write(name, plain.read(name))
    return library


# ---- files -----------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=100), st.integers(1, 40), st.text(max_size=8))
def test_what_is_encrypted_is_decrypted(data: bytes, piece: int, name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encryption, "PIECE", piece)
        sealed = encrypt(ANY, name, data)
        assert decrypt(ANY, name, sealed) == data
        assert encrypt(ANY, name, data) != sealed  # never the same nonce
        for key, other in ((OTHER, name), (ANY, name + "x")):
            with pytest.raises(MusterError, match="cannot be decrypted"):
                decrypt(key, other, sealed)


@given(st.data())
def test_no_change_goes_unnoticed(data: st.DataObject) -> None:
    """A bit, a piece more or less, pieces in another order, a file cut off anywhere."""
    plain, piece = data.draw(st.binary(max_size=40)), data.draw(st.integers(1, 16))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encryption, "PIECE", piece)
        sealed = encrypt(ANY, "a", plain)
        size = 12 + piece + 16
        pieces = [sealed[i : i + size] for i in range(len(MAGIC), len(sealed), size)]
        at = data.draw(st.integers(0, len(sealed) - 1))
        flipped = bytearray(sealed)
        flipped[at] ^= 1 << data.draw(st.integers(0, 7))
        turned = MAGIC + b"".join(data.draw(st.permutations(pieces)))
        spoiled = [bytes(flipped), sealed[:at], sealed + pieces[-1], MAGIC + b"".join(pieces[:-1]), plain, b""]
        for each in spoiled + ([turned] if turned != sealed else []):
            with pytest.raises(MusterError, match="a cannot be decrypted: it was changed, cut off"):
                decrypt(ANY, "a", each)


def test_what_is_encrypted_looks_like_chance() -> None:
    sealed = np.frombuffer(encrypt(ANY, "a", bytes(1 << 20)), np.uint8)
    assert np.bincount(sealed, minlength=256).min() > 3_700  # 4,096 expected, and 64 the deviation


def test_a_key_comes_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(text_of(ANY) + "\n")
    file.chmod(0o600)
    assert key_of({}) is None
    assert key_of({KEY: "", KEY_FILE: ""}) is None
    assert key_of({KEY: text_of(ANY)}) == key_of({KEY_FILE: str(file)}) == ANY
    new = {NEW_KEY_FILE: str(file)}
    assert (key_of(new), key_of(new, new=True), key_of({NEW_KEY: text_of(OTHER)}, new=True)) == (None, ANY, OTHER)
    for both in ({KEY: text_of(ANY), **new}, {KEY_FILE: str(file), NEW_KEY: text_of(OTHER)}):  # two keys, of two uses
        assert key_of(both) == ANY
    with pytest.raises(InputError, match="MUSTER_NEW_KEY and MUSTER_NEW_KEY_FILE are both set: unset one"):
        key_of({NEW_KEY: text_of(ANY), **new}, new=True)


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({KEY: "secret"}, "MUSTER_KEY is no key: it must be 32 random bytes in base64; make one with `openssl rand"),
        ({KEY: text_of(b"short")}, "MUSTER_KEY is no key"),
        ({KEY: "ü" * 44}, "MUSTER_KEY is no key"),
        ({KEY: text_of(ANY), KEY_FILE: "x"}, "MUSTER_KEY and MUSTER_KEY_FILE are both set: unset one"),
        ({KEY_FILE: "/none/key"}, "cannot read MUSTER_KEY_FILE=/none/key: No such file"),
        ({KEY_FILE: "/dev/null"}, "cannot read MUSTER_KEY_FILE=/dev/null: not a regular file"),
        ({KEY_FILE: sys.executable}, "others may read MUSTER_KEY_FILE="),
    ],
)
def test_what_is_no_key(environment: dict[str, str], text: str) -> None:
    with pytest.raises(InputError) as error:
        key_of(environment)
    assert text in str(error.value)


# ---- libraries -------------------------------------------------------------------------------------------------------


def test_nothing_of_a_gallery_is_readable(locked: LibraryFiles, school: School) -> None:
    """Names, ids, file names and embeddings; but for the marker, every file begins as none that has a format."""
    known = gallery.require(locked)
    words = [*known.people, *known.faces["pseudonym"].to_pylist(), "person_id", "enroll"]
    wanted = [each.encode() for each in words] + [vector.tobytes() for vector in known.embeddings]
    assert [entry["action"] for entry in audit.entries(locked)] == ["enroll-begun", "enroll"]
    for name in locked.files():
        data = Path(locked.at(name)).read_bytes()
        assert name in (MARKER, LOCK, LOG_LOCK) or data.startswith(MAGIC)
        assert not any(each in data for each in wanted), name
    first, second, *_ = (name for name in locked.files() if name.startswith("_commits/"))
    os.replace(locked.at(first), locked.at(second))
    with pytest.raises(MusterError, match=r"_commits/.* cannot be decrypted"):  # in another's place
        locked.read(second)


def test_another_key_and_none(locked: LibraryFiles, key: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert repr(locked.key) not in repr(locked)
    before = {name: locked.read(name) for name in locked.files()}
    monkeypatch.setenv(KEY_FILE, "")
    with pytest.raises(InputError, match="is encrypted: set MUSTER_KEY_FILE to the file of its key"):
        open_library(locked.uri)
    monkeypatch.setenv(KEY, text_of(OTHER))
    for create in (False, True):
        with pytest.raises(InputError, match="was encrypted with another key than the one in MUSTER_KEY_FILE or"):
            open_library(locked.uri, create)
    monkeypatch.setenv(KEY, "")
    open_library(tmp_path / "plain", create=True)
    monkeypatch.setenv(KEY, text_of(OTHER))
    with pytest.raises(InputError, match="is not encrypted, and a key is given: unset MUSTER_KEY"):
        open_library(tmp_path / "plain")
    monkeypatch.setenv(KEY, key.read_text())
    again = open_library(locked.uri)
    assert {name: again.read(name) for name in again.files()} == before


def test_what_somebody_else_put_there(muster: Muster, locked: LibraryFiles, school: School, tmp_path: Path) -> None:
    """It stops nothing, and is searched as it is."""
    [ann, bo, *_] = school.enrolled
    (Path(locked.uri) / "Thumbs.db").write_text("hi")
    assert muster("forget", ann, "-l", locked.uri, "--json").facts["found_afterwards"] == []
    (Path(locked.uri) / "note.txt").write_text(f'"{bo}" is his name')
    gone = muster("forget", bo, "-l", locked.uri, "--json")
    assert (gone.code, gone.facts["found_afterwards"]) == (1, [f'note.txt: "{bo}"'])
    refused = muster("decrypt", tmp_path / "plain", "-l", locked.uri)
    assert (refused.code, "Thumbs.db cannot be decrypted" in refused.error) == (1, True)


def test_nothing_readable_is_put_there(muster: Muster, locked: LibraryFiles, school: School, tmp_path: Path) -> None:
    before, at = locked.files(), ("-l", locked.uri)
    [probe, *_] = school.probes.values()
    (tmp_path / "link").symlink_to(locked.uri)
    for arguments in (
        ("decrypt", f"{locked.uri}/plain"),
        ("decrypt", tmp_path / "link" / "plain"),
        ("identify", probe, "--out", f"{locked.uri}/answers.csv", "--threshold", "0.3"),
    ):
        outcome = muster(*arguments, *at)
        assert (outcome.code, outcome.out, "lies in the library" in outcome.error) == (2, "", True)
    assert set(locked.files()) - {".lock"} == set(before) - {".lock"}
    (tmp_path / "file").write_text("x")
    outcome = muster("decrypt", tmp_path / "file", *at)
    assert (outcome.code, "is no folder to write into" in outcome.error) == (2, True)


def test_damage_is_told_with_what_to_do(muster: Muster, locked: LibraryFiles) -> None:
    for name, advice in (
        (GALLERY, "enrol everybody anew in another library"),
        (f"_commits/{gallery.require(locked).fingerprint}/", "delete it, and run again"),
        (f"faces/{gallery.require(locked).fingerprint}/", "and run again"),
        ("manifest/", "delete it and run `muster scan` again"),
    ):
        name += locked.names(name.rstrip("/"))[0] if name.endswith("/") else ""
        path = Path(locked.at(name))
        good = path.read_bytes()
        path.write_bytes(good[:-1])
        outcome = muster("forget", "nobody" if name == GALLERY else sorted(gallery_people(locked))[0], "-l", locked.uri)
        assert (outcome.code, "cannot be decrypted: it was changed" in outcome.error) == (1, True), outcome.error
        assert advice in outcome.error
        path.write_bytes(good)
    path = Path(locked.at("audit/head.json"))
    path.write_bytes(path.read_bytes() + b"x")
    outcome = muster("audit", "verify", "-l", locked.uri, "--json")
    assert (outcome.code, "audit/head.json cannot be decrypted" in outcome.facts["problem"]) == (1, True)
    path = Path(locked.at(MARKER))
    path.write_text('{"format": 3, "muster": "0", "check": ""}')
    with pytest.raises(InputError, match=r"library.json is damaged: restore it from a backup"):
        open_library(locked.uri)


def gallery_people(library: LibraryFiles) -> list[str]:
    return gallery.require(library).people


def test_two_first_commands_with_two_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, text_of(ANY))
    open_library(tmp_path / "L", create=True)
    monkeypatch.setenv(KEY, text_of(OTHER))
    other = _locate(str(tmp_path / "L"))
    with pytest.raises(InputError, match="was encrypted with another key"):
        _create(other, OTHER)  # it looked, and saw no library, before the first one was made


def test_a_path_that_goes_up(locked: LibraryFiles, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert open_library("../library").uri == locked.uri


def test_an_index_is_encrypted_too(locked: LibraryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that somebody changed is made again."""
    monkeypatch.setattr(vectors, "EXACT_UP_TO", 10)
    faces = gallery.require(locked).embeddings
    vectors.current(locked, "index/f/faces", faces)
    held, path = vectors.load(locked, "index/f/faces"), Path(locked.at("index/f/faces"))
    assert held is not None
    assert held.keys.tobytes() not in path.read_bytes()
    path.write_bytes(path.read_bytes() + b"x")
    assert vectors.load(locked, "index/f/faces") is None
    assert vectors.current(locked, "index/f/faces", faces).search(faces, 1)[1][:, 0].tolist() == list(range(len(faces)))
    assert vectors.load(locked, "index/f/faces") is not None


def test_the_roster_of_an_encrypted_library_is_scanned(locked: LibraryFiles, school: School) -> None:
    rows = [{"uri": str(path), "person_id": "new", "size": 1, "modified": None} for path in school.strangers[:2]]
    place = gallery.write_roster(locked, lambda uri, person: False, rows)
    manifest.scan(locked, [place])
    found = manifest.read_manifest(locked).to_pylist()
    assert [row["uri"] for row in found if row["person_id"] == "new"] == [str(p) for p in school.strangers[:2]]


# ---- commands --------------------------------------------------------------------------------------------------------


def test_a_school(muster: Muster, locked: LibraryFiles, school: School, tmp_path: Path) -> None:
    at, [ann, bo, *_] = ("-l", locked.uri, "--json"), school.probes
    cpu = ("--device", "cpu")
    assert muster("calibrate", *at).facts["people"] == 32
    assert locked.read(REPORT).startswith(b"<!doctype html>")
    assert muster("verify", school.probes[ann], "--person", ann, *cpu, *at).facts["match"]
    assert muster("identify", school.probes[bo], *cpu, *at).facts["answers"][0]["person_id"] == bo
    assert muster("forget", ann, *at).facts.items() >= {"people": [ann], "found_afterwards": []}.items()
    assert [e["action"] for e in muster("audit", "show", *at).facts["entries"]][-2:] == ["identify", "forget"]
    assert muster("audit", "verify", *at).facts["problem"] is None
    assert muster("status", *at).facts["encrypted"] is True

    assert muster("decrypt", tmp_path / "plain", *at).code == 0
    faces = pq.read_table(tmp_path / "plain" / GALLERY)
    assert faces.equals(gallery.require(locked).faces.replace_schema_metadata(faces.schema.metadata))
    twice = muster("decrypt", tmp_path / "plain", *at)
    assert (twice.code, "is not empty: give an empty or new folder" in twice.error) == (2, True)


def test_pages_do_not_lie_in_an_encrypted_library(muster: Muster, locked: LibraryFiles, tmp_path: Path) -> None:
    for out in ((), ("--out", f"{locked.uri}/pages")):
        outcome = muster("people", *out, "-l", locked.uri)
        assert (outcome.code, outcome.out) == (2, "")
        assert "pages with copies of its photos are not: say with --out in which folder" in outcome.error


def test_workers_have_the_key_of_their_environment(
    muster: Muster, key: Path, tmp_path: Path, make_photos: Callable[..., Path]
) -> None:
    """Of a Ray that the command starts itself: hence another process."""
    assert muster("scan", make_photos(tmp_path / "photos", range(2)), "-l", tmp_path / "L").code == 0
    options = ("--tasks", "previews", "--workers", "1", "--device", "cpu", "-l", str(tmp_path / "L"))
    done = subprocess.run([sys.executable, "-m", "muster", "run", *options], capture_output=True, text=True)
    assert (done.returncode, "2 images: 2 ok" in done.stdout) == (0, True), done.stderr
    for name in (library := open_library(tmp_path / "L")).files():
        assert name in (MARKER, LOCK, LOG_LOCK) or Path(library.at(name)).read_bytes().startswith(MAGIC)


def test_a_cluster_without_the_key(
    muster: Muster, ray_cluster: None, key: Path, tmp_path: Path, make_photos: Callable[..., Path]
) -> None:
    at = ("-l", tmp_path / "L")
    assert muster("scan", make_photos(tmp_path / "photos", range(1)), *at).code == 0
    outcome = muster("run", "--tasks", "previews", "--workers", "1", "--device", "cpu", *at)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.error.startswith("muster: a worker could not start: ")
    assert "is encrypted: set MUSTER_KEY_FILE to the file of its key" in outcome.error
