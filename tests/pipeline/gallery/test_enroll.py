"""Enrolment on real photos; the worker runs in this process."""

import os
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from helpers.fixtures import Killed, School
from helpers.runs import config_of
from muster.errors import InputError
from muster.pipeline import forget
from muster.pipeline.gallery import enroll as enrolment
from muster.pipeline.gallery.enroll import EnrolSummary, Request, enroll
from muster.storage import layout, manifest, tables
from muster.storage.gallery import audit, gallery
from muster.storage.library import LibraryFiles, open_library

Enrol = Callable[..., EnrolSummary]


@pytest.fixture
def enrol(monkeypatch: pytest.MonkeyPatch, work: Callable[..., Any], weights: Path) -> Enrol:
    def process(library: LibraryFiles, *_: object) -> None:
        work(library.uri, weights, ("faces",))

    monkeypatch.setattr(enrolment, "process", process)

    def do(source: Path, library: Path, consent: bool = False, accept: tuple[str, ...] = ()) -> EnrolSummary:
        open_library(library, create=True)
        config = config_of(library, "faces")
        return enroll(Request(str(source), consent, accept), config, lambda _: None)

    return do


def csv(path: Path, rows: list[list[Any]], head: str = "person_id,name,consent,valid_until,image,image2") -> Path:
    path.write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]))
    return path


@pytest.fixture(scope="module")
def roster(school: School, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody for every way to be enrolled or refused."""
    folder = tmp_path_factory.mktemp("roster")
    people = [*school.enrolled.items()]
    (_, ann), (_, bo), (_, cy), (_, di), (_, ed), (_, other) = people[:6]
    two = Image.new("RGB", (500, 250))
    for i, half in enumerate((ann[0], bo[0])):
        two.paste(Image.open(half).resize((250, 250)), (250 * i, 0))
    two.save(folder / "two.jpg")
    Image.effect_noise((200, 200), 40).convert("RGB").save(folder / "nobody.jpg")
    far = Image.open(di[0])
    far.resize((40, 40)).save(folder / "far.jpg")
    (folder / "cut.jpg").write_bytes(ann[0].read_bytes()[:900])
    yesterday, tomorrow = date.today() - timedelta(1), date.today() + timedelta(1)
    return csv(
        folder / "roster.csv",
        [
            ["ann", "Ann", "yes", tomorrow, ann[0], ann[1]],
            ["bo", "Bo", "yes", "", bo[0], "two.jpg"],
            ["cy", "Cy", "no", "", cy[0], cy[1]],
            ["di", "Di", "yes", yesterday, di[0], ""],
            ["ed", "Ed", "yes", "", ed[0], other[1]],
            ["flo", "Flo", "yes", "", "nobody.jpg", "gone.jpg"],
            ["gus", "Gus", "yes", "", ann[0].with_name("copy.jpg"), ""],
            ["hal", "Hal", "yes", "", "cut.jpg", "far.jpg"],
            ["ina", "Ina", "yes", "", "", ""],
        ],
    )


@pytest.fixture(scope="module")
def copied(school: School) -> None:
    [first, *_] = school.enrolled.values()
    shutil.copy(first[1], first[0].with_name("copy.jpg"))


def test_who_is_enrolled_and_who_is_not(enrol: Enrol, roster: Path, copied: None, tmp_path: Path) -> None:
    found = enrol(roster, tmp_path / "L")
    assert (found.people, found.enrolled, found.updated, found.photos) == (1, 1, 0, 1)
    reasons = {(each.person_id, Path(each.image or "").name): each.reason for each in found.refused}
    assert reasons["cy", ""] == "no consent"
    assert reasons["di", ""].startswith("consent ended on ")
    assert reasons["bo", "two.jpg"] == "2 faces: crop it to one"
    assert reasons["flo", "nobody.jpg"] == "no face"
    assert "gone.jpg" in reasons["flo", "gone.jpg"]
    assert reasons["flo", ""] == reasons["hal", ""] == "no usable photo"
    assert reasons["hal", "far.jpg"].startswith("the face is too small, blurred or turned away (quality 0.")
    assert reasons["ina", ""] == "no photo is named"
    unlike = [each for each in found.refused if each.reason.startswith("does not look like the other photos")]
    assert {(each.person_id, each.review) for each in unlike} == {("ed", True)}
    alike = [each for each in found.refused if each.reason.startswith("looks like another person")]
    assert {(each.person_id, each.review) for each in alike} == {("ann", True), ("gus", True)}
    [pair] = found.lookalikes
    assert (pair["person_id"], pair["other"]) == ("ann", "gus")
    assert pair["similarity"] > 0.9

    library = open_library(tmp_path / "L")
    known = gallery.require(library)
    assert known.people == ["bo"]
    faces = tables.descriptions(library)
    assert {what["task"] for what in faces.values()} == {"images", "faces"}
    assert [entry["action"] for entry in audit.entries(library)] == ["enroll-begun", "enroll"]


def test_without_consent_photos_are_not_looked_at(enrol: Enrol, school: School, tmp_path: Path) -> None:
    (_, ann), (_, cy) = [*school.enrolled.items()][:2]
    enrol(csv(tmp_path / "r.csv", [["ann", "Ann", "yes", "", *ann], ["cy", "Cy", "no", "", *cy]]), tmp_path / "L")
    assert set(manifest.read_manifest(open_library(tmp_path / "L"))["uri"].to_pylist()) == set(map(str, ann))


def test_a_second_enrolment_updates(enrol: Enrol, school: School, tmp_path: Path) -> None:
    (_, ann), (_, bo), (_, cy) = [*school.enrolled.items()][:3]
    enrol(
        csv(tmp_path / "r.csv", [["ann", "Ann", "yes", "", ann[0], ""], ["bo", "Bo", "yes", "", *bo]]), tmp_path / "L"
    )
    library = open_library(tmp_path / "L")
    before = gallery.require(library)
    again = enrol(tmp_path / "r.csv", tmp_path / "L")
    assert (again.enrolled, again.updated, again.people) == (0, 2, 2)
    assert gallery.require(library).faces.equals(before.faces)

    more = [["ann", "Anne", "yes", "2040-01-01", *ann], ["cy", "Cy", "yes", "", *cy]]
    third = enrol(csv(tmp_path / "more.csv", more), tmp_path / "L")
    assert (third.enrolled, third.updated, third.people) == (1, 1, 3)
    after = gallery.require(library)
    rows = after.faces.to_pylist()
    assert [row["person_id"] for row in rows] == ["ann", "ann", "bo", "bo", "cy", "cy"]
    assert {row["name"] for row in rows if row["person_id"] == "ann"} == {"Anne"}
    assert {row["valid_until"] for row in rows if row["person_id"] == "ann"} == {date(2040, 1, 1)}
    assert after.pseudonym_of("ann") == before.pseudonym_of("ann")
    assert len(manifest.read_manifest(library)) == 6

    withdrawn = enrol(csv(tmp_path / "no.csv", [["ann", "Ann", "no", "", *ann]]), tmp_path / "L")
    assert (withdrawn.forgotten, withdrawn.people) == (["ann"], 2)
    assert len(manifest.read_manifest(library)) == 4


def test_what_was_reviewed_is_enrolled(enrol: Enrol, school: School, tmp_path: Path) -> None:
    (_, ann), (_, bo) = [*school.enrolled.items()][:2]
    rows = [["ann", "Ann", "yes", "", ann[0], ""], ["twin", "Twin", "yes", "", ann[1], ""]]
    source = csv(tmp_path / "r.csv", rows)
    assert enrol(source, tmp_path / "L").people == 0
    found = enrol(source, tmp_path / "L", accept=("ann",))
    assert (found.people, [each.person_id for each in found.refused]) == (1, ["twin"])
    source = csv(tmp_path / "other.csv", [["bo", "Bo", "yes", "", *bo], ["twin", "Twin", "yes", "", ann[1], ""]])
    assert [each.person_id for each in enrol(source, tmp_path / "L").refused] == ["twin"]
    assert enrol(source, tmp_path / "L", accept=("twin",)).people == 3
    with pytest.raises(InputError, match=r"`accept` nil: nobody in roster .* has that person_id"):
        enrol(source, tmp_path / "L", accept=("nil",))


def test_consent_is_asked_for(enrol: Enrol, school: School, tmp_path: Path) -> None:
    [photos, *_] = school.enrolled.values()
    (tmp_path / "people/ann").mkdir(parents=True)
    shutil.copy(photos[0], tmp_path / "people/ann")
    with pytest.raises(InputError, match="does not say who consented: add a column consent"):
        enrol(tmp_path / "people", tmp_path / "L")
    assert enrol(tmp_path / "people", tmp_path / "L", consent=True).enrolled == 1


def test_a_gallery_is_of_one_model(enrol: Enrol, school: School, tmp_path: Path) -> None:
    [photos, *_] = school.enrolled.values()
    source = csv(tmp_path / "r.csv", [["ann", "Ann", "yes", "", *photos]])
    enrol(source, tmp_path / "L")
    config = config_of(tmp_path / "L", "faces", models={"faces": "published"})
    with pytest.raises(InputError, match="is made by faces=own: faces of published cannot be compared"):
        enroll(Request(str(source)), config, lambda _: None)


def test_a_kill_at_any_write(
    enrol: Enrol, gallery_library: Path, school: School, tmp_path: Path, kills: Callable[[int], None]
) -> None:
    """Of every third write: somebody new, and somebody with another photo."""
    old = gallery.require(open_library(gallery_library))
    [(name, photos), *_] = school.enrolled.items()
    rows = [["new", "New", "yes", "", school.strangers[0], ""], [name, name, "yes", "", photos[0], school.probes[name]]]
    source = csv(tmp_path / "r.csv", rows)
    for number in range(0, 90, 3):
        copy = Path(shutil.copytree(gallery_library, tmp_path / f"copy{number}"))
        kills(number)
        try:
            enrol(source, copy)
            kills(-1)
            break
        except Killed:
            kills(-1)
        actions = [entry["action"] for entry in audit.entries(open_library(copy))]
        done = actions.count("enroll") == 2  # its line is there, so it counts
        now = gallery.require(open_library(copy)).faces
        assert now.drop(["embedding"]).equals(old.faces.drop(["embedding"])) != done
        assert enrol(source, copy).people == 33
        after = gallery.require(open_library(copy))
        mine = {row["uri"] for row in after.faces.to_pylist() if row["person_id"] == name}
        assert mine == {str(photos[0]), str(school.probes[name])}
        assert audit.check(open_library(copy)).problem is None
    assert number >= 9


def test_consent_that_is_withdrawn_counts_also_for_those_who_were_refused(
    enrol: Enrol, school: School, tmp_path: Path
) -> None:
    (_, ann), (_, bo) = [*school.enrolled.items()][:2]
    rows = [["ann", "Ann", "yes", "2099-01-01", *ann], ["twin", "Twin", "yes", "", ann[1].with_name("copy.jpg"), ""]]
    shutil.copy(ann[1], ann[1].with_name("copy.jpg"))
    library = tmp_path / "L"
    assert enrol(csv(tmp_path / "r.csv", rows), library).people == 0  # both are held
    opened = open_library(library)
    assert len(manifest.read_manifest(opened)) == 0  # what is not used does not stay
    assert gallery.read_roster(opened) == {}

    enrol(csv(tmp_path / "r.csv", rows[:1]), library)
    gallery.write_roster(opened, lambda *_: True, [{"uri": str(bo[0]), "person_id": "bo"}])  # as a kill leaves it
    gone = enrol(csv(tmp_path / "no.csv", [["bo", "Bo", "no", "", bo[0], ""]]), library)
    assert (gone.forgotten, list(gallery.read_roster(opened).values())) == ([], ["ann", "ann"])
    [receipt] = opened.names(layout.RECEIPTS)
    assert tables.read_json(opened, f"receipts/{receipt}")["people"] == ["bo"]  # before the roster was looked at


def test_the_end_of_consent_can_come_nearer(enrol: Enrol, school: School, tmp_path: Path) -> None:
    [(_, ann), *_] = school.enrolled.items()
    library = tmp_path / "L"
    enrol(csv(tmp_path / "r.csv", [["ann", "Ann", "yes", "2099-01-01", *ann]]), library)
    enrol(csv(tmp_path / "s.csv", [["ann", "Ann", "yes", ann[0]]], "person_id,name,consent,image"), library)
    assert set(gallery.require(open_library(library)).faces["valid_until"].to_pylist()) == {date(2099, 1, 1)}
    (tmp_path / "black.jpg").write_bytes(b"")
    enrol(csv(tmp_path / "t.csv", [["ann", "Anne", "yes", "2050-01-01", "black.jpg", ""]]), library)
    known = gallery.require(open_library(library))  # though the new photo is of no use
    assert set(known.faces["valid_until"].to_pylist()) == {date(2050, 1, 1)}
    assert known.name_of("ann") == "Anne"
    ended = enrol(csv(tmp_path / "u.csv", [["ann", "Ann", "yes", "2020-01-01", *ann]]), library)
    assert (ended.forgotten, ended.people) == (["ann"], 0)


def test_a_parquet_roster_that_was_rewritten(enrol: Enrol, school: School, tmp_path: Path) -> None:
    (_, ann), (_, bo) = [*school.enrolled.items()][:2]
    library, file = tmp_path / "L", tmp_path / "m.parquet"
    embeddings = []
    for order in (("ann", "bo"), ("bo", "ann")):
        images = [{"ann": ann, "bo": bo}[name][0].read_bytes() for name in order]
        pq.write_table(pa.table({"image": images, "person": order, "consent": [True, True]}), file)
        os.utime(file, (1e9 + len(embeddings), 1e9 + len(embeddings)))
        enrol(file, library)
        rows = gallery.require(open_library(library)).faces.to_pylist()
        embeddings.append({row["person_id"]: row["embedding"] for row in rows})
    for name in ("ann", "bo"):
        assert np.dot(embeddings[0][name], embeddings[1][name]) > 0.99


def test_a_photo_that_is_somebody_else_s_by_now(enrol: Enrol, school: School, tmp_path: Path) -> None:
    [(_, ann), *_] = school.enrolled.items()
    library = tmp_path / "L"
    enrol(csv(tmp_path / "r.csv", [["ann", "Ann", "yes", "", f"file://{ann[0]}", ""]]), library)
    enrol(csv(tmp_path / "s.csv", [["bo", "Bo", "yes", "", ann[0], ""]]), library)  # held: he looks like Ann
    opened = open_library(library)
    [receipt] = forget.forget(opened, ["ann"], "asked for")
    assert (receipt.people, receipt.found_afterwards) == (["ann"], [])
    assert gallery.read(opened).faces.num_rows == 0


@pytest.fixture
def moved(enrol: Enrol, school: School, tmp_path: Path) -> tuple[Path, Path]:
    """A library in which Ann and Bo are enrolled, and a roster of the same photos in the folder that theirs became."""
    folder = tmp_path / "class"
    (_, ann), (_, bo) = [*school.enrolled.items()][:2]
    for name, photos in (("ann", ann), ("bo", bo)):
        (folder / name).mkdir(parents=True)
        for photo in photos:
            shutil.copy(photo, folder / name)
    enrol(folder, tmp_path / "L", consent=True)
    return tmp_path / "L", folder.rename(tmp_path / "class of 2026")


def test_a_roster_whose_folder_was_renamed(enrol: Enrol, moved: tuple[Path, Path]) -> None:
    library, folder = open_library(moved[0]), moved[1]
    before, tables_before = gallery.require(library).faces, tables.descriptions(library)
    shards = {name: tables.committed(library, name) for name in tables_before}
    done = enrol(folder, moved[0], consent=True)
    assert (done.people, done.enrolled, done.updated, done.photos) == (2, 0, 2, 4)
    after = gallery.require(library).faces
    assert after.drop(["uri"]).equals(before.drop(["uri"]))  # the same faces, found once
    assert set(after["uri"].to_pylist()) == {str(path) for path in folder.glob("*/*.jpg")}
    assert {name: tables.committed(library, name) for name in tables.descriptions(library)} == shards
    assert forget.unfinished(library) == {}
    assert library.names(layout.RECEIPTS) == []


def test_a_kill_while_a_renamed_roster_is_enrolled(
    enrol: Enrol, moved: tuple[Path, Path], tmp_path: Path, kills: Callable[[int], None]
) -> None:
    """Who is enrolled stays, though the photos are not called what the gallery calls them."""
    for number in range(60):
        copy = Path(shutil.copytree(moved[0], tmp_path / f"copy{number}"))
        kills(number)
        try:
            enrol(moved[1], copy, consent=True)
            kills(-1)
            break
        except Killed:
            kills(-1)
        library = open_library(copy)
        with forget.locked(library):
            assert gallery.require(library).people == ["ann", "bo"]
            assert forget.unfinished(library) == {}
        assert enrol(moved[1], copy, consent=True).people == 2
        assert set(gallery.require(library).faces["uri"].to_pylist()) == {str(p) for p in moved[1].glob("*/*.jpg")}
    assert number >= 9


def test_photos_enrolled_from_an_album_move_with_it(enrol: Enrol, school: School, tmp_path: Path) -> None:
    """The gallery has them by the name that they had then. By the name of today they are forgotten there, too."""
    (_, ann), (_, bo) = [*school.enrolled.items()][:2]
    old = tmp_path / "albums" / "old"
    old.mkdir(parents=True)
    for photo in (*ann, *bo, school.strangers[0]):
        shutil.copy(photo, old)
    opened = open_library(tmp_path / "L", create=True)
    manifest.scan(opened, [str(tmp_path / "albums")])
    enrol(csv(tmp_path / "r.csv", [["ann", "Ann", "yes", "", *(old / photo.name for photo in ann)]]), tmp_path / "L")
    images = set(manifest.read_manifest(opened)["image_id"].to_pylist())
    new = old.rename(old.with_name("new"))
    result = manifest.scan(opened, [str(tmp_path / "albums")])
    assert (result.new, result.moved, result.gone) == (0, 5, 0)
    assert set(manifest.read_manifest(opened)["image_id"].to_pylist()) == images
    assert forget.unfinished(opened) == {}
    [receipt] = forget.forget(opened, [str(new / photo.name) for photo in ann], "asked for")
    assert receipt.originals == sorted(str(folder / photo.name) for folder in (old, new) for photo in ann)
    assert (receipt.found_afterwards, gallery.read_roster(opened)) == ([], {})
    assert gallery.read(opened).faces.num_rows == 0


# ---- who was forgotten -----------------------------------------------------------------------------------------------


def test_who_was_forgotten_does_not_come_back_by_the_same_roster(enrol: Enrol, school: School, tmp_path: Path) -> None:
    (_, ann), (_, bo) = [*school.enrolled.items()][:2]
    rows = [["ann", "Ann", "yes", "", *ann], ["bo", "Bo", "yes", "", *bo]]
    source, library = csv(tmp_path / "r.csv", rows), tmp_path / "L"
    assert enrol(source, library).people == 2
    opened = open_library(library)
    [receipt] = forget.forget(opened, ["ann"], forget.ASKED)

    again = enrol(source, library)
    [refused] = again.refused
    day = receipt.at.partition("T")[0]
    assert (refused.person_id, refused.review) == ("ann", True)
    assert refused.reason == f"was forgotten on {day} (asked for): is enrolled only with consent that was given since"
    assert (gallery.require(opened).people, again.people) == (["bo"], 1)
    assert set(manifest.read_manifest(opened)["uri"].to_pylist()) == set(map(str, bo))  # nor were photos looked at

    assert enrol(source, library, accept=("ann",)).enrolled == 1
    assert enrol(source, library).refused == []  # who is enrolled is not asked about again


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_nor_by_rosters_of_other_kinds(enrol: Enrol, school: School, tmp_path: Path, kind: str) -> None:
    [(_, ann), *_] = school.enrolled.items()
    source = tmp_path / "people"
    if kind == "folder":
        (source / "ann").mkdir(parents=True)
        shutil.copy(ann[0], source / "ann/1.jpg")
    else:
        source = tmp_path / "people.parquet"
        pq.write_table(pa.table({"uri": [str(ann[0])], "person": ["ann"]}), source)
    enrol(source, tmp_path / "L", consent=True)
    forget.forget(open_library(tmp_path / "L"), ["ann"], forget.ASKED)
    again = enrol(source, tmp_path / "L", consent=True)
    assert (again.people, [each.review for each in again.refused]) == (0, [True])


def test_who_withdrew_consent_does_not_come_back_by_a_roster_from_before(
    enrol: Enrol, school: School, tmp_path: Path
) -> None:
    [(_, ann), *_] = school.enrolled.items()
    before = csv(tmp_path / "r.csv", [["ann", "Ann", "yes", "2099-01-01", *ann]])
    enrol(before, tmp_path / "L")
    withdrawn = csv(tmp_path / "no.csv", [["ann", "Ann", "no", "", *ann]])
    assert enrol(withdrawn, tmp_path / "L").forgotten == ["ann"]
    again = enrol(before, tmp_path / "L")
    assert (again.people, [(each.person_id, each.review) for each in again.refused]) == (0, [("ann", True)])


def test_consent_that_had_ended_and_was_given_anew(enrol: Enrol, school: School, tmp_path: Path) -> None:
    [(_, ann), *_] = school.enrolled.items()
    without = csv(tmp_path / "r.csv", [["ann", "Ann", "yes", "", *ann]])
    enrol(without, tmp_path / "L")
    forget.forget_people(open_library(tmp_path / "L"), ["ann"], forget.ENDED)
    assert [each.review for each in enrol(without, tmp_path / "L").refused] == [True]  # nothing says that it is new
    renewed = csv(tmp_path / "s.csv", [["ann", "Ann", "yes", "31.12.2098", *ann]])
    assert enrol(renewed, tmp_path / "L").enrolled == 1
    ended = csv(tmp_path / "t.csv", [["ann", "Ann", "yes", "31.12.2020", *ann]])
    assert enrol(ended, tmp_path / "L").forgotten == ["ann"]
    assert enrol(renewed, tmp_path / "L").enrolled == 1


def test_a_photo_that_was_forgotten_does_not_come_back_either(enrol: Enrol, school: School, tmp_path: Path) -> None:
    [(_, ann), *_] = school.enrolled.items()
    source = csv(tmp_path / "r.csv", [["ann", "Ann", "yes", "", *ann]])
    enrol(source, tmp_path / "L")
    opened = open_library(tmp_path / "L")
    forget.forget(opened, [str(ann[0])], forget.ASKED)
    again = enrol(source, tmp_path / "L")
    assert [(each.person_id, each.image, each.review) for each in again.refused] == [("ann", str(ann[0]), True)]
    assert gallery.require(opened).faces["uri"].to_pylist() == [str(ann[1])]

    forget.forget(opened, [str(ann[1])], forget.ASKED)  # and with it, all there was of them
    renamed = csv(tmp_path / "s.csv", [["another", "Ann", "yes", "", *ann]])
    assert {each.image for each in enrol(renamed, tmp_path / "L").refused} == set(map(str, ann))
    assert enrol(renamed, tmp_path / "L", accept=("another",)).people == 1


def test_an_enrolment_that_was_cut_off_is_no_deletion(enrol: Enrol, school: School, tmp_path: Path) -> None:
    [(_, ann), *_] = school.enrolled.items()
    source, opened = (
        csv(tmp_path / "r.csv", [["ann", "Ann", "yes", "", *ann]]),
        open_library(tmp_path / "L", create=True),
    )
    gallery.write_roster(opened, lambda *_: True, [{"uri": str(ann[0]), "person_id": "ann"}])  # as a kill leaves it
    with forget.locked(opened):
        pass
    assert len(opened.names(layout.RECEIPTS)) == 1
    assert (enrol(source, tmp_path / "L").enrolled, opened.names(layout.RECEIPTS)) == (1, opened.names(layout.RECEIPTS))


def test_remarks_on_a_roster_and_its_columns(enrol: Enrol, school: School, tmp_path: Path) -> None:
    [(_, ann), *_] = school.enrolled.items()
    source = tmp_path / "export.csv"
    text = f"Student ID;Name;Photo;Consent;Phone\r\n7;Zoë;{ann[0]};ja;1\r\n"
    source.write_bytes(text.encode("cp1252"))
    open_library(tmp_path / "L", create=True)
    request = Request(str(source), columns={"person_id": "Student ID", "image": "Photo"})
    summary = enroll(request, config_of(tmp_path / "L", "faces"), lambda _: None)
    assert summary.enrolled == 1
    assert [remark.partition(" was ")[2] or remark.partition(" that ")[2] for remark in summary.remarks] == [
        "read as Windows-1252, with 'Zoë': if that looks wrong, save it as CSV UTF-8",
        "were left out: Phone",
    ]


def test_faces_of_who_is_enrolled_stay_where_their_photos_do_not(enrol: Enrol, school: School, tmp_path: Path) -> None:
    """The photos of last year's roster may be on another disk when this year's is enrolled."""
    (_, ann), (_, bo) = [*school.enrolled.items()][:2]
    old = tmp_path / "old"
    old.mkdir()
    for photo in ann:
        shutil.copy(photo, old)
    library = tmp_path / "L"
    enrol(csv(tmp_path / "old.csv", [["ann", "Ann", "yes", "", *(old / photo.name for photo in ann)]]), library)
    opened = open_library(library)
    rows = manifest.read_manifest(opened).select(["image_id", "uri", "size", "modified"]).to_pylist()
    old.rename(tmp_path / "elsewhere")
    new = csv(tmp_path / "new.csv", [["bo", "Bo", "yes", "", *bo]])
    for _ in range(2):  # the stamps of a photo that is not there are kept for the next time too
        assert enrol(new, library).people == 2
        after = manifest.read_manifest(opened).select(["image_id", "uri", "size", "modified"]).to_pylist()
        assert [row for row in rows if row not in after] == []
        fingerprint = gallery.require(opened).fingerprint
        faces = tables.require(opened, "faces", fingerprint, ["image_id"], manifest.committed(opened, fingerprint))
        assert {row["image_id"] for row in rows} <= set(faces["image_id"].to_pylist())


def test_when_somebody_was_born_and_photographed_is_kept(enrol: Enrol, school: School, tmp_path: Path) -> None:
    (_, ann), (_, bo) = [*school.enrolled.items()][:2]
    photo = Image.open(ann[0])
    exif = photo.getexif()
    exif[306] = "2016:05:04 03:02:01"  # DateTime
    exif.get_ifd(0x8769)[36867] = "2016:05:04 03:02:01"  # DateTimeOriginal
    photo.save(tmp_path / "dated.jpg", exif=exif, quality=95)
    head = "person_id,consent,born,image"
    rows = [["ann", "yes", "2012-02-03", tmp_path / "dated.jpg"], ["bo", "yes", "", bo[0]]]
    enrol(csv(tmp_path / "r.csv", rows, head), tmp_path / "L")
    faces = gallery.require(open_library(tmp_path / "L")).faces
    assert faces["born"].to_pylist() == [date(2012, 2, 3), None]
    assert faces["taken"].to_pylist() == [date(2016, 5, 4), None]
    enrol(csv(tmp_path / "r.csv", [["ann", "yes", "", tmp_path / "dated.jpg"]], head), tmp_path / "L")
    assert gallery.require(open_library(tmp_path / "L")).faces["born"].to_pylist()[0] == date(2012, 2, 3)
