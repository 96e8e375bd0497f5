"""`muster choose`: a library of the photos that a query finds, for tasks that one would not wait for on all photos.

Each photo is a shard of its own there, so that a run that is cut off has lost one (docs/adr/0053-words.md).
"""

import pyarrow as pa

from muster.errors import InputError, MissingError, NotYetError
from muster.pipeline import forget
from muster.pipeline.people.searching import opened
from muster.storage import chosen_photos, manifest
from muster.storage.library import LibraryFiles, open_library
from muster.storage.search.looks import LOOKS


def choose(library: LibraryFiles, query: str, out: str) -> LibraryFiles:
    """The library at `out`, of these photos alone; made where there is none. Photos that were chosen before have their
    rows there still, which count again once they are chosen again. The caller holds no lock.

    InputError where nothing is found, or another kind of library is there.
    """
    if not query.strip():
        raise InputError("`query` is empty: say which photos")
    if library.holds(out):
        raise InputError(f"`out` {out} lies in the library {library.uri}: give a place outside of it")
    rows = found_by(library, query, "query")
    chosen = open_library(out, create=True)
    if any(images > 1 for _, images in manifest.shards(chosen)):
        raise InputError(f"`out` {out} is a library that was not made by `choose`: give a new name")
    with forget.locked(chosen):
        chosen_photos.choose(chosen, rows)
    return chosen


def found_by(library: LibraryFiles, query: str, parameter: str) -> pa.Table:
    """Rows of the manifest, of the photos that a query finds; "": of all. `parameter`: what the query is called.

    InputError where it finds none, holds a word that is not there, or words that photos are only ranked by.
    """
    forget.settled(library)
    if not query:
        rows = chosen_photos.rows_of(library)
        if not rows.num_rows:
            raise NotYetError(f"library {library.uri} has no images yet", "scan", library.uri)
        return rows
    found = opened(library).run(query)
    for each in found.unknown:
        near = " or ".join(each.suggestions)
        raise InputError(f"`{parameter}` {query}: no `{each.text}` here" + (f"; did you mean {near}?" if near else ""))
    notes = "".join(f"; {note}" for note in found.notes)
    if found.similarities is not None:
        looks = " ".join(text for each in found.understood for field, text in each.meanings if field == LOOKS)
        raise InputError(
            f'`{parameter}` {query}: photos are ranked by "{looks}", which leaves none out: name people, things, dates'
            f" or places{notes}"
        )
    if not len(found.rows):
        raise MissingError(f"`{parameter}` {query}: no photo is found by it{notes}")
    return chosen_photos.rows_of(library, found.image_ids)
