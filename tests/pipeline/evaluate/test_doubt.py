import hashlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from helpers.labelled import labelled
from muster.pipeline.evaluate.doubt import FPIR, MISS, RULES, doubt
from muster.pipeline.evaluate.faces import Labelled
from muster.tasks.people.calibrate import STRANGERS
from muster.tasks.people.search import scores, templates

SHARES = ("named", "misnamed", "unsure", "unsure_shown", "unknown", "strangers_named", "strangers_unsure")
PEOPLE, PHOTOS, OTHERS = 80, 6, 600


def data(noise: float, people: int = PEOPLE, photos: int = PHOTOS) -> Labelled:
    made = labelled(people, photos, OTHERS, noise)
    files = pa.array([f"{row:06d}.jpg" for row in range(made.images.num_rows)])
    return replace(made, images=made.images.set_column(1, "file", files))  # in the order of the rows


def reached_by(strange: np.ndarray, share: float) -> float:
    """Half way between the last stranger who may reach it and the next."""
    ordered, allowed = np.sort(strange)[::-1], int(share * len(strange) + 1e-9)
    return float(ordered[allowed - 1] + ordered[allowed]) / 2


def by_hand(faces: Labelled, number: int, rule: str) -> dict[str, float]:
    """As `doubt`, face by face."""
    vectors = faces.faces.embeddings
    enrolled = np.arange(PEOPLE * PHOTOS).reshape(PEOPLE, PHOTOS)
    used, owner = vectors[enrolled[:, :number].ravel()], np.repeat(np.arange(PEOPLE), number)
    gallery = templates(used, owner, PEOPLE, faces.faces.strangers)
    names = faces.images["person"].to_pylist()
    half = np.array([hashlib.sha256(name.encode()).digest()[0] & 1 for name in names], bool)
    rows = [(person, photo) for person in range(PEOPLE) for photo in enrolled[person, 4:]]
    known = scores(vectors[[photo for _, photo in rows]], gallery)
    strange = scores(vectors[PEOPLE * PHOTOS :], gallery).max(1)
    counts = dict.fromkeys(SHARES, 0)
    for one in (False, True):
        them, us = (strange[half[PEOPLE * PHOTOS :] == side] for side in (one, not one))
        upper = reached_by(them, FPIR)
        shown, judged = [], []
        for (person, photo), found in zip(rows, known, strict=True):
            own, best, better = found[person], found.max(), int((found > found[person]).sum())
            judged += [(own, best, better)] * int(half[photo] != one)
            lost = better >= 3 or (better > 0 and best >= upper)
            shown += [-np.inf if lost else own] * int(half[photo] == one)
        lower = reached_by(them, STRANGERS) if rule == RULES[1] else np.sort(shown)[int(MISS * len(shown) + 1e-9)]
        lower = min(lower, upper)
        for own, best, better in judged:
            counts["named"] += better == 0 and own >= upper
            counts["misnamed"] += better > 0 and best >= upper
            counts["unknown"] += best < lower
            counts["unsure"] += lower <= best < upper
            counts["unsure_shown"] += lower <= own and best < upper and better < 3
        counts["strangers_named"] += (us >= upper).sum()
        counts["strangers_unsure"] += ((us >= lower) & (us < upper)).sum()
    return {name: value / (OTHERS if name.startswith("s") else len(rows)) for name, value in counts.items()}


@pytest.mark.parametrize("noise", [0.5, 1.4])
def test_it_is_what_counting_by_hand_gives(noise: float) -> None:
    faces = data(noise)
    found = doubt(faces, "person")
    assert [(row["photos"], row["lower"]) for row in found] == [(n, rule) for n in (1, 2, 4) for rule in RULES]
    for row in found:
        assert row.items() >= {"people": PEOPLE, "searches": 2 * PEOPLE, "strangers": OTHERS}.items()
        expected = by_hand(faces, row["photos"], row["lower"])
        assert {name: row[name] for name in SHARES} == pytest.approx(expected, abs=1e-5)
        assert row["named"] + row["misnamed"] + row["unsure"] + row["unknown"] == pytest.approx(1, abs=1e-4)


def test_more_photos_name_more() -> None:
    named = [row["named"] for row in doubt(data(1.4), "person") if row["lower"] == RULES[0]]
    assert named[0] < named[1] < named[2]


def test_as_many_photos_as_enough_people_have() -> None:
    assert [row["photos"] for row in doubt(data(0.5, photos=4), "person")] == [1, 1, 2, 2]
    assert [row["photos"] for row in doubt(data(0.5, people=29), "person")] == []


def test_a_photo_without_a_face_is_unknown() -> None:
    faces = data(0.3)
    seen = np.ones(len(faces.rows), bool)
    seen[4:40:6] = False  # a photo that six people would be looked for with
    seen[[6 * 6, 6 * 6 + 1, 6 * 6 + 2, 6 * 6 + 3]] = False  # and all that another is enrolled with
    some = Labelled(faces.faces, faces.rows[seen], faces.images, faces.owner[seen])
    for row in doubt(some, "person"):
        assert row["people"] == PEOPLE - 1
        assert row["unknown"] == pytest.approx(6 / 2 / (PEOPLE - 1), abs=1e-4)


def test_another_order_of_photos_is_another_draw() -> None:
    faces = data(1.4)
    assert doubt(faces, "person", 0) == doubt(faces, "person", 0) != doubt(faces, "person", 1)
