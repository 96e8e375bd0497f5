"""Search by words against captions: whether a caption finds its photo among all, and a photo its captions."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import I64, matrix
from muster.errors import InputError, NotYetError
from muster.pipeline.evaluate.common import short_names, some
from muster.pipeline.texts import TEXTLESS, texts_of
from muster.pipeline.work.machine import Machine
from muster.storage import manifest, tables
from muster.storage.exchange.coco import read_captions
from muster.storage.library import LibraryFiles
from muster.storage.search.alike import TABLE, embeddings
from muster.tasks.metrics.retrieval import ranks
from muster.tasks.people.calibrate import rate

FIRST = (1, 5, 10)


def evaluate(library: LibraryFiles, captions: Path, machine: Machine) -> dict[str, Any]:
    """By the features that search takes, of the photos of a library that have captions in the file, among each other.

    `text_to_photo`: how often a caption has its photo among the first 1, 5 and 10, with intervals at 95 % (bootstrap
    over photos), the median rank and the mean of 1 / rank. `photo_to_text`: the same of a photo and the best of its
    captions among all. `uncaptioned`: photos of the library of which the file says nothing; `unseen`: those that have
    captions, and no features; both are left out. InputError where the file fits no photo, or the model knows no words.
    """
    said = read_captions(captions)
    fingerprint = embeddings(library)
    if fingerprint is None:
        raise NotYetError(f"library {library.uri} has no features of its photos yet", "run", library.uri, (TABLE,))
    texts = texts_of(library, fingerprint, machine)
    if texts is None:
        raise InputError(f"the features of library {library.uri} know no words: {TEXTLESS}")
    shards = manifest.committed(library, fingerprint)
    rows = tables.require(library, TABLE, fingerprint, ["image_id", "embedding"], shards)
    images = manifest.read_manifest(library)
    names = dict(zip(images["image_id"].to_pylist(), short_names(images), strict=True))
    captioned = [image_id for image_id, name in names.items() if said.of(name)]
    counts = Counter(names[image_id] for image_id in captioned)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise InputError(f"library {library.uri} has several photos called {some(twice)}, and {captions} means one")
    place = pc.index_in(pa.array(captioned, pa.string()), value_set=rows["image_id"].combine_chunks())
    judged = [image_id for image_id, there in zip(captioned, place.is_valid().to_pylist(), strict=True) if there]
    if not judged:
        raise InputError(f"`captions` {captions}: of none of its photos has library {library.uri} features")
    photos = matrix(rows["embedding"])[place.drop_null().to_numpy()]
    own = [said.of(names[image_id]) for image_id in judged]
    of = np.repeat(np.arange(len(own)), [len(each) for each in own])
    of_texts, of_photos = ranks(texts([text for each in own for text in each]), photos, of)
    return {
        "model": texts.model,
        "photos": len(photos),
        "captions": len(of),
        "text_to_photo": _told(of_texts, of),
        "photo_to_text": _told(of_photos, np.arange(len(photos))),
        "uncaptioned": len(names) - len(captioned),
        "unseen": len(captioned) - len(judged),
    }


def _told(found: I64, of: I64) -> dict[str, Any]:
    """`found` (N,): ranks, those of one photo together: `of` (N,)."""
    facts: dict[str, Any] = {}
    for first in FIRST:
        value, interval = rate(found <= first, of, np.ones(len(found)))
        facts[f"recall_at_{first}"] = round(value, 5)
        facts[f"recall_at_{first}_interval"] = tuple(round(end, 5) for end in interval)
    return facts | {"median_rank": float(np.median(found)), "mean_reciprocal_rank": round(float((1 / found).mean()), 5)}
