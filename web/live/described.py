"""What a photo shows, in a sentence: for whoever cannot see it, and under it where it is large."""

from datetime import datetime

from muster.web.album import Photo
from muster.web.live.album import Card, Moment
from muster.web.live.lists import listed
from muster.web.words import count, file_name


def people_in(moment: Moment, row: int) -> list[Card]:
    """Who is on the photo in this row, left to right, each once; nobody who is hidden."""
    faces = sorted(moment.face_rows(row).tolist(), key=lambda face: float(moment.columns.box[face, 0]))
    cards = [card for face in faces if (card := moment.person_of(face)) is not None and not card.hidden]
    return list({card.cluster_id: card for card in cards}.values())


def sentence(moment: Moment, row: int, photo: Photo, place: str = "") -> str:
    """`Anna and Bert in Lisbon, 3 May 2019`; where nothing is known, the name of its file."""
    people = people_in(moment, row)
    named, others = [card.name for card in people if card.name], len(moment.face_rows(row))
    others -= sum(bool((card := moment.person_of(face)) and card.name) for face in moment.face_rows(row).tolist())
    who = listed(
        [
            *named,
            *([count(others, "other", "others") if named else count(others, "person", "people")] if others else []),
        ]
    )
    what = f"{who} in {place}" if who and place else who or place
    when = day(photo.taken_at) if photo.taken_at else ""
    return ", ".join(filter(None, [what or file_name(photo.uri), when]))


def day(when: datetime) -> str:
    """`3 May 2019`."""
    return f"{when.day} {when:%B %Y}"
