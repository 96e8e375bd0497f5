"""Search: `Search(library, labels).run("anna -bob dog night 2019 lisbon")`.

Photos that the words find are in order of time; where some words say what they look like, the likest first (looks.py).

Columns of a library's tables are held in memory, as Arrow and numpy arrays with lists of rows for each name, place,
label, camera and folder: docs/adr/0033-search.md says why. Photos are those of the manifest that could be read.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from muster.arrays import F32, I64, Bools
from muster.errors import InputError, MusterError
from muster.storage import layout, tables
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.search import columns, index, labels
from muster.storage.search.alike import MOST, Alike, TextsOf, embeddings
from muster.storage.search.index import Index
from muster.storage.search.labels import Labels
from muster.storage.search.looks import LOOKS, Description, Segment, descriptions, turning
from muster.storage.search.meanings import LONGEST, Meaning, meanings, suggestions
from muster.storage.search.query import Term, parsed, written
from muster.storage.search.words import folded
from muster.storage.tags import table as tags

FOUND = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        ("taken_at", pa.timestamp("us")),
        ("place", pa.string()),
        ("city", pa.string()),
        ("region", pa.string()),
        ("country", pa.string()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("camera", pa.string()),
    ]
)


@dataclass(frozen=True)
class Understood:
    """Some words of a query, and what they mean. `terms`: numbers of the first, and of the one behind the last.
    `photos`: how many photos they mean alone, before negation; of a description, how many are compared with it."""

    text: str
    terms: tuple[int, int]
    negated: bool
    meanings: tuple[tuple[str, str], ...]  # field, text
    photos: int


@dataclass(frozen=True)
class Unknown:
    """A word that names nothing here, and the nearest that do; the query with each of them in its place. `described`:
    photos are compared with it instead."""

    text: str
    term: int
    negated: bool
    suggestions: tuple[str, ...]
    instead: tuple[str, ...]
    described: bool = False


@dataclass(frozen=True)
class Result:
    """`image_ids`: in order of time, those without a date last; `rows`: where they are in the index. With a word that
    is not known there are none, unless it is negated, or they are compared with it; with one of logic, such as "or",
    there are none.

    `similarities`: of each photo to the description that the query has, (N,), the likest first; None where it has
    none. `textless`: there are words that no model of pictures and words is there to compare photos with."""

    query: str
    terms: tuple[Term, ...]
    rows: I64
    image_ids: pa.Array
    understood: tuple[Understood, ...]
    unknown: tuple[Unknown, ...]
    notes: tuple[str, ...]
    similarities: F32 | None = None
    textless: bool = False

    def without(self, each: Understood | Unknown) -> str:
        """The query without these words."""
        first, after = each.terms if isinstance(each, Understood) else (each.term, each.term + 1)
        return written((*self.terms[:first], *self.terms[after:]))


class Search:
    """A library, opened for search. `index`: as it was when it was last read; replaced as a whole."""

    def __init__(self, library: LibraryFiles, labels: Sequence[Labels] = (), texts_of: TextsOf | None = None) -> None:
        """`labels`: the tables that say what photos show. `texts_of`: what compares texts with embeddings. Reads all
        columns that are searched but those of people, see `know`, and embeddings."""
        self.library, self.labels, self.texts_of = library, tuple(labels), texts_of
        self._stamp = self._now()
        self.index = _index(library, self.labels, texts_of)
        self._people: tuple[pa.Table, Mapping[str, str], Collection[str], Collection[str]] | None = None

    def _now(self) -> object:
        """What the index is made from: labels, the manifest's shards and, of each table, those that are done."""
        from muster.storage import manifest  # as in columns.py

        alike = filter(None, [embeddings(self.library)])
        prints = (IMAGES_FINGERPRINT, *(each.fingerprint for each in self.labels), *alike)
        done = tuple(tuple(tables.committed(self.library, name)) for name in prints)
        tagged = self.library.fs.get_file_info(self.library.at(layout.TAGS)).mtime_ns
        return self.labels, tuple(manifest.shards(self.library)), done, tagged

    def refresh(self) -> bool:
        """Read everything again where shards were added or dropped since, or `labels` replaced. Whether they were."""
        now = self._now()
        if now == self._stamp:
            return False
        self.index, self._stamp = _index(self.library, self.labels, self.texts_of, self.index.alike), now
        if self._people is not None:
            self.know(*self._people)
        return True

    def know(
        self,
        faces: pa.Table,
        names: Mapping[str, str],
        favourites: Collection[str] = (),
        hidden: Collection[str] = (),
    ) -> None:
        """Who is on which photo, after each edit. `faces`: image_id, person_id (null: nobody). `names`: person_id →
        name. `favourites`: image_ids. `hidden`: names of people whom tags do not name either."""
        self._people = (faces, names, favourites, hidden)
        people = index.person_field(self.index.columns, faces, names)
        self.index = self.index.with_people(people, favourites, hidden)

    def run(self, text: str, most: int = MOST) -> Result:
        """See `run`."""
        return run(self.index, text, most)

    def table(self, rows: I64) -> pa.Table:
        """What is shown of photos: FOUND. `rows`: of a result."""
        return described(self.index, rows)


def _index(
    library: LibraryFiles, tables: Sequence[Labels], texts_of: TextsOf | None, before: Alike | None = None
) -> Index:
    """`before`: whose network is kept where embeddings are of the same: it takes seconds to load."""
    marks = tags.read(library)
    found = columns.read(library, marks)
    paths, where = columns.paths(found), index.where(found)
    every = [labels.read(library, table, found) for table in tables]
    nobody = index.person_field(found, index.FACES.empty_table(), {})
    fields = {
        "person": (nobody, index.marked_field("person", found, marks, "people", "else")),
        "place": (index.place_field(where),),
        "object": tuple(each for each in every if each.name == "object"),
        "scene": tuple(each for each in every if each.name == "scene"),
        "camera": (index.camera_field(found),),
        "folder": (index.folder_field(paths),),
        "tag": (index.marked_field("tag", found, marks, "keywords"),),
        "album": (index.marked_field("album", found, marks, "albums"),),
    }
    starred: Bools = np.zeros(len(found), bool)
    rows = found.rows_of(marks["image_id"].filter(marks["favourite"].fill_null(False)))
    starred[rows[rows >= 0]] = True
    features = embeddings(library)
    alike = None
    if features is not None:
        same = before if before and before.fingerprint == features else None
        texts = same.texts if same else texts_of and texts_of(library, features)
        alike = Alike(library, features, found, texts)
    return Index(found, paths, where, fields, starred, starred, fields["person"][1:], alike)


def run(found: Index, text: str, most: int = MOST) -> Result:
    """All terms hold at once; of the meanings of one, any. `most`: photos at most where they are compared with a
    description.

    InputError where there are too many words, `-looks:`, or nothing behind `looks:`; whatever else is typed has a
    result.
    """
    terms = parsed(text)
    if any(term.negated and term.field == LOOKS for term in terms):
        raise InputError(f"`-{LOOKS}:` there is not: photos that look least like something are not told apart")
    if any(str(term).lower() == f"{LOOKS}:" for term in terms):
        raise InputError(f"`{LOOKS}:` has nothing behind it: say what photos look like")
    segments = list(_segments(found, terms))
    turned = turning(segments)
    said = descriptions(segments, turned)
    query, notes = _embedded(found, said)
    notes += [f'"{segments[n].text}" is not understood: {instead}' for n, instead in turned.items()]
    within = {} if query is None else {each.first: each for each in said}
    photos: Bools = np.ones(len(found.columns), bool)
    understood: list[Understood] = []
    unknown: list[Unknown] = []
    small: list[str] = []
    at = 0
    while at < len(segments):
        each, description = segments[at], within.get(at)
        at = description.after if description else at + 1
        if description:
            end = segments[at - 1].end
            compared = found.alike.compared if found.alike else 0
            understood.append(
                Understood(description.text, (each.begin, end), False, ((LOOKS, description.text),), compared)
            )
            parts = segments[description.first : at]
            unknown += _slips(found, terms, parts)
            things = [part.text for part in parts if part.means and not part.small]
            if things:
                notes.append(f"these describe, and filter only in quotes: {', '.join(things)}")
        elif at - 1 in turned:
            photos[:] = False
        elif each.means:
            marked = _marked(photos.size, each.means)
            photos &= ~marked if each.first.negated else marked
            understood.append(_understood(each, int(np.count_nonzero(marked))))
        elif each.small:
            small.append(each.text)
        elif not folded(each.text):
            notes.append(f"{each.text} is no word, and left out")
        else:
            unknown.append(_unknown(found, terms, each.begin))
    if small:
        notes.append(f"small words are left out: {', '.join(small)}")
    if any(not (each.negated or each.described) for each in unknown):
        photos[:] = False
    rows, similarities = np.flatnonzero(photos), None
    if query is not None and found.alike is not None:
        similarities, rows = found.alike.nearest(query, most, rows)
    ids = found.columns.image_ids.take(pa.array(rows))
    textless = bool(said) and (found.alike is None or found.alike.texts is None)
    return Result(text, terms, rows, ids, tuple(understood), tuple(unknown), tuple(notes), similarities, textless)


def _embedded(found: Index, said: Sequence[Description]) -> tuple[F32 | None, list[str]]:
    """What descriptions say together as an embedding, (1, D); None without a model for it, and why it cannot be had."""
    if not said or found.alike is None or found.alike.texts is None:
        return None, []
    try:
        return found.alike.texts([" ".join(each.text for each in said)]), []
    except MusterError as error:  # its folder is gone, or what it needs is not installed
        return None, [f"words cannot be compared with photos: {error}"]


def _segments(found: Index, terms: Sequence[Term]) -> Iterator[Segment]:
    at = 0
    while at < len(terms):
        end, means = _longest(found, terms, at)
        yield Segment(at, end, terms[at], " ".join(term.text for term in terms[at:end]), means)
        at = end


def _longest(found: Index, terms: Sequence[Term], at: int) -> tuple[int, list[Meaning]]:
    """The longest name or date that begins with a term, and what it means; else the term alone, and nothing."""
    end = at + 1
    while end < len(terms) and end < at + LONGEST and not terms[at].quoted and terms[end].plain:
        end += 1
    for after in range(end if folded(terms[at].text) else at + 1, at, -1):
        if means := meanings(found, terms[at:after]):
            return after, means
    return at + 1, []


def _marked(many: int, means: Sequence[Meaning]) -> Bools:
    marked: Bools = np.zeros(many, bool)
    for meaning in means:
        meaning.mark(marked)
    return marked


def _understood(each: Segment, photos: int) -> Understood:
    named = tuple(dict.fromkeys((meaning.field, meaning.text) for meaning in each.means))
    return Understood(each.text, (each.begin, each.end), each.first.negated, named, photos)


def _unknown(found: Index, terms: Sequence[Term], at: int, field: str = "") -> Unknown:
    """`field`: of what it may be a slip; "": of what the term says, or of anything."""
    term = terms[at]
    nearest = suggestions(found, replace(term, field=field or term.field))
    others = [Term(text, term.field, " " in text, term.negated) for text in nearest]
    instead = tuple(written((*terms[:at], other, *terms[at + 1 :])) for other in others)
    return Unknown(term.text, at, term.negated, tuple(nearest), instead)


def _slips(found: Index, terms: Sequence[Term], parts: Sequence[Segment]) -> Iterator[Unknown]:
    """The words of a description that are near a name: alone, any; of several, near the name of a person."""
    field = "person" if len(parts) > 1 else ""
    for part in parts:
        if part.unknown:
            slip = _unknown(found, terms, part.begin, field)
            if slip.suggestions:
                yield replace(slip, described=True)


def described(found: Index, rows: I64) -> pa.Table:
    """A row of FOUND for each of these photos."""
    where, known = found.where, found.where.known
    photos = found.columns.table.take(pa.array(rows))
    nearest = [known.get(number) for number in where.places[rows].tolist()]
    cities = [known.get(number) for number in where.cities[rows].tolist()]
    told = {
        "place": [place and place.name for place in nearest],
        "city": [place and place.name for place in cities],
        "region": [(place and place.region) or None for place in nearest],
        "country": [(place and place.country) or None for place in nearest],
    }
    given = {name: told.get(name, photos[name] if name in photos.column_names else None) for name in FOUND.names}
    return pa.table(given, schema=FOUND)
