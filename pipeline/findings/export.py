"""`muster export`: what tasks found, as files that other programs read."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from muster.errors import InputError
from muster.pipeline.findings.annotations import annotations_of, cut_out, full_size, outlined
from muster.pipeline.findings.sources import categories_of, require_tasks, tasks_that
from muster.storage.exchange.formats import FORMATS, DataSet, check_out
from muster.storage.exchange.photo import AnnotatedPhoto, LeftOut, public_uri
from muster.storage.exchange.samples import Says, samples, schema_of
from muster.storage.library import open_library
from muster.tasks.base import Findings

DATA_SETS = [name for name, form in FORMATS.items() if isinstance(form, DataSet)]


def export_annotations(
    uri: str,
    form: str,
    out: Path,
    tasks: Sequence[str],
    models: Mapping[str, str],
    min_score: float,
    crops: bool = False,
) -> dict[str, Any]:
    """Write what these tasks found into `out`, and say what that was; InputError before anything is written. `crops`:
    of data sets, what was found instead of photos."""
    if form not in FORMATS:
        raise InputError(f"`format` {form}: choose one of {', '.join(FORMATS)}")
    chosen, out = FORMATS[form], Path(os.path.expanduser(out))

    def fit(findings: Findings) -> bool:
        return findings.placed or (chosen.whole and findings.drawn and not crops)

    data_set = isinstance(chosen, DataSet)
    if crops and not data_set:
        raise InputError(f"`crops`: {form} names photos; crops are written as {', '.join(DATA_SETS)}")
    if not tasks and (crops or not data_set):
        raise InputError(f"`tasks` names no task: choose among {', '.join(tasks_that(fit))}")
    if not 0 <= min_score <= 1:
        raise InputError(f"`min_score` {min_score}: a score is a number from 0 to 1")
    if form == "yolo" and len(tasks) > 1:
        raise InputError(f"`format` yolo: its files hold boxes or masks, so give one task, not {','.join(tasks)}")
    library = open_library(uri)
    check_out(out, library, chosen.folder)
    require_tasks(library, tasks, fit)
    annotations = annotations_of(library, tasks, models)
    counts: Counter[str] = Counter()
    found = (_above(photo, min_score) for photo in annotations.photos(shard for shard, _ in annotations.shards))
    shaped = map(full_size if chosen.mask == "rle" else outlined, found)
    facts = {"library": public_uri(library.uri), "sources": [vars(source) for source in annotations.sources]}
    written = _counted(shaped, counts)
    if isinstance(chosen, DataSet):
        left_out = list[LeftOut]()
        schema = schema_of(annotations.users, {each.task: _says(each.says) for each in annotations.sources}, crops)
        chosen.write(samples(written, cut_out if crops else None, left_out), out, schema)
    else:
        left_out = chosen.write(written, out, categories_of(annotations.sources), {"description": "Muster", **facts})
    looked_at = sum(images for _, images in annotations.shards)
    return {
        "format": form,
        "out": str(out),
        "images": counts["images"] - len(left_out),
        "annotations": counts["annotations"] - sum(len(each.photo.findings) for each in left_out),
        "errors": looked_at - counts["images"],
        "left_out": [{"uri": public_uri(each.photo.uri), "error": each.error} for each in left_out],
        "pending": annotations.pending,
        **facts,
    }


def _says(findings: Findings) -> Says:
    return Says(findings.placed, bool(findings.mask), bool(findings.landmarks), bool(findings.id))


def _above(photo: AnnotatedPhoto, min_score: float) -> AnnotatedPhoto:
    return replace(photo, findings=[f for f in photo.findings if (f.score or 0) >= min_score]) if min_score else photo


def _counted(photos: Iterable[AnnotatedPhoto], counts: Counter[str]) -> Iterator[AnnotatedPhoto]:
    for photo in photos:
        counts["images"] += 1
        counts["annotations"] += len(photo.findings)
        yield photo
