"""Which faces of one photo may be one person after all: one picture that is in it twice, and collages."""

from dataclasses import dataclass

import numpy as np

from muster.arrays import F32, I64, Bools

PIECES = 3  # so many faces that are copies of faces in different photos make a collage,
PAIRED = 4  # or so many that look like another in it: two pairs of twins, or triplets and a friend, would pass for one


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two faces are: their cosine, less half of the crowding of each. `embeddings`: (N, D); `crowding`: (N,)."""

    embeddings: F32
    crowding: F32

    def pairs(self, a: I64, b: I64) -> F32:
        """Of faces a with the faces b beside them: (len(a),)."""
        parts = [slice(i, i + 65536) for i in range(0, len(a), 65536)]  # 64 MiB at a time
        dots = [np.einsum("nd,nd->n", self.embeddings[a[part]], self.embeddings[b[part]]) for part in parts]
        cosine = np.concatenate([*dots, np.empty(0, np.float32)])
        return np.asarray(np.round(cosine - (self.crowding[a] + self.crowding[b]) / 2, 5), dtype=np.float32)

    def table(self, a: I64, b: I64) -> F32:
        """Of each of faces a with each of b: (len(a), len(b))."""
        return self.pairs(np.repeat(a, len(b)), np.tile(b, len(a))).reshape(len(a), len(b))


def same_photo(photos: I64) -> tuple[I64, I64]:
    """All pairs of faces that are in one photo."""
    order = np.argsort(photos, kind="stable")
    photos, found, step = photos[order], [np.empty((2, 0), np.int64)], 1
    while (same := photos[step:] == photos[:-step]).any():
        found.append(np.stack([order[:-step][same], order[step:][same]]))
        step += 1
    c, d = np.concatenate(found, axis=1)
    return c, d


def photo_numbers(likeness: Likeness, neighbours: I64, photos: I64, good: Bools, alike: float, copy: float) -> I64:
    """(N,): the photo that each face counts as being in, where two faces of one photo are taken for two people.

    That is the one of `photos` (N,), ascending, or a number of its own: for a face that is the same picture as one
    before it in its photo (a mirror, a poster, a photo pasted twice), and for every face of a collage. `neighbours`:
    (N, K), see `cluster_graph`. `good`: (N,), which faces are evidence. From `alike` on two faces may be one person,
    from `copy` on they are one picture.

    Twins in one photo must stay two people, so that two of its faces look like one is not enough.
    """
    c, d = same_photo(photos)
    c, d = c[good[c] & good[d]], d[good[c] & good[d]]
    s = likeness.pairs(c, d)
    paired = np.unique(np.append(c[s >= alike], d[s >= alike]))
    numbers, own = photos.copy(), photos.max(initial=-1) + 1 + np.arange(len(photos))
    repeated = np.maximum(c, d)[s >= copy]
    numbers[repeated] = own[repeated]
    for photo, count in zip(*np.unique(photos[paired], return_counts=True), strict=True):
        faces = np.arange(*np.searchsorted(photos, [photo, photo + 1]))
        seen = faces[good[faces]]
        many = count >= PAIRED and 2 * count >= len(seen)
        if many or _pieces(likeness, neighbours, photos, good, seen[numbers[seen] == photo], alike, copy) >= PIECES:
            numbers[faces] = own[faces]
    return numbers


def _pieces(
    likeness: Likeness, neighbours: I64, photos: I64, good: Bools, faces: I64, alike: float, copy: float
) -> int:
    """How many of these faces of one photo are copies of a face in another, which shows none of the others.

    Photos that were taken one after the other show all of them again.
    """
    found = 0
    for face in faces:
        near = neighbours[face][neighbours[face] >= 0]
        near = near[good[near] & (photos[near] != photos[face])]
        for other in near[likeness.pairs(np.full(len(near), face), near) >= copy]:
            beside = np.arange(*np.searchsorted(photos, [photos[other], photos[other] + 1]))
            beside = beside[good[beside] & (beside != other)]
            if not (likeness.table(faces, beside) >= alike).any():
                found += 1
                break
    return found


def held_apart(likeness: Likeness, labels: I64, photos: I64, threshold: float) -> int:
    """How many faces are as much like a person as those who are one, and not with them: another face of their photo is.

    `labels`: (N,), 0 for the largest person, -1 for a face alone. Of two people who look alike, the faces of the smaller
    one count.
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
