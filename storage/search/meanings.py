"""What the words of a query mean in a library, and which photos they mean."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import pyarrow.compute as pc

from muster.arrays import I64, Bools
from muster.storage.search import dates
from muster.storage.search.index import Index
from muster.storage.search.query import Term
from muster.storage.search.words import folded, nearest

LONGEST = 6  # words of a name or date: "3 may 2019..5 june 2019"
ALIKE_BITS = 12  # of 64 that differ at most where photos look alike: of 46,056 pairs of COCO photos none does
MOST_ALIKE = 64  # photos of one file name that others are compared with: folders may be full of image.jpg
SPELLINGS, SUGGESTED = 12, 3  # texts near a wrong word that are looked at; that are shown, each of another meaning
FAVOURITE = ("favourite", "favourites", "favorite", "favorites")
Mark = Callable[[Bools], None]  # sets the photos that are meant


@dataclass(frozen=True)
class Meaning:
    """`field`: what the words name, as FIELDS has it. `text`: which, for people to read."""

    field: str
    text: str
    mark: Mark


def meanings(index: Index, terms: Sequence[Term]) -> list[Meaning]:
    """All that some terms, which stand one behind the other, mean as one name. Empty: nothing that is known here."""
    first, text = terms[0], " ".join(term.text for term in terms)
    found = []
    when = dates.dates(text) if first.field == "date" or not (first.field or first.quoted) else None
    if when is not None:
        found.append(Meaning("date", when.text, partial(_dated, index, when)))
    if first.field == "date" or (when is not None and not when.months):  # a year is no folder: `in:2019`
        return found
    word = folded(text)
    if first.field == "similar":
        return list(_similar(index, text)) if len(terms) == 1 else []
    if first.field in ("", "is") and word in FAVOURITE:
        found.append(Meaning("is", "favourite", partial(_add, index.favourites)))
    alone = first.field or len(terms) == 1  # else "anna dog" would mean the one file that is called so
    found += [each for each in _named(index, first.field, text, word) if alone or each.field != "folder"]
    if first.field in ("", "file") and alone and word:
        files = index.paths.named(word, anywhere=first.field == "file")
        found += [Meaning("file", text, partial(_add, files))] if files is not None and files.any() else []
    return found


def _add(more: Bools, photos: Bools) -> None:
    photos |= more


def _named(index: Index, wanted: str, text: str, word: str) -> Iterator[Meaning]:
    """Groups of the fields that are called so."""
    if wanted == "folder" and "/" in text:
        folders = _folders(index, text)
        if folders.any():
            yield Meaning("folder", text, partial(_add, folders[index.paths.codes]))
        return
    for name in [wanted] if wanted else index.fields:
        for field in index.fields.get(name, ()):
            if groups := field.find(word):
                values = list(dict.fromkeys(field.values[group] for group in groups))
                shown = text if name == "folder" else " or ".join(values[:3]) + " or …" * (len(values) > 3)
                yield Meaning(name, shown, partial(field.mark, groups))


def _folders(index: Index, text: str) -> Bools:
    """Which folders a path with "/" means: one from the root, with all below it, or some segments on the way."""
    if text.startswith("/") or "://" in text:
        base = text.rstrip("/") + "/"
        return np.array([f"{folder}/".startswith(base) for folder in index.paths.folders], bool)
    way = f"/{'/'.join(filter(None, map(folded, text.split('/'))))}/"
    return np.array([way in below for below in index.paths.below], bool) & (way != "//")


def _dated(index: Index, when: dates.Dates, photos: Bools) -> None:
    taken = index.columns.taken
    if when.months:
        photos[: len(taken)] |= np.isin(index.columns.months, when.months)
        return
    begin, end = (
        None if day is None else np.datetime64(day, "us").astype(np.int64) for day in (when.first, when.after)
    )
    first = 0 if begin is None else int(np.searchsorted(taken, begin))
    photos[first : len(taken) if end is None else int(np.searchsorted(taken, end))] = True


# ---- similar:PHOTO ---------------------------------------------------------------------------------------------------


def _similar(index: Index, text: str) -> Iterator[Meaning]:
    """Photos that look like the one named, by its image_id, URI or file name; and those of all the people on it."""
    rows = photos_called(index, text)[:MOST_ALIKE]
    if not len(rows):
        return
    yield Meaning("similar", f"looks like {text}", partial(_alike, index, rows))
    for people in index.fields.get("person", ()):
        together = [groups for row in rows.tolist() if len(groups := _groups_of(people.rows, people.starts, row))]
        if together:
            names = " and ".join(people.values[group] for group in together[0])
            yield Meaning("similar", f"shows {names}", partial(_together, people.mark, together))


def photos_called(index: Index, text: str) -> I64:
    """The rows of the photo of this image_id or URI, or of all that have this file name."""
    table = index.columns.table
    for column in ("image_id", "uri"):
        row = pc.index(table[column], text).as_py()
        if row >= 0:
            return np.array([row])
    named = pc.equal(index.paths.names, f" {folded(text)} ") if folded(text) else pc.equal(index.paths.names, "")
    return np.flatnonzero(named.to_numpy(zero_copy_only=False))


def _alike(index: Index, rows: I64, photos: Bools) -> None:
    hashes = index.columns.hashes
    for row in rows.tolist():
        photos[row] = True
        if hashes[row]:
            photos |= (np.bitwise_count(hashes ^ hashes[row]) <= ALIKE_BITS) & (hashes != 0)
    if index.alike is not None:
        photos[index.alike.near(rows)] = True


def _groups_of(rows: np.ndarray, starts: I64, row: int) -> list[int]:
    places = np.flatnonzero(rows == row)
    return (np.searchsorted(starts, places, side="right") - 1).tolist()


def _together(mark: Callable[[Sequence[int], Bools], None], together: Sequence[Sequence[int]], photos: Bools) -> None:
    for groups in together:
        all_of_them = np.ones_like(photos)
        for group in groups:
            one = np.zeros_like(photos)
            mark([group], one)
            all_of_them &= one
        photos |= all_of_them


# ---- what is not known -----------------------------------------------------------------------------------------------


def suggestions(index: Index, term: Term) -> list[str]:
    """What a word that is not known here may have meant: the nearest texts of its field, or of all."""
    dated = (*dates.MONTHS, *dates.SEASONS) if term.field in ("", "date") else ()
    files = index.paths.words if term.field in ("", "file") else ()
    named = (texts for name, texts in index.vocabulary.items() if term.field in ("", name))
    found = nearest(folded(term.text), chain(dated, files, *named), SPELLINGS, index.titles)
    chosen: dict[str, set[tuple[str, int]]] = {}
    for text in found:  # other spellings of what is there already are left out
        meant = _meant(index, text)
        if not meant or not any(meant <= others for others in chosen.values()):
            chosen[text] = meant
    return list(chosen)[:SUGGESTED]


def _meant(index: Index, text: str) -> set[tuple[str, int]]:
    return {(name, n) for name, fields in index.fields.items() for field in fields for n in field.find(text)}
