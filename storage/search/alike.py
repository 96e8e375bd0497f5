"""Photos that look like others, or as words say: by the embeddings of a library's photos, read when somebody asks for
the first time."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from muster.arrays import F32, I64, Bools, matrix
from muster.storage import tables
from muster.storage.index import vectors
from muster.storage.index.vectors import VectorIndex
from muster.storage.library import LibraryFiles
from muster.storage.models import read_models
from muster.storage.search.columns import Columns

TABLE = "features"
MOST, LEAST, SHARE = 50, 5, 1 / 20  # photos that are near: this share of all, but at least and at most so many
Texts = Callable[[Sequence[str]], F32]  # texts → (N, D) as the embeddings of photos; MusterError where it cannot
TextsOf = Callable[[LibraryFiles, str], Texts | None]  # of the network of a fingerprint; None where it knows no texts


def embeddings(library: LibraryFiles) -> str | None:
    """The fingerprint of the embeddings that are compared: of the model that the library was run with by name, else of
    most photos. None where there are none."""
    named = read_models(library).get(TABLE)
    known = {name: what["model"] for name, what in tables.descriptions(library).items() if what.get("task") == TABLE}
    done = {name: len(tables.committed(library, name)) for name in known}
    return max((n for n in known if done[n]), key=lambda n: (known[n] == named, done[n], n), default=None)


class Alike:
    """`fingerprint`: of the embeddings. Rows are those of `columns`. `texts`: what says of texts where they were among
    them; None where their network knows none."""

    def __init__(self, library: LibraryFiles, fingerprint: str, columns: Columns, texts: Texts | None = None) -> None:
        self.library, self.fingerprint, self.columns, self.texts = library, fingerprint, columns, texts

    @cached_property
    def _held(self) -> tuple[VectorIndex, I64, I64]:
        """All embeddings, the row of each, and the place of each row among them, -1 for none."""
        from muster.storage import manifest  # it brings what reads photos; the live page is there before that

        shards = manifest.committed(self.library, self.fingerprint)
        found = tables.require(self.library, TABLE, self.fingerprint, ["image_id", "embedding"], shards)
        rows = self.columns.rows_of(found["image_id"])
        known = rows >= 0
        place = np.full(len(self.columns), -1, np.int64)
        place[rows[known]] = np.arange(np.count_nonzero(known))
        # All are compared, whatever their number: a search asks once, and to read them takes longer than that.
        every = matrix(found["embedding"])
        return vectors.exact(every if known.all() else every[known]), rows[known], place

    @property
    def compared(self) -> int:
        """How many photos have an embedding."""
        return len(self._held[1])

    def of(self, rows: I64) -> F32:
        """The embeddings of photos; of those that have none, nothing."""
        index, _, place = self._held
        at = place[rows]
        return index.vectors[at[at >= 0]]

    def nearest(self, queries: F32, most: int, among: I64 | None = None) -> tuple[F32, I64]:
        """The photos nearest to any of `queries` (N, D), L2-normalised: cosine similarities and rows, both (M,), the
        nearest first, `most` at most. `among`: the rows that are asked about; None: all."""
        index, rows, place = self._held
        if not len(queries) or not len(rows):
            return np.empty(0, np.float32), np.empty(0, np.int64)
        if among is None:
            near, places = index.search(queries, min(most, len(rows)))
        else:
            asked: Bools = np.zeros(len(place), bool)
            asked[among] = True
            near, places = index.search_among(queries, min(most, len(rows)), asked[rows])
        there = places >= 0
        similarities, found = near[there], places[there]
        order = np.argsort(-similarities, kind="stable")
        first = np.sort(np.unique(found[order], return_index=True)[1])[:most]  # a photo may be near several
        return similarities[order][first], rows[found[order][first]]

    def near(self, rows: I64) -> I64:
        """The photos that look like any of these, themselves too."""
        most = int(min(MOST, max(LEAST, SHARE * len(self.columns))))
        return self.nearest(self.of(rows), most)[1]
