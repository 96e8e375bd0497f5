"""Which faces of one photo may be one person after all: one picture that is in it twice, and collages."""

from dataclasses import dataclass

import numpy as np

from muster.arrays import F32, I64, Bools

PERSON = 0.5  # faces this alike may be one person
AGAIN = 0.8  # a picture that is in a photo once more is at least this much like the first
# A collage is a photo of which so many faces, and such a share of all,
PIECES, MOST = 3, 0.75  # are copies of faces in other photos,
PAIRED, HALF = 4, 0.5  # or look like another face in it: as two pairs of twins do, or four children at one birth


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike faces are: their cosine, less half the crowding of each. `embeddings`: (N, D); `crowding`: (N,)."""

    embeddings: F32
    crowding: F32

    def pairs(self, a: I64, b: I64) -> F32:
        """Of faces a with the faces b beside them: (len(a),)."""
        parts = [slice(i, i + 65536) for i in range(0, len(a), 65536)]  # 64 MiB at a time
        dots = [np.einsum("nd,nd->n", self.embeddings[a[part]], self.embeddings[b[part]]) for part in parts]
        cosine = np.concatenate([*dots, np.empty(0, np.float32)])
        return np.asarray(np.round(cosine - (self.crowding[a] + self.crowding[b]) / 2, 5), dtype=np.float32)

    def most(self, a: I64, b: I64) -> float:
        """Of the two most alike, one among a and the other among b; -1 where there is none."""
        return float(self.pairs(np.repeat(a, len(b)), np.tile(b, len(a))).max(initial=-1))


def same_photo(photos: I64) -> tuple[I64, I64]:
    """All pairs of faces that are in one photo."""
    order = np.argsort(photos, kind="stable")
    photos, found, step = photos[order], [np.empty((2, 0), np.int64)], 1
    while (same := photos[step:] == photos[:-step]).any():
        found.append(np.stack([order[:-step][same], order[step:][same]]))
        step += 1
    c, d = np.concatenate(found, axis=1)
    return c, d


def forbidden(sizes: I64, c: I64, d: I64) -> I64:
    """The pairs of clusters, as numbers, that hold faces c and d of one photo, by more than one in twenty faces.

    One mirror or poster must not keep the two halves of a thousand photos apart.
    """
    n = len(sizes)
    pairs, counts = np.unique(np.minimum(c, d) * n + np.maximum(c, d), return_counts=True)
    c, d = np.divmod(pairs, n)
    return pairs[counts * 20 > np.minimum(sizes[c], sizes[d])]


def photo_numbers(
    likeness: Likeness, neighbours: I64, similarities: F32, photos: I64, good: Bools, picture: float
) -> I64:
    """(N,): the photo that each face counts as being in, where two faces of one photo are taken for two people.

    That is the one of `photos` (N,), which ascend, or a number of its own: for a face that is the same picture as one
    before it in its photo (a mirror, a poster, a photo pasted twice), and for every face of a collage. `neighbours`,
    `similarities`: (N, K), see `cluster_graph`. `good`: (N,), which faces are evidence. `picture`: faces this alike are
    one picture.

    Twins in one photo must stay two people, so that it is not enough that two of its faces look like one. A group of
    which most are there by themselves too, cut out of it, passes for a collage: then lookalikes among them may be one.
    """
    photos = np.unique(photos, return_inverse=True)[1]
    c, d = same_photo(photos)
    c, d = c[good[c] & good[d]], d[good[c] & good[d]]
    s = likeness.pairs(c, d)
    numbers, own = photos.copy(), len(photos) + np.arange(len(photos))
    repeated = np.maximum(c, d)[s >= picture]
    numbers[repeated] = own[repeated]
    paired = np.bincount(photos[np.union1d(c[s >= PERSON], d[s >= PERSON])], minlength=len(photos))
    enough = np.maximum(PAIRED, HALF * np.bincount(photos[good], minlength=len(photos)))
    collages = set(np.flatnonzero(paired >= enough).tolist())
    first = good & (numbers == photos)
    copies = _copies(likeness, neighbours, similarities, photos, first, picture)
    collages |= _put_together(likeness, copies, photos, first, collages)
    inside = np.isin(photos, list(collages))
    numbers[inside] = own[inside]
    return numbers


def _copies(
    likeness: Likeness, neighbours: I64, similarities: F32, photos: I64, good: Bools, picture: float
) -> tuple[I64, I64]:
    """Faces and beside them the same picture in another photo: of photos of which PIECES faces have one, and of no two
    that have theirs in one and the same photo, as it is in a series."""
    near = (neighbours >= 0) & (similarities - likeness.crowding.min(initial=0) >= picture)  # few, of all there are
    face, column = np.nonzero(near)
    other, crowding = neighbours[face, column], likeness.crowding
    kept = similarities[face, column] - (crowding[face] + crowding[other]) / 2 >= picture
    kept &= good[face] & good[other] & (photos[face] != photos[other])
    face, other = face[kept], other[kept]
    seen, count = np.unique(photos[np.unique(face)], return_counts=True)
    many = np.isin(photos[face], seen[count >= PIECES])
    face, other = face[many], other[many]
    there = face * len(photos) + photos[other]  # a face and a photo, as one number
    once = np.unique(there)
    one, photo = np.divmod(once, max(1, len(photos)))
    _, place, count = np.unique(photos[one] * len(photos) + photo, return_inverse=True, return_counts=True)
    kept = np.isin(there, once[count[place] == 1])
    return face[kept], other[kept]


def _put_together(
    likeness: Likeness, copies: tuple[I64, I64], photos: I64, good: Bools, collages: set[int]
) -> set[int]:
    """Photos most of whose faces are a copy of a face in another photo each, which shows nobody else of them.

    A photo taken a moment later shows all of them again. Another collage may show others of them, in other pictures.
    `copies`: see `_copies`. `collages`: those that are known already.
    """
    pieces: dict[int, set[int]] = {}
    found: set[int] = set()
    waiting = list(zip(*(each.tolist() for each in copies), strict=True))
    while waiting:
        left = []
        for face, copy in waiting:
            photo, there = int(photos[face]), int(photos[copy])
            if face in pieces.get(photo, ()):
                continue
            faces, beside = _of(photos, good, photo), _of(photos, good, there)
            if there in collages or there in found:
                alone = likeness.most(faces[faces != face], beside) < AGAIN
            else:
                alone = likeness.most(faces, beside[beside != copy]) < PERSON
            if alone:
                pieces.setdefault(photo, set()).add(face)
            else:
                left.append((face, copy))
        enough = {photo: max(PIECES, MOST * len(_of(photos, good, photo))) for photo in pieces}
        fresh = {photo for photo, faces in pieces.items() if len(faces) >= enough[photo]} - found
        found |= fresh
        waiting = [(face, copy) for face, copy in left if int(photos[copy]) in fresh]
    return found


def _of(photos: I64, good: Bools, photo: int) -> I64:
    """The good faces of a photo."""
    faces = np.arange(*np.searchsorted(photos, [photo, photo + 1]))
    return faces[good[faces]]


def held_apart(likeness: Likeness, labels: I64, photos: I64, threshold: float) -> int:
    """How many faces are as much like a person as those who are one, and not with them: another face of their photo is.

    `labels`: (N,), 0 for the largest person, -1 for a face alone. Of two people who look alike, the faces of the
    smaller one count.
    """
    c, d = same_photo(photos)
    c, d = np.append(c, d), np.append(d, c)
    apart = (labels[d] >= 0) & ((labels[c] < 0) | (labels[c] > labels[d]))
    faces, people = c[apart], labels[d[apart]]
    together, sizes = labels >= 0, np.bincount(labels[labels >= 0])[:, None]
    sums = np.zeros((len(sizes), likeness.embeddings.shape[1] + 1), np.float32)
    np.add.at(sums, labels[together], np.column_stack([likeness.embeddings, likeness.crowding])[together])
    means = sums / sizes
    both = Likeness(np.concatenate([likeness.embeddings, means[:, :-1]]), np.append(likeness.crowding, means[:, -1]))
    return len(np.unique(faces[both.pairs(faces, len(labels) + people) >= threshold]))
