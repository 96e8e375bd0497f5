"""The OpenAPI 3.1 document of the service, made of its operations and shapes; docs/openapi.json is what it was last."""

import re
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from muster.web.door import shapes
from muster.web.door.errors import CODES
from muster.web.door.operations import OPERATIONS, Operation

Mode = Literal["validation", "serialization"]  # what is always there in an answer is told to be
REF = "#/components/schemas/{model}"
KEY_CODES = ("no_key", "bad_key", "revoked_key", "expired_key", "wrong_role", "rate_limited")
TEXT = {"type": "string", "minLength": 1, "maxLength": shapes.MOST_TEXT}


@cache
def document() -> dict[str, Any]:
    requests: set[tuple[type[BaseModel], Mode]] = {(each.takes, "validation") for each in OPERATIONS if each.takes}
    answers: set[tuple[type[BaseModel], Mode]] = {(each.gives, "serialization") for each in OPERATIONS if each.gives}
    answers.add((shapes.ErrorAnswer, "serialization"))
    wanted = sorted(requests | answers, key=lambda pair: pair[0].__name__)
    _, schemas = models_json_schema(wanted, ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path.replace(":path", ""), {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Muster at the door",
            "version": "1",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Who is this, by a gallery of people who consented. Every answer about people is in the"
            " audit log before it leaves. Faces are compared by a network, which is wrong at a rate that was measured:"
            " do not decide about a person by it alone.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "muster_<id>_<secret>"}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    names = [*re.findall(r"{(\w+):path}", operation.path)]
    parameters = [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in names]
    for name in operation.query:
        text = "Of an image that is sent as it is."
        parameters.append({"name": name, "in": "query", "required": False, "description": text, "schema": TEXT})
    made: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary, "responses": {}}
    if operation.role:
        made |= {"security": [{"key": []}], "description": f"For keys that may do what one that {operation.role} may."}
    else:
        made["security"] = []
    if parameters:
        made["parameters"] = parameters
    if operation.takes:
        content: dict[str, Any] = {"application/json": {"schema": _ref(operation.takes)}}
        if operation.image:
            content |= {kind: {} for kind in ("image/*", "application/octet-stream")}
        made["requestBody"] = {"required": True, "content": content}
    answer = {operation.media: {"schema": _ref(operation.gives)} if operation.gives else {}}
    for status in operation.statuses:
        made["responses"][str(status)] = {"description": operation.summary, "content": answer}
    codes = [*(KEY_CODES if operation.role else ()), *operation.codes]
    by_status: dict[int, list[str]] = {}
    for code in codes:
        same = [each for each, what in CODES.items() if what == CODES[code]] if code == "not_an_image" else [code]
        by_status.setdefault(CODES[code][0], []).extend(same)
    for status, some in sorted(by_status.items()):
        text = "; ".join(f"`{code}`: {CODES[code][1]}" for code in some)
        made["responses"][str(status)] = {
            "description": text,
            "content": {"application/json": {"schema": _ref(shapes.ErrorAnswer)}},
        }
    return made


def _ref(shape: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=shape.__name__)}
