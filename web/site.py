"""The folder that holds a static site: what is ours in it, written file by file, replaced and cleared.

No link in it is followed (storage/disk.py), so that neither a marker nor a link that somebody planted leads elsewhere.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from muster.errors import InputError, MusterError
from muster.storage.disk import TEMPORARY, Folder, checked

MARKER = "muster-pages.json"


class Site:
    """A folder of pages. The marker lists the files that are ours; no other file there is ever removed.

    The list grows before files are written and shrinks after they are removed, so a run that dies leaves no file that
    the next one would not know. `stamp` says what the pictures were made by: under another one, none is kept.
    """

    def __init__(self, out: Path, stamp: Mapping[str, str]) -> None:
        """Raises InputError where `out` is a file, or holds files that are not a site of ours, of this kind. `stamp`:
        empty: of any kind."""
        self.out, self.stamp = out, dict(stamp)
        self.folder = Folder(os.path.abspath(out), linked=False)
        marker = _read_marker(out, self.folder)
        self.owned: set[str] = set(marker.get("files", ()))
        if stamp and self.owned and set(marker.get("stamp") or ()) != set(stamp):
            raise InputError(f"{out} holds other pages that Muster made: give `out` a folder of its own")
        self._fresh = marker.get("stamp") != self.stamp

    def begin(self, names: Set[str]) -> None:
        """List `names` as ours, and remove what a killed run left half written.

        Raises MusterError when the folder cannot be written.
        """
        with self._writing():
            self._make()
            for folder in ("", *_folders(self.owned)):
                for name in self.folder.names(folder):
                    if TEMPORARY.fullmatch(name):
                        self.folder.remove(f"{folder}/{name}".lstrip("/"))
        if self._fresh:
            self._remove({name for name in self.owned if name.endswith(".jpg")})
        self.owned |= names
        self._write_marker()

    def _make(self) -> None:
        """The folder itself, where there is none yet."""
        self.out.mkdir(parents=True, exist_ok=True)

    def missing(self, names: Set[str]) -> set[str]:
        """Those of `names` for which there is no file yet."""
        folders = {os.path.dirname(name) for name in names}
        return set(names) - {f"{folder}/{file}" for folder in folders for file in self.folder.names(folder)}

    def write(self, name: str, data: bytes) -> None:
        """Put one file in place, whole. Not synced to disk: after a crash the site can be made again."""
        with self._writing():
            self.folder.write(name, data, sync=False)

    def finish(self, names: Set[str]) -> None:
        """Remove what is ours and not in `names`."""
        self._remove(self.owned - names)
        self.owned = set(names)
        self._write_marker()

    def _remove(self, names: Set[str]) -> None:
        with self._writing():
            for name in names:
                self.folder.remove(name)
            for folder in _folders(names):
                with contextlib.suppress(OSError):  # not empty
                    self.folder.remove_folder(folder, empty=True)

    def _write_marker(self) -> None:
        note = "Made by muster people. Run again, it replaces and removes the files listed here, and no others."
        content = {"note": note, "stamp": self.stamp, "files": sorted(self.owned)}
        self.write(MARKER, json.dumps(content, indent=0).encode())

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise MusterError(
                f"cannot write pages to {self.out}: {reason}: make room, or choose another `out`"
            ) from error


def _folders(names: Set[str]) -> list[str]:
    """The folders below the site that these files are in, the deepest first."""
    found = {str(parent) for name in names for parent in Path(name).parents if parent.parts}
    return sorted(found, key=lambda folder: -folder.count("/"))


def _read_marker(out: Path, folder: Folder) -> dict[str, Any]:
    if out.is_symlink():
        raise InputError(f"{out} is a link: give `out` the folder that it leads to")
    if not out.exists():
        return {}
    if not out.is_dir():
        raise InputError(f"{out} is a file: give `out` a new or empty folder")
    try:
        marker = json.loads(folder.read(MARKER))
        if isinstance(marker, dict) and all(checked(name) for name in marker.get("files", ())):
            return marker
    except FileNotFoundError:
        if not any(out.iterdir()):
            return {}
        raise InputError(f"{out} holds other files and no Muster pages: give `out` a new or empty folder") from None
    except (ValueError, TypeError, AttributeError, RecursionError, MusterError):
        pass
    raise InputError(f"{out / MARKER} is damaged: remove {out} yourself, or choose another `out`")
