"""What edits come to, worked out anew and simply, and what of it a library does not show. See benchmarks/edits.py."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from muster.storage.people import facts
from muster.storage.people.facts import FaceRef, Fact
from muster.storage.people.ledger import Ledger
from muster.storage.people.view import People

Wrong = tuple[str, str]  # "violated" or "lost", and what
Box = Sequence[float]


class Oracle:
    """`said`: edit → facts, as they were recorded, oldest first."""

    def __init__(self) -> None:
        self.said: dict[str, tuple[Fact, ...]] = {}

    def alive(self) -> list[Fact]:
        gone: set[str] = set()
        for edit in reversed(list(self.said)):
            if edit not in gone:
                gone |= {fact.edit for fact in self.said[edit] if isinstance(fact, facts.TakeBack)}
        return [fact for edit, said in self.said.items() if edit not in gone for fact in said]

    def wrong(self, people: People, ledger: Ledger) -> Iterator[Wrong]:
        alive = self.alive()
        root = _roots(alive)
        seen = _Seen(people)
        yield from (("violated", str(each)) for each in ledger.known.conflicts)
        yield from _of_faces(alive, root, seen)
        yield from _of_people(alive, root, people, seen)
        for fact in alive:
            if isinstance(fact, facts.Same) and len({people.moved.get(p, p) for p in (fact.person, fact.other)}) > 1:
                yield "violated", f"{fact.person} and {fact.other} are two"
            if isinstance(fact, facts.Favourite) and fact.photo.sha256 not in ledger.known.favourites:
                yield "lost", f"favourite {fact.photo.name}"


class _Seen:
    """Faces as they are shown: by the content of their photo."""

    def __init__(self, people: People) -> None:
        sha = {row["image_id"]: row["sha256"] for row in people.photos.table.select(["image_id", "sha256"]).to_pylist()}
        self.faces: dict[str, list[tuple[Box, str | None, str]]] = defaultdict(list)
        self.people: set[str | None] = set()
        for row in people.faces.to_pylist():
            self.faces[sha[row["image_id"]]].append((row["box_xyxy"], row["person_id"], row["face_id"]))
            self.people.add(row["person_id"])

    def at(self, face: FaceRef) -> tuple[str | None, str] | None:
        """The person and face_id of what is shown there; None: nothing is."""
        near = max(self.faces[face.photo.sha256], key=lambda each: _overlap(each[0], face.box), default=None)
        return near[1:] if near and _overlap(near[0], face.box) >= 0.4 else None


def _roots(alive: Sequence[Fact]) -> dict[str, str]:
    """Person → the one that they go by."""
    root: dict[str, str] = {}
    for fact in alive:
        for person in facts.people_of(fact):
            root.setdefault(person, person)
        if isinstance(fact, facts.Same):
            kept, other = root[fact.person], root[fact.other]
            root = {person: kept if each == other else each for person, each in root.items()}
    return root


def _of_faces(alive: Sequence[Fact], root: dict[str, str], seen: _Seen) -> Iterator[Wrong]:
    for fact in alive:
        if isinstance(fact, facts.Is | facts.IsNot | facts.Missed):
            for face in facts.faces_of(fact):
                there = seen.at(face)
                if there is None and not isinstance(fact, facts.IsNot):
                    yield "lost", f"a face in {face.photo.name}"
                elif there and isinstance(fact, facts.Is) and there[0] != root[fact.person]:
                    yield "violated", f"a face in {face.photo.name} is {root[fact.person]}, and shown as {there[0]}"
                elif there and isinstance(fact, facts.IsNot) and there[0] == root[fact.person]:
                    yield "violated", f"a face in {face.photo.name} is not {there[0]}"


def _of_people(alive: Sequence[Fact], root: dict[str, str], people: People, seen: _Seen) -> Iterator[Wrong]:
    names, born, covers = ({each: [] for each in root.values()} for _ in range(3))
    for fact in alive:
        match fact:
            case facts.Named():
                names[root[fact.person]].append(fact.name)
            case facts.Born():
                born[root[fact.person]].append(fact.date)
            case facts.Cover():
                covers[root[fact.person]].append(fact.face)
    hidden = {fact.person for fact in alive if isinstance(fact, facts.Hidden) and root[fact.person] == fact.person}
    for person in set(root.values()):
        shown = people.people.get(person)
        if shown is None:
            yield "lost", f"person {person}"
            continue
        if names[person] and shown.name not in names[person]:
            yield "lost", f"{person} is called one of {names[person]}, and shown as {shown.name!r}"
        if born[person] and shown.born not in born[person]:
            yield "lost", f"{person} was born {born[person]}, and shown as {shown.born!r}"
        if person in hidden and not shown.hidden:
            yield "lost", f"{person} is hidden, and shown"
        theirs = [face for face in covers[person] if (there := seen.at(face)) is not None]
        if theirs and shown.cover not in [there[1] for face in theirs if (there := seen.at(face))]:
            yield "lost", f"the cover of {person}"
    yield from _without_a_face(alive, root, seen)


def _without_a_face(alive: Sequence[Fact], root: dict[str, str], seen: _Seen) -> Iterator[Wrong]:
    """People of whom faces were shown, not all of which are said to be others, or not to be them."""
    spoken: set[tuple[str, tuple[float, ...]]] = set()
    for fact in alive:
        if isinstance(fact, facts.Is | facts.IsNot):
            spoken |= {(face.photo.sha256, tuple(face.box)) for face in fact.faces}
    for fact in alive:
        if isinstance(fact, facts.Shows) and root[fact.person] not in seen.people:
            left = [face for face in fact.faces if (face.photo.sha256, tuple(face.box)) not in spoken]
            if any(seen.at(face) for face in left):
                yield "lost", f"{root[fact.person]} has no face, and had {len(fact.faces)}"


def _overlap(a: Box, b: Box) -> float:
    both = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
