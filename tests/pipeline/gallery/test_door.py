"""The gallery as a service has it, with its real network."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from helpers.fixtures import School
from muster.errors import InputError, MusterError, NotEnrolledError
from muster.pipeline import forget
from muster.pipeline.gallery.door import Door
from muster.pipeline.gallery.resident import Seen
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.machine import Machine
from muster.storage.gallery import audit, gallery
from muster.storage.gallery.entry import Entry
from muster.storage.library import open_library


def door_at(library: Path, threshold: float | None = 0.3) -> Door:
    config = RunConfig(
        library=str(library), choices=(TaskChoice(name="faces"),), machine=Machine(device="cpu", workers=1)
    )
    return Door(open_library(library, create=True), config, threshold)


@pytest.fixture
def door(gallery_library: Path) -> Iterator[Door]:
    made = door_at(gallery_library)
    yield made
    made.close()


def looked(door: Door, *files: Path) -> list[tuple[int, Seen]]:
    return [(number, door.look(file.read_bytes()).result(60)) for number, file in enumerate(files)]


def who(door: Door, file: Path) -> str:
    seen = door.look(file.read_bytes()).result(60)
    return door.identify([seen], {"key": "k"}).result(60).rows[0]["person_id"]


def entry(person: str, **facts: object) -> Entry:
    return Entry(person_id=person, name=person, images=(), consent=True, **facts)  # type: ignore[arg-type]


def test_known_people_are_named(door: Door, school: School) -> None:
    for name, file in [*school.probes.items()][:3]:
        assert who(door, file) == name
        [(_, seen)] = looked(door, file)
        assert door.verify(seen, name, {}).result(60).facts["answer"] == "match"
    assert who(door, school.strangers[0]) == "UNKNOWN"
    with pytest.raises(NotEnrolledError):
        door.verify(seen, "nobody", {}).result(60)
    assert audit.entries(door.library)[-2].items() >= {"action": "identify", "key": "k", "images": 1}.items()


def test_a_stranger_is_enrolled_by_a_photo_and_forgotten(door: Door, school: School) -> None:
    stranger = school.strangers[0]
    before = [row["person_id"] for row in door.people()]
    summary = door.enrol(entry("new", group="7b"), looked(door, stranger), accept=False)
    assert (summary.enrolled, summary.photos, summary.refused) == (1, 1, [])
    assert who(door, stranger) == "new"
    assert [row["person_id"] for row in door.people()] == sorted([*before, "new"])
    assert door.person("new").items() >= {"group": "7b", "photos": 1, "name": "new"}.items()
    picture = door.face("new")
    assert picture is not None
    assert picture[:2] == b"\xff\xd8"
    assert (door.face(before[0]) or b"")[:2] == b"\xff\xd8"  # of a roster: from the table of faces
    known = gallery.require(door.library)
    row = known.faces.filter([person == "new" for person in known.faces["person_id"].to_pylist()]).to_pylist()[0]
    assert row["uri"] == f"service:{row['sha256']}"
    door.people()
    receipt = door.forget("new")
    assert (door.desk._standing, door._shards) == (None, {})  # nor in memory
    assert (receipt["people"], receipt["found_afterwards"]) == (["new"], [])
    assert who(door, stranger) == "UNKNOWN"
    with pytest.raises(NotEnrolledError):
        door.face("new")
    with pytest.raises(NotEnrolledError):
        door.forget("new")
    assert not any(picture in path.read_bytes() for path in Path(door.library.uri).rglob("*") if path.is_file())


def test_who_was_forgotten_comes_back_only_when_accepted(door: Door, school: School) -> None:
    stranger = school.strangers[0]
    door.enrol(entry("new"), looked(door, stranger), accept=False)
    door.forget("new")
    again = door.enrol(entry("new"), looked(door, stranger), accept=False)
    assert (again.enrolled, [each.review for each in again.refused]) == (0, [True])
    assert "was forgotten on" in again.refused[0].reason
    assert door.enrol(entry("new"), looked(door, stranger), accept=True).enrolled == 1


def test_photos_that_do_not_fit_are_refused_by_their_number(door: Door, school: School, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (200, 200), "grey").save(tmp_path / "grey.jpg")
    files = [tmp_path / "grey.jpg", school.strangers[0], school.strangers[1]]
    summary = door.enrol(entry("new"), looked(door, *files), accept=False)
    reasons = {each.image: each.reason for each in summary.refused}
    assert reasons["0"] == "no face"
    assert {"does not look like the other photos of this person"} <= set(reasons.values())


def test_a_look_alike_is_held_until_accepted(door: Door, school: School) -> None:
    name, photo = next(iter(school.probes.items()))
    summary = door.enrol(entry("twin"), looked(door, photo), accept=False)
    assert summary.enrolled == 0
    assert {name, "twin"} == {summary.lookalikes[0][key] for key in ("person_id", "other")}
    assert summary.refused[-1].review
    assert door.enrol(entry("twin"), looked(door, photo), accept=True).enrolled == 1
    assert {name, "twin"} in [{pair["person_id"], pair["other"]} for pair in door.lookalikes()]


def test_details_change_without_photos(door: Door, school: School) -> None:
    name = next(iter(school.enrolled))
    faces = gallery.require(door.library).faces["face_id"]
    summary = door.enrol(replace(entry(name, group="9c"), name="Ann A."), [], accept=False)
    assert (summary.enrolled, summary.updated, summary.refused) == (0, 1, [])
    assert door.person(name).items() >= {"group": "9c", "name": "Ann A."}.items()
    assert gallery.require(door.library).faces["face_id"].equals(faces)
    lines = len(audit.entries(door.library))
    door.enrol(replace(entry(name, group="9c"), name="Ann A."), [], accept=False)
    assert len(audit.entries(door.library)) == lines  # nothing changed


@pytest.mark.parametrize("killed", [False, True])
def test_photos_that_are_sent_take_the_place_of_those_of_a_roster(
    door: Door, school: School, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """Also where they are the same, and where it is cut off before the roster's are gone."""
    name, (photo, _) = next(iter(school.enrolled.items()))
    with monkeypatch.context() as patch:
        if killed:
            patch.setattr("muster.pipeline.gallery.enroll._drop_unused", lambda _: None)
        assert door.enrol(entry(name), looked(door, photo), accept=False).updated == 1
    assert bool(forget.unfinished(door.library)) == killed
    with forget.locked(door.library):
        pass
    assert not forget.unfinished(door.library)
    assert door.person(name)["photos"] == 1
    assert who(door, school.probes[name]) == name
    assert door.forget(name)["found_afterwards"] == []


def test_photos_of_another_are_not_taken_for_who_is_enrolled(door: Door, school: School) -> None:
    name = next(iter(school.enrolled))
    summary = door.enrol(entry(name), looked(door, school.strangers[0]), accept=False)
    assert (summary.photos, summary.refused[0].image, summary.refused[0].review) == (0, "0", True)
    assert who(door, school.strangers[0]) == "UNKNOWN"
    assert who(door, school.probes[name]) == name
    assert door.enrol(entry(name), looked(door, school.strangers[0]), accept=True).photos == 1
    assert who(door, school.strangers[0]) == name


def test_consent_that_has_ended_does_not_go_on_without_a_new_end(door: Door, school: School) -> None:
    today = date.today()
    seen = looked(door, school.strangers[0])
    door.enrol(entry("new"), seen, accept=False)
    known = gallery.require(door.library)
    with forget.locked(door.library):
        gallery.write(door.library, known.with_details({"new": {"valid_until": today - timedelta(1)}}), "test", {})
    summary = door.enrol(entry("new"), seen, accept=True)
    assert (summary.enrolled, summary.updated, summary.photos) == (0, 0, 0)
    assert f"consent ended on {today - timedelta(1)}" in summary.refused[0].reason
    assert who(door, school.strangers[0]) == "UNKNOWN"
    assert door.enrol(entry("new", valid_until=today), seen, accept=False).updated == 1
    assert who(door, school.strangers[0]) == "new"


def test_where_the_consent_of_all_has_ended_others_are_enrolled(tmp_path: Path, school: School) -> None:
    door = door_at(tmp_path / "L")
    door.enrol(entry("first"), looked(door, school.strangers[0]), accept=False)
    known = gallery.require(door.library)
    with forget.locked(door.library):
        ended = {"valid_until": date.today() - timedelta(1)}
        gallery.write(door.library, known.with_details({"first": ended}), "test", {})
    assert (door.people(), door.lookalikes()) == ([], [])
    with pytest.raises(NotEnrolledError):
        door.person("first")
    assert door.enrol(entry("second"), looked(door, school.strangers[1]), accept=False).enrolled == 1
    assert [row["person_id"] for row in door.people()] == ["second"]
    door.close()


def test_the_first_person_of_an_empty_library(tmp_path: Path, school: School) -> None:
    door = door_at(tmp_path / "L")
    assert (door.people(), door.lookalikes()) == ([], [])
    assert "nobody is enrolled" in door.problem()
    assert door.enrol(entry("first"), looked(door, school.strangers[0]), accept=False).enrolled == 1
    assert who(door, school.strangers[0]) == "first"
    assert door.problem() == ""
    door.close()


def test_a_library_in_use_is_told_at_once(door: Door, school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster.pipeline.gallery.door.PATIENCE", 0.0)
    seen = looked(door, school.strangers[0])
    with forget.locked(open_library(door.library.uri)):
        with pytest.raises(MusterError, match="is in use by"):
            door.enrol(entry("new"), seen, accept=False)
        assert who(door, school.strangers[0]) == "UNKNOWN"


def test_a_network_that_is_lost_is_a_problem(door: Door, school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    assert door.problem() == ""

    def lost(*_: object) -> None:
        raise RuntimeError("CUDA error: device is gone")

    monkeypatch.setattr("muster.pipeline.gallery.resident.apply", lost)
    with pytest.raises(MusterError, match="device is gone"):
        looked(door, school.strangers[0])
    assert "device is gone" in door.problem()


def test_another_model_than_the_gallerys_is_refused(gallery_library: Path) -> None:
    config = RunConfig(library=str(gallery_library), choices=(TaskChoice(name="faces", model="published"),))
    with pytest.raises(InputError, match="is made by faces=own"):
        Door(open_library(gallery_library), config, None)
