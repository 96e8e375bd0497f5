"""What is kept of a camera's events where a user asks for it: lines of a file, and pictures of frames in a folder."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import simplejpeg

from muster.arrays import Pixels
from muster.errors import InputError
from muster.storage.files import naming
from muster.storage.library import LibraryFiles
from muster.storage.new_files import PRIVATE, check_local, check_replaced, new_file

PRIVATE_FOLDER = 0o700


def check_lines(out: Path, library: LibraryFiles) -> Path:
    """The file that lines are added to. InputError where there is something else, or it lies in the library."""
    out = check_local(out)
    library.check_outside(out)
    check_replaced(out)
    return out


@contextmanager
def lines(out: Path) -> Iterator[IO[bytes]]:
    """A file to add lines to, for the owner's eyes only: also one that was there, which others could read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    with naming(out), open(os.open(out, flags, PRIVATE), "wb", buffering=0) as file:
        os.fchmod(file.fileno(), PRIVATE)
        yield file


def kept_in(folder: Path, library: LibraryFiles) -> Path:
    """A folder of pictures, made where there is none. InputError where others may look into it, or it is none."""
    folder = check_local(folder, "keep")
    library.check_outside(folder, "keep")
    try:
        folder.mkdir(PRIVATE_FOLDER, exist_ok=True)
        there = os.lstat(folder)
    except OSError as error:
        raise InputError(f"`keep` {folder}: {error.strerror}") from None
    if not stat.S_ISDIR(there.st_mode):
        raise InputError(f"`keep` {folder} is a link, or no folder: give another name")
    if there.st_mode & 0o077 or there.st_uid != os.getuid():
        raise InputError(f"`keep` {folder} can be opened by other users: `chmod 700` it, or give a new name")
    return folder


def keep(folder: Path, name: str, pixels: Pixels) -> Path:
    """A frame as `name`.jpg in the folder. pixels: (H, W, 3) uint8 RGB."""
    path = folder / f"{name}.jpg"
    with new_file(path, PRIVATE) as file:
        file.write(simplejpeg.encode_jpeg(pixels, quality=90))
    return path
