"""Open-set identification on labelled photos: known people by other photos of theirs, and strangers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from muster.arrays import I64, Bools, Floats
from muster.errors import InputError
from muster.pipeline.evaluate.common import file_names
from muster.pipeline.evaluate.doubt import doubt
from muster.pipeline.evaluate.faces import Labelled
from muster.storage.photos.names import names_of
from muster.tasks.people.calibrate import CONFIDENCE, FPIRS, RESAMPLES, found, threshold_at
from muster.tasks.people.search import Matches, Templates, search, templates

SHOWN = 12  # searches of each kind that went wrong, worst first


@dataclass(frozen=True)
class Split:
    """Numbers of images. `enrolled`: the first half of the photos of whoever has several, at least one; `mated`: their
    other photos; `nonmated`: photos of people who have one. `person`: (images,) a number for each name."""

    enrolled: I64
    mated: I64
    nonmated: I64
    person: I64


def split(images: pa.Table, label: str) -> Split:
    """Photos of one person in order of file name; those without a label left out.

    InputError where there are no mated or no non-mated searches.
    """
    names = names_of(f"`label` {label}", images[label])
    files = file_names(images)
    order = [i for i in sorted(range(len(names)), key=lambda i: (files[i], i)) if names[i] is not None]
    code = {name: number for number, name in enumerate(sorted({str(names[i]) for i in order}))}
    person = np.array([-1 if name is None else code[name] for name in names], np.int64)
    count = np.bincount(person[order], minlength=len(code))
    half = np.maximum(count // 2, 1)
    seen: dict[int, int] = {}
    parts: dict[str, list[int]] = {"enrolled": [], "mated": [], "nonmated": []}
    for i in order:
        number = seen[person[i]] = seen.get(person[i], -1) + 1
        several = count[person[i]] > 1
        parts["nonmated" if not several else "enrolled" if number < half[person[i]] else "mated"].append(i)
    if not parts["mated"]:
        raise InputError(f"`label` {label}: nobody has two photos, so that nobody can be enrolled and looked for")
    if not parts["nonmated"]:
        raise InputError(f"`label` {label}: everybody has two photos or more, so that nobody is a stranger")
    return Split(person=person, **{name: np.array(rows, np.int64) for name, rows in parts.items()})


def identify(data: Labelled, label: str) -> dict[str, Any]:
    """`rank1`: mated searches whose person comes first. `fnir_at_fpir_…`: those that do not name their person, at the
    threshold at which that share of strangers is named. Photos without a face name nobody. Intervals at 95 %, by
    bootstrap over people, the threshold found anew each time. `doubt`: see muster.pipeline.evaluate.doubt.
    """
    photos = split(data.images, label)
    face = np.full(data.images.num_rows, -1, np.int64)
    face[data.owner] = data.rows
    mated, first, strangers, nearest = _search(data, photos, face)
    facts: dict[str, Any] = {
        "people": len(np.unique(photos.person[photos.enrolled])),
        "enrolled": len(photos.enrolled),
        "mated": len(photos.mated),
        "nonmated": len(photos.nonmated),
        "undetected": data.undetected,
        "rank1": round(float(first.mean()), 5),
        "rank1_interval": _interval(lambda m, n: first[m].mean(), photos),
    }
    for fpir in FPIRS:
        facts[f"fnir_at_fpir_{fpir:g}"] = round(_fnir(mated, strangers, fpir), 5)
        facts[f"fnir_at_fpir_{fpir:g}_interval"] = _interval(
            lambda m, n, fpir=fpir: _fnir(mated[m], strangers[n], fpir), photos
        )
        facts[f"threshold_at_fpir_{fpir:g}"] = round(_threshold(strangers, fpir), 4)
    worst = _worst(data, photos, strangers, nearest, label)
    return facts | {"doubt": doubt(data, label), "strangers_named": worst}


def _search(data: Labelled, photos: Split, face: I64) -> tuple[Floats, Bools, Floats, I64]:
    """Scores of mated searches, whether the person comes first, scores of strangers, and whom they are taken for."""
    used = photos.enrolled[face[photos.enrolled] >= 0]
    people, owner = np.unique(photos.person[used], return_inverse=True)
    vectors = data.faces.embeddings
    gallery = templates(vectors[face[used]], owner, len(people), data.faces.strangers)
    mated = _matches(vectors, face[photos.mated], gallery)
    place = np.searchsorted(people, photos.person[photos.mated]).clip(0, len(people) - 1)
    own = np.where(people[place] == photos.person[photos.mated], place, -2)
    strangers = _matches(vectors, face[photos.nonmated], gallery)
    return found(mated, own), mated.best == own, strangers.score, people[strangers.best]


def _matches(vectors: Any, rows: I64, gallery: Templates) -> Matches:
    """A row of -1 is a photo without a face: its score is -inf."""
    matches, seen = search(vectors[np.maximum(rows, 0)], gallery), rows >= 0
    return Matches(
        best=np.where(seen, matches.best, -1),
        score=np.where(seen, matches.score, -np.inf),
        margin=matches.margin,
    )


def _threshold(strangers: Floats, fpir: float) -> float:
    return threshold_at(strangers, np.ones(len(strangers)), fpir)


def _fnir(mated: Floats, strangers: Floats, fpir: float) -> float:
    return float((mated < _threshold(strangers, fpir)).mean())


def _interval(measure: Any, photos: Split) -> tuple[float, float]:
    """Of `measure(mated rows, non-mated rows)`, people drawn with replacement."""
    random = np.random.default_rng(0)
    mated, nonmated = _by_person(photos.person[photos.mated]), _by_person(photos.person[photos.nonmated])
    values = [measure(_drawn(random, mated), _drawn(random, nonmated)) for _ in range(RESAMPLES // 4)]
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return round(float(low), 5), round(float(high), 5)


def _by_person(person: I64) -> list[I64]:
    """The rows of each person."""
    order = np.argsort(person, kind="stable")
    counts = np.unique(person, return_counts=True)[1]
    return np.split(order, np.cumsum(counts)[:-1])


def _drawn(random: np.random.Generator, people: Sequence[I64]) -> I64:
    """The rows of as many people as there are, drawn with replacement."""
    return np.concatenate([people[i] for i in random.integers(0, len(people), len(people))])


def _worst(data: Labelled, photos: Split, strangers: Floats, nearest: I64, label: str) -> Sequence[dict[str, Any]]:
    """The strangers who are most surely taken for somebody: some may be wrong labels."""
    labels = names_of(f"`label` {label}", data.images[label])
    names = {int(n): str(name) for n, name in zip(photos.person, labels, strict=True)}
    worst = np.argsort(-strangers, kind="stable")[:SHOWN]
    uris = data.images["uri"].take(pa.array(photos.nonmated[worst])).to_pylist()
    return [
        {
            "image": uri,
            "is": names[int(photos.person[photos.nonmated[i]])],
            "named": names[int(nearest[i])],
            "score": round(float(strangers[i]), 4),
        }
        for uri, i in zip(uris, worst, strict=True)
    ]
