"""What verbs of the face answer, where no module below has a type for it."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from muster.pipeline.people.grouping import ClusterSummary
from muster.pipeline.run import RunSummary
from muster.pipeline.tags import TagsSummary
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
