import asyncio
import base64
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from starlette.applications import Starlette

from helpers.fixtures import School
from muster.storage.gallery import audit, gallery
from muster.web.door import spec
from muster.web.door.app import app
from muster.web.door.errors import CODES

REQUESTS = int(os.environ.get("MUSTER_DOOR_REQUESTS", "2000"))  # see docs/testing.md
DOCUMENT = json.loads(json.dumps(spec.document()))
OPERATIONS = [
    (path, method.upper(), what) for path, methods in DOCUMENT["paths"].items() for method, what in methods.items()
]
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW")
LARGEST = 300_000  # bytes of a hostile file that is sent again and again


# ---- what is asked ---------------------------------------------------------------------------------------------------

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([10**400, -1, 1e308, "\x00", "\u202e", "💥" * 99, "a" * 5000, "../../etc", "{}", "2026-02-30"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)
IDS = st.sampled_from(
    ["UNKNOWN", "a b", "a/b", "..", "../x", "ä", "%", "%2e%2e", "\x00", "\n", "\u202e", "a" * 201, "💥", "", "x/face"]
)
NEW = st.integers(0, 99).map("N{}".format)


def wanted(schema: dict[str, Any], photo: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """What fits a schema of the document."""
    if "$ref" in schema:
        return wanted(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]], photo)
    if "anyOf" in schema:
        return st.one_of([wanted(each, photo) for each in schema["anyOf"]])
    if "const" in schema:
        return st.just(schema["const"])
    kind = schema["type"]
    if kind == "object":
        fields = {name: wanted(each, photo) for name, each in schema["properties"].items()}
        needed = {name: each for name, each in fields.items() if name in ("images", *schema.get("required", ()))}
        return st.fixed_dictionaries(needed, optional={name: fields[name] for name in fields.keys() - needed.keys()})
    if kind == "array":
        return st.lists(wanted(schema["items"], photo), min_size=1, max_size=3)
    if kind == "string" and schema.get("format") == "date":
        return st.dates(date(1990, 1, 1), date(2060, 1, 1)).map(str)
    if kind == "string":
        return photo if "base64" in schema.get("description", "") else st.text(min_size=1, max_size=30) | IDS
    return {"boolean": st.booleans(), "null": st.none()}[kind]


def spoilt(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Of a dictionary: a field is something else, is missing or is too much."""

    def spoil(value: dict[str, Any], which: int, other: Any, how: str) -> dict[str, Any]:
        name = sorted(value)[which % len(value)] if value else "more"
        if how == "extra":
            return value | {f"{name}!": other}
        return value | {name: other} if how == "other" else {k: v for k, v in value.items() if k != name}

    return st.builds(spoil, good, st.integers(0, 9), JUNK, st.sampled_from(["extra", "other", "missing"]))


def broken(text: bytes, where: int, how: str) -> bytes:
    where %= len(text) + 1
    if how == "cut":
        return text[:where]
    return {"nest": b"[" * 3000, "many": b"[" + b"1," * 9000 + b"1]", "latin": text + b"\xff"}.get(how, text)


@dataclass(frozen=True)
class Ask:
    method: str
    path: str
    key: str
    kind: str
    body: bytes


@dataclass
class World:
    photos: list[bytes]
    hostile: list[bytes]
    people: list[str]

    def asks(self) -> st.SearchStrategy[Ask]:
        return st.one_of([self._of(*operation) for operation in OPERATIONS])

    def _of(self, path: str, method: str, what: dict[str, Any]) -> st.SearchStrategy[Ask]:
        people = self.people[:1] if method == "DELETE" else self.people  # of too few nobody is named any more
        ids = st.sampled_from(people) | IDS | NEW | st.text(max_size=12)
        place = ids.map(lambda one: path.replace("{person_id}", quote(one, safe="")))
        if "parameters" in what and "{" not in path:
            place |= ids.map(lambda one: f"{path}?person_id={quote(one, safe='')}")
        odd = st.sampled_from(
            [f"{path}/", f"/{path}", path.upper(), f"{path}%00", f"{path}?a=%ff", "/v1", "/v2/people"]
        )
        keys = st.sampled_from(("administers",) * 9 + ("asks", "enrols", "", "revoked", "expired", "another", "junk"))
        bodies = self._bodies(what) if "requestBody" in what else st.just(("", b""))
        return st.builds(
            lambda method, place, key, body: Ask(method, place.replace("{person_id}", "x"), key, *body),
            st.sampled_from((method,) * 40 + METHODS),
            st.one_of(*[place] * 9, odd),
            keys,
            bodies,
        )

    def _bodies(self, what: dict[str, Any]) -> st.SearchStrategy[tuple[str, bytes]]:
        content = what["requestBody"]["content"]
        files = st.sampled_from(self.photos) | st.sampled_from(self.hostile) | st.binary(max_size=300)
        texts = st.one_of(*[files.map(lambda file: base64.b64encode(file).decode())] * 6, st.text(max_size=40))
        good = wanted(content["application/json"]["schema"], texts)
        text = st.one_of(good, good, spoilt(good), JUNK).map(lambda value: json.dumps(value).encode())
        cut = st.builds(broken, text, st.integers(0, 10**6), st.sampled_from(["cut", "nest", "many", "latin"]))
        kinds = ["application/json", "application/json; charset=utf-8", "text/plain", "", "image/", "image/jpeg\x00"]
        sent = [st.tuples(st.just("application/json"), each) for each in (text, text, cut)]
        if len(content) > 1:
            sent += [st.tuples(st.sampled_from(["image/jpeg", "application/octet-stream"]), files)] * 3
        return st.one_of(*sent, st.tuples(st.sampled_from(kinds), text | files | st.binary(max_size=50)))


# ---- what is answered ------------------------------------------------------------------------------------------------


@dataclass
class Asker:
    app: Starlette
    keys: dict[str, str]
    runner: asyncio.Runner
    statuses: Counter[int] = field(default_factory=Counter)

    def ask(self, ask: Ask) -> httpx.Response:
        headers = {"content-type": ask.kind} if ask.kind else {}
        if ask.key:
            headers["authorization"] = f"Bearer {self.keys.get(ask.key, 'muster_x')}"

        async def sent() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=("192.0.2.1", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
                return await client.request(ask.method, ask.path, headers=headers, content=ask.body)

        answer = self.runner.run(asyncio.wait_for(sent(), 60))
        self.statuses[answer.status_code] += 1
        self.judge(ask, answer)
        return answer

    def judge(self, ask: Ask, answer: httpx.Response) -> None:
        """That it is as the document has it."""
        assert answer.headers["cache-control"] == "no-store"
        if ask.method == "HEAD":
            assert answer.status_code < 500 or answer.status_code == 503
            return
        documented = operation_of(ask)
        kind = answer.headers["content-type"].partition(";")[0]
        if documented is None:
            assert answer.status_code in (404, 405), (ask, answer.text)
            VALIDATORS["ErrorAnswer"].validate(answer.json())
            return
        said = documented["responses"].get(str(answer.status_code))
        assert said is not None, f"{ask.method} {ask.path}: {answer.status_code} {answer.text} is not documented"
        assert kind in said["content"]
        if answer.status_code >= 400 and "/health" not in ask.path:
            code = answer.json()["error"]["code"]
            assert CODES[code][0] == answer.status_code
            assert f"`{code}`" in said["description"]
        if reference := said["content"][kind].get("schema", {}).get("$ref"):
            VALIDATORS[reference.rpartition("/")[2]].validate(answer.json())
        assert ("retry-after" in answer.headers) == (answer.status_code in (429, 503) and "/health" not in ask.path)


VALIDATORS = {
    name: Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})
    for name in DOCUMENT["components"]["schemas"]
}


def operation_of(ask: Ask) -> dict[str, Any] | None:
    """What the document says of an address that is asked so, by the pattern that the routes have."""
    path = httpx.URL(f"http://door{ask.path}").path
    for template, methods in sorted(DOCUMENT["paths"].items(), key=lambda pair: -len(pair[0])):
        pattern = re.escape(template).replace(r"\{person_id\}", ".*")
        if re.match(f"{pattern}$", path) and ask.method.lower() in methods:
            return dict(methods[ask.method.lower()])
    return None


# ---- tests -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_whatever_is_asked_is_answered_as_the_document_says(
    open_door: Callable[[], Any],
    runner: asyncio.Runner,
    school: School,
    data: Path,
    grown: Callable[[], Any],
) -> None:
    opened = open_door()
    hostile = [file.read_bytes() for file in sorted((data / "broken").iterdir()) if file.stat().st_size < LARGEST]
    photos = [file.read_bytes() for file in (*school.probes.values(), *school.strangers)]
    made = app(opened.library, opened.door, 1e9)
    asker = Asker(made, opened.keys, runner)
    counted = 0
    after_a_while: list[Any] = []

    @settings(
        max_examples=REQUESTS,
        database=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(World(photos, hostile, opened.people).asks())
    def ask(asked: Ask) -> None:
        nonlocal counted
        counted += 1
        asker.ask(asked)
        if counted == REQUESTS // 2:
            after_a_while.append(grown())

    first = {"consent": True, "images": [base64.b64encode(photos[-1]).decode()], "accept": True}
    body = json.dumps(first).encode()
    assert asker.ask(Ask("PUT", "/v1/people/first", "enrols", "application/json", body)).status_code == 201
    ask()
    before, now = after_a_while[0], grown()
    assert counted >= REQUESTS
    assert now.files <= before.files + 3
    assert now.threads <= before.threads + 3
    assert now.memory <= before.memory + (200 << 20)
    assert made.state.door.bodies.held == 0
    assert audit.check(opened.library).problem is None
    assert gallery.problem(opened.library) is None
    lines = [line for line in audit.entries(opened.library) if line["action"] == "refused"]
    unlogged = sum(made.state.door.keeper._unlogged.values())
    assert sum(line["count"] for line in lines) + unlogged == asker.statuses[401] + asker.statuses[403]
    assert {200, 201, 400, 401, 403, 404, 405, 415, 422} <= asker.statuses.keys()


def test_every_hostile_file_is_answered(open_door: Callable[[], Any], runner: asyncio.Runner, data: Path) -> None:
    opened = open_door()
    asker = Asker(app(opened.library, opened.door, 1e9), opened.keys, runner)
    said = {
        file.name: asker.ask(Ask("POST", "/v1/detect", "asks", "image/jpeg", file.read_bytes())).status_code
        for file in sorted((data / "broken").iterdir())
    }
    assert set(said.values()) == {200, 413, 422}
    assert len(said) > 100


def test_who_asks_too_often_is_told_when_to_come_again(
    open_door: Callable[[], Any], runner: asyncio.Runner, school: School
) -> None:
    opened = open_door()
    asker = Asker(app(opened.library, opened.door, 6), opened.keys, runner)  # a burst of ten, and one in ten seconds
    photo = school.strangers[0].read_bytes()
    several = json.dumps({"images": [base64.b64encode(photo).decode()] * 8}).encode()
    assert asker.ask(Ask("POST", "/v1/identify", "asks", "application/json", several)).status_code == 200
    answers = [asker.ask(Ask("POST", "/v1/identify", "asks", "image/jpeg", photo)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 10
    assert asker.ask(Ask("POST", "/v1/identify", "enrols", "image/jpeg", photo)).status_code == 200
    last = [line for line in audit.entries(opened.library) if line["action"] == "refused"]
    names = ("refused", "asked", "from", "count", "key")
    assert [tuple(line[name] for name in names) for line in last] == [
        ("rate_limited", "identify", "192.0.2.1", 1, opened.keys["asks"].split("_")[1])
    ]
