"""A question about a library, answered from its tables, and the answer in words."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from muster.errors import NotYetError
from muster.pipeline.people.faces import faces_fingerprint
from muster.pipeline.people.searching import opened_with_people
from muster.storage import clusters, manifest
from muster.storage.ask.ask import Answer, ask
from muster.storage.ask.phrases import SCENES
from muster.storage.ask.query import Has, Named, Number, Query, Scene
from muster.storage.ask.sql import plural
from muster.storage.ask.tokens import tokens
from muster.storage.ask.views import FACES, views
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.people.view import FOUND
from muster.web.words import count, day

_UNKNOWN = {**dict.fromkeys(("place", "region", "country"), "place"), "camera": "camera", "folder": "folder"}


@dataclass(frozen=True)
class Asked:
    """`text`: the answer in words; "" where the question is not understood. `notes`: what it leaves out. `tables`: what
    it was asked of."""

    answer: Answer
    text: str
    notes: tuple[str, ...]
    tables: Mapping[str, pa.Table]


def asked(library: LibraryFiles, question: str, model: str | None = None) -> Asked:
    """`model`: whose faces; None: the library's. NotYetError where no photo was looked at; InputError for a question
    that is empty or too long."""
    tokens(question)  # what is no question is refused before a table is read
    search, faces, names = opened_with_people(library, model)
    found = views(search.index, faces.select(FACES.names), names, search.labels)
    answer = ask(found, question)
    if answer.query is None or answer.table is None:
        return Asked(answer, "", (), found.tables)
    fingerprints = {each.table: each.fingerprint for each in search.labels}
    with suppress(NotYetError):
        fingerprints["faces"] = faces_fingerprint(library, model)
    about = _about(answer.query)
    notes = [*_lacking(answer.query, answer.lacking), *_unfinished(library, fingerprints, about)]
    if "person" in about and "faces" in fingerprints:
        notes += _ungrouped(library, fingerprints["faces"], faces)
    return Asked(answer, told(answer.query, answer.table), tuple(notes), found.tables)


def told(query: Query, table: pa.Table) -> str:
    """The answer in one line; of several groups how many there are, which the table has."""
    if query.asked == "photos":
        return count(table.num_rows, "photo")
    if query.asked == "groups":
        if not table.num_rows:
            return "nobody" if query.unit == "person" else "none"
        rows = [(str(label), photos) for label, photos in zip(*table.to_pydict().values(), strict=True)]
        if not query.most and len(rows) > 1:
            return count(len(rows), query.unit, plural(query.unit))
        each = " each" if len(rows) > 1 else ""
        return f"{'; '.join(label for label, _ in rows)}: {count(rows[0][1], 'photo')}{each}"
    value = table.column(0)[0].as_py()
    if query.asked in ("first", "last"):
        return "no photo with a date shows that" if value is None else day(value)
    if query.asked == "yes":
        return f"yes: {count(table['photos'][0].as_py(), 'photo')}" if value else "no photo shows that"
    return count(value, query.unit, plural(query.unit))


def _lacking(query: Query, photos: int) -> Iterator[str]:
    if photos:
        of_these = count(photos, "photo")
        yield f"{of_these} of these {'has' if photos == 1 else 'have'} no known {_UNKNOWN.get(query.unit, 'date')}"


def _about(query: Query) -> set[str]:
    """What a question is about, of what tasks find: "person", "thing", "scene"."""
    conditions = [each for filter_ in query.filters for each in filter_.any_of]
    fields: set[str] = {query.unit, *(each.field for each in conditions if isinstance(each, Named))}
    if any(isinstance(each, Number) or each == Has("people") for each in conditions):
        fields.add("person")
    named = {value for each in conditions if isinstance(each, Named) and each.field == "thing" for value in each.values}
    if any(isinstance(each, Scene) for each in conditions) or named & SCENES.keys():
        fields.add("scene")
    return fields


def _unfinished(library: LibraryFiles, fingerprints: Mapping[str, str], about: Collection[str]) -> Iterator[str]:
    """Tasks that have not yet looked at all the photos of which was asked."""
    looked_at = set(manifest.committed(library, IMAGES_FINGERPRINT))
    for task, fingerprint in fingerprints.items():
        field = {"faces": "person", "scenes": "scene"}.get(task, "thing")
        if field in about and looked_at - set(manifest.committed(library, fingerprint)):
            yield f"the task {task} has not looked at all photos yet"


def _ungrouped(library: LibraryFiles, fingerprint: str, faces: pa.Table) -> Iterator[str]:
    """Photos with faces of which it was not yet looked who they are."""
    found = set(faces.filter(pc.equal(faces["origin"], FOUND))["image_id"].to_pylist())
    try:
        grouped = set(clusters.read(library, fingerprint)["image_id"].to_pylist())
    except FileNotFoundError:
        grouped = set()
    if left := len(found - grouped):
        yield f"the faces of {count(left, 'photo')} are in no groups yet: `cluster` the library"
