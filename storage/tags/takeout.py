"""Google Takeout: the JSON that lies beside each photo, what it is called, and what it says.

A photo `IMG.jpg` has `IMG.jpg.json`, since 2024 `IMG.jpg.supplemental-metadata.json`; a name of more than 51 characters
is cut before `.json`, which may be within `.supplemental-metadata`, the suffix or the stem. `IMG(1).jpg` has
`IMG.jpg(1).json` or `IMG.jpg.supplemental-metadata(1).json`. An edited copy (`IMG-edited.jpg`, in the language of the
account) has the JSON of its original. A folder that is an album has a JSON of its own, whose name depends on the
language.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from muster.storage.tags.said import Said, name_of, names_of, position_of, text_of
from muster.storage.texts import normal

CUT = 46  # characters of a name before `.json`, at most
MOST = 1 << 20  # bytes of such a file; they have some thousand, an album with its comments some ten thousand
_SUFFIX, _NEW = ".json", ".supplemental-metadata"
_COUNTER = re.compile(r"\((\d{1,6})\)$")
# How an album's file begins, in the languages known here; in a folder with JSON of photos any other may be one.
_ALBUM = tuple(map(normal, ("metad", "métad", "metag", "метад", "μεταδ", "メタデ", "元数据", "中繼資料", "메타데")))
_ALBUM_FILES = 16  # of a folder that are looked at
_YEAR = re.compile(
    r"(?:photos (?:from|de)|foto(?:s|'s)? (?:von|aus|de|del|da|uit)|zdjęcia z) (?:19|20)\d\d", re.IGNORECASE
)
# What stands behind the name of an edited copy, as the account's language has it.
_EDITED = tuple(
    normal(f"-{word}")
    for words in (
        (
            "edited",
            "effects",
            "smile",
            "mix",
            "bearbeitet",
            "modifié",
            "modificato",
            "editado",
            "editada",
            "ha editado",
        ),
        ("editat", "bewerkt", "edytowane", "upraveno", "redigerad", "redigeret", "redigert", "düzenlendi"),
        ("отредактировано", "изменено", "змінено", "編集済み", "已修改", "已編輯", "수정됨"),
    )
    for word in words
)


# ---- names -----------------------------------------------------------------------------------------------------------


def sidecars(photos: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Photo → its JSON, by the names of what lies in one folder. An edited copy has its original's.

    Case does not count, and neither does the form in which accents are written.
    """
    there = _Names(names)
    return {photo: name for photo in photos if (name := there.of(photo)) is not None} if there else {}


class _Names:
    """The JSON files of a folder, to be asked for by photo."""

    def __init__(self, names: Iterable[str]) -> None:
        self._whole: dict[str, str] = {}  # name without .json → name
        self._counted: dict[tuple[str, str], str] = {}  # the same without counter, and the counter → name
        for name in sorted(names):
            form = form_of(name)
            if form.endswith(_SUFFIX):
                base = form.removesuffix(_SUFFIX)
                self._whole.setdefault(base, name)
                self._counted.setdefault(_without_counter(base), name)

    def __bool__(self) -> bool:
        return bool(self._whole)

    def of(self, photo: str) -> str | None:
        return next((found for each in _originals(form_of(photo)) if (found := self._named(each)) is not None), None)

    def _named(self, photo: str) -> str | None:
        """By all of the photo's name; then with its counter behind the suffix; then by its name without suffix."""
        stem, dot, suffix = photo.rpartition(".")
        bare, counter = _without_counter(stem) if dot else ("", "")
        if counter:
            bases = (*_continued(photo, self._whole), *self._cut(f"{bare}.{suffix}", counter))
        else:
            bases = (*_continued(photo, self._whole), *self._cut(photo, ""))
        return next(iter(bases), self._whole.get(stem) if dot else None)

    def _cut(self, photo: str, counter: str) -> Iterator[str]:
        """By a name with this counter that this photo's may have been cut to, the longest first."""
        named = {base: name for base in _cuts(photo) if (name := self._counted.get((base, counter))) is not None}
        yield from named.values()


def _continued(photo: str, names: Mapping[str, str]) -> Iterator[str]:
    """Those of a photo's whole name and what belongs behind it, cut or not; the plain one first."""
    longer = (names.get((photo + _NEW)[:length]) for length in range(len(photo + _NEW), len(photo), -1))
    yield from filter(None, (names.get(photo), *longer))


def _cuts(photo: str) -> Iterator[str]:
    """What may be left of a photo's name and what belongs behind it. What ends within the photo's own name must be as
    long as names are that were cut; letters that are not ASCII may count for several."""
    whole = photo + _NEW
    for length in range(len(whole), 0, -1):
        base = whole[:length]
        if length < len(photo) and max(length, len(base.encode())) < CUT:
            return
        yield base


def _originals(photo: str) -> Iterator[str]:
    """A photo's name, and what it was before it was edited; that word may be cut too, where a name is long."""
    yield photo
    stem, dot, suffix = photo.rpartition(".")
    bare, counter = _without_counter(stem)
    number = f"({counter})" if counter else ""
    for word in _EDITED if dot else ():
        if bare.endswith(word):
            yield f"{bare.removesuffix(word)}{number}.{suffix}"
    before, hyphen, word = bare.rpartition("-")
    if len(bare) >= CUT and hyphen and any(each.startswith(f"-{word}") for each in _EDITED):
        yield f"{before}{number}.{suffix}"


def _without_counter(base: str) -> tuple[str, str]:
    match = _COUNTER.search(base)
    return (base[: match.start()], match[1]) if match else (base, "")


def form_of(name: str) -> str:
    """One form of a file's name, whatever its case and however its accents are written."""
    return normal(name).casefold()


def album_files(names: Iterable[str], taken: Collection[str]) -> list[str]:
    """Those of a folder's names that may be its album's, likelier ones first. `taken`: the JSON of its photos."""
    some = [name for name in names if name not in taken and form_of(name).endswith(_SUFFIX)]
    some = [name for name in some if taken or form_of(name).startswith(_ALBUM)]
    return sorted(some, key=lambda name: (not form_of(name).startswith(_ALBUM), len(name), name))[:_ALBUM_FILES]


# ---- contents --------------------------------------------------------------------------------------------------------


def read_photo(data: bytes) -> Said | None:
    """What the JSON of a photo says; None where it is none of Takeout's. Raises nothing."""
    facts = _facts(data)
    if facts is None:
        return Said(remarks=("its JSON is broken, or too long, and is not read",))
    if not isinstance(facts.get("photoTakenTime"), dict) and not ("title" in facts and "creationTime" in facts):
        return None
    people = facts.get("people")
    remarks = ["in the bin of Google Photos"] if facts.get("trashed") is True else []
    places = (_position(facts.get(name)) for name in ("geoData", "geoDataExif"))
    return Said(
        people=names_of(_dict(each).get("name") for each in (people if isinstance(people, list) else ())),
        description=text_of(facts.get("description")),
        taken_at=_time(_dict(facts.get("photoTakenTime")).get("timestamp")),
        position=next(filter(None, places), None),
        favourite=facts.get("favorited") is True,
        remarks=tuple(remarks),
    )


def album_title(data: bytes) -> str | None:
    """What an album is called, by the JSON of its folder; None where this is none, or it has no title.

    One of a photo has its time, and other JSON that lies about has no `title` (print orders) or none of what an album
    has beside it.
    """
    facts = _facts(data) or {}
    inner = _dict(facts.get("albumData")) or facts
    if "photoTakenTime" in inner or "externalOrderId" in facts or "creationTime" in inner:
        return None
    known = {"access", "date", "location", "geoData", "description", "enrichments", "sharedAlbumComments"}
    if inner is facts and not known & facts.keys() and facts.keys() != {"title"}:
        return None
    title = name_of(inner.get("title"))
    return None if title is None or _YEAR.fullmatch(title) else title  # all photos of a year are no album


def _facts(data: bytes) -> Mapping[str, Any] | None:
    """The object of a file; {} where it holds something else, None where it is broken."""
    if len(data) > MOST:
        return None
    try:
        return _dict(json.loads(data))
    except (ValueError, RecursionError, MemoryError):
        return None


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _time(value: Any) -> datetime | None:
    """Seconds since 1970 in UTC, as a text; 0 means that Google knows none."""
    try:
        seconds = int(value) if type(value) in (str, int) and len(str(value)) < 16 else 0
        return datetime(1970, 1, 1) + timedelta(seconds=seconds) if seconds else None
    except (ValueError, OverflowError):
        return None


def _position(value: Any) -> tuple[float, float] | None:
    numbers = [_dict(value).get(name) for name in ("latitude", "longitude")]
    sound = [float(n) for n in numbers if isinstance(n, float | int) and not isinstance(n, bool) and abs(n) < 1000]
    return position_of(*sound) if len(sound) == 2 else None
