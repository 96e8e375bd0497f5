"""Probes against the gallery: is it this person, who is it, or nobody we know."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from pipeline import forget, people
from pipeline.config import RunConfig
from pipeline.run import OnProgress, fetch_weights, process
from pipeline.worker import IMAGES_DESCRIPTION, TaskSpec, describe, load_task
from storage import audit, gallery, images, manifest, tables
from storage.errors import InputError
from storage.gallery import Gallery
from storage.images import ImageError
from storage.library import Library, open_library
from storage.reader import Reader
from storage.roster import UNKNOWN, normal
from storage.sources import find_images
from storage.weights import Progress
from tasks.base import Image
from tasks.calibrate import corrected
from tasks.identify import LEAST, MIN_QUALITY, score_of, search, templates

IN_PROCESS = 32  # images up to which starting workers would take longer than the work
Floats = np.ndarray[Any, np.dtype[np.float32]]

ANSWERS = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        ("face", pa.int32()),  # its number in the image, best first; null where there is none
        ("person_id", pa.string()),  # or UNKNOWN; null where there is no face
        ("name", pa.string()),
        ("score", pa.float32()),
        ("threshold", pa.float32()),
        ("margin", pa.float32()),
        ("quality", pa.float32()),
        ("box_xyxy", pa.list_(pa.float32(), 4)),
        ("reason", pa.string()),  # why nobody was named
    ]
)


@dataclass(frozen=True)
class Probes:
    """Faces to be named: a row each of image, face, quality, box_xyxy; `embeddings` (N, D). `errors`: image, reason."""

    rows: list[dict[str, Any]]
    embeddings: Floats
    errors: list[dict[str, Any]]


def identify(
    sources: Sequence[str], config: RunConfig, threshold: float | None, on_progress: OnProgress,
    on_download: Progress | None = None,
) -> tuple[pa.Table, str]:  # fmt: skip
    """ANSWERS for every face in the sources, and what there is to say about the threshold. Written to the audit log.

    Few images are answered here; more go through the workers, in a library that is thrown away.
    """
    library, known = _open(config)
    threshold_of(known, "identify", threshold)
    config = replace(config, models={"faces": known.model}, tasks=("faces",))
    places = [find_images(source, library) for source in sources]
    uris = {uri: place.source for place in places for uri in place.rows["uri"].to_pylist()}
    probes = (
        in_process(uris, config, on_download)
        if len(uris) <= IN_PROCESS
        else _through_workers(sources, config, on_progress, on_download)
    )
    with forget.locked(library, forget.PATIENCE):  # the gallery as it is now: somebody may have been forgotten
        known = _enrolled(library, known.model)
        limit, remark = threshold_of(known, "identify", threshold)
        answers = _name(known, probes, limit)
        named = set(answers["person_id"].drop_null().to_pylist()) - {UNKNOWN}
        facts = {"images": len(uris), "faces": len(probes.rows), "threshold": limit}
        audit.append(library, "identify", {**facts, "people": sorted(map(known.pseudonym_of, named))})
    if links := sum(len(place.outside) for place in places):
        remark = "; ".join(filter(None, [remark, f"{links} links that lead out of their folder were left out"]))
    return answers, remark


def verify(
    person: str, image: str, config: RunConfig, threshold: float | None, on_download: Progress | None = None
) -> dict[str, Any]:
    """Is this the person? An answer for the largest face, and the scores of all. Written to the audit log.

    Raises InputError where the person is not enrolled, or the image has no face or cannot be read.
    """
    library, known = _open(config)
    person = next((each for each in known.people if normal(each) == normal(person)), person)
    known.name_of(person)
    threshold_of(known, "verify", threshold)
    found = find_images(image, library)
    uris = dict.fromkeys(found.rows["uri"].to_pylist(), found.source)
    if len(uris) > 1:
        raise InputError(f"{image} holds {len(uris)} images: name one, or use `muster identify`")
    probes = in_process(uris, replace(config, models={"faces": known.model}, tasks=("faces",)), on_download)
    if not probes.rows:
        raise InputError(f"{image}: {probes.errors[0]['reason']}")
    with forget.locked(library, forget.PATIENCE):  # the gallery as it is now: the person may have been forgotten
        known = _enrolled(library, known.model)
        limit, remark = threshold_of(known, "verify", threshold)
        answer = _compare(known, person, probes, limit)
        audit.append(library, "verify", {"people": [known.pseudonym_of(person)], "match": answer["match"]})
    return {**answer, "remark": remark}


def _compare(known: Gallery, person: str, probes: Probes, threshold: float) -> dict[str, Any]:
    name = known.name_of(person)
    vectors = templates(known.embeddings, known.owner, len(known.people))
    scores = score_of(probes.embeddings, vectors, np.full(len(probes.rows), known.people.index(person)))
    faces = [{**row, "score": round(float(s), 4)} for row, s in zip(probes.rows, scores, strict=True)]
    best = max(faces, key=_area)
    good = best["quality"] >= MIN_QUALITY
    match = bool(good and best["score"] >= threshold)
    facts = {"person_id": person, "name": name, "match": match, "threshold": threshold}
    return {**facts, "score": best["score"], "face": best, "faces": faces, "reason": "" if good else _low_quality(best)}


def threshold_of(known: Gallery, what: str, given: float | None) -> tuple[float, str]:
    """The threshold to use for `what` ("identify" or "verify"), and what a user should know about it."""
    if given is not None:
        if not -2 <= given <= 2:
            raise InputError(f"--threshold {given}: scores are between -2 and 2")
        return given, "the threshold was given by hand: nothing is known about its errors"
    facts = known.calibration
    if facts is None or what not in facts:
        raise InputError(
            "the gallery has no measured threshold: run `muster calibrate` (it takes 30 people), or give --threshold"
            " and answer for it yourself"
        )
    point, now = facts[what], len(known.people)
    if now < LEAST:  # scores are made in another way then: see tasks.identify.search
        raise InputError(
            f"the gallery was calibrated with {facts['people']} people, and {now} are left: its threshold does not hold"
            f" below {LEAST}; enrol more and run `muster calibrate`, or give --threshold and answer for it yourself"
        )
    if what == "verify" or now == facts["people"]:
        return point["threshold"], ""
    expected = corrected(point["target"], facts["people"], now)
    return point["threshold"], (
        f"calibrated with {facts['people']} people, {now} are enrolled now: up to {expected:.2g} of strangers may be"
        f" given a name instead of {point['target']:.2g}; run `muster calibrate` again"
    )


def _open(config: RunConfig) -> tuple[Library, Gallery]:
    """The library and its gallery: what can be refused is refused before an image is looked at."""
    library = open_library(config.library)
    forget.settled(library)
    return library, _enrolled(library)


def _enrolled(library: Library, model: str | None = None) -> Gallery:
    """The gallery without those whose consent has ended. `model`: that the probes were made with, where they were."""
    known = gallery.require(library)
    if model not in (None, known.model):
        raise InputError(
            f"the gallery of library {library.uri} was made anew meanwhile, by faces={known.model}: ask again"
        )
    if known.fingerprint != tables.fingerprint(describe("faces", known.model)):
        raise InputError(
            f"the gallery of library {library.uri} was made by an older faces={known.model}, whose faces cannot be"
            " compared with those of today: enrol everybody anew in another library"
        )
    ended = pc.fill_null(pc.less(known.faces["valid_until"], pa.scalar(date.today())), False)
    known = replace(known, faces=known.faces.filter(pc.invert(ended)))
    if not known.faces.num_rows:
        raise InputError(f"the consent of everybody enrolled in library {library.uri} has ended")
    return known


def _name(known: Gallery, probes: Probes, threshold: float) -> pa.Table:
    ids = known.people
    names = dict(zip(known.faces["person_id"].to_pylist(), known.faces["name"].to_pylist(), strict=True))
    matches = search(probes.embeddings, templates(known.embeddings, known.owner, len(ids)))
    rows = []
    for row, best, score, margin in zip(probes.rows, *matches, strict=True):
        answer = {**row, "threshold": threshold, "score": score, "margin": margin, "person_id": UNKNOWN}
        if row["quality"] < MIN_QUALITY:
            answer["reason"] = _low_quality(row)
        elif score < threshold:
            answer["reason"] = "nobody is alike enough"
        else:
            answer |= {"person_id": ids[best], "name": names[ids[best]]}
        rows.append(answer)
    table = pa.Table.from_pylist(rows + probes.errors, ANSWERS)
    return table.sort_by([("image", "ascending"), ("face", "ascending")])


def _low_quality(row: dict[str, Any]) -> str:
    return f"the face is too small, blurred or turned away (quality {row['quality']:.2f})"


def _area(row: dict[str, Any]) -> float:
    x0, y0, x1, y1 = row["box_xyxy"]
    return float((x1 - x0) * (y1 - y0))


# ---- probes ----------------------------------------------------------------------------------------------------------


def in_process(uris: Mapping[str, str], config: RunConfig, on_download: Progress | None) -> Probes:
    """The faces of a few images, without a cluster. `uris`: to the source of each."""
    fetch_weights(config, on_download)
    device = torch.device("cuda" if config.on_gpu else "cpu")
    task = load_task(TaskSpec("faces", config.models["faces"], ""), device, config.weights_dir)
    reader, faces, errors = Reader(uris), [task.schema.empty_table()], []
    for uri, source in uris.items():
        try:
            photo = images.decode(reader.read(uri, source), task.max_side)
        except ImageError as error:
            errors.append({"image": uri, "reason": str(error)})
            continue
        faces.append(task([Image(uri, photo.pixels, photo.scale, photo.size)]))
    return _probes(pa.concat_tables(faces), list(uris), errors)


def _through_workers(
    sources: Sequence[str], config: RunConfig, on_progress: OnProgress, on_download: Progress | None
) -> Probes:
    with tempfile.TemporaryDirectory(prefix="muster-") as place:
        library = open_library(f"{place}/library", create=True)
        with forget.locked(library):
            manifest.scan(library, sources)
            process(library, config, on_progress, on_download)
        shards = [shard for shard, _ in manifest.shards(library)]
        done = tables.require(library, "images", tables.fingerprint(IMAGES_DESCRIPTION), ["image_id", "error"], shards)
        rows = manifest.read_manifest(library).select(["image_id", "uri"]).to_pylist()
        uri = {row["image_id"]: row["uri"] for row in rows}
        failed = [{"image": uri[r["image_id"]], "reason": r["error"]} for r in done.to_pylist() if r["error"]]
        fingerprint = people.faces_fingerprint(library, config.models["faces"])
        columns = ["image_id", "face_id", "box_xyxy", "quality", "embedding"]
        faces = tables.require(library, "faces", fingerprint, columns, shards)
        named = pa.array([uri[i] for i in faces["image_id"].to_pylist()], pa.string())
        return _probes(faces.set_column(0, "image_id", named), list(uri.values()), failed)


def _probes(faces: pa.Table, uris: Sequence[str], errors: list[dict[str, Any]]) -> Probes:
    """`faces`: rows of the task, with the URI of each image as its image_id."""
    rows = [
        {"image": r["image_id"], "face": int(r["face_id"].rpartition("-")[2]), "quality": r["quality"]}
        | {"box_xyxy": r["box_xyxy"]}
        for r in faces.select(["image_id", "face_id", "quality", "box_xyxy"]).to_pylist()
    ]
    seen = {row["image"] for row in rows} | {error["image"] for error in errors}
    errors = errors + [{"image": uri, "reason": "no face"} for uri in uris if uri not in seen]
    embeddings = faces["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, 128)
    return Probes(rows, embeddings, errors)
