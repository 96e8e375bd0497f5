"""Photos against the gallery: is it this person, who is it, or nobody we know; or is it for a human to say?"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from muster.arrays import matrix
from muster.errors import ImageError, InputError, MusterError
from muster.pipeline import forget
from muster.pipeline.gallery.answers import ANSWERS, Probes, limits_of
from muster.pipeline.gallery.desk import IDENTIFY, VERIFY, Answer, Desk, Question, enrolled
from muster.pipeline.people.faces import faces_fingerprint
from muster.pipeline.run import OnProgress, fetch_weights, process
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.worker import image_of
from muster.storage import manifest, tables
from muster.storage.downloads import OnDownload
from muster.storage.gallery.gallery import Gallery
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.photos import decode
from muster.storage.photos.left_out import said, total
from muster.storage.photos.reader import Reader
from muster.storage.photos.sources import Found, find_images
from muster.storage.texts import normal

IN_PROCESS = 32  # images up to which starting workers would take longer than the work


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
    limits_of(known, IDENTIFY, threshold)
    config = _with_model(config, known.model)
    places = [find_images(source, library) for source in sources]
    uris = {uri: place.source for place in places for uri in place.rows["uri"].to_pylist()}
    probes = (
        in_process(uris, config, on_download)
        if len(uris) <= IN_PROCESS
        else _through_workers(places, config, on_progress, on_download)
    )
    answer = _asked(library, known.model, threshold, Question(IDENTIFY, probes, noted={"images": len(uris)}))
    table = pa.Table.from_pylist(answer.rows + probes.errors, ANSWERS)
    left_out = said(total(place.left_out for place in places), total(place.skipped for place in places))
    if links := sum(len(place.outside) for place in places):
        left_out.append(f"{links} links that lead out of their folder")
    remarks = [answer.remark, f"left out: {', '.join(left_out)}" if left_out else ""]
    return table.sort_by([("image", "ascending"), ("face", "ascending")]), "; ".join(filter(None, remarks))


def verify(
    person: str, image: str, config: RunConfig, threshold: float | None, on_download: OnDownload | None = None
) -> dict[str, Any]:
    """Is this the person? An `answer` for the largest face, and the scores of all. Written to the audit log.

    Raises InputError where the person is not enrolled, or the image has no face or cannot be read.
    """
    library, known = _open(config)
    known.name_of(next((each for each in known.people if normal(each) == normal(person)), person))
    limits_of(known, VERIFY, threshold)
    found = find_images(image, library)
    uris = dict.fromkeys(found.rows["uri"].to_pylist(), found.source)
    if len(uris) > 1:
        raise InputError(f"{image} holds {len(uris)} images: name one, or use `identify`")
    probes = in_process(uris, _with_model(config, known.model), on_download)
    if not probes.rows:
        raise InputError(f"{image}: {probes.errors[0]['reason']}")
    answer = _asked(library, known.model, threshold, Question(VERIFY, probes, person))
    return {**answer.facts, "remark": answer.remark}


def _asked(library: LibraryFiles, model: str, threshold: float | None, question: Question) -> Answer:
    """Of the gallery as it is now: somebody may have been forgotten since the photos were looked at."""
    [answer] = Desk(library, threshold, model).answer([question])
    if isinstance(answer, MusterError):
        raise answer
    return answer


def _open(config: RunConfig) -> tuple[LibraryFiles, Gallery]:
    """The library and its gallery: what can be refused is refused before an image is looked at."""
    library = open_library(config.library)
    forget.settled(library)
    return library, enrolled(library)


def _with_model(config: RunConfig, model: str) -> RunConfig:
    return replace(config, choices=(TaskChoice(name="faces", model=model),))


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
