"""A gallery of made-up people, without a photo or a network."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from muster.arrays import F32
from muster.pipeline.gallery.answers import Probes
from muster.pipeline.work.choice import TaskChoice
from muster.storage.gallery import gallery
from muster.storage.library import LibraryFiles, open_library
from muster.tasks.models import zoo
from muster.tasks.people.search import SCORE

CALIBRATION = {
    "score": SCORE,
    "identify": {"threshold": 0.5, "target": 0.05},
    "unsure": {"threshold": 0.4},
    "verify": {"threshold": 0.45, "unsure_from": 0.35},
}
MODEL = zoo.DEFAULTS["faces"]


def person(number: int) -> F32:
    """The face (D,) of a made-up person: of length 1, and like no other."""
    width = TaskChoice(name="faces", model=MODEL).task.schema.field("embedding").type.list_size
    vector = np.random.default_rng(number).normal(size=width)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def probes(*numbers: int, quality: float = 0.9) -> Probes:
    """A face of each of these people, all on one image."""
    rows = [
        {"image": "0", "face": place, "quality": quality, "box_xyxy": [10.0 * place, 0.0, 10.0 * place + 9, 9.0]}
        for place, _ in enumerate(numbers)
    ]
    return Probes(rows, np.stack([person(number) for number in numbers]), [])


def enrolled(
    folder: Path, people: Sequence[int], valid_until: dict[int, date] | None = None, measured: bool = True
) -> LibraryFiles:
    """A library in which `S1`, called `Person 1`, and so on are enrolled."""
    library = open_library(folder, create=True)
    write(library, people, valid_until, measured)
    return library


def write(
    library: LibraryFiles, people: Sequence[int], valid_until: dict[int, date] | None = None, measured: bool = True
) -> None:
    made = gallery.empty(TaskChoice(name="faces", model=MODEL).fingerprint, MODEL, width=len(person(0)))
    rows = [
        {"person_id": f"S{number}", "name": f"Person {number}", "pseudonym": f"{number:016x}", "quality": 0.9}
        | {"image_id": f"{number:032x}", "face_id": f"{number:032x}-0", "uri": f"/photos/{number}.jpg"}
        | {"sha256": f"{number:064x}", "embedding": person(number), "valid_until": (valid_until or {}).get(number)}
        for number in people
    ]
    facts = CALIBRATION | {"people": len(people)} if measured else None
    made = gallery.Gallery(made.with_faces(rows).faces, made.fingerprint, made.model, facts)
    gallery.write(library, made, "enroll", {"people": []})
