"""Numbers for the faces that a ledger speaks of: edits name one face by boxes that differ a little."""

from collections.abc import Iterable, Sequence

from muster.storage.people.boxes import SAME_FACE, overlap
from muster.storage.people.facts import FaceRef, Fact, faces_of

Numbered = tuple[tuple[int, ...], ...]  # of each fact of an edit, the numbers of its faces


class Numbers:
    """From 0, in the order in which faces come up, whether edits are taken back or not. Each edit has its own once."""

    def __init__(self) -> None:
        self._first: list[FaceRef] = []
        self._in_photo: dict[str, tuple[int, ...]] = {}
        self._edits: dict[str, Numbered] = {}

    def __len__(self) -> int:
        return len(self._first)

    def copy(self) -> "Numbers":
        """One that grows by itself: some milliseconds of 100,000 faces."""
        new = Numbers()
        new._first, new._in_photo, new._edits = self._first.copy(), self._in_photo.copy(), self._edits.copy()
        return new

    def of(self, edit: str, said: Sequence[Fact]) -> Numbered:
        """Those of the faces that each fact of an edit names."""
        if edit not in self._edits:
            self._edits[edit] = tuple(tuple(map(self._number, faces_of(fact))) for fact in said)
        return self._edits[edit]

    def _number(self, face: FaceRef) -> int:
        """One whose box is about there is the same face."""
        here = self._in_photo.get(face.photo.sha256, ())
        near = max(here, key=lambda n: overlap(self._first[n].box, face.box), default=None)
        if near is not None and overlap(self._first[near].box, face.box) >= SAME_FACE:
            return near
        self._first.append(face)
        self._in_photo[face.photo.sha256] = (*here, len(self._first) - 1)
        return len(self._first) - 1

    def known(self, edits: Iterable[str]) -> bool:
        """Whether these are all that have numbers, oldest first, and no other came between."""
        return list(edits)[: len(self._edits)] == list(self._edits)
