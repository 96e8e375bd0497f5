"""How the pages say things: counts, dates, file names and links to originals."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import category
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from muster.storage.uris import Inside

SURENESS = ((0.98, "sure"), (0.9, "fairly sure"), (0.0, "not sure"))


def count(number: int, one: str, many: str = "") -> str:
    """`count(2, "photo")` → "2 photos"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def sureness(certainty: float | None) -> str:
    """How sure a person's page is, of the share of faces that are expected to be of that person; empty: not known."""
    if certainty is None:
        return ""
    return next(word for least, word in SURENESS if certainty >= least)


def day(when: datetime) -> str:
    return f"{when.day} {when:%B %Y, %H:%M}"


def span(dates: Sequence[datetime]) -> str:
    """From the first to the last date, as coarse as still tells them apart; empty without dates."""
    if not dates:
        return ""
    first, last = min(dates), max(dates)
    if first.year != last.year:
        return f"{first.year} – {last.year}"
    return f"{first:%b} – {last:%b %Y}" if first.month != last.month else f"{last:%B %Y}"


def phrase(label: str, placed: bool, phrases: Mapping[str, str]) -> str:
    """What a photo shows, by a label: "with an umbrella" where it is of something in it (`placed`), else as it is.

    `phrases`: of labels that are said in another way, such as "at night".
    """
    article = "an" if label[:1].lower() in "aeiou" else "a"
    return phrases.get(label) or (f"with {article} {label}" if placed else label)


def file_name(uri: str) -> str:
    """The last part of a path or URI, with the row of a Parquet file, or the time in a video: `a.mp4 0:12`."""
    path, part = _split(uri)
    name = path.rstrip("/").rpartition("/")[2] or path
    return printable(name + part)


def folder(uri: str) -> str:
    return printable(_split(uri)[0].rpartition("/")[0])


def printable(text: str, keep: str = "") -> str:
    """Control characters, line breaks, marks that turn the reading direction and halves of characters, as Python writes
    them: `\\x1b`, `\\n`, `\\u202e`. Letters of all scripts, spaces and what is in `keep` stay."""
    return "".join(c if c.isprintable() or c in keep or category(c) == "Zs" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


def original(uri: str) -> str | None:
    """A file:// link to an existing local file; None for rows of Parquet files, buckets and what is gone.

    Of a moment it has the time, at which browsers begin to play: https://www.w3.org/TR/media-frags/.
    """
    inside = _inside(uri)
    if inside and inside.kind == "t":
        link = original(inside.container)
        return link and f"{link}#t={inside.place:g}"
    path = unquote(urlsplit(uri).path) if uri.startswith("file:///") else uri
    return Path(path).as_uri() if os.path.isabs(path) and os.path.isfile(path) else None


def clock(seconds: float) -> str:
    """`0:12`, `1:02:03`: a time in a video, as players show it."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def in_order(uri: str) -> tuple[str, float, str]:
    """By which images are sorted that nothing else tells apart: by name, those inside one file as they follow there."""
    inside = _inside(uri)
    return (inside.container, inside.place, uri) if inside else (uri, 0.0, uri)


def _inside(uri: str) -> "Inside | None":
    from muster.storage.uris import split_inside  # which brings pyarrow: the command line takes words from here at once

    return split_inside(uri)


def _split(uri: str) -> tuple[str, str]:
    """A path, and what is said behind its name. What is in an archive has a path in it."""
    inside = None if os.path.isfile(uri) else _inside(uri)
    if inside is None:
        return uri, ""
    if inside.kind == "member":
        return f"{inside.container}/{unquote(inside.key.partition('&at=')[0])}", ""
    return inside.container, f" {clock(inside.place)}" if inside.kind == "t" else f", {inside.kind} {inside.key}"
