"""Encrypted libraries, key files, the gallery's place in the audit log, and the log itself."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.fixtures import Outcome, School
from muster.storage import tables
from muster.storage.gallery import audit, gallery
from muster.storage.layout import AUDIT_HEAD, GALLERY, MARKER, REPORT
from muster.storage.library import LibraryFiles, open_library

Muster = Callable[..., Outcome]


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "school.key"
    file.write_text("A" * 43 + "=")
    file.chmod(0o600)
    monkeypatch.setenv("MUSTER_KEY_FILE", str(file))
    return file


def copy_of(plain: Path, folder: Path) -> LibraryFiles:
    """The same library, encrypted where there is a key."""
    library = open_library(folder, create=True)
    for path in sorted(plain.rglob("*")):
        name = str(path.relative_to(plain))
        if path.is_file() and name != MARKER and not path.name.startswith("."):
            library.write(name, path.read_bytes())
    return library


# ---- 8: encrypted libraries ------------------------------------------------------------------------------------------


def test_08_decrypt_takes_nothing_that_was_not_encrypted(
    muster: Muster, key: Path, enrolled: Path, tmp_path: Path
) -> None:
    locked = copy_of(enrolled, tmp_path / "library")
    (Path(locked.uri) / GALLERY).write_bytes((enrolled / GALLERY).read_bytes())  # a plain one, by whoever has no key
    outcome = muster("decrypt", tmp_path / "plain", "-l", locked.uri)
    assert (outcome.code, f"{GALLERY} cannot be decrypted" in outcome.error) == (1, True)
    assert not (tmp_path / "plain" / MARKER).exists()  # so that it is no library


def test_08_a_file_of_another_library_of_the_same_key_is_refused(
    muster: Muster, key: Path, enrolled: Path, tmp_path: Path, school: School
) -> None:
    one, two = (copy_of(enrolled, tmp_path / name) for name in ("one", "two"))
    for name in (GALLERY, "audit/head.json"):
        shutil.copy(two.at(name), one.at(name))
    [probe, *_] = school.probes.values()
    outcome = muster("identify", probe, "--threshold", "0.3", "-l", one.uri, "--device", "cpu")
    assert (outcome.code, outcome.out, "cannot be decrypted" in outcome.error) == (1, "", True)
    assert muster("audit", "verify", "-l", one.uri).code == 1


@pytest.mark.parametrize("encrypted", [False, True])
def test_08_an_older_gallery_put_back_is_noticed(
    muster: Muster, enrolled: Path, tmp_path: Path, school: School, request: pytest.FixtureRequest, encrypted: bool
) -> None:
    if encrypted:
        request.getfixturevalue("key")
    at = copy_of(enrolled, tmp_path / "library")
    before = Path(at.at(GALLERY)).read_bytes()
    [person, *_] = school.enrolled
    assert muster("forget", person, "-l", at.uri).code == 0
    Path(at.at(GALLERY)).write_bytes(before)
    for command in (("identify", school.probes[person], "--threshold", "0.3", "--device", "cpu"), ("calibrate",)):
        outcome = muster(*command, "-l", at.uri)
        assert (outcome.code, outcome.out) == (1, "")
        assert "is not the gallery that the audit log knows" in outcome.error


def test_08_a_library_of_the_first_encryption_is_still_read(
    key: Path, enrolled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import base64

    from muster.storage.encryption import encrypt, key_of

    master = key_of(os.environ)
    assert master is not None
    folder = tmp_path / "library"
    folder.mkdir()
    check = base64.b64encode(encrypt(master, MARKER, b"")).decode()
    (folder / MARKER).write_text(json.dumps({"format": 2, "muster": "0", "check": check}))
    (folder / "x").write_bytes(encrypt(master, "x", b"data"))
    assert open_library(folder).read("x") == b"data"


def test_08_a_library_of_the_first_encryption_is_decrypted_without_its_report(
    muster: Muster, key: Path, tmp_path: Path
) -> None:
    """Which was not encrypted then."""
    import base64

    from muster.storage.encryption import encrypt, key_of

    master, folder = key_of(os.environ), tmp_path / "library"
    assert master is not None
    (folder / "gallery").mkdir(parents=True)
    check = base64.b64encode(encrypt(master, MARKER, b"")).decode()
    (folder / MARKER).write_text(json.dumps({"format": 2, "muster": "0", "check": check}))
    (folder / "x").write_bytes(encrypt(master, "x", b"data"))
    (folder / REPORT).write_text("<!doctype html>")
    assert muster("decrypt", tmp_path / "plain", "-l", folder).code == 0
    assert (tmp_path / "plain" / "x").read_bytes() == b"data"
    assert not (tmp_path / "plain" / REPORT).exists()


# ---- 9: the audit log ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encrypted", [False, True])
def test_09_a_log_that_is_gone_is_noticed(
    muster: Muster, enrolled: Path, tmp_path: Path, school: School, request: pytest.FixtureRequest, encrypted: bool
) -> None:
    if encrypted:
        request.getfixturevalue("key")
    at = copy_of(enrolled, tmp_path / "library")
    shutil.rmtree(at.at("audit"))
    outcome = muster("audit", "verify", "-l", at.uri)
    assert (outcome.code, "it is missing, though people are enrolled" in outcome.out) == (1, True)
    [probe, *_] = school.probes.values()
    for command in (("identify", probe, "--threshold", "0.3", "--device", "cpu"), ("calibrate",), ("forget", "x")):
        outcome = muster(*command, "-l", at.uri)
        assert (outcome.code, "it is missing, though people are enrolled" in outcome.error) == (1, True), outcome.error
    assert not at.names("audit")


def test_09_a_log_cut_and_closed_again_is_found_by_a_head_kept_elsewhere(muster: Muster, gallery_library: Path) -> None:
    library = open_library(gallery_library)
    for number in range(3):
        audit.append(library, "verify", {"people": [], "number": number})
    head = muster("audit", "verify", "-l", gallery_library, "--json").facts["head"]
    audit.append(library, "verify", {"people": []})
    at = ("audit", "verify", "-l", gallery_library, "--head", head)
    assert muster(*at).code == 0  # the log went on since
    [file] = (gallery_library / "audit").glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)[:-3]
    file.write_bytes(b"".join(lines))
    last = {"lines": len(lines), "sha256": tables.digest(lines[-1].rstrip(b"\n"))}
    (gallery_library / AUDIT_HEAD).write_text(json.dumps(last))
    outcome = muster(*at)
    assert (outcome.code, f"no line of it has the digest {head}" in outcome.out) == (1, True)


def test_09_a_log_cut_to_before_a_change_of_the_gallery_is_noticed(
    muster: Muster, gallery_library: Path, school: School
) -> None:
    audits = {path.name: path.read_bytes() for path in (gallery_library / "audit").iterdir()}
    [person, *_] = school.enrolled
    assert muster("forget", person, "-l", gallery_library).code == 0
    for name, data in audits.items():
        (gallery_library / "audit" / name).write_bytes(data)
    outcome = muster("calibrate", "-l", gallery_library)
    assert (outcome.code, "is not the gallery that the audit log knows" in outcome.error) == (1, True)


def test_09_who_did_it_is_the_system_s_word(gallery_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "headmaster")
    library = open_library(gallery_library)
    audit.append(library, "verify", {"people": []})
    assert audit.entries(library)[-1]["by"].partition("@")[0] == pwd.getpwuid(os.getuid()).pw_name


def test_09_every_line_knows_the_gallery(gallery_library: Path) -> None:
    library = open_library(gallery_library)
    known = gallery.require(library)
    gallery.write(library, replace(known, calibration={"people": 1}), "calibrate", {"people": []})
    audit.append(library, "verify", {"people": []})
    versions = [entry["gallery"]["version"] for entry in audit.entries(library)[-2:]]
    assert versions[0] == versions[1]
    assert audit.gallery_state(library) == audit.entries(library)[-1]["gallery"]


# ---- 10, 25 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_10_a_key_file_that_others_can_read_is_refused(muster: Muster, key: Path, tmp_path: Path, mode: int) -> None:
    open_library(tmp_path / "library", create=True)
    key.chmod(mode)
    outcome = muster("status", "-l", tmp_path / "library")
    assert (outcome.code, f"chmod 600 {key}" in outcome.error) == (2, True)


def test_25_the_report_of_a_calibration_is_encrypted_and_runs_nothing(
    muster: Muster, key: Path, enrolled: Path, tmp_path: Path
) -> None:
    locked = copy_of(enrolled, tmp_path / "library")
    outcome = muster("calibrate", "-l", locked.uri)
    assert outcome.code == 0
    assert "muster decrypt" in outcome.out
    assert b"<html" not in Path(locked.at(REPORT)).read_bytes()
    page = locked.read(REPORT)
    assert b"Content-Security-Policy" in page
    assert b"default-src 'none'" in page
    Path(locked.at(REPORT)).write_text("<script>alert(1)</script>")
    refused = muster("decrypt", tmp_path / "plain", "-l", locked.uri)
    assert (refused.code, f"{REPORT} cannot be decrypted" in refused.error) == (1, True)
