"""A question about a library, answered from its tables, and the answer in words."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa

from muster.errors import NotYetError
from muster.pipeline.people.faces import faces_fingerprint
from muster.pipeline.people.searching import opened_with_people
from muster.storage import manifest
from muster.storage.ask.ask import Answer, ask
from muster.storage.ask.query import Has, Named, Number, Query, Scene
from muster.storage.ask.sql import plural
from muster.storage.ask.tokens import tokens
from muster.storage.ask.views import FACES, views
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
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
    notes = (*_lacking(answer.query, answer.lacking), *_unfinished(library, fingerprints, answer.query))
    return Asked(answer, told(answer.query, answer.table), notes, found.tables)


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
        return f"{', '.join(label for label, _ in rows)}: {count(rows[0][1], 'photo')}{each}"
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


def _unfinished(library: LibraryFiles, fingerprints: Mapping[str, str], query: Query) -> Iterator[str]:
    """Tasks that have not yet looked at all the photos of which was asked."""
    looked_at = set(manifest.committed(library, IMAGES_FINGERPRINT))
    conditions = [each for filter_ in query.filters for each in filter_.any_of]
    fields: set[str] = {query.unit, *(each.field for each in conditions if isinstance(each, Named))}
    if any(isinstance(each, Number) or each == Has("people") for each in conditions):
        fields.add("person")
    if any(isinstance(each, Scene) for each in conditions):
        fields.add("scene")
    for task, fingerprint in fingerprints.items():
        field = {"faces": "person", "scenes": "scene"}.get(task, "thing")
        if field in fields and looked_at - set(manifest.committed(library, fingerprint)):
            yield f"the task {task} has not looked at all photos yet"
