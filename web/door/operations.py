"""What can be asked of the service: addresses, roles, shapes. Routes and the OpenAPI document are made of it."""

from dataclasses import dataclass, field

from pydantic import BaseModel

from muster.web.door import shapes

IMAGE_CODES = ("no_length", "too_large", "unsupported_type", "bad_request", "timeout", "not_an_image")


@dataclass(frozen=True)
class Operation:
    """`role`: "" where no key is needed. `takes`: JSON; `image`: an image file as well. `gives`: shape of the answer;
    None: `media`. `codes`: what it says beside those of keys."""

    name: str
    method: str
    path: str
    role: str
    summary: str
    gives: type[BaseModel] | None
    takes: type[BaseModel] | None = None
    image: bool = False
    query: tuple[str, ...] = ()
    media: str = "application/json"
    statuses: tuple[int, ...] = (200,)
    codes: tuple[str, ...] = field(default=())


OPERATIONS = (
    Operation(
        "verify",
        "POST",
        "/v1/verify",
        "asks",
        "Is this the person? (1:1)",
        shapes.VerifyAnswer,
        shapes.VerifyRequest,
        image=True,
        query=("person_id",),
        codes=(*IMAGE_CODES, "not_enrolled", "no_face", "not_ready", "busy"),
    ),
    Operation(
        "identify",
        "POST",
        "/v1/identify",
        "asks",
        "Who is this, or nobody we know? (1:N)",
        shapes.IdentifyAnswer,
        shapes.ImagesRequest,
        image=True,
        codes=(*IMAGE_CODES, "not_ready", "busy"),
    ),
    Operation(
        "detect",
        "POST",
        "/v1/detect",
        "asks",
        "Where are faces?",
        shapes.DetectAnswer,
        shapes.ImagesRequest,
        image=True,
        codes=(*IMAGE_CODES, "busy"),
    ),
    Operation(
        "people", "GET", "/v1/people", "enrols", "Who is enrolled", shapes.PeopleAnswer, codes=("not_ready", "busy")
    ),
    Operation(
        "face",
        "GET",
        "/v1/people/{person_id:path}/face",
        "enrols",
        "The face that somebody is known by",
        None,
        media="image/jpeg",
        codes=("bad_request", "not_enrolled", "no_picture", "not_ready", "busy"),
    ),
    Operation(
        "person",
        "GET",
        "/v1/people/{person_id:path}",
        "enrols",
        "Somebody who is enrolled",
        shapes.Person,
        codes=("bad_request", "not_enrolled", "not_ready", "busy"),
    ),
    Operation(
        "enrol",
        "PUT",
        "/v1/people/{person_id:path}",
        "enrols",
        "Enrol somebody, or update them",
        shapes.EnrolAnswer,
        shapes.PersonRequest,
        statuses=(200, 201),
        codes=(*IMAGE_CODES, "not_accepted", "not_ready", "busy"),
    ),
    Operation(
        "forget",
        "DELETE",
        "/v1/people/{person_id:path}",
        "administers",
        "Forget somebody, with a receipt",
        shapes.ForgetAnswer,
        codes=("bad_request", "not_enrolled", "not_ready", "busy"),
    ),
    Operation(
        "lookalikes",
        "GET",
        "/v1/lookalikes",
        "enrols",
        "Pairs of people who look alike",
        shapes.PairsAnswer,
        codes=("not_ready", "busy"),
    ),
    Operation(
        "health", "GET", "/v1/health", "", "Whether people can be named now", shapes.HealthAnswer, statuses=(200, 503)
    ),
    Operation("metrics", "GET", "/v1/metrics", "asks", "Counts, for Prometheus", None, media="text/plain"),
    Operation("openapi", "GET", "/v1/openapi.json", "", "This document", None),
)
