"""Small libraries of faces, as arrays and tables, of which users may say something."""

from collections.abc import Sequence

import pyarrow as pa

from muster.storage.people import facts
from muster.storage.people.claims import Claim
from muster.storage.people.facts import Box, FaceRef, Fact, PhotoRef
from muster.storage.people.known import Known
from muster.storage.people.view import Scene

A, B, C, D = (letter * 12 for letter in "abcd")
BOX = (10.0, 10.0, 50.0, 50.0)
SIZE = (400, 300)


def photo_ref(number: int) -> PhotoRef:
    return PhotoRef(f"{number:064x}", SIZE, number << 32, f"{number}.jpg")


def face_ref(number: int, box: Box = BOX) -> FaceRef:
    return FaceRef(photo_ref(number), box)


def images_of(count: int, content: Sequence[int] | None = None) -> pa.Table:
    """`content`: which photos are copies of which."""
    numbers = list(range(count)) if content is None else list(content)
    return pa.table(
        {
            "image_id": [f"i{each}" for each in range(count)],
            "sha256": [f"{number:064x}" for number in numbers],
            "phash": pa.array([number << 32 for number in numbers], pa.int64()),
            "width": pa.array([SIZE[0]] * count, pa.int32()),
            "height": pa.array([SIZE[1]] * count, pa.int32()),
            "uri": [f"/photos/{number}.jpg" for number in numbers],
        }
    )


def faces_of(boxes: Sequence[Sequence[Sequence[float]]]) -> pa.Table:
    """`boxes`: of each photo those of its faces."""
    rows = [(f"i{i}-{n}", f"i{i}", box) for i, each in enumerate(boxes) for n, box in enumerate(each)]
    ids, images, places = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "face_id": pa.array(ids, pa.string()),
            "image_id": pa.array(images, pa.string()),
            "box_xyxy": pa.array([list(map(float, each)) for each in places], pa.list_(pa.float32(), 4)),
        }
    )


def clusters_of(faces: pa.Table, ids: Sequence[str | None]) -> pa.Table:
    certain = pa.array([None if each is None else 0.99 - n / 1000 for n, each in enumerate(ids)], pa.float32())
    return pa.table({"face_id": faces["face_id"], "cluster_id": pa.array(ids, pa.string()), "certainty": certain})


def scene(ids: Sequence[str | None], claims: Sequence[Claim] = ()) -> Scene:
    """A photo with one face for each of these clusters."""
    faces = faces_of([[BOX]] * len(ids))
    return Scene(clusters_of(faces, ids), faces, images_of(len(ids)), claims)


def claim(number: int, name: str, origin: str = "xmp", box: Box = BOX, person: str = "") -> Claim:
    """Of a face in the photo of this number."""
    return Claim(f"i{number}", box, name, origin, person)


def edit_id(number: int) -> str:
    return f"20260101T{number:012d}-00000000"


def said(*edits: Sequence[Fact]) -> Known:
    """What a ledger of these edits says: they are called `edit_id(0)`, and so on."""
    return Known.of({edit_id(number): edit for number, edit in enumerate(edits)})


def who(ids: Sequence[str | None], *edits: Sequence[Fact], claims: Sequence[Claim] = ()) -> list[str | None]:
    """Who each face of a `scene` is, after these edits."""
    found: list[str | None] = scene(ids, claims).people(said(*edits)).faces["person_id"].to_pylist()
    return found


def is_(person: str, *numbers: int) -> facts.Is:
    return facts.Is(person, tuple(map(face_ref, numbers)))


def is_not(person: str, *numbers: int) -> facts.IsNot:
    return facts.IsNot(person, tuple(map(face_ref, numbers)))


def shows(person: str, *numbers: int) -> facts.Shows:
    return facts.Shows(person, tuple(map(face_ref, numbers)))
