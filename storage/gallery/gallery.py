"""The gallery: everybody who is enrolled, with the faces they are known by. One file, replaced as a whole.

`LIBRARY/gallery/gallery.parquet` has a row per enrolled face; its metadata says by which model, and holds what
`muster calibrate` measured. Every change has a line in the audit log, with the number and digest of the new gallery.
That is written beside the old one first: once the line is there it counts, whatever dies, and any other file is
refused, such as an older gallery with somebody who was forgotten since.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from muster.arrays import matrix
from muster.errors import DecryptionError, MusterError, NotEnrolledError, NotYetError
from muster.storage.gallery import audit
from muster.storage.gallery.entry import DATES
from muster.storage.layout import GALLERY, NEXT_GALLERY, ROSTER
from muster.storage.library import LibraryFiles
from muster.storage.tables import from_parquet, to_parquet

ATTEMPTS = 5  # at reading it, and the log, while another command replaces them
KEY = b"muster.gallery"
SINCE = ("born", "taken", "thumbnail")  # columns that galleries of an older Muster lack

ROSTER_SCHEMA = pa.schema(
    {  # size and time: without them a scan does not see that an image in a Parquet file, or a bucket, is another one
        "uri": pa.string(),
        "person_id": pa.string(),
        "size": pa.int64(),
        "modified": pa.timestamp("us", "UTC"),
    }
)


def schema(width: int) -> pa.Schema:
    """Of the faces in a gallery. `width`: of its model's embeddings."""
    return pa.schema(
        [
            pa.field("person_id", pa.string(), nullable=False),
            ("name", pa.string()),
            ("group", pa.string()),
            ("born", pa.date32()),
            ("valid_until", pa.date32()),
            ("pseudonym", pa.string()),  # by which the audit log knows the person
            ("image_id", pa.string()),
            ("face_id", pa.string()),
            ("uri", pa.string()),
            ("sha256", pa.string()),
            ("taken", pa.date32()),  # when the photo was made, as its camera says
            ("quality", pa.float32()),
            ("embedding", pa.list_(pa.float32(), width)),
            ("thumbnail", pa.binary()),  # JPEG, of a photo that is kept nowhere; others have theirs in `faces`
        ]
    )


@dataclass(frozen=True)
class Gallery:
    """`faces`: see `schema`; in order of person_id and face_id. `fingerprint`: of the faces table they are from;
    `model`: its name. `calibration`: what `muster calibrate` measured, as JSON; None before."""

    faces: pa.Table
    fingerprint: str
    model: str
    calibration: dict[str, Any] | None = None

    @property
    def people(self) -> list[str]:
        """Distinct person_ids, in order; a person's number is its place here."""
        return sorted(set(self.faces["person_id"].to_pylist()))

    @property
    def owner(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """(N,): the person of each face, as a number."""
        place = {person: i for i, person in enumerate(self.people)}
        return np.array([place[person] for person in self.faces["person_id"].to_pylist()], np.int64)

    @property
    def embeddings(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(N, D), L2-normalised."""
        return matrix(self.faces["embedding"])

    def name_of(self, person: str) -> str:
        return self._of(person, "name")

    def pseudonym_of(self, person: str) -> str:
        return self._of(person, "pseudonym")

    def _of(self, person: str, column: str) -> str:
        row = pc.index(self.faces["person_id"], person).as_py()
        if row < 0:
            raise not_enrolled(person, self.people)
        return self.faces[column][row].as_py()

    def without(self, people: Collection[str]) -> "Gallery":
        gone = pc.is_in(self.faces["person_id"], pa.array(sorted(people), pa.string()))
        return replace(self, faces=self.faces.filter(pc.invert(gone)))

    def staying(self, faces: pa.Table) -> "Gallery":
        """With these of its faces, and no pair of look-alikes one of whom has none left."""
        calibration = self.calibration
        if calibration and (alike := calibration.get("alike")):
            here = set(faces["pseudonym"].to_pylist())
            declared = [pair for pair in alike["declared"] if here >= set(pair)]
            calibration = {**calibration, "alike": {**alike, "declared": declared}}
        return replace(self, faces=faces, calibration=calibration)

    def with_details(self, details: Mapping[str, Mapping[str, Any]]) -> "Gallery":
        """With this `name` and `group`, and dates `born` and `valid_until`, for the faces of each person. A date that
        is None stays as it is."""
        faces, people = self.faces, self.faces["person_id"].to_pylist()
        for name in ("name", "group", *DATES):  # by columns: embeddings as lists of Python take seconds
            mine = {person: facts[name] for person, facts in details.items() if name in facts}
            said = {person: value for person, value in mine.items() if value is not None or name not in DATES}
            values = [said.get(person, old) for person, old in zip(people, faces[name].to_pylist(), strict=True)]
            field = faces.schema.field(name)
            faces = faces.set_column(faces.schema.get_field_index(name), field, pa.array(values, field.type))
        return replace(self, faces=faces)

    def with_faces(self, rows: list[dict[str, Any]]) -> "Gallery":
        """With these faces in place of what their people had before."""
        kept = self.without({row["person_id"] for row in rows}).faces
        faces = pa.concat_tables([kept, pa.Table.from_pylist(rows, self.faces.schema)])
        return replace(self, faces=faces.sort_by([("person_id", "ascending"), ("face_id", "ascending")]))


def not_enrolled(person: str, people: Iterable[str]) -> NotEnrolledError:
    return NotEnrolledError(f"nobody with person_id {person} is enrolled{others_like(person, people)}")


def others_like(person: str, people: Iterable[str]) -> str:
    """What to say after a person_id that there is not: who differs from it in case alone."""
    alike = sorted(each for each in people if each.casefold() == person.casefold())
    return f"; {' and '.join(alike)} is: case counts" if alike else ""


def empty(fingerprint: str = "", model: str = "", width: int = 0) -> Gallery:
    """Of nobody, to be filled with faces of this model, whose embeddings are `width` wide."""
    return Gallery(schema(width).empty_table(), fingerprint, model)


def read(library: LibraryFiles) -> Gallery | None:
    """The gallery; None where nobody was ever enrolled.

    Raises MusterError where it is damaged, or not the one that the audit log knows.
    """
    found = _current(library)
    return None if found is None else _parsed(library, found[1])


def has_people(library: LibraryFiles) -> bool:
    known = read(library)
    return known is not None and known.faces.num_rows > 0


def digest(library: LibraryFiles) -> str | None:
    """Of the gallery as it is now; None where nobody was ever enrolled. The caller holds library.lock_log()."""
    state = audit.gallery_state(library)
    if state is not None:
        return str(state["sha256"])
    data = _bytes(library, GALLERY)  # of an older Muster
    return None if data is None else hashlib.sha256(data).hexdigest()


def problem(library: LibraryFiles) -> str | None:
    """What is wrong with the gallery; None where nothing is."""
    try:
        read(library)
    except MusterError as error:
        return str(error)
    return None


def _current(library: LibraryFiles) -> tuple[str, bytes] | None:
    """The file that holds the gallery of the audit log's last line, and its bytes."""
    for _ in range(ATTEMPTS):
        state = audit.gallery_state(library)
        files = {name: data for name in (GALLERY, NEXT_GALLERY) if (data := _bytes(library, name)) is not None}
        if state is None and GALLERY not in files:
            return None
        if state is None and "version" not in _facts(library, files[GALLERY]):  # of an older Muster
            return GALLERY, files[GALLERY]
        for name, data in files.items():
            if state is not None and hashlib.sha256(data).hexdigest() == state["sha256"]:
                return name, data
    raise MusterError(
        f"{library.at(GALLERY)} is not the gallery that the audit log knows: it was changed, or replaced by an older"
        " one, which may hold people who were forgotten since. Restore the one that belongs to the log"
    )


def _bytes(library: LibraryFiles, name: str) -> bytes | None:
    try:
        return library.read(name)
    except FileNotFoundError:
        return None
    except DecryptionError as error:
        raise _damaged(library, error) from None


def _parsed(library: LibraryFiles, data: bytes) -> Gallery:
    facts = _facts(library, data)
    try:
        table = from_parquet(data)
        whole = schema(table.schema.field("embedding").type.list_size)
        for name in SINCE:
            if name not in table.schema.names:
                table = table.add_column(
                    whole.get_field_index(name), name, pa.nulls(len(table), whole.field(name).type)
                )
        faces = table.replace_schema_metadata(None).cast(whole)
        return Gallery(faces, facts["fingerprint"], facts["model"], facts["calibration"])
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(library, error) from None


def _facts(library: LibraryFiles, data: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(pq.read_schema(pa.BufferReader(data)).metadata[KEY]))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(library, error) from None


def _damaged(library: LibraryFiles, error: Exception) -> MusterError:
    return MusterError(
        f"{library.at(GALLERY)} is damaged ({error}): restore it from a backup, or enrol everybody anew in another"
        " library"
    )


def require(library: LibraryFiles) -> Gallery:
    """The gallery; InputError where there is none, or nobody in it."""
    gallery = read(library)
    if gallery is None or not gallery.faces.num_rows:
        raise NotYetError(f"nobody is enrolled in library {library.uri}", "enroll", library.uri)
    return gallery


def named(gallery: Gallery | None, entry: dict[str, Any]) -> dict[str, Any]:
    """A line of the audit log, with the person_ids of those who are still enrolled."""
    known = gallery.faces.select(["pseudonym", "person_id"]).to_pylist() if gallery else ()
    names = {row["pseudonym"]: row["person_id"] for row in known}
    shown = ("people", "candidates")  # where a line has pseudonyms
    return {**entry, **{key: [names.get(each, f"forgotten ({each})") for each in entry.get(key, [])] for key in shown}}


def write(library: LibraryFiles, gallery: Gallery, action: str, facts: dict[str, Any]) -> None:
    """Replace the gallery, with a line of the audit log (see `audit.extend`). The caller holds library.lock()."""
    library.make_private()
    with library.lock_log():
        _write(library, gallery, action, facts)


def _write(library: LibraryFiles, gallery: Gallery, action: str, facts: dict[str, Any]) -> None:
    before = audit.gallery_state(library) or {"version": 0}
    facts_of_it = {name: getattr(gallery, name) for name in ("fingerprint", "model", "calibration")}
    facts_of_it["version"] = before["version"] + 1
    metadata = {KEY: json.dumps(facts_of_it, sort_keys=True).encode()}
    data = to_parquet(gallery.faces.replace_schema_metadata(metadata))
    state = {"version": facts_of_it["version"], "sha256": hashlib.sha256(data).hexdigest()}
    library.write(NEXT_GALLERY, data)
    audit.extend(library, [(action, facts)], state)
    library.write(GALLERY, data)
    library.remove(NEXT_GALLERY)


def repair(library: LibraryFiles) -> None:
    """Finish, or take back, a change of the gallery that a kill cut off. The caller holds library.lock()."""
    if library.has(NEXT_GALLERY):
        found = _current(library)
        if found is not None and found[0] == NEXT_GALLERY:
            library.write(GALLERY, found[1])
        library.remove(NEXT_GALLERY)


def write_roster(
    library: LibraryFiles,
    keep: Callable[[str, str], bool],
    rows: Sequence[dict[str, Any]] = (),
    stamps: Mapping[str, dict[str, Any]] = {},
) -> str:
    """Put rows of `ROSTER_SCHEMA` beside those there that `keep(uri, person_id)` keeps; the file's place, to scan.

    `stamps`: uri → size and time that a kept file had, which a scan believes where it is not there any more.
    """
    fresh = {row["uri"] for row in rows}
    old = [r for r in _roster(library).to_pylist() if keep(r["uri"], r["person_id"]) and r["uri"] not in fresh]
    old = [row | stamps.get(row["uri"], {}) for row in old]
    library.write(ROSTER, to_parquet(pa.Table.from_pylist([*old, *rows], ROSTER_SCHEMA)))
    return library.uri_of(ROSTER)


def read_roster(library: LibraryFiles) -> dict[str, str]:
    """uri → person_id of everybody's images; empty where there is none."""
    table = _roster(library)
    return dict(zip(table["uri"].to_pylist(), table["person_id"].to_pylist(), strict=True))


def _roster(library: LibraryFiles) -> pa.Table:
    try:
        return from_parquet(library.read(ROSTER)).cast(ROSTER_SCHEMA)
    except FileNotFoundError:
        return ROSTER_SCHEMA.empty_table()
    except (pa.ArrowException, OSError, ValueError, DecryptionError) as error:
        raise MusterError(f"{library.at(ROSTER)} is damaged ({error}): delete it, and enrol again") from None
