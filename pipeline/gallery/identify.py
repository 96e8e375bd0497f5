"""Probes against the gallery: is it this person, who is it, or nobody we know; or is it for a human to say?"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import F32, matrix
from muster.errors import ImageError, InputError
from muster.pipeline import forget
from muster.pipeline.gallery import groups
from muster.pipeline.people.faces import faces_fingerprint, strangers_of
from muster.pipeline.run import OnProgress, fetch_weights, process
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.worker import image_of
from muster.storage import layout, manifest, tables
from muster.storage.downloads import OnDownload
from muster.storage.gallery import audit, gallery
from muster.storage.gallery.gallery import Gallery
from muster.storage.gallery.roster import UNKNOWN, UNSURE
from muster.storage.index import vectors
from muster.storage.index.inverted_file import THOROUGH
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.photos import decode
from muster.storage.photos.left_out import said, total
from muster.storage.photos.reader import Reader
from muster.storage.photos.sources import Found, find_images
from muster.storage.texts import normal
from muster.tasks.people.calibrate import corrected
from muster.tasks.people.lookalikes import Spread, alike, margin
from muster.tasks.people.search import LEAST_TEMPLATES, MIN_QUALITY, SCORE, Templates, nearest, score_of, templates

IN_PROCESS = 32  # images up to which starting workers would take longer than the work


NOT_ALIKE_ENOUGH = "alike, and not enough to be sure"
LOOKS_LIKE = "like another enrolled person, and not far enough ahead of them"
MATCH, NO_MATCH, NOT_SURE = "match", "no match", "unsure"  # answers of `verify`
CANDIDATE = pa.struct([("person_id", pa.string()), ("name", pa.string()), ("score", pa.float32())])
ANSWERS = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        ("face", pa.int32()),  # its number in the image, best first; null where there is none
        ("person_id", pa.string()),  # or UNKNOWN, or UNSURE; null where there is no face
        ("name", pa.string()),
        ("score", pa.float32()),
        ("threshold", pa.float32()),  # from which on people are named
        ("unsure_from", pa.float32()),
        ("margin", pa.float32()),
        ("quality", pa.float32()),
        ("box_xyxy", pa.list_(pa.float32(), 4)),
        ("reason", pa.string()),  # why nobody was named
        ("candidates", pa.list_(CANDIDATE)),  # of UNSURE: who reaches `unsure_from`, best first
    ]
)


@dataclass(frozen=True)
class Limits:
    """Scores from `threshold` on name a person, from `unsure_from` on they are for a human to judge. `remark`: what a
    user should know about them. `each`: (G,) the threshold of each person, where groups have their own. `alike`: what
    was measured of people who look alike; None: nothing."""

    threshold: float
    unsure_from: float
    remark: str = ""
    each: Sequence[float] | None = None
    alike: Mapping[str, Any] | None = None

    def of(self, person: int) -> float:
        return self.threshold if self.each is None else self.each[person]


@dataclass(frozen=True)
class Probes:
    """Faces to be named: a row each of image, face, quality, box_xyxy; `embeddings` (N, D). `errors`: image, reason."""

    rows: list[dict[str, Any]]
    embeddings: F32
    errors: list[dict[str, Any]]


def identify(
    sources: Sequence[str],
    config: RunConfig,
    threshold: float | None,
    on_progress: OnProgress,
    on_download: OnDownload | None = None,
) -> tuple[pa.Table, str]:
    """ANSWERS for every face in the sources, and what there is to say about the threshold.

    Whoever is named, or shown as a candidate, is written to the audit log. Few images are answered here; more go
    through the workers, in a library that is thrown away.
    """
    library, known = _open(config)
    limits_of(known, "identify", threshold)
    config = _with_model(config, known.model)
    places = [find_images(source, library) for source in sources]
    uris = {uri: place.source for place in places for uri in place.rows["uri"].to_pylist()}
    probes = (
        in_process(uris, config, on_download)
        if len(uris) <= IN_PROCESS
        else _through_workers(places, config, on_progress, on_download)
    )
    with forget.locked(library, forget.PATIENCE):  # the gallery as it is now: somebody may have been forgotten
        known = _enrolled(library, known.model)
        limits = limits_of(known, "identify", threshold)
        answers, remark = _name(known, templates_of(library, known), probes, limits), limits.remark
        counts = {"images": len(uris), "faces": len(probes.rows)}
        used = {"threshold": limits.threshold, "unsure_from": limits.unsure_from}
        audit.append(library, "identify", {**counts, **used, **_disclosed(known, answers)})
    left_out = said(total(place.left_out for place in places), total(place.skipped for place in places))
    if links := sum(len(place.outside) for place in places):
        left_out.append(f"{links} links that lead out of their folder")
    return answers, "; ".join(filter(None, [remark, f"left out: {', '.join(left_out)}" if left_out else ""]))


def verify(
    person: str, image: str, config: RunConfig, threshold: float | None, on_download: OnDownload | None = None
) -> dict[str, Any]:
    """Is this the person? An `answer` for the largest face, and the scores of all. Written to the audit log.

    Raises InputError where the person is not enrolled, or the image has no face or cannot be read.
    """
    library, known = _open(config)
    person = next((each for each in known.people if normal(each) == normal(person)), person)
    known.name_of(person)
    limits_of(known, "verify", threshold)
    found = find_images(image, library)
    uris = dict.fromkeys(found.rows["uri"].to_pylist(), found.source)
    if len(uris) > 1:
        raise InputError(f"{image} holds {len(uris)} images: name one, or use `identify`")
    probes = in_process(uris, _with_model(config, known.model), on_download)
    if not probes.rows:
        raise InputError(f"{image}: {probes.errors[0]['reason']}")
    with forget.locked(library, forget.PATIENCE):  # the gallery as it is now: the person may have been forgotten
        known = _enrolled(library, known.model)
        limits = limits_of(known, "verify", threshold)
        facts = _compare(known, templates_of(library, known), person, probes, limits)
        noted = {name: facts[name] for name in ("match", "answer")}
        audit.append(library, "verify", {"people": [known.pseudonym_of(person)], **noted})
    return {**facts, "remark": limits.remark}


def _compare(known: Gallery, made: Templates, person: str, probes: Probes, limits: Limits) -> dict[str, Any]:
    name = known.name_of(person)
    number = known.people.index(person)
    scores, threshold = score_of(probes.embeddings, made, np.full(len(probes.rows), number)), limits.of(number)
    faces = [{**row, "score": round(float(s), 4)} for row, s in zip(probes.rows, scores, strict=True)]
    best = max(faces, key=_area)
    poor = _low_quality(best) if best["quality"] < MIN_QUALITY else ""
    if not poor and best["score"] >= threshold:
        probe = probes.embeddings[faces.index(best)]
        poor = LOOKS_LIKE if _too_alike(made, probe, number, best["score"], limits) else ""
    match = bool(not poor and best["score"] >= threshold)
    answer = MATCH if match else NOT_SURE if best["score"] >= limits.unsure_from else NO_MATCH
    facts = {"person_id": person, "name": name, "match": match, "answer": answer, "threshold": threshold}
    facts |= {"unsure_from": limits.unsure_from, "score": best["score"], "face": best, "faces": faces}
    return {**facts, "reason": poor or (NOT_ALIKE_ENOUGH if answer == NOT_SURE else "")}


def limits_of(known: Gallery, what: str, given: float | None) -> Limits:
    """The thresholds for `what` ("identify" or "verify"). `given` by hand, there is nothing to be unsure between."""
    if given is not None:
        if not -2 <= given <= 2:
            raise InputError(f"`threshold` {given}: choose one between -2 and 2")
        return Limits(given, given, "the threshold was given by hand: nothing is known about its errors")
    facts = known.calibration
    if facts is None or what not in facts:
        raise InputError(
            "the gallery has no measured threshold: run `calibrate` (it takes 30 people), or give `threshold` and"
            " answer for it yourself"
        )
    point, now = facts[what], len(known.people)
    if now < LEAST_TEMPLATES:  # scores are made in another way then: see muster.tasks.people.search.search
        raise InputError(
            f"the gallery was calibrated with {facts['people']} people, and {now} are left: its threshold does not hold"
            f" below {LEAST_TEMPLATES}; enrol more and run `calibrate`, or give `threshold` and answer for it yourself"
        )
    if facts.get("score") != SCORE:
        raise InputError(
            "the gallery was calibrated by another version of Muster, whose scores differ, so that its threshold does"
            " not hold: run `calibrate` again, or give `threshold` and answer for it yourself"
        )
    remark, unsure = "", facts["unsure"]["threshold"] if what == "identify" else facts["verify"]["unsure_from"]
    if what == "identify" and now != facts["people"]:
        expected = corrected(point["target"], facts["people"], now)
        remark = (
            f"calibrated with {facts['people']} people, {now} are enrolled now: up to {expected:.2g} of strangers may"
            f" be given a name instead of {point['target']:.2g}; run `calibrate` again"
        )
    each = of_groups(known, facts["each_group"], what) if facts.get("each_group") else None
    return Limits(point["threshold"], unsure, remark, each, _alike(known, facts.get("alike")))


def _alike(known: Gallery, measured: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """With the numbers of those of the declared pairs who are both here. None: nothing was measured."""
    if measured is None:
        return None
    pairs = measured["declared"]
    here = dict(zip(known.faces["pseudonym"].to_pylist(), known.owner.tolist(), strict=True)) if pairs else {}
    return {**measured, "declared": [[here[name] for name in pair] for pair in pairs if here.keys() >= set(pair)]}


def of_groups(known: Gallery, each: Mapping[str, Any], what: str) -> list[float]:
    """(G,): the threshold of the group that each person is of today; the strictest where it was not measured."""
    measured = each[what]
    strictest = max(measured.values())
    return [measured.get(name, strictest) for name in groups.of_people(known, each["by"], date.today())]


def _too_alike(made: Templates, probe: F32, person: int, score: float, limits: Limits) -> bool:
    """Whether somebody who looks like this person is too near to them on a face (D,) that has this score."""
    if limits.alike is None:
        return False
    said = {other for pair in limits.alike["declared"] if person in pair for other in pair} - {person}
    others = np.union1d(alike(made, person), np.array(sorted(said), np.int64))
    if not len(others) or limits.alike["spread"] is None:
        return bool(len(others))
    ahead = score - score_of(np.repeat(probe[None], len(others), 0), made, others)
    return bool((ahead < margin(made, person, others, Spread(**limits.alike["spread"]))).any())


def _open(config: RunConfig) -> tuple[LibraryFiles, Gallery]:
    """The library and its gallery: what can be refused is refused before an image is looked at."""
    library = open_library(config.library)
    forget.settled(library)
    return library, _enrolled(library)


def _with_model(config: RunConfig, model: str) -> RunConfig:
    return replace(config, choices=(TaskChoice(name="faces", model=model),))


def _enrolled(library: LibraryFiles, model: str | None = None) -> Gallery:
    """The gallery without those whose consent has ended. `model`: that the probes were made with, where they were."""
    known = current(library)
    if model not in (None, known.model):
        raise InputError(
            f"the gallery of library {library.uri} was made anew meanwhile, by faces={known.model}: ask again"
        )
    ended = pc.fill_null(pc.less(known.faces["valid_until"], pa.scalar(date.today())), False)
    known = replace(known, faces=known.faces.filter(pc.invert(ended)))
    if not known.faces.num_rows:
        raise InputError(f"the consent of everybody enrolled in library {library.uri} has ended")
    return known


def current(library: LibraryFiles) -> Gallery:
    """The gallery; InputError where there is none, or it is of faces that those of today cannot be compared with."""
    known = gallery.require(library)
    if known.fingerprint != TaskChoice(name="faces", model=known.model).fingerprint:
        raise InputError(
            f"the gallery of library {library.uri} was made by an older faces={known.model}, whose faces cannot be"
            " compared with those of today: enrol everybody anew in another library, and run `calibrate` there"
        )
    return known


def templates_of(library: LibraryFiles, known: Gallery) -> Templates:
    """What the people of this gallery are known by. Of very many the nearest are searched for, by an index that the
    library keeps. The caller holds the lock."""
    made = templates(known.embeddings, known.owner, len(known.people), strangers_of(known.model))
    if len(made.vectors) <= vectors.EXACT_UP_TO or made.strangers is None:
        return made
    index = vectors.current(
        library, layout.index(known.fingerprint, "templates"), made.vectors, note=made.strangers.crowding
    )
    return replace(made, near=partial(index.search, depths=THOROUGH), noted=index.notes)


def _name(known: Gallery, made: Templates, probes: Probes, limits: Limits) -> pa.Table:
    ids = known.people
    names = dict(zip(known.faces["person_id"].to_pylist(), known.faces["name"].to_pylist(), strict=True))
    rows = []
    for row, probe, near, scores in zip(probes.rows, probes.embeddings, *nearest(probes.embeddings, made), strict=True):
        found = [
            {"person_id": ids[i], "name": names[ids[i]], "score": score} for i, score in zip(near, scores, strict=True)
        ]
        best, threshold = int(near[0]), limits.of(int(near[0]))
        facts = {"threshold": threshold, "unsure_from": limits.unsure_from}
        facts["margin"] = scores[0] - (scores[1] if len(scores) > 1 else 0)
        poor = _low_quality(row) if row["quality"] < MIN_QUALITY else None
        if not poor and scores[0] >= threshold and _too_alike(made, probe, best, scores[0], limits):
            poor = LOOKS_LIKE
        rows.append({**row, **facts, **_answer(found, threshold, limits.unsure_from, poor)})
    table = pa.Table.from_pylist(rows + probes.errors, ANSWERS)
    return table.sort_by([("image", "ascending"), ("face", "ascending")])


def _answer(found: Sequence[dict[str, Any]], threshold: float, unsure_from: float, poor: str | None) -> dict[str, Any]:
    """A name, UNSURE or UNKNOWN. `found`: the nearest people, best first; `poor`: why nobody may be named."""
    best = found[0]
    if best["score"] >= threshold and not poor:
        return {**best, "candidates": []}
    shown = [each for each in found if each["score"] >= unsure_from]
    reason = poor or (NOT_ALIKE_ENOUGH if shown else "nobody is alike enough")
    return {"person_id": UNSURE if shown else UNKNOWN, "score": best["score"], "reason": reason, "candidates": shown}


def _disclosed(known: Gallery, answers: pa.Table) -> dict[str, list[str]]:
    """Pseudonyms of whoever the answers name, and of the candidates that they show."""
    named = set(answers["person_id"].drop_null().to_pylist()) - {UNKNOWN, UNSURE}
    shown = {each["person_id"] for some in answers["candidates"].to_pylist() for each in some or ()}
    return {key: sorted(map(known.pseudonym_of, ids)) for key, ids in (("people", named), ("candidates", shown))}


def _low_quality(row: dict[str, Any]) -> str:
    return f"the face is too small, blurred or turned away (quality {row['quality']:.2f})"


def _area(row: dict[str, Any]) -> float:
    x0, y0, x1, y1 = row["box_xyxy"]
    return float((x1 - x0) * (y1 - y0))


# ---- probes ----------------------------------------------------------------------------------------------------------


def in_process(uris: Mapping[str, str], config: RunConfig, on_download: OnDownload | None) -> Probes:
    """The faces of a few images, without a cluster. `uris`: to the source of each."""
    fetch_weights(config, on_download)
    task = config.choice("faces").load(config.machine.torch_device, config.machine.weights_dir)
    reader, faces, errors = Reader(uris), [task.schema.empty_table()], []
    for uri, source in uris.items():
        try:
            photo = decode.decode(reader.read(uri, source), task.max_side)
        except ImageError as error:
            errors.append({"image": uri, "reason": str(error)})
            continue
        faces.append(task([image_of(uri, photo)]))
    return _probes(pa.concat_tables(faces), list(uris), errors)


def _through_workers(
    places: Sequence[Found], config: RunConfig, on_progress: OnProgress, on_download: OnDownload | None
) -> Probes:
    with tempfile.TemporaryDirectory(prefix="muster-") as place:
        library = open_library(f"{place}/library", create=True)
        with forget.locked(library):
            manifest.take_in(library, places)
            process(library, config, on_progress, on_download)
        shards = [shard for shard, _ in manifest.shards(library)]
        done = tables.require(library, "images", IMAGES_FINGERPRINT, ["image_id", "error"], shards)
        rows = manifest.read_manifest(library).select(["image_id", "uri"]).to_pylist()
        uri = {row["image_id"]: row["uri"] for row in rows}
        failed = [{"image": uri[r["image_id"]], "reason": r["error"]} for r in done.to_pylist() if r["error"]]
        fingerprint = faces_fingerprint(library, config.choice("faces").model)
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
    return Probes(rows, matrix(faces["embedding"]), errors)
