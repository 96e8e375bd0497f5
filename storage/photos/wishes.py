"""What a scan was asked for, beside its sources."""

from collections.abc import Collection
from dataclasses import dataclass

from muster.errors import InputError

MOST_FPS = 1000


@dataclass(frozen=True)
class Wishes:
    """`follow_links`: also those that lead out of a source. `exclude`: globs of what is left out. `column`: of Parquet
    files that names images; None: the one that is usual. `allow_private`: whether web servers at private addresses may
    be asked, now and whenever the images are read. `fps`: moments of each second of a video; `frames`: of each video at
    most, None: any number. InputError for what cannot be."""

    follow_links: bool = False
    exclude: Collection[str] = ()
    column: str | None = None
    allow_private: bool = False
    fps: float = 1.0
    frames: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.fps <= MOST_FPS:
            raise InputError(
                f"`fps` {self.fps:g}: moments of a video in each second, more than 0 and at most {MOST_FPS}"
            )
        if self.frames is not None and self.frames < 1:
            raise InputError(f"`frames` {self.frames}: moments of a video, at least 1")


PLAIN = Wishes()
