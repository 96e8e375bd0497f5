"""The gallery as a service has it: a network that stays loaded, a clerk who answers, and who is let in and out.

`muster.web.door` serves it, and knows of it what `muster.web.door.service.Service` says.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, replace
from typing import Any

import pyarrow.compute as pc

from muster.errors import ImageError, InputError, MusterError, NotEnrolledError, NotYetError
from muster.pipeline import forget
from muster.pipeline.gallery.answers import Enrolled
from muster.pipeline.gallery.clerk import Clerk
from muster.pipeline.gallery.desk import IDENTIFY, LEAVE, NOTE, VERIFY, Answer, Desk, Question, current
from muster.pipeline.gallery.enroll import EnrolSummary, SeenPhoto, enroll_seen, lookalikes, with_gallery_model
from muster.pipeline.gallery.resident import Resident, Seen, probes_of
from muster.pipeline.run import fetch_weights
from muster.pipeline.work.config import RunConfig
from muster.storage import manifest, tables
from muster.storage.downloads import OnDownload
from muster.storage.gallery import gallery
from muster.storage.gallery.entry import Entry
from muster.storage.library import LibraryFiles
from muster.storage.texts import normal
from muster.tasks.models import zoo

MOST_PIXELS = 40_000_000  # of a photo
PATIENCE = 3.0  # seconds to wait for another command that holds the library, until an asker is told to come again
Looked = Seen | ImageError


class Door:
    """`threshold`: in place of the measured ones. InputError where the library is in a bucket, which has no locks."""

    def __init__(
        self, library: LibraryFiles, config: RunConfig, threshold: float | None, on_download: OnDownload | None = None
    ) -> None:
        if library.local is None:
            raise InputError(f"library {library.uri} is in a bucket, which has no locks: copy it to a disk")
        with forget.locked(library, forget.PATIENCE):
            library.remove_temporary()  # what one that was killed has left
            config = with_gallery_model(library, config)
        if gallery.has_people(library):
            current(library)  # of faces that can be compared with those of today
        fetch_weights(config, on_download)
        choice = config.choice("faces")
        self.library, self.choice = library, replace(choice, model=choice.model or zoo.DEFAULTS["faces"])
        self.resident = Resident(self.choice, config.machine, MOST_PIXELS)
        self.desk = Desk(library, threshold, self.choice.model)
        self.clerk = Clerk(self.desk)
        self._shards: dict[str, str] = {}  # image_id → the shard that it was in last

    def close(self) -> None:
        self.resident.close()
        self.clerk.close()

    # ---- answers ----------------------------------------------------------------------------------------------------

    def look(self, image: bytes) -> "Future[Seen]":
        return self.resident.submit(image)

    def identify(self, looked: Sequence[Looked], noted: Mapping[str, Any]) -> "Future[Answer]":
        """Who is on these photos; its rows have the numbers of photos as names."""
        seen = [(str(number), each) for number, each in enumerate(looked) if isinstance(each, Seen)]
        probes = probes_of(seen)
        return self.clerk.ask(Question(IDENTIFY, probes, noted={"images": len(looked), **noted}))

    def verify(self, seen: Seen, person: str, noted: Mapping[str, Any]) -> "Future[Answer]":
        """Whether this is the person; `seen` has a face."""
        return self.clerk.ask(Question(VERIFY, probes_of([("0", seen)]), person, noted=noted))

    def shown(self, person: str, action: str, noted: Mapping[str, Any]) -> "Future[Answer]":
        """A line in the log, for what is answered about one person; NotEnrolledError where there is none any more."""
        return self.clerk.ask(Question(LEAVE, person=person, action=action, noted=noted))

    def note(self, action: str, noted: Mapping[str, Any]) -> "Future[Answer]":
        """A line in the log, for what is answered without asking the gallery who somebody is, or is refused."""
        return self.clerk.ask(Question(NOTE, action=action, noted=noted))

    # ---- people -----------------------------------------------------------------------------------------------------

    def people(self) -> list[dict[str, Any]]:
        """Who is enrolled, without those whose consent has ended."""
        try:
            return self._rows(self.desk.enrolled())
        except NotYetError:
            return []

    def _rows(self, enrolled: Enrolled) -> list[dict[str, Any]]:
        known = enrolled.known
        photos: dict[str, int] = {}
        first: dict[str, dict[str, Any]] = {}
        for row in known.faces.select(["person_id", "name", "group", "born", "valid_until"]).to_pylist():
            photos[row["person_id"]] = photos.get(row["person_id"], 0) + 1
            first.setdefault(row["person_id"], row)
        return [row | {"photos": photos[person]} for person, row in first.items()]

    def person(self, person: str) -> dict[str, Any]:
        """NotEnrolledError where there is nobody."""
        enrolled = self._enrolled(person)
        wanted = enrolled.people[enrolled.number_of(person)]
        return next(row for row in self._rows(enrolled) if row["person_id"] == wanted)

    def face(self, person: str) -> bytes | None:
        """A JPEG of the best face that they are known by; None where there is none any more."""
        enrolled = self._enrolled(person)
        faces = enrolled.known.faces
        mine = faces.filter(pc.equal(faces["person_id"], enrolled.people[enrolled.number_of(person)]))
        best = max(mine.drop_columns(["embedding"]).to_pylist(), key=lambda row: row["quality"])
        return best["thumbnail"] or self._thumbnail(best["image_id"], best["face_id"])

    def _enrolled(self, person: str) -> Enrolled:
        try:
            return self.desk.enrolled()
        except NotYetError:
            raise NotEnrolledError(f"nobody with person_id {person} is enrolled: the gallery is empty") from None

    def _thumbnail(self, image: str, face: str) -> bytes | None:
        """Of a photo of a roster, which is in the table of faces."""
        shard = self._shards.get(image)
        if shard is None or not tables.is_committed(self.library, self.choice.fingerprint, shard):
            shards = [shard for shard, _ in manifest.shards(self.library)]
            tables_of = ((manifest.read_shard(self.library, shard), shard) for shard in shards)
            self._shards = {image: shard for rows, shard in tables_of for image in rows["image_id"].to_pylist()}
            shard = self._shards.get(image)
        if shard is None:
            return None
        rows = tables.require(self.library, "faces", self.choice.fingerprint, ["face_id", "thumbnail"], [shard])
        found = rows.filter(pc.equal(rows["face_id"], face))["thumbnail"].to_pylist()
        return found[0] if found else None

    def enrol(
        self, entry: Entry, images: Sequence[tuple[int, Seen]], accept: bool, noted: Mapping[str, Any] = {}
    ) -> EnrolSummary:
        """By photos that are not kept, with their numbers in the request, by which the summary calls them. Raises
        MusterError where the library is in use."""
        photos = []
        for number, seen in images:
            uri = f"service:{seen.sha256}"  # of no place: it is kept nowhere
            image_id = manifest.image_id(uri, None, None)
            taken = seen.taken.date() if seen.taken else None
            photos.append((number, SeenPhoto(uri, image_id, seen.sha256, taken, seen.faces, seen.embeddings)))
        unique = {photo.uri: photo for _, photo in photos}
        entry = replace(entry, images=tuple(unique))
        with forget.locked(self.library, PATIENCE):
            summary = enroll_seen(self.library, self.choice, entry, list(unique.values()), accept, noted)
        place = {photo.uri: str(number) for number, photo in reversed(photos)}
        refused = [replace(each, image=place[each.image] if each.image else None) for each in summary.refused]
        return replace(summary, refused=refused)

    def forget(self, person: str) -> dict[str, Any]:
        """The receipt. NotEnrolledError where there is nobody to forget, also where they were forgotten before."""
        with forget.locked(self.library, PATIENCE):
            known = gallery.read(self.library)
            here = forget.spellings(known.people if known else ())
            names = here.get(normal(person), set())
            if not names:
                raise NotEnrolledError(f"nobody with person_id {person} is enrolled")
            receipt = forget.forget_people(self.library, sorted(names), forget.ASKED)
        self.desk.renew()
        self._shards.clear()
        return asdict(receipt)

    def lookalikes(self) -> list[dict[str, Any]]:
        """Pairs of enrolled people who look alike, most alike first."""
        try:
            enrolled = self.desk.enrolled()
        except NotYetError:
            return []
        return lookalikes(enrolled.people, enrolled.made.vectors, enrolled.people)

    # ---- what it is like ---------------------------------------------------------------------------------------------

    def problem(self) -> str:
        """Why nobody could be named now; "": they could."""
        try:
            self.desk.check(VERIFY)
            self.desk.check(IDENTIFY)
        except MusterError as error:
            return str(error)
        return self.resident.problem

    @property
    def waiting(self) -> int:
        """Photos that wait to be looked at."""
        return self.resident.depth
