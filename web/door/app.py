"""The service: what comes in over HTTP, who may ask it, and what is answered. Every answer about people is in the
audit log before it leaves, and so is every refusal of a key, but for those of which there are too many."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from muster.errors import ImageError, InputError, MusterError
from muster.storage.gallery.entry import Entry, entry_of, word
from muster.storage.gallery.keys import Key
from muster.storage.gallery.roster import UNKNOWN, UNSURE
from muster.storage.library import LibraryFiles
from muster.web.door import page, shapes, spec
from muster.web.door.bodies import JSON_TIMES, MOST_IMAGE, MOST_JSON, Bodies, Shaped, images_of, is_image, parsed
from muster.web.door.errors import RefusedError, refused
from muster.web.door.keeper import Keeper
from muster.web.door.metrics import Metrics
from muster.web.door.operations import OPERATIONS, Operation
from muster.web.door.service import Service

log = logging.getLogger(__name__)
HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}
WRITING, MOST_WRITING = 1, 8  # changes of the gallery at once, and that wait for their turn: there is one lock
FAULTS = ("internal", "busy")  # codes of what may be no asker's doing: then the log of the service has the cause
HEALTH = 1.0  # seconds that an answer about health holds


@dataclass
class Asked:
    """A request whose key may ask it. `noted`: what the log says of whoever asks."""

    request: Request
    key: Key | None
    door: "DoorApp"

    @property
    def noted(self) -> dict[str, Any]:
        return {"key": self.key.id} if self.key else {}

    @property
    def person(self) -> str:
        return person_id(self.request.path_params["person_id"])


@dataclass
class DoorApp:
    library: LibraryFiles
    service: Service
    keeper: Keeper
    metrics: Metrics
    bodies: Bodies
    writing: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(WRITING))
    changes: int = 0  # of the gallery that are made, or wait
    problem: str = "not looked at yet"
    healthy_until: float = 0.0


Handler = Callable[[Asked], Awaitable[Response | BaseModel]]


def app(library: LibraryFiles, service: Service, per_minute: float) -> Starlette:
    """`per_minute`: images that each key may ask about."""
    door = DoorApp(library, service, Keeper(library, per_minute), Metrics(service), Bodies())
    routes = [Route(each.path, _endpoint(door, each), methods=[each.method]) for each in OPERATIONS]
    routes += page.routes(HEADERS)
    made = Starlette(routes=routes, exception_handlers={HTTPException: _missing})
    made.router.redirect_slashes = False  # to where the header Host says
    made.state.door = door
    return made


def _endpoint(door: DoorApp, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    handler = HANDLERS[operation.name]

    async def endpoint(request: Request) -> Response:
        began, code = time.perf_counter(), "ok"
        try:
            key = door.keeper.admit(request, operation.role) if operation.role else None
            answer = await handler(Asked(request, key, door))
            response = answer if isinstance(answer, Response) else json_of(answer)
        except ClientDisconnect:
            code, response = "gone", Response(status_code=499)
        except Exception as error:
            failed = refused(error)
            if failed.code in FAULTS and (error.__cause__ or not isinstance(error, MusterError | RefusedError)):
                log.exception("%s failed", operation.name)
            code, response = failed.code, await _refusal(door, operation, request, failed)
        finally:
            door.bodies.release(request)
        response.headers.update(HEADERS)
        door.metrics.requests.labels(operation.name, code).inc()
        door.metrics.seconds.labels(operation.name).observe(time.perf_counter() - began)
        return response

    return endpoint


LOGGED = {401, 403, 429}  # statuses of refusals that the log is to have; others are answers about a request


async def _refusal(door: DoorApp, operation: Operation, request: Request, error: RefusedError) -> Response:
    if error.status in LOGGED:
        address = request.client.host if request.client else ""
        if count := door.keeper.to_log(address, error.code):
            facts = {"refused": error.code, "asked": operation.name, "from": address, "count": count}
            facts |= {"key": error.key} if error.key else {}
            try:
                await done(door.service.note("refused", facts))
            except MusterError:  # its text is of no concern to who has no key
                error = RefusedError("busy", "the audit log cannot be written now: ask again", retry=2)
    return _error(error)


def _error(error: RefusedError) -> Response:
    headers = {"retry-after": str(error.retry)} if error.retry else {}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    body = {"error": {"code": error.code, "message": error.message}}
    return JSONResponse(body, error.status, headers)


def _missing(request: Request, error: Exception) -> Response:
    code = "method_not_allowed" if getattr(error, "status_code", 404) == 405 else "not_found"
    response = _error(RefusedError(code, f"there is nothing at {request.method} of this address: see /v1/openapi.json"))
    response.headers.update(HEADERS | dict(getattr(error, "headers", None) or {}))
    return response


def json_of(answer: BaseModel, status: int = 200) -> Response:
    return Response(answer.model_dump_json(), status, media_type="application/json")


async def done(future: Any) -> Any:
    return await asyncio.wrap_future(future)


def person_id(text: str) -> str:
    try:
        found = word("the request", "person_id", text)
    except InputError as error:
        raise RefusedError("bad_request", str(error)) from None
    if not found or len(found) > shapes.MOST_TEXT:
        raise RefusedError("bad_request", f"person_id has 1 to {shapes.MOST_TEXT} letters")
    return found


# ---- photos ----------------------------------------------------------------------------------------------------------


async def _images(asked: Asked) -> list[bytes | RefusedError]:
    """Those of a request, which is one image or JSON with several."""
    if is_image(asked.request):
        return [await asked.door.bodies.read(asked.request, MOST_IMAGE)]
    found = await _json(asked, shapes.ImagesRequest)
    return await _charged(asked, found.images)


async def _charged(asked: Asked, texts: Sequence[str]) -> list[bytes | RefusedError]:
    if asked.key is not None and len(texts) > 1:
        asked.door.keeper.charge(asked.key, len(texts) - 1)
    return await images_of(texts)


async def _json(asked: Asked, shape: type[Shaped]) -> Shaped:
    return await parsed(shape, await asked.door.bodies.read(asked.request, MOST_JSON, JSON_TIMES))


async def _looked(asked: Asked, images: Sequence[bytes | RefusedError]) -> list[Any]:
    """What was seen on each; an ImageError or RefusedError for those that cannot be read. One that stands alone is
    raised."""

    async def one(image: bytes | RefusedError) -> Any:
        if isinstance(image, RefusedError):
            return image
        try:
            return await done(asked.door.service.look(image))
        except ImageError as error:
            return error

    found = await asyncio.gather(*map(one, images), return_exceptions=True)  # all: so long their bytes are held
    if failed := next(
        (each for each in found if isinstance(each, BaseException) and not isinstance(each, OF_IMAGES)), None
    ):
        raise failed
    if all(isinstance(each, Exception) for each in found) and found:
        raise found[0]
    return found


OF_IMAGES = (ImageError, RefusedError)


def _failed(number: int, error: Exception) -> shapes.FailedImage:
    what = refused(error)
    return shapes.FailedImage(image=number, error=shapes.Problem(code=what.code, message=what.message))


# ---- operations ------------------------------------------------------------------------------------------------------


async def verify(asked: Asked) -> BaseModel:
    if is_image(asked.request):
        person = person_id(asked.request.query_params.get("person_id", ""))
        images: list[bytes | RefusedError] = [await asked.door.bodies.read(asked.request, MOST_IMAGE)]
    else:
        given = await _json(asked, shapes.VerifyRequest)
        person, images = person_id(given.person_id), await images_of([given.image])
    [seen] = await _looked(asked, images)
    if not seen.faces:
        raise RefusedError("no_face", "there is no face on the image: take another photo")
    said = await done(asked.door.service.verify(seen, person, asked.noted))
    asked.door.metrics.answers.labels(said.facts["answer"]).inc()
    facts = {name: value for name, value in said.facts.items() if name not in ("face", "faces")}
    return shapes.VerifyAnswer(
        **facts, face=_compared(said.facts["face"]), faces=list(map(_compared, said.facts["faces"])), remark=said.remark
    )


def _compared(row: dict[str, Any]) -> shapes.ComparedFace:
    return shapes.ComparedFace(**{name: row[name] for name in ("face", "score", "quality", "box_xyxy")})


async def identify(asked: Asked) -> BaseModel:
    found = await _looked(asked, await _images(asked))
    said = await done(asked.door.service.identify(found, asked.noted))
    faces: dict[str, list[shapes.NamedFace]] = {}
    for row in said.rows:
        name = row["image"]
        faces.setdefault(name, []).append(shapes.NamedFace(**{k: v for k, v in row.items() if k != "image"}))
        who = row["person_id"]
        asked.door.metrics.answers.labels(who if who in ("UNKNOWN", "UNSURE") else "named").inc()
    images = [
        _failed(number, each)
        if isinstance(each, Exception)
        else shapes.NamedImage(image=number, faces=faces.get(str(number), []))
        for number, each in enumerate(found)
    ]
    return shapes.IdentifyAnswer(images=images, remark=said.remark)


async def detect(asked: Asked) -> BaseModel:
    found = await _looked(asked, await _images(asked))
    counted = sum(len(each.faces) for each in found if not isinstance(each, Exception))
    await done(asked.door.service.note("detect", {"images": len(found), "faces": counted, **asked.noted}))
    return shapes.DetectAnswer(images=[_detected(number, each) for number, each in enumerate(found)])


def _detected(number: int, seen: Any) -> shapes.DetectedImage | shapes.FailedImage:
    if isinstance(seen, Exception):
        return _failed(number, seen)
    names = ("box_xyxy", "score", "quality", "landmarks")
    faces = [
        shapes.FoundFace(face=place, **{name: row[name] for name in names}) for place, row in enumerate(seen.faces)
    ]
    return shapes.DetectedImage(image=number, width=seen.size[0], height=seen.size[1], faces=faces)


async def me(asked: Asked) -> BaseModel:
    key = asked.key
    assert key is not None
    return shapes.KeyAnswer(key=key.id, name=key.name, role=key.role, ends=key.ends.isoformat() if key.ends else None)


async def people(asked: Asked) -> BaseModel:
    found = await run_in_threadpool(asked.door.service.people)
    await done(asked.door.service.note("people listed", {"count": len(found), **asked.noted}))
    return shapes.PeopleAnswer(people=list(map(_person, found)))


def _person(row: Any) -> shapes.Person:
    dates = {name: row[name] and row[name].isoformat() for name in ("born", "valid_until")}
    return shapes.Person(**{**row, **dates})


async def person(asked: Asked) -> BaseModel:
    await done(asked.door.service.shown(asked.person, "people listed", {"count": 1, **asked.noted}))
    return _person(await run_in_threadpool(asked.door.service.person, asked.person))


async def face(asked: Asked) -> Response:
    await done(asked.door.service.shown(asked.person, "face shown", asked.noted))  # also that somebody is not enrolled
    found = await run_in_threadpool(asked.door.service.face, asked.person)
    if found is None:
        raise RefusedError("no_picture", "the photo of this person is not in the library any more")
    return Response(found, media_type="image/jpeg")


async def enrol(asked: Asked) -> Response:
    wanted = asked.person
    if is_image(asked.request):
        raise RefusedError("unsupported_type", "send JSON, with Content-Type application/json and the images in base64")
    given = await _json(asked, shapes.PersonRequest)
    found = await _looked(asked, await _charged(asked, given.images)) if given.images else []
    here = {row["person_id"]: row for row in await run_in_threadpool(asked.door.service.people)}
    before = here.get(wanted, {})
    entry = _entry(wanted, given, before)
    if not given.images and not before:
        await done(asked.door.service.note("enrolment answered", {"photos": 0, **asked.noted}))
        raise RefusedError("not_accepted", "nobody of that person_id is enrolled: send images too")
    seen = [(number, each) for number, each in enumerate(found) if not isinstance(each, Exception)]
    summary = await _written(asked, asked.door.service.enrol, entry, seen, given.accept, asked.noted)
    failed = [
        shapes.RefusedPhoto(image=number, reason=refused(each).message, review=False)
        for number, each in enumerate(found)
        if isinstance(each, Exception)
    ]
    others = [
        shapes.RefusedPhoto(image=each.image and int(each.image), reason=each.reason, review=each.review)
        for each in summary.refused
    ]
    pairs = [shapes.Pair(**pair) for pair in summary.lookalikes]
    answer = shapes.EnrolAnswer(
        person_id=wanted,
        enrolled=bool(summary.enrolled or summary.updated or before),
        photos=summary.photos,
        refused=[*failed, *others],
        lookalikes=pairs,
    )
    await done(asked.door.service.note("enrolment answered", {"photos": summary.photos, **asked.noted}))
    return json_of(answer, 201 if summary.enrolled else 200)


async def _written(asked: Asked, change: Callable[..., Any], *arguments: Any) -> Any:
    """What waits for the library has threads of its own: who asks about photos does not wait for it."""
    door = asked.door
    if door.changes >= WRITING + MOST_WRITING:  # the limiter counts who waits only a turn of the loop later
        raise RefusedError("busy", "too many are being enrolled or forgotten at once: ask again", retry=2)
    door.changes += 1
    try:
        return await to_thread.run_sync(change, *arguments, limiter=door.writing)
    finally:
        door.changes -= 1


def _entry(wanted: str, given: shapes.PersonRequest, before: Any) -> Entry:
    facts = {"person_id": wanted, "name": given.name or before.get("name"), "group": given.group or before.get("group")}
    facts |= {"born": given.born, "valid_until": given.valid_until, "consent": "yes"}
    try:
        entry = entry_of("the request", facts, {}, ())
    except InputError as error:
        raise RefusedError("bad_request", str(error)) from None
    if wanted in (".", "..") or wanted.endswith("/face"):
        raise RefusedError("bad_request", f"person_id {wanted} cannot stand in an address here: give another")
    if wanted in (UNKNOWN, UNSURE):
        raise RefusedError("bad_request", f"person_id {wanted} is what Muster says of nobody: give another")
    if given.valid_until and given.valid_until < date.today():
        raise RefusedError("not_accepted", f"consent until {given.valid_until} has ended: DELETE forgets this person")
    return entry


async def forget(asked: Asked) -> BaseModel:
    await done(asked.door.service.note("deletion asked", asked.noted))  # it has a line of its own when it is done
    receipt = await _written(asked, asked.door.service.forget, asked.person)
    return shapes.ForgetAnswer(**{name: receipt[name] for name in shapes.ForgetAnswer.model_fields})


async def lookalikes(asked: Asked) -> BaseModel:
    pairs = await run_in_threadpool(asked.door.service.lookalikes)
    await done(asked.door.service.note("people listed", {"count": len(pairs), **asked.noted}))
    return shapes.PairsAnswer(pairs=[shapes.Pair(**pair) for pair in pairs])


async def health(asked: Asked) -> Response:
    door, now = asked.door, time.monotonic()
    if now > door.healthy_until:  # who has no key does not make the log busy
        door.healthy_until = now + HEALTH
        door.problem = await run_in_threadpool(door.service.problem)
    return json_of(shapes.HealthAnswer(status="not ready" if door.problem else "ok"), 503 if door.problem else 200)


async def metrics(asked: Asked) -> Response:
    return Response(asked.door.metrics.text(), media_type="text/plain; version=0.0.4")


async def openapi(asked: Asked) -> Response:
    return Response(json.dumps(spec.document()), media_type="application/json")


HANDLERS: dict[str, Handler] = {
    each.__name__: each
    for each in (
        *(me, verify, identify, detect, people, person, face, enrol, forget, lookalikes),
        *(health, metrics, openapi),
    )
}
