"""Texts that each describe one photo, and photos that texts describe: at which rank what belongs together is found."""

import numpy as np

from muster.arrays import F32, I64

BLOCK = 1000  # photos at once: bounds the memory
EQUAL = 1e-6  # cosines that differ by less are the same, but for rounding


def ranks(texts: F32, photos: F32, of: I64) -> tuple[I64, I64]:
    """Of each text (N, D) the rank of its photo among all photos (M, D), (N,); and of each photo the rank of the best
    of its own texts among all texts, (M,). 1 is the first; both are L2-normalised. `of` (N,): the photo of each text;
    every photo has one.

    What is just as near as what is looked for comes before it, so that a network finds nothing that says the same of
    everything.
    """
    own = np.einsum("nd,nd->n", texts, photos[of])
    best = np.full(len(photos), -np.inf, np.float32)
    np.maximum.at(best, of, own)
    of_texts, of_photos = np.ones(len(texts), np.int64), np.ones(len(photos), np.int64)
    for begin in range(0, len(photos), BLOCK):
        block = slice(begin, min(begin + BLOCK, len(photos)))
        near = texts @ photos[block].T
        here = np.flatnonzero((of >= block.start) & (of < block.stop))
        near[here, of[here] - begin] = -np.inf
        of_texts += (near > own[:, None] - EQUAL).sum(1)
        of_photos[block] += (near > best[None, block] - EQUAL).sum(0)
    return of_texts, of_photos
