"""Files and folders of the user's own: they appear whole, and nothing is written through a link."""

import io
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

from muster.errors import InputError
from muster.storage.files import naming

# OWASP "CSV Injection": what a spreadsheet takes for a formula, full-width signs too, at the start of a cell; and after
# what another spreadsheet, in a country of decimal commas, takes for the start of one.
FORMULA = re.compile(r"(?:\A|(?<=[;\t\r\n]))(?='* *[=+\-@\uff1d\uff0b\uff0d\uff20])|\A(?='* *[\t\r\n])")
PRIVATE = 0o600


def check_new(out: Path, folder: bool = False) -> None:
    """InputError where nothing new can be written there: only what is not there yet, or an empty folder."""
    _check_parent(out)
    empty = folder and not out.is_symlink() and out.is_dir() and not any(out.iterdir())
    if os.path.lexists(out) and not empty:
        allowed = "an empty folder or a new name" if folder else "a new name"
        raise InputError(f"`out` {out} is there already, and is not overwritten: give {allowed}")


def check_replaced(out: Path) -> None:
    """InputError where there is something else than a file, or no folder for it."""
    _check_parent(out)
    if os.path.lexists(out) and not stat.S_ISREG(os.lstat(out).st_mode):
        raise InputError(f"`out` {out} is there already, and is no file (a link, a folder, …): give another name")


def check_local(out: str | Path, name: str = "out") -> Path:
    """The place, `~` resolved; `name`: of the parameter. InputError for a URI: a Path has lost one of its slashes, and
    a folder `s3:` would be made."""
    if re.match(r"[A-Za-z][A-Za-z\d+.-]+:/", str(out)):
        raise InputError(f"`{name}` {out}: what is written is a file or folder of this machine: name one")
    return Path(out).expanduser()


def _check_parent(out: Path) -> None:
    check_local(out)
    if not out.absolute().parent.is_dir():
        raise InputError(f"`out` {out}: no folder {out.absolute().parent} to write it into")


@contextmanager
def new_file(out: Path, permissions: int = 0o666) -> Iterator[IO[bytes]]:
    """A file to write, in place once the block ends without an error. A file or link that is there gives way."""
    temporary = _temporary(out)
    try:
        with (
            naming(out),
            open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, permissions)) as file,
        ):
            yield file
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_text(out: Path, permissions: int = 0o666) -> Iterator[TextIO]:
    """`new_file` for text. Names that are not Unicode are written escaped; a CSV brings its own line ends."""
    with (
        new_file(out, permissions) as file,
        io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="") as text,
    ):
        yield text


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, in place once the block ends without an error."""
    temporary = _temporary(out)
    temporary.mkdir()
    try:
        with naming(out):
            yield temporary
        os.rename(temporary, out)  # an empty folder gives way
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def no_link(path: str, flags: int) -> int:
    """For `open`: a file that may be there already, and is no link to another and nothing to wait for."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def _temporary(out: Path) -> Path:
    return out.absolute().parent / f".muster.{uuid.uuid4().hex}.tmp"


def cell(value: Any) -> Any:
    """A value for a CSV: texts that a spreadsheet would take for a formula get an apostrophe before it."""
    return FORMULA.sub("'", value) if isinstance(value, str) else value
