"""The service over a real gallery: what it says while people are forgotten, and others hold the library."""

import asyncio
import base64
import errno
import threading
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

import muster
from helpers.door import Asking
from helpers.fixtures import School
from muster.pipeline import forget
from muster.pipeline.gallery import desk
from muster.pipeline.gallery.door import Door
from muster.storage.encryption import NEW_KEY
from muster.storage.gallery import audit, gallery
from muster.storage.library import open_library
from muster.web.door import app as door_app
from muster.web.door.app import app

Asked = dict[str, Any]


@pytest.fixture
def opened(open_door: Callable[[], Any]) -> Any:
    return open_door()


@pytest.fixture
def asking(opened: Any) -> Asking:
    return Asking(app(opened.library, opened.door, 1e9), opened.keys)


def base64_of(*files: Path) -> list[str]:
    return [base64.b64encode(file.read_bytes()).decode() for file in files]


async def named(asking: Asking, file: Path) -> str:
    answer = await asking.ask("POST", "/v1/identify", "asks", file.read_bytes())
    assert answer.status_code == 200, answer.text
    return str(answer.json()["images"][0]["faces"][0]["person_id"])


async def verified(asking: Asking, person: str, file: Path) -> tuple[int, Asked]:
    answer = await asking.ask("POST", "/v1/verify", "asks", {"person_id": person, "image": base64_of(file)[0]})
    return answer.status_code, answer.json()


def test_who_asks_is_answered_and_each_answer_has_its_line(asking: Asking, opened: Any, school: School) -> None:
    name, photo = next(iter(school.probes.items()))

    async def ask() -> None:
        assert await named(asking, photo) == name
        status, said = await verified(asking, name, photo)
        assert (status, said["answer"], said["person_id"]) == (200, "match", name)
        assert (await asking.ask("GET", f"/v1/people/{name}", "enrols")).json()["person_id"] == name
        assert (await asking.ask("GET", f"/v1/people/{name}/face", "enrols")).content[:2] == b"\xff\xd8"
        assert (await asking.ask("GET", "/v1/people/nobody/face", "enrols")).status_code == 404
        assert (await asking.ask("GET", "/v1/people/nobody", "enrols")).status_code == 404
        assert (await asking.ask("PUT", "/v1/people/nobody", "enrols", {"consent": True})).status_code == 422

    asyncio.run(ask())
    lines = audit.entries(opened.library)[-7:]
    who = gallery.require(opened.library).pseudonym_of(name)
    assert [(line["action"], line["people"]) for line in lines] == [
        ("identify", [who]),
        ("verify", [who]),
        ("people listed", [who]),
        ("face shown", [who]),
        ("face shown", []),
        ("people listed", []),
        ("enrolment answered", []),
    ]
    assert [line.get("refused") for line in lines] == [*[None] * 4, "not enrolled", "not enrolled", None]
    keys = [line["key"] for line in lines]
    assert keys == [keys[0]] * 2 + [keys[2]] * 5
    assert keys[0] != keys[2]


def test_nobody_is_named_once_their_deletion_is_answered(asking: Asking, opened: Any, school: School) -> None:
    name, photo = next(iter(school.probes.items()))
    gone, seen = asyncio.Event(), {"before": 0, "after": 0}

    async def keep_asking(how: int) -> None:
        after = 0
        while after < 3:
            is_after = gone.is_set()
            after += is_after
            if how % 3 == 0:
                is_named = await named(asking, photo) == name
            elif how % 3 == 1:
                is_named = (await verified(asking, name, photo))[0] == 200
            else:
                paths = (f"/v1/people/{name}", f"/v1/people/{name}/face", "/v1/people", "/v1/lookalikes")
                answers = [await asking.ask("GET", path, "enrols") for path in paths]
                assert {answer.status_code for answer in answers} <= {200, 404}
                is_named = any(answer.status_code == 200 for answer in answers[:2])
                is_named |= any(name in answer.text for answer in answers[2:])
            seen["after" if is_after else "before"] += is_named

    async def forgotten() -> Asked:
        while seen["before"] < 6:
            await asyncio.sleep(0.01)
        answer = await asking.ask("DELETE", f"/v1/people/{name}")
        gone.set()
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def everything() -> Asked:
        return (await asyncio.gather(forgotten(), *map(keep_asking, range(6))))[0]

    receipt = asyncio.run(asyncio.wait_for(everything(), 120))
    assert seen["after"] == 0
    assert (receipt["people"], receipt["found_afterwards"]) == ([name], [])
    assert name not in gallery.require(opened.library).people
    assert audit.check(opened.library).problem is None


def test_people_who_come_and_go_at_once_stay_apart(asking: Asking, opened: Any, school: School) -> None:
    """Enrolments and deletions by several at a time, while others ask."""

    async def one(number: int) -> None:
        photo = base64_of(school.strangers[number])
        body = {"consent": True, "images": photo, "accept": True}
        for path in (f"/v1/people/new{number}", f"/v1/people/again{number}"):
            assert (await asking.ask("PUT", path, body=body)).status_code in (200, 201)
            assert (await asking.ask("GET", path)).status_code == 200
            assert await named(asking, school.strangers[number]) == path.rpartition("/")[2]
            assert (await asking.ask("DELETE", path)).status_code == 200
            assert (await asking.ask("GET", path)).status_code == 404

    async def everything() -> None:
        await asyncio.gather(*map(one, range(4)))

    asyncio.run(asyncio.wait_for(everything(), 120))
    assert gallery.require(opened.library).people == opened.people
    assert audit.check(opened.library).problem is None


def test_a_disk_that_is_full_is_no_fault_of_the_service(
    asking: Asking, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def ask() -> None:
        monkeypatch.setattr("muster.storage.disk.Folder.write", full)
        body = {"consent": True, "images": base64_of(school.strangers[0])}
        answer = await asking.ask("PUT", "/v1/people/guest", body=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "busy"), answer.text
        assert answer.headers["retry-after"] == "2"

    asyncio.run(ask())


def test_consent_that_ends_between_two_questions_ends(
    asking: Asking, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"consent": True, "images": base64_of(school.strangers[0]), "valid_until": str(date.today())}

    class Tomorrow(date):
        @classmethod
        def today(cls) -> date:  # type: ignore[override]
            return date.today() + timedelta(1)

    async def ask() -> None:
        answer = await asking.ask("PUT", "/v1/people/guest", body=body)
        assert answer.status_code == 201, answer.text
        assert await named(asking, school.strangers[0]) == "guest"
        monkeypatch.setattr(desk, "date", Tomorrow)
        assert await named(asking, school.strangers[0]) == "UNKNOWN"
        assert (await verified(asking, "guest", school.strangers[0]))[0] == 404
        assert (await asking.ask("GET", "/v1/people/guest")).status_code == 404
        assert "guest" not in (await asking.ask("GET", "/v1/people")).text

    asyncio.run(ask())


def test_nothing_is_said_by_a_clock_that_was_set_back(
    asking: Asking, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, photo = next(iter(school.probes.items()))

    class Yesterday(desk.datetime):  # type: ignore[name-defined, misc]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return super().now(tz) - timedelta(1)

    async def ask() -> None:
        assert (await verified(asking, name, photo))[0] == 200
        monkeypatch.setattr(desk, "datetime", Yesterday)
        status, said = await verified(asking, name, photo)
        assert (status, said["error"]["code"]) == (503, "busy")
        assert "the clock of this machine says" in said["error"]["message"]
        answer = await asking.ask("POST", "/v1/identify", "", photo.read_bytes())
        assert (answer.status_code, "clock" in answer.text) == (503, False)  # who has no key is told nothing of it

    asyncio.run(ask())


def test_who_asks_is_answered_while_an_enrolment_holds_the_library(
    asking: Asking, opened: Any, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of those who would enrol, few wait for the library, and no other."""
    monkeypatch.setattr("muster.pipeline.gallery.door.PATIENCE", 0.0)
    name, photo = next(iter(school.probes.items()))
    body = {"consent": True, "images": base64_of(school.strangers[0])}
    most, gate, enrol = door_app.WRITING + door_app.MOST_WRITING, threading.Event(), Door.enrol
    monkeypatch.setattr(Door, "enrol", lambda *given: gate.wait(60) and enrol(*given))

    async def ask() -> None:
        changes = [asyncio.create_task(asking.ask("PUT", f"/v1/people/new{n}", body=body)) for n in range(60)]
        while sum(change.done() for change in changes) < 60 - most:
            await asyncio.sleep(0.01)
        said = [await verified(asking, name, photo) for _ in range(3)]  # in JSON, which threads read
        assert [(status, each["answer"]) for status, each in said] == [(200, "match")] * 3
        gate.set()
        answers = [await change for change in changes]
        assert {(answer.status_code, answer.headers["retry-after"]) for answer in answers} == {(503, "2")}
        assert len([each for each in answers if "is in use by" in each.text]) == most
        assert any("too many are being enrolled" in answer.text for answer in answers)  # at once

    with forget.locked(open_library(opened.library.uri)):
        asyncio.run(ask())
    assert gallery.require(opened.library).people == opened.people


def test_a_library_whose_key_is_changed_meanwhile_is_said_to_be_so(
    asking: Asking, opened: Any, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, photo = next(iter(school.probes.items()))

    async def ask() -> None:
        assert (await verified(asking, name, photo))[0] == 200
        monkeypatch.setenv(NEW_KEY, "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
        muster.open(opened.library.uri).rekey()
        for method, path in (("POST", "/v1/identify"), ("GET", "/v1/people"), ("DELETE", f"/v1/people/{name}")):
            answer = await asking.ask(method, path, body=photo.read_bytes())
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "busy"), answer.text
            assert answer.json()["error"]["message"]
            assert "retry-after" in answer.headers

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("path", "more", "status", "text"),
    [
        ("UNKNOWN", {}, 400, "is what Muster says of nobody"),
        ("UNSURE", {}, 400, "is what Muster says of nobody"),
        ("7b/face", {}, 400, "cannot stand in an address"),
        ("a%09b", {}, 400, "control character"),
        ("1E%2B17", {}, 400, "rounded by a spreadsheet"),
        ("a", {"born": "2999-01-01"}, 400, "is to come"),
        ("a", {"born": 0}, 400, "born"),
        ("a", {"group": "no group"}, 400, "without a group"),
        ("a", {"valid_until": "2020-01-01"}, 422, "has ended"),
        ("a", {"consent": False}, 400, "consent"),
        ("a", {"x" * 10_000: 1}, 400, "x" * 200 + ": "),
    ],
)
def test_nobody_is_enrolled_whom_a_roster_may_not_have(
    asking: Asking, opened: Any, school: School, path: str, more: Asked, status: int, text: str
) -> None:
    body = {"consent": True, "images": base64_of(school.strangers[0]), **more}
    answer = asyncio.run(asking.ask("PUT", f"/v1/people/{path}", body=body))
    assert (answer.status_code, len(answer.text) < 1000) == (status, True)
    assert text in answer.json()["error"]["message"]
    assert gallery.require(opened.library).people == opened.people


def test_a_photo_of_one_person_is_not_taken_for_another(asking: Asking, school: School) -> None:
    """Who is forgotten takes every copy of their photos along."""
    body = {"consent": True, "images": base64_of(school.strangers[0]), "accept": True}

    async def ask() -> None:
        assert (await asking.ask("PUT", "/v1/people/one", body=body)).status_code == 201
        assert (await asking.ask("PUT", "/v1/people/one", body=body)).json()["photos"] == 1
        said = (await asking.ask("PUT", "/v1/people/two", body=body)).json()
        assert (said["enrolled"], said["refused"][0]["image"], said["refused"][0]["review"]) == (False, 0, False)
        assert said["refused"][0]["reason"].startswith("one is known by this photo")

    asyncio.run(ask())
