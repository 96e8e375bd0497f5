"""Live Photos: a still, and beside it a clip of a few seconds that a phone filmed with it, under the same name.

The still is the photo. A Motion Photo has its clip within the still's own file, where no decoder looks for a photo.
"""

from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

import pyarrow as pa

from muster.errors import ImageError
from muster.storage.photos import video
from muster.storage.photos.first_bytes import suffix_of
from muster.storage.uris import path_of

CLIPS = "clips of Live Photos"  # as what they are left out
LONGEST = 5.0  # seconds; Apple's are of 3, and of a film under the name of a photo nobody must miss anything


def stem(uri: str) -> str:
    """Folder and name without its suffix, in small letters: IMG_1.HEIC and img_1.mov are one."""
    path = PurePosixPath(path_of(uri))
    return str(path.with_suffix("")).lower() if path.name else str(path)


def stems(uris: Iterable[str]) -> frozenset[str]:
    return frozenset(map(stem, uris))


def hangs_on(uri: str, stills: Collection[str]) -> bool:
    """Whether this file is the clip of one of these stills, by their `stems`. What cannot be opened is none."""
    if suffix_of(uri) not in video.SUFFIXES or stem(uri) not in stills:
        return False
    try:
        return video.length(uri) <= LONGEST
    except (ImageError, OSError, pa.ArrowException):
        return False
