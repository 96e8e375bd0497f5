"""What verbs of the face answer, where no module below has a type for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from muster.pipeline.people.grouping import ClusterSummary
from muster.pipeline.run import RunSummary
from muster.pipeline.tags import TagsSummary
from muster.storage.ask.reader import Meant
from muster.storage.manifest import ScanResult
from muster.storage.search.search import Understood, Unknown
from muster.web.people import PagesSummary
from muster.web.units import UnitsSummary


@dataclass(frozen=True)
class Answers:
    """Who is in some photos. `table`: a row for each face, see muster.pipeline.gallery.identify.ANSWERS. `remark`: what
    a user should know about the threshold; "" where there is nothing to say. `out`: the file that was written too."""

    table: pa.Table
    remark: str
    out: Path | None = None


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The photos that a search has found. `table`: a row for each, see muster.storage.search.search.FOUND, oldest
    first; of those that are compared with a photo or with words, the nearest first, with their `similarity`.
    `understood`: the words of the query, and what they mean; `unknown`: those that name nothing in the library, with
    what is near. Then there are no photos, unless the word was negated, or photos are compared with it. `notes`: what
    else is to be known."""

    query: str
    table: pa.Table
    understood: tuple[Understood, ...]
    unknown: tuple[Unknown, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AskResult:
    """The answer to a question. `answer`: in words, "" where it is not understood; then `table` and `sql` are None,
    `problem` says why, and `nearest` are questions that are understood. `table`: what was counted or listed, by `sql`
    over `tables` (docs/ask.md). `understood`: words of the question, and what they were taken for. `notes`: what the
    answer leaves out."""

    question: str
    answer: str
    table: pa.Table | None
    sql: str | None
    understood: tuple[Meant, ...]
    problem: str
    nearest: tuple[str, ...]
    notes: tuple[str, ...]
    tables: Mapping[str, pa.Table]


@dataclass(frozen=True, kw_only=True)
class Pages(PagesSummary):
    """The people pages that were written. `out`: their folder; `index`: the file:// URI to open."""

    out: Path
    index: str


@dataclass(frozen=True, kw_only=True)
class UnitPages(UnitsSummary):
    """The pages of a network's units that were written. `out`: their folder; `index`: the file:// URI to open."""

    out: Path
    index: str


@dataclass(frozen=True, kw_only=True)
class PhotosSummary:
    """What each step of `photos` answered."""

    scan: ScanResult
    run: RunSummary
    tags: TagsSummary
    cluster: ClusterSummary
    pages: Pages
