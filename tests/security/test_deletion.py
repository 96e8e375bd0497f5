"""Deletions and enrolments that are cut off: the next command finishes them, whichever it is."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import deletion
from benchmarks.deletion import everything
from helpers.fixtures import Killed, Outcome, School
from helpers.runs import config_of
from muster import library as face
from muster.errors import MusterError
from muster.pipeline import forget
from muster.pipeline.gallery import desk, identify
from muster.pipeline.gallery import enroll as enrolment
from muster.pipeline.gallery.enroll import Request, enroll
from muster.storage import encryption, layout, manifest, tables
from muster.storage.gallery import audit, gallery, left_over
from muster.storage.gallery.left_over import Sought
from muster.storage.library import LibraryFiles, open_library

Muster = Callable[..., Outcome]
Kills = Callable[[int], None]
CPU = ("--device", "cpu", "--threshold", "0.3")


@dataclass(frozen=True)
class Pupils:
    """`library`: with three people enrolled, `ann`, `bo` and `cy`; the consent of `ann` ends today. `roster`: of `new`,
    who is not enrolled, and of `bo` with another photo. `photos`: of each."""

    library: Path
    roster: Path
    photos: dict[str, list[Path]]


def csv(path: Path, entries: dict[str, list[Path]], until: dict[str, date] | None = None) -> Path:
    lines = ["person_id,name,consent,valid_until,image,image2,image3"]
    lines += [",".join([who, f"Pupil {who}", "yes", str((until or {}).get(who, "")), *map(str, photos)])
              for who, photos in entries.items()]  # fmt: skip
    path.write_text("\n".join(lines))
    return path


def enrol(roster: Path, library: Path) -> enrolment.EnrolSummary:
    open_library(library, create=True)
    return enroll(Request(str(roster)), config_of(library, "faces"), lambda _: None)


@pytest.fixture(scope="module", autouse=True)
def _no_ray(work: Callable[..., Any], weights: Path) -> Iterator[None]:
    """A worker in this process stands in Ray's place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enrolment, "process", lambda library, *_: work(library.uri, weights, ("faces",)))
        yield


@pytest.fixture(scope="module")
def school_of_three(school: School, tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Pupils:
    folder = tmp_path_factory.mktemp("pupils")
    photos = {}
    for who, name in zip(("ann", "bo", "cy", "new"), school.enrolled, strict=False):
        sources = [*school.enrolled[name], school.probes[name]]
        photos[who] = [Path(shutil.copy(path, folder / f"{who}-photo-{i}.jpg")) for i, path in enumerate(sources)]
    three = {who: photos[who][:2] for who in ("ann", "bo", "cy")}
    enrol(csv(folder / "three.csv", three, {"ann": date.today()}), folder / "library")
    roster = csv(folder / "new.csv", {"new": photos["new"][:2], "bo": photos["bo"]})
    return Pupils(folder / "library", roster, photos)


@pytest.fixture
def pupils(school_of_three: Pupils, tmp_path: Path) -> Pupils:
    """With a copy of the library that a test may change."""
    return Pupils(copy(school_of_three, tmp_path / "library"), school_of_three.roster, school_of_three.photos)


def copy(pupils: Pupils, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(pupils.library, place))


def traces_of(library: Path, who: str, photos: list[Path]) -> list[bytes]:
    """What there is of a person in a library: id, name, URIs, image_ids, embeddings, thumbnails."""
    opened = open_library(library)
    rows = manifest.read_manifest(opened).to_pylist()
    ids = [row["image_id"] for row in rows if Path(row["uri"]) in photos]
    found = [
        who.encode(),
        f"Pupil {who}".encode(),
        *(str(path).encode() for path in photos),
        *(i.encode() for i in ids),
    ]
    for name, what in tables.descriptions(opened).items():
        if what["task"] == "faces":
            for row in tables.require(opened, "faces", name).to_pylist():
                if row["image_id"] in ids:
                    found += [row["thumbnail"], np.array(row["embedding"], np.float32).tobytes()]
    return found


def left(library: Path, traces: list[bytes]) -> list[str]:
    files, _ = everything(library)
    return [f"{trace[:40]!r} in {name}" for trace in traces for name, data in files.items() if trace in data]


def killed(kills: Kills, number: int, command: Callable[[], Any]) -> bool:
    """Whether the command came to that change of the library, and died there."""
    kills(number)
    try:
        command()
    except Killed:
        return True
    finally:
        kills(-1)
    return False


def commands(pupils: Pupils, library: Path, out: Path) -> dict[str, Callable[[Muster], Outcome]]:
    """Every command that writes or answers; none is refused what it is asked for, but calibrate: they are too few."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    at, photo = ("-l", library), pupils.photos["cy"][1]
    return {
        "scan": lambda muster: muster("scan", photo, *at),
        "run": lambda muster: muster("run", "--tasks", "faces", "--device", "cpu", *at),
        "cluster": lambda muster: muster("cluster", *at),
        "people": lambda muster: muster("people", "--out", out / "pages", *at),
        "identify": lambda muster: muster("identify", photo, *CPU, *at),
        "verify": lambda muster: muster("verify", photo, "--person", "cy", *CPU, *at),
        "calibrate": lambda muster: muster("calibrate", *at),
        "export": lambda muster: muster("export", "--format", "csv", "--tasks", "faces", "--out", out / "x.csv", *at),
        "overlay": lambda muster: muster("overlay", "--tasks", "faces", "--out", out / "x", *at),
        "enroll": lambda muster: muster("enroll", csv(out / "cy.csv", {"cy": pupils.photos["cy"][:2]}), *at),
        "forget": lambda muster: muster("forget", "cy", *at),
        "expired": lambda muster: muster("forget", "--expired", *at),
        "audit show": lambda muster: muster("audit", "show", *at),
    }


NAMES = (
    "scan",
    "run",
    "cluster",
    "identify",
    "verify",
    "calibrate",
    "export",
    "overlay",
    "enroll",
    "forget",
    "expired",
)


def later(monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
    """It is the day after tomorrow."""

    class Later(date):
        @classmethod
        def today(cls) -> date:  # type: ignore[override]
            return date.today() + timedelta(2)

    for module in modules:
        monkeypatch.setattr(module, "date", Later)


# ---- 4, 11, 12: deletions --------------------------------------------------------------------------------------------


def test_04_a_killed_forget_expired_is_finished_and_reported(
    muster: Muster, school_of_three: Pupils, tmp_path: Path, kills: Kills, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before every change."""
    later(monkeypatch, face)
    library = tmp_path / "library"
    for number in itertools.count():
        copy(school_of_three, library)
        traces = traces_of(library, "ann", school_of_three.photos["ann"][:2])
        expired = ("forget", "--expired", "-l", library, "--json")
        if not killed(kills, number, lambda expired=expired: muster(*expired)):  # type: ignore[misc]
            break
        again = muster(*expired)
        assert (again.code, again.facts["people"]) == (0, ["ann"])
        assert again.facts["found_afterwards"] == []
        assert left(library, traces) == []
        assert "nobody's consent has ended" in muster(*expired[:-1]).out
        assert audit.check(open_library(library)).problem is None
    assert number > 15


def test_04_whoever_stands_only_in_a_roster_counts(muster: Muster, pupils: Pupils) -> None:
    opened = open_library(pupils.library)
    gallery.write_roster(opened, lambda *_: True, [{"uri": str(pupils.photos["new"][0]), "person_id": "new"}])
    assert muster("forget", "--expired", "-l", pupils.library, "--json").facts["people"] == ["new"]
    assert left(pupils.library, [b"new-photo"]) == []


def test_11_the_receipt_survives(muster: Muster, school_of_three: Pupils, tmp_path: Path, kills: Kills) -> None:
    """Killed before every change: asked again, or only after another command finished it, `forget` has the receipt."""
    library = tmp_path / "library"
    for number in itertools.count():
        copy(school_of_three, library)
        ask = ("forget", "ann", "-l", library, "--json")
        if not killed(kills, number, lambda ask=ask: muster(*ask)):  # type: ignore[misc]
            break
        if number % 2:
            assert commands(school_of_three, library, tmp_path / "out")["identify"](muster).code == 0
        again = muster(*ask)
        assert (again.code, again.facts["people"], again.facts["found_afterwards"]) == (0, ["ann"], [])
        assert json.loads((library / again.facts["receipt"]).read_text())["people"] == ["ann"]
        assert len(list((library / "receipts").iterdir())) == 1
        assert (library / again.facts["receipt"]).name in muster(*ask[:-1]).out  # asked as often as one likes
        lines = [e for e in audit.entries(open_library(library)) if e["action"] == "forget"]
        assert {e["receipt"] for e in lines} == {again.facts["receipt"]}
    assert number > 15


def test_11_others_that_are_asked_for_are_forgotten_too(muster: Muster, pupils: Pupils, kills: Kills) -> None:
    at = ("-l", pupils.library, "--json")
    assert killed(kills, 4, lambda: muster("forget", "ann", *at))
    both = muster("forget", "ann", "bo", *at)
    assert (both.code, both.facts["people"]) == (0, ["ann", "bo"])
    assert [each["people"] for each in both.facts["receipts"]] == [["ann"], ["bo"]]
    assert gallery.require(open_library(pupils.library)).people == ["cy"]
    strange = muster("forget", "zoe", "-l", pupils.library)
    assert (strange.code, "zoe is neither a person_id" in strange.error) == (2, True)


def test_11_in_an_encrypted_library(
    muster: Muster, school_of_three: Pupils, tmp_path: Path, kills: Kills, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("A" * 43 + "=")
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setenv(encryption.KEY_FILE, str(tmp_path / "key"))
    library = tmp_path / "library"
    enrol(csv(tmp_path / "r.csv", {who: school_of_three.photos[who][:2] for who in ("ann", "bo")}), library)
    assert killed(kills, 6, lambda: muster("forget", "ann", "-l", library, "--json"))
    again = muster("forget", "ann", "-l", library, "--json")
    assert (again.code, again.facts["people"], again.facts["found_afterwards"]) == (0, ["ann"], [])
    assert muster("forget", "ann", "-l", library, "--json").facts["receipts"] == again.facts["receipts"]


def test_11_one_name_in_two_spellings(muster: Muster, pupils: Pupils) -> None:
    composed, two = unicodedata.normalize("NFC", "Zé"), unicodedata.normalize("NFD", "Zé")
    opened = open_library(pupils.library)
    known = gallery.require(opened)
    rows = known.faces.to_pylist()
    names = {"ann": composed, "bo": two, "cy": "cy"}  # as an older Muster enrolled them
    changed = known.without(known.people).with_faces([row | {"person_id": names[row["person_id"]]} for row in rows])
    gallery.write(opened, changed, "test", {})
    assert muster("forget", two, "-l", pupils.library).code == 0
    assert gallery.require(opened).people == ["cy"]
    assert muster("forget", composed, "-l", pupils.library, "--json").facts["people"] == sorted([composed, two])


def test_11_consent_is_withdrawn_in_any_spelling(pupils: Pupils, tmp_path: Path) -> None:
    opened = open_library(pupils.library)
    known = gallery.require(opened)
    rows = [row | {"person_id": unicodedata.normalize("NFD", "Zé")} for row in known.faces.to_pylist()[:2]]
    gallery.write(opened, known.without(["ann"]).with_faces(rows), "test", {})
    roster = tmp_path / "r.csv"
    roster.write_text(f"person_id,consent,image\n{unicodedata.normalize('NFC', 'Zé')},no,\n")
    assert enrol(roster, pupils.library).people == 2


@pytest.mark.parametrize("name", [*NAMES, "people", "audit show"])
def test_12_every_command_finishes_a_deletion_first(
    muster: Muster, pupils: Pupils, tmp_path: Path, kills: Kills, name: str
) -> None:
    command = commands(pupils, pupils.library, tmp_path / "out")[name]
    muster("cluster", "-l", pupils.library)
    traces = traces_of(pupils.library, "ann", pupils.photos["ann"][:2])
    assert killed(kills, 4, lambda: muster("forget", "ann", "-l", pupils.library))  # after note, log, gallery
    assert left(pupils.library, traces)
    outcome = command(muster)
    assert outcome.code == (2 if name == "calibrate" else 0), outcome.err
    assert left(pupils.library, traces) == []
    shown = outcome.out + "".join(p.read_text() for p in (tmp_path / "out").rglob("*.csv") if p.name != "cy.csv")
    assert "ann-photo" not in shown


def test_12_there_is_no_other_door() -> None:
    """Who holds the lock has settled; only `muster forget`, which reports what was settled, does it by itself; and the
    desk keeps an index of who stays."""
    home = Path(forget.__file__).parents[1]
    files = [*(home / "pipeline").rglob("*.py"), *(home / "muster").rglob("*.py")]
    assert {file.name for file in files if ".lock(" in file.read_text()} == {"forget.py", "library.py", "desk.py"}


def test_12_who_only_reads_is_told(
    muster: Muster, pupils: Pupils, tmp_path: Path, kills: Kills, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forget, "PATIENCE", 0.0)
    export = ("export", "--format", "csv", "--tasks", "faces", "--out", tmp_path / "x.csv", "-l", pupils.library)
    with open_library(pupils.library).lock():
        assert muster(*export).code == 0  # nothing is to be settled: the lock is not asked for
        (tmp_path / "x.csv").unlink()
    assert killed(kills, 4, lambda: muster("forget", "ann", "-l", pupils.library))
    with open_library(pupils.library).lock():
        outcome = muster(*export)
    assert (outcome.code, (tmp_path / "x.csv").exists()) == (1, False)
    assert "is to be finished before anything is answered: library" in outcome.error


def test_12_something_left_is_said_by_whoever_finds_it(muster: Muster, pupils: Pupils, kills: Kills) -> None:
    assert killed(kills, 4, lambda: muster("forget", "ann", "-l", pupils.library))
    (pupils.library / "notes.json").write_text('{"of": "ann"}')
    outcome = muster("cluster", "-l", pupils.library)
    assert (outcome.code, 'something is left: notes.json: "ann"; see' in outcome.error) == (1, True)
    assert muster("cluster", "-l", pupils.library).code == 0


# ---- 5: enrolments ---------------------------------------------------------------------------------------------------


def test_05_a_killed_enrolment_leaves_nobody(
    muster: Muster, school_of_three: Pupils, tmp_path: Path, kills: Kills
) -> None:
    """Killed before every change, and then one command after another."""
    pupils, library = school_of_three, tmp_path / "library"
    enrol(pupils.roster, copy(pupils, library))
    traces = traces_of(library, "new", pupils.photos["new"][:2])
    other = traces_of(library, "bo", pupils.photos["bo"])
    for number, name in zip(itertools.count(), itertools.cycle(NAMES), strict=False):
        copy(pupils, library)
        if not killed(kills, number, lambda: enrol(pupils.roster, library)):
            break
        outcome = commands(pupils, library, tmp_path / "out")[name](muster)
        assert outcome.code == (2 if name == "calibrate" else 0), outcome.err
        people = gallery.require(open_library(library)).people
        if "new" not in people:
            assert left(library, traces) == [], (number, name)
        assert {"ann", "bo"} <= set(people)
        mine = set(gallery.require(open_library(library)).faces["uri"].to_pylist())
        assert str(pupils.photos["bo"][2]) in mine or left(library, [str(pupils.photos["bo"][2]).encode()]) == []
        assert set(gallery.read_roster(open_library(library)).values()) <= set(people)
    assert number > 10
    assert set(other) > {b"bo"}


@pytest.mark.parametrize("failure", [MusterError("2 of 3 shards failed"), KeyboardInterrupt(), OSError(28, "full")])
def test_05_an_enrolment_that_failed(
    muster: Muster, pupils: Pupils, work: Any, weights: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    traces: list[bytes] = []

    def process(library: LibraryFiles, *_: object) -> None:
        assert audit.entries(library)[-1]["action"] == "enroll-begun"  # before a photo is looked at
        work(library.uri, weights, ("faces",))
        traces.extend(traces_of(pupils.library, "new", pupils.photos["new"][:2]))
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(enrolment, "process", process)
        with pytest.raises(type(failure)):
            enrol(pupils.roster, pupils.library)
    assert left(pupils.library, traces)
    outcome = muster("forget", "--expired", "-l", pupils.library, "--json")
    assert (outcome.code, outcome.facts["people"], len(outcome.facts["images"])) == (0, ["new"], 3)
    assert left(pupils.library, traces) == []
    assert gallery.require(open_library(pupils.library)).people == ["ann", "bo", "cy"]


def test_05_the_same_roster_goes_on(
    pupils: Pupils, tmp_path: Path, work: Any, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done stays; of another roster that is unfinished nothing does."""
    done = []

    def process(library: LibraryFiles, *_: object) -> None:
        done.append(len(work(library.uri, weights, ("faces",))))
        if len(done) < 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(enrolment, "process", process)
    other = csv(tmp_path / "other.csv", {"dan": [Path(shutil.copy(pupils.photos["new"][2], tmp_path / "dan.jpg"))]})
    for roster in (other, pupils.roster):
        with pytest.raises(KeyboardInterrupt):
            enrol(roster, pupils.library)
    assert left(pupils.library, [b"dan"]) == []
    assert enrol(pupils.roster, pupils.library).people == 4
    assert done[1:] == [done[1], 0]


def test_05_a_photo_that_a_roster_gave_to_somebody_else(muster: Muster, pupils: Pupils, kills: Kills) -> None:
    opened = open_library(pupils.library)
    photo = str(pupils.photos["ann"][0])
    gallery.write_roster(opened, lambda *_: True, [{"uri": photo, "person_id": "dan"}])
    manifest.scan(opened, [opened.uri_of(layout.ROSTER)])
    assert muster("run", "--tasks", "faces", "--device", "cpu", "-l", pupils.library).code == 0
    assert left(pupils.library, [b"dan"]) == []
    assert photo in gallery.require(opened).faces["uri"].to_pylist()  # ann keeps it
    assert muster("forget", "ann", "-l", pupils.library).code == 0


# ---- 6: answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["forgotten", "ended", "being forgotten"])
def test_06_who_went_meanwhile_is_not_named(
    muster: Muster, pupils: Pupils, kills: Kills, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    look_at, photos = identify.in_process, [pupils.photos[who][2] for who in ("ann", "bo")]
    pseudonyms = {who: gallery.require(open_library(pupils.library)).pseudonym_of(who) for who in ("ann", "bo")}
    at = ("-l", pupils.library)

    def meanwhile(*arguments: Any) -> Any:
        probes = look_at(*arguments)
        if how == "forgotten":
            assert muster("forget", "ann", *at).code == 0
        elif how == "ended":
            later(monkeypatch, desk)
        else:
            killed(kills, 1, lambda: muster("forget", "ann", *at))
        return probes

    monkeypatch.setattr(identify, "in_process", meanwhile)
    answers = {Path(a["image"]).name: a for a in muster("identify", *photos, *CPU, *at, "--json").facts["answers"]}
    assert (answers["ann-photo-2.jpg"]["person_id"], answers["bo-photo-2.jpg"]["person_id"]) == ("UNKNOWN", "bo")
    assert answers["ann-photo-2.jpg"]["reason"] == "nobody is alike enough"
    entry = audit.entries(open_library(pupils.library))[-1]
    assert (entry["action"], entry["people"]) == ("identify", [pseudonyms["bo"]])


def test_06_verify_of_who_went_meanwhile(muster: Muster, pupils: Pupils, monkeypatch: pytest.MonkeyPatch) -> None:
    look_at = identify.in_process

    def meanwhile(*arguments: Any) -> Any:
        assert muster("forget", "ann", "-l", pupils.library).code == 0
        return look_at(*arguments)

    monkeypatch.setattr(identify, "in_process", meanwhile)
    outcome = muster("verify", pupils.photos["ann"][2], "--person", "ann", *CPU, "-l", pupils.library)
    assert (outcome.code, outcome.out) == (2, "")
    assert "nobody with person_id ann is enrolled" in outcome.error
    last = audit.entries(open_library(pupils.library))[-1]
    assert (last["action"], last["people"], last["refused"]) == ("verify", [], "not enrolled")
    assert "ann" not in json.dumps(last)


def test_06_a_log_that_is_cut_off_again_and_again(tmp_path: Path, kills: Kills) -> None:
    """Else no command would go on: two kills in turn between a line and the head that counts it."""
    library = open_library(tmp_path / "L", create=True)
    audit.append(library, "identify", {})
    for number in (1, 2, 2, 1, 0, 1):
        assert killed(kills, number, lambda: audit.append(library, "identify", {}))
    audit.append(library, "identify", {})
    assert audit.check(library).problem is None
    assert audit.check(library).lines == 6


# ---- 30: the search afterwards ---------------------------------------------------------------------------------------

IMAGE = "0123456789abcdef" * 2
URI = "/photos/ann é 1.jpg"
VECTOR = np.linspace(-1, 1, 128, dtype=np.float32)
PICTURE = b"\xff\xd8 a thumbnail \x00"
HALF = pa.array([VECTOR.astype(np.float16)], pa.list_(pa.float16(), 128))
COLUMNS = {
    "dictionary": ("image_id", pa.array([IMAGE, "x"]).dictionary_encode()),
    "large text": ("image_id", pa.array([IMAGE], pa.large_string())),
    "text view": ("image_id", pa.array([IMAGE], pa.string_view())),
    "bytes": ("x", pa.array([IMAGE.encode()], pa.binary())),
    "bytes of one size": ("x", pa.array([IMAGE.encode()], pa.binary(32))),
    "list": ("x", pa.array([["x", IMAGE]], pa.list_(pa.string()))),
    "struct": ("x", pa.array([{"a": {"b": IMAGE}}])),
    "map": ("x", pa.array([[("k", IMAGE)]], pa.map_(pa.string(), pa.string()))),
    "longer text": ("x", pa.array([f"cannot read {URI}: gone"])),
    "face": ("face_id", pa.array([f"{IMAGE}-0"])),
    "person in a list": ("person", pa.array([["bo", "ann"]])),
    "name": ("name", pa.array(["Ann Lee"])),
    "float": ("x", pa.array([VECTOR], pa.list_(pa.float32(), 128))),
    "half": ("x", HALF),
    "double": ("x", pa.array([VECTOR.astype(np.float64)], pa.list_(pa.float64()))),
    "large list": ("x", pa.array([VECTOR], pa.large_list(pa.float32()))),
    "picture": ("x", pa.array([PICTURE], pa.large_binary())),
}
INNOCENT = {
    "another row of a file": ("uri", pa.array(["/f.parquet#row=12", "/other" + URI, URI + "x"])),
    "a class": ("label", pa.array(["ann", "Ann Lee"])),
    "others": ("x", pa.array([-VECTOR], pa.list_(pa.float32(), 128))),
    "numbers": ("x", pa.array([[1, 2, None], None], pa.list_(pa.int64()))),
    "nothing": ("person_id", pa.nulls(3)),
}


def sought() -> Sought:
    column = pa.chunked_array([pa.array([VECTOR], pa.list_(pa.float32(), 128))])
    embeddings = left_over.digests(column) | left_over.digests(column, np.float16)
    pictures = left_over.picture_digests(pa.chunked_array([pa.array([PICTURE])]))
    return Sought(["ann", "Ann Lee"], [IMAGE, URI, "/f.parquet#row=1"], embeddings, pictures)


@pytest.mark.parametrize("name", COLUMNS)
def test_30_every_column_is_looked_at(tmp_path: Path, name: str) -> None:
    library = open_library(tmp_path / "L", create=True)
    library.write("any/x.parquet", tables.to_parquet(pa.table(dict([COLUMNS[name]]))))
    assert len(left_over.search(library, sought(), ())) == 1


@pytest.mark.parametrize("name", INNOCENT)
def test_30_what_is_somebody_else_s_is_not_found(tmp_path: Path, name: str) -> None:
    library = open_library(tmp_path / "L", create=True)
    library.write("any/x.parquet", tables.to_parquet(pa.table(dict([INNOCENT[name]]))))
    library.write("any/x.json", b'{"anna": 1, "uri": "/f.parquet#row=12"}')
    table = pa.table({"x": [1]}).replace_schema_metadata({"muster.table": "ann", "b": "annual"})
    library.write("any/y.parquet", tables.to_parquet(table))
    assert left_over.search(library, sought(), ()) == []


def test_30_metadata_and_other_files(tmp_path: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    schema = pa.schema([pa.field("x", pa.int64(), metadata={"of": f"the face {IMAGE}-0"})], {"muster.x": URI})
    library.write("a.parquet", tables.to_parquet(schema.empty_table()))
    library.write("b.parquet", tables.to_parquet(pa.table({"x": [1]}).replace_schema_metadata({"made for": "Ann Lee"})))
    library.write("c.json", json.dumps({"name": "Ann Lee", "uri": URI}).encode())
    library.write("d.jpg", PICTURE)
    library.write("index/f/vectors", VECTOR.tobytes())
    assert left_over.search(library, sought(), ()) == [
        f"a.parquet, metadata: {URI}",
        f"a.parquet, metadata: {IMAGE}",
        "b.parquet, metadata: Ann Lee",
        f"c.json: {URI}",
        'c.json: "Ann Lee"',
        "d.jpg: a picture",
        "index/f/vectors: an index of faces",
    ]


def test_30_the_name_of_a_file(tmp_path: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    library.write(f"pages/{IMAGE}.txt", b"")
    assert left_over.search(library, sought(), ()) == [f"pages/{IMAGE}.txt: its name"]


def test_30_names_and_pictures_are_looked_for(muster: Muster, pupils: Pupils) -> None:
    opened = open_library(pupils.library)
    [thumbnail, *_] = [t for t in traces_of(pupils.library, "ann", pupils.photos["ann"][:2]) if t[:2] == b"\xff\xd8"]
    (pupils.library / "copies.parquet").write_bytes(tables.to_parquet(pa.table({"t": [thumbnail]})))
    (pupils.library / "list.json").write_text('["Pupil ann", "Pupil bo"]')
    known = gallery.require(opened)
    rows = [row | {"name": "Pupil bo"} for row in known.faces.to_pylist() if row["person_id"] == "cy"]
    gallery.write(opened, known.with_faces(rows), "test", {})
    first = muster("forget", "ann", "-l", pupils.library, "--json")
    assert first.code == 1
    assert first.facts["found_afterwards"] == ["copies.parquet, t: 1 pictures", 'list.json: "Pupil ann"']
    second = muster("forget", "bo", "-l", pupils.library, "--json")
    assert (second.code, second.facts["found_afterwards"]) == (0, [])  # cy, who stays, has that name too


# ---- all of it at random ---------------------------------------------------------------------------------------------


def test_killed_at_random_points(data: Path) -> None:
    """benchmarks/deletion.py in short: 8 kills instead of 300."""
    command = [sys.executable, deletion.__file__, "--kills", "8", "--worlds", "1", "--people", "4"]
    done = subprocess.run(command, env={**os.environ, "MUSTER_TEST_DATA": str(data)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert (facts["kills"], facts["left_behind"], facts["named_after"], facts["failed"]) == (8, 0, 0, 0)


def test_the_search_of_the_benchmark_sees_everything(school_of_three: Pupils) -> None:
    files, vectors = everything(school_of_three.library)
    traces = traces_of(school_of_three.library, "ann", school_of_three.photos["ann"][:2])
    embedding = np.frombuffer(traces[-1], np.float32)[None]
    person = deletion.Person("ann", "Pupil ann", (), {str(i): trace for i, trace in enumerate(traces)}, embedding)
    found = deletion.left_of(person, files, vectors)
    assert {what.split(" in ")[0] for what in found} == {*map(str, range(len(traces))), "2 embeddings"}
