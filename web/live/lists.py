"""Lists of photos that one goes through one after the other: all, favourites, of a person, …; and months of them.

An address carries the key of the list that somebody came from, as `?in=person.0a1b2c3d4e5f`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import I64
from muster.web.live.album import Moment
from muster.web.live.columns import Times

ALL, FAVOURITES, WITHOUT_FACES, PERSON = "all", "favourites", "without-faces", "person"
PART = 240  # photos of a month that are sent at once
UNDATED, RANKED = "undated", "ranked"  # in place of a month


@dataclass(frozen=True)
class PhotoList:
    """`key`: as an address has it. `title`: how the way back is called. `href`: of the page that shows it. `rows`: (N,)
    of `Columns`, in the order in which they are shown. `ranked`: they fit the less the later they come, and are not
    shown by months."""

    key: str
    title: str
    href: str
    rows: I64
    ranked: bool = False


@dataclass(frozen=True)
class Part:
    """Photos `start` to `stop` of a list, all of one month, undated, or ranked. `number`: counts those of its month
    from 0; `total`: photos of the whole month."""

    month: str
    number: int
    start: int
    stop: int
    total: int

    @property
    def key(self) -> str:
        return f"{self.month}.{self.number}"

    @property
    def year(self) -> str:
        return self.month.partition("-")[0]


def find(moment: Moment, key: str) -> PhotoList | None:
    """None where there is no such list, or no more."""
    kind, _, about = key.partition(".")
    return KINDS[kind](moment, about) if kind in KINDS else None


def _all(moment: Moment, about: str) -> PhotoList:
    return PhotoList(ALL, "All photos", "/photos.html", newest_first(moment))


def _favourites(moment: Moment, about: str) -> PhotoList:
    rows = newest_first(moment)
    return PhotoList(FAVOURITES, "Favourites", "/favourites.html", rows[favourites(moment)[rows]])


def _without_faces(moment: Moment, about: str) -> PhotoList:
    rows = newest_first(moment)
    faceless = np.ones(len(moment.columns.image_id), bool)
    faceless[moment.columns.photo] = False
    return PhotoList(WITHOUT_FACES, "Photos without a face", "/photos-without-faces.html", rows[faceless[rows]])


def _person(moment: Moment, about: str) -> PhotoList | None:
    """`about`: ids of one or several people, by dots: photos with all of them."""
    cards = [moment.card(person) for person in about.split(".")]
    if not all(cards):
        return None
    known = [card for card in cards if card is not None]
    rows = moment.photos_of(known[0])
    for card in known[1:]:
        rows = rows[np.isin(moment.columns.content[rows], moment.columns.content[moment.photos_of(card)])]
    titles = [card.title for card in known]
    key = ".".join((PERSON, *(card.cluster_id for card in known)))
    return PhotoList(key, listed(titles), f"/albums/{key.partition('.')[2]}.html", rows)


KINDS: dict[str, Callable[[Moment, str], PhotoList | None]] = {
    ALL: _all,
    FAVOURITES: _favourites,
    WITHOUT_FACES: _without_faces,
    PERSON: _person,
}


def newest_first(moment: Moment) -> I64:
    """Rows (N,) of all photos, those without a date last; of exact copies the first in the library alone."""
    columns = moment.columns
    order = moment.in_time_order
    first = np.zeros(len(order), bool)
    first[np.unique(columns.content, return_index=True)[1]] = True
    order = order[first[order]]
    dated = ~np.isnat(columns.taken[order])
    return np.concatenate([order[dated][::-1], order[~dated]])


def among(moment: Moment, rows: I64, ranked: bool = False) -> I64:
    """These photos, newest first, or `ranked` as they are; of exact copies one, whichever of them is among them."""
    if ranked:
        return rows[np.sort(np.unique(moment.columns.content[rows], return_index=True)[1])]
    content, every = moment.columns.content, newest_first(moment)
    wanted = np.zeros(int(content.max(initial=-1)) + 1, bool)
    wanted[content[rows]] = True
    return every[wanted[content[every]]]


def favourites(moment: Moment) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(N,): which photos are, in the order of `Columns`."""
    wanted = pa.array(sorted(moment.said.favourites), pa.string())
    return pc.is_in(moment.columns.sha256, value_set=wanted).to_numpy(zero_copy_only=False)


def companions(moment: Moment, rows: I64) -> list[tuple[str, int]]:
    """Who else is on these photos: person_id and number of photos, most first; nobody who is hidden."""
    here = np.isin(moment.columns.photo, rows)
    pairs = np.unique(np.stack([moment.said.person_of[here], moment.columns.photo[here]]), axis=1)
    people, counts = np.unique(pairs[0][pairs[0] >= 0], return_counts=True)
    found = [(moment.said.person_ids[place], int(count)) for place, count in zip(people, counts, strict=True)]
    shown = ((p, n) for p, n in found if (card := moment.card(p)) is not None and not card.hidden)
    return sorted(shown, key=lambda each: (-each[1], each[0]))


def parts_of(moment: Moment, found: PhotoList) -> list[Part]:
    """One after the other, each of one month and at most PART photos; of a ranked list, which is no longer, one."""
    if found.ranked:
        many = len(found.rows)
        return [Part(RANKED, 0, 0, many, many)] if many else []
    return parts(moment.columns.taken[found.rows])


def parts(taken: Times) -> list[Part]:
    """Of photos that were taken then: one after the other, each of one month and at most PART photos."""
    if not len(taken):
        return []
    month = taken.astype("datetime64[M]")
    number = month.astype(np.int64)
    starts = np.flatnonzero(np.append(True, number[1:] != number[:-1])).tolist()
    found = []
    for start, end in zip(starts, [*starts[1:], len(taken)], strict=True):
        name = UNDATED if np.isnat(month[start]) else str(month[start])
        for n, first in enumerate(range(start, end, PART)):
            found.append(Part(name, n, first, min(first + PART, end), end - start))
    return found


def listed(names: Sequence[str]) -> str:
    """`Anna, Bert and Carl`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
