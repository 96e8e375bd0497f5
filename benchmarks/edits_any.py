"""Any edit that the live page can make, at random. See benchmarks/edits_lasting.py."""

import random
from collections.abc import Callable, Sequence

from muster.errors import InputError
from muster.storage.people import edits, facts
from muster.storage.people.facts import FaceRef, Fact
from muster.storage.people.ledger import Ledger
from muster.storage.people.view import FOUND, People

NAMES = ("Anna", "Bob", "Çağla", "Дмитрий", "محمد", "小林", "O'Neil <b>", "Zoë", "Anna Maria von und zu Ende")


class Hand:
    """`members`: person_id → face_ids of those that were found; None: of nobody's."""

    def __init__(self, dice: random.Random, people: People, ledger: Ledger) -> None:
        self.dice, self.people, self.ledger = dice, people, ledger
        self.members: dict[str | None, list[str]] = {}
        for row in people.faces.select(["face_id", "person_id", "origin"]).to_pylist():
            if row["origin"] == FOUND:
                self.members.setdefault(row["person_id"], []).append(row["face_id"])

    def somebody(self) -> str:
        return self.dice.choice(sorted(each for each in self.members if each is not None))

    def some(self, person: str | None, most: int = 3) -> list[str]:
        ids = self.members.get(person, [])
        return self.dice.sample(ids, min(len(ids), self.dice.randint(1, most)))

    def anybody(self) -> list[str]:
        """Some faces of one person, or of nobody."""
        return self.some(self.dice.choice(list(self.members)))

    # ---- kinds -------------------------------------------------------------------------------------------------------

    def name(self) -> list[Fact]:
        return edits.named(self.people, self.somebody(), f"{self.dice.choice(NAMES)} {self.dice.randrange(100)}")

    def merge(self) -> list[Fact]:
        return edits.merged(self.people, self.somebody(), self.somebody())

    def different(self) -> list[Fact]:
        return edits.different(self.people, self.somebody(), self.somebody())

    def move(self) -> list[Fact]:
        return edits.moved(self.people, self.anybody(), self.somebody())

    def split(self) -> list[Fact]:
        return edits.moved(self.people, self.anybody(), edits.new_person())

    def bar(self) -> list[Fact]:
        person = self.somebody()
        return edits.barred(self.people, self.some(person, 2), person)

    def hide(self) -> list[Fact]:
        return edits.hidden(self.people, [self.somebody()])

    def cover(self) -> list[Fact]:
        person = self.somebody()
        return edits.cover(self.people, person, self.some(person, 1)[0])

    def born(self) -> list[Fact]:
        return edits.born(
            self.people, self.somebody(), f"19{self.dice.randrange(10, 100)}-0{self.dice.randrange(1, 10)}"
        )

    def miss(self) -> list[Fact]:
        """In a corner, where no face was found, and somebody at once."""
        photo = self.people.photos.ref(self.dice.choice(self.people.faces["image_id"].to_pylist()))
        face = FaceRef(photo, (1.0, 1.0, 13.0 + self.dice.randrange(8), 15.0))
        return [
            *edits.introduced(self.people, person := self.somebody()),
            facts.Missed(face),
            facts.Is(person, (face,)),
        ]

    def favourite(self) -> list[Fact]:
        return [facts.Favourite(self.people.photos.ref(self.dice.choice(self.people.faces["image_id"].to_pylist())))]

    def undo(self) -> list[Fact]:
        """The last, or any."""
        counting = [edit for edit in self.ledger.edits if self.ledger.known.counts(edit)]
        if not counting:
            raise InputError("nothing to undo")
        return edits.undone(self.ledger, self.dice.choice([counting[-1], self.dice.choice(counting)]))

    def redo(self) -> list[Fact]:
        edit = edits.to_redo(self.ledger)
        if edit is None:
            raise InputError("nothing to redo")
        return edits.undone(self.ledger, edit.edit_id)


KINDS: Sequence[tuple[Callable[[Hand], list[Fact]], int]] = (
    (Hand.name, 5),
    (Hand.merge, 3),
    (Hand.different, 2),
    (Hand.move, 5),
    (Hand.split, 3),
    (Hand.bar, 5),
    (Hand.hide, 1),
    (Hand.cover, 2),
    (Hand.born, 2),
    (Hand.miss, 1),
    (Hand.favourite, 1),
    (Hand.undo, 3),
    (Hand.redo, 8),
)


def any_edit(dice: random.Random, people: People, ledger: Ledger) -> tuple[str, list[Fact]]:
    """Its kind, and what it says. InputError where it cannot be made."""
    kinds, weights = zip(*KINDS, strict=True)
    [kind] = dice.choices(kinds, weights)
    return kind.__name__, kind(Hand(dice, people, ledger))
