"""A library, opened for search: with what its tasks say of labels, and who is on which photo now."""

from collections.abc import Mapping
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from muster.errors import NotYetError
from muster.pipeline.people.pages import label_tables
from muster.pipeline.people.who import people_now, readable_images
from muster.pipeline.texts import texts_of
from muster.pipeline.work.machine import Machine
from muster.storage.library import LibraryFiles
from muster.storage.people.ledger import Ledger
from muster.storage.people.placed import Photos
from muster.storage.people.view import SCHEMA
from muster.storage.search.search import Search


def opened(library: LibraryFiles, model: str | None = None, machine: Machine | None = None) -> Search:
    """`machine`: where texts are embedded; None: on a processor. `model`: whose faces; None: the library's. A library
    without faces is searched by all the rest, and hidden people are nobody.

    NotYetError where no photo was looked at.
    """
    return opened_with_people(library, model, machine)[0]


def opened_with_people(
    library: LibraryFiles, model: str | None, machine: Machine | None = None
) -> tuple[Search, pa.Table, Mapping[str, str]]:
    """The same; with the faces, as muster.storage.people.view.SCHEMA, and person_id → name."""
    search = Search(library, label_tables(library), partial(texts_of, machine=machine))
    if not len(search.index.columns):
        raise NotYetError(f"library {library.uri} has no photos that were looked at yet", "run", library.uri)
    ledger = Ledger(library)
    liked = Photos(readable_images(library)).of(tuple(ledger.known.favourites.values()))
    favourites = {image_id for ids in liked.values() for image_id in ids}
    hidden = {each.name for each in ledger.known.people.values() if each.hidden and each.name}
    try:
        people = people_now(library, model, ledger)
        hidden |= {each.name for each in people.people.values() if each.hidden and each.name}
        faces, names = people.faces, {each.person_id: each.name for each in people.people.values() if not each.hidden}
        shown = pc.is_in(faces["person_id"], value_set=pa.array(list(names), pa.string()))
        persons = pc.if_else(shown, faces["person_id"], None)
        faces = faces.set_column(faces.schema.get_field_index("person_id"), "person_id", persons)
    except NotYetError:
        faces, names = SCHEMA.empty_table(), {}
    search.know(faces, names, favourites, hidden)
    return search, faces, names
