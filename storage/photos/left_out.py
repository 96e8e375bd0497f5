"""Which files and folders below a source are not looked at: by names of programs, and as the user says.

What is named as a source itself counts, whatever it is called.
"""

import codecs
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase, translate
from itertools import accumulate
from operator import or_
from typing import NamedTuple, TypeVar
from unicodedata import normalize

from muster.errors import InputError
from muster.storage.photos.first_bytes import BESIDE_RAW, PICTURES, RAW_SUFFIXES, stem_of, suffix_of

T = TypeVar("T")

IGNORE, NOMEDIA = ".musterignore", ".nomedia"  # the latter is Android's: neither the folder nor what is below
IGNORE_BYTES = 1 << 16  # of one such file that are read
HIDDEN, EXCLUDED, PHOTOS = "hidden", "excluded", ""
PAIRED, CACHES = "raw beside a photo", "caches of datasets"
_PACKAGES = tuple(f"*.{each}" for each in ("photoslibrary", "photolibrary", "migratedphotolibrary", "aplibrary"))
NAMES = {  # what is in a folder of this name, or of this name in such a folder; the first kind counts; in any case
    # of Apple's libraries only this: the rest is made from it
    PHOTOS: tuple(f"{package}/{folder}" for package in _PACKAGES for folder in ("originals", "masters")),
    "recycle bins": (
        *("#recycle", "@recycle", "$recycle.bin", "recycler", "recycled"),  # Synology, QNAP, Windows
        *(".trash", ".trash-*", ".trashes", ".trashed-*", ".recycle", ".recycle.bin"),  # desktops, Android, Samba
        "network trash folder",  # Macs on a server
        *("files_trashbin", ".dtrash", ".stversions"),  # Nextcloud, digiKam, Syncthing
    ),
    "thumbnails": (  # previews and caches too
        *("@eadir", "@__thumb", ".@__thumb", "@transcode", ".synophoto"),  # Synology, QNAP
        *("thumbs", "_thumbs", ".thumbs", "thumbnails", "_thumbnails", ".thumbnails", ".thumb"),  # Immich, Android, …
        *(f"{package}/*" for package in _PACKAGES),
        *(f"iphoto library*/{folder}" for folder in ("data", "data.noindex", "thumbnails", "previews")),
        *("*.lrdata", "captureone/cache", "*.cocatalog/cache", "*.imovielibrary"),  # Lightroom, Capture One
        *(".photoprism", "storage/cache", "storage/sidecar"),  # PhotoPrism
        *("appdata_*/preview", "protected_media", "_data/i"),  # Nextcloud, LibrePhotos, Piwigo
    ),
    "snapshots": (  # earlier states of everything
        *("#snapshot", "@recently-snapshot", "@sharesnap", "~snapshot", ".snapshot", ".snapshots", ".zfs"),
        *("files_versions",),  # Nextcloud
    ),
    "system folders": (
        *("system volume information", "lost+found", "found.[0-9][0-9][0-9]", "__macosx", ".appledouble"),
        *("@tmp", "@synoresource", ".spotlight-v100", ".fseventsd", ".temporaryitems", ".documentrevisions-v100"),
    ),
}
_KINDS = {
    kind: re.compile("|".join(translate(each if "/" in each else f"*/{each}") for each in names), re.IGNORECASE)
    for kind, names in NAMES.items()
}

SHOWN = 12  # suffixes that are named
_WORDS = {  # one, many
    **{kind: (kind.removesuffix("s"), kind) for kind in ("recycle bins", "snapshots", "system folders")},
    "clips of Live Photos": ("clip of a Live Photo", "clips of Live Photos"),
    "thumbnails": ("folder of thumbnails", "folders of thumbnails"),
    NOMEDIA: (f"folder with {NOMEDIA}", f"folders with {NOMEDIA}"),
    IGNORE: (f"by {IGNORE}", f"by {IGNORE}"),
    PAIRED: ("raw file beside its photo", "raw files beside their photos"),
    CACHES: ("file that `datasets` made of others", "files that `datasets` made of others"),
    "rows without uri": ("row without uri", "rows without uri"),
    "": ("without a suffix", "without a suffix"),
}


class Line(NamedTuple):
    """A pattern of a user. `parts`: globs, a folder each; `**` stands for any number of folders."""

    parts: tuple[str, ...]
    folders: bool  # only they are meant
    taken_in: bool  # what a line before it leaves out


def line(text: str) -> Line:
    """As in a .gitignore: without a slash it is a name at any depth; with one a path from here on."""
    taken_in, text = text.startswith("!"), text.removeprefix("!")
    text = text[1:] if text.startswith("./") else text
    folders, path = text.endswith("/"), text.strip("/")
    anywhere = () if "/" in text.rstrip("/") else ("**",)
    return Line((*anywhere, *filter(None, normalize("NFC", path).split("/"))), folders, taken_in)


def text_of(content: bytes) -> str:
    """Of a file of patterns, whatever wrote it: PowerShell's > writes UTF-16, and its >> adds that to any file,
    with null bytes, which no name can have.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    return os.fsdecode(content.removeprefix(codecs.BOM_UTF8).replace(b"\0", b""))


def lines(text: str) -> list[Line]:
    """Of a file with a pattern a line; # begins a comment."""
    stripped = (each.strip() for each in text.splitlines())
    return [line(each) for each in stripped if each.strip("!/") and not each.startswith("#")]


def excluded(patterns: Iterable[str], folder: str) -> list[Line]:
    """The patterns of `exclude`, for a source whose local path, or path in a bucket, is `folder`."""
    found, home = [], folder.rstrip("/")
    for pattern in map(os.path.expanduser, patterns):
        if not pattern.strip("/!"):
            raise InputError(f"`exclude` {pattern!r}: give a glob, such as '*.png' or 'private/'")
        found.append(line(pattern.removeprefix(home) if pattern.startswith(f"{home}/") else pattern))
    return found


@dataclass
class Rules:
    """What is left out of one source; paths are relative to it. `name`: its own. `named`: the names in its glob, which
    count. `lines`: folder → those it has."""

    name: str
    named: Collection[str] = ()
    lines: dict[str, Sequence[Line]] = field(default_factory=dict)
    excluded: Sequence[Line] = ()

    def kind(self, path: str, folder: bool) -> str | None:
        """Why a file or folder is left out, in the words of what is said of it; None where it is not."""
        parts, names = path.split("/"), normalize("NFC", path).split("/")  # as Macs do not write them
        hidden = parts[-1].startswith(".")
        if (folder or hidden) and parts[-1] not in self.named:
            name = f"{([self.name, *parts])[-2]}/{parts[-1]}"
            kind = next((kind for kind, known in _KINDS.items() if known.match(name)), HIDDEN if hidden else PHOTOS)
            if kind != PHOTOS:
                return kind
        if self.excluded and _leaves_out(self.excluded, names, folder):
            return EXCLUDED
        return IGNORE if self.lines and self._ignored(parts, names, folder) else None

    def _ignored(self, parts: list[str], names: list[str], folder: bool) -> bool:
        """By the last line that speaks of it, of the innermost folder that does."""
        for depth in range(len(parts) - 1, -1, -1):
            said = _leaves_out(self.lines.get("/".join(parts[:depth]), ()), names[depth:], folder)
            if said is not None:
                return said
        return False


def _leaves_out(lines: Sequence[Line], parts: Sequence[str], folder: bool) -> bool | None:
    """What the last line says that speaks of it; None where none does."""
    spoken = (each for each in reversed(lines) if (folder or not each.folders) and _matches(each.parts, parts))
    last = next(spoken, None)
    return None if last is None else not last.taken_in


def _matches(globs: Sequence[str], parts: Sequence[str]) -> bool:
    """In globs × parts steps, whatever they are: folders of others may hold such files."""
    if len(globs) == 2 and globs[0] == "**" != globs[1]:  # the usual line, a name
        return fnmatchcase(parts[-1], globs[1])
    reached = [True, *[False] * len(parts)]  # how many parts the globs so far can stand for
    for glob in globs:
        if glob == "**":
            reached = [*accumulate(reached, or_)]
        else:
            reached = [
                False,
                *(reached[i] and fnmatchcase(part, glob) for i, part in enumerate(parts)),
            ]
    return reached[-1]


def without_pairs(found: Sequence[T], name: Callable[[T], str], left_out: Counter[str]) -> list[T]:
    """Cameras write one photo as raw and as JPEG or HEIC, of one name: the latter is taken, as the camera made it."""
    if not any(suffix_of(name(each)) in RAW_SUFFIXES for each in found):
        return list(found)
    made = {stem_of(name(each)) for each in found if suffix_of(name(each)) in BESIDE_RAW}
    kept = [each for each in found if suffix_of(name(each)) not in RAW_SUFFIXES or stem_of(name(each)) not in made]
    if len(kept) < len(found):
        left_out[PAIRED] += len(found) - len(kept)
    return kept


def total(counts: Iterable[Counter[str]]) -> dict[str, int]:
    """The counts of several sources together. Their sum would lack what is 0."""
    all_of_it = Counter[str]()
    for each in counts:
        all_of_it.update(each)
    return dict(all_of_it)


def said(left_out: Mapping[str, int], skipped: Mapping[str, int]) -> list[str]:
    """`{"recycle bins": 1}`, `{".nef": 2}` → ["1 recycle bin", "2 .nef"]. Pictures come first, then what is commonest;
    rare suffixes are counted together."""
    order = sorted(skipped, key=lambda suffix: (suffix not in PICTURES, -skipped[suffix], suffix))
    shown, rest = order[:SHOWN], order[SHOWN:]
    texts = [_counted(number, kind) for kind, number in left_out.items()]
    texts += [_counted(skipped[suffix], suffix) for suffix in shown]
    return [*texts, *([f"{sum(skipped[suffix] for suffix in rest):,} of {len(rest)} other suffixes"] if rest else [])]


def _counted(number: int, kind: str) -> str:
    return f"{number:,} {_WORDS.get(kind, (kind, kind))[number != 1]}"
