import json
import re
from pathlib import Path

from openapi_spec_validator import OpenAPIV31SpecValidator

from muster.web.door import spec
from muster.web.door.errors import CODES
from muster.web.door.operations import OPERATIONS

DOCUMENT = Path(__file__).parents[3] / "docs/openapi.json"


def test_the_document_that_is_checked_in_is_what_is_served() -> None:
    """After a change: the command that docs/testing.md has."""
    assert json.loads(DOCUMENT.read_text()) == json.loads(json.dumps(spec.document()))


def test_it_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(json.loads(json.dumps(spec.document()))).validate()


def test_every_code_is_documented_where_it_can_be_said() -> None:
    """But those that say that nothing is there, and that Muster has failed."""
    text = json.dumps(spec.document())
    assert set(CODES) - set(re.findall(r"`(\w+)`: ", text)) == {"not_found", "method_not_allowed", "internal"}


def test_who_needs_a_key_is_told_of_keys() -> None:
    for operation in OPERATIONS:
        path = spec.document()["paths"][operation.path.replace(":path", "")]
        made = path[operation.method.lower()]
        assert made["security"] == ([{"key": []}] if operation.role else [])
        assert ("401" in made["responses"]) == bool(operation.role)
