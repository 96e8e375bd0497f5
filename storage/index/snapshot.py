"""Snapshots: several files of a library that are replaced together, or not at all, wherever a writer is killed.

    FOLDER/<part>-<digest>     the parts, named after their SHA-256, so that no write ever touches a file in use
    FOLDER/index.json          written last, in one step: what there is, and the size and SHA-256 of each part

What a new index.json no longer names is removed after it is in place. Nothing is unpickled, and no parser sees a part
before its SHA-256 has been compared; of a part that is only mapped (`Snapshot.mapped`) the size is compared.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from muster.errors import DamagedError, DecryptionError, InputError
from muster.storage.library import Library, dump_json

T = TypeVar("T")
Bytes = np.ndarray[Any, np.dtype[np.uint8]]

FORMAT = 2  # 1: index.faiss and faces.parquet, exact indexes alone
ATTEMPTS = 3  # at reading a snapshot that another process replaces meanwhile


@dataclass(frozen=True)
class Part:
    """`size`: in bytes. `sha256`: in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """`facts`: as they were given to `write`."""

    library: Library
    folder: str
    facts: dict[str, Any]
    parts: dict[str, Part]

    def read(self, name: str) -> Bytes:
        """The bytes of a part, (size,); DamagedError where they are not those that were written."""
        try:
            data = self._whole(name, np.frombuffer(self.library.read(self._file(name)), np.uint8))
        except DecryptionError as error:
            raise self.damaged(str(error)) from None
        if digest(data) != self.parts[name].sha256:
            raise self.damaged(f"{self._file(name)} was changed")
        return data

    def mapped(self, name: str) -> Bytes:
        """The same, mapped into memory where the library is local and not encrypted. Then only the size is checked."""
        if self.library.disk is None or self.library.key is not None or not self.parts[name].size:
            return self.read(name)
        with self.library.disk.open(self._file(name)) as file:
            if not os.fstat(file.fileno()).st_size:  # cannot be mapped
                raise self.damaged(f"{self._file(name)} is empty")
            return self._whole(name, np.asarray(np.memmap(file, np.uint8, mode="r")))

    def lies_in(self, library: Library, folder: str) -> bool:
        """Whether all files of this snapshot are in that place."""
        present = set(library.names(folder))
        files = {_file_name(name, part) for name, part in self.parts.items()}
        return self.library.at(self.folder) == library.at(folder) and files <= present

    def damaged(self, what: str) -> DamagedError:
        return damaged(self.library, self.folder, what)

    def _whole(self, name: str, data: Bytes) -> Bytes:
        if len(data) != self.parts[name].size:
            raise self.damaged(f"{self._file(name)} has {len(data)} bytes of {self.parts[name].size}")
        return data

    def _file(self, name: str) -> str:
        return f"{self.folder}/{_file_name(name, self.parts[name])}"


def digest(data: Any) -> str:
    """SHA-256, in hexadecimal, of anything that has a buffer."""
    return hashlib.sha256(data).hexdigest()


def damaged(library: Library, folder: str, what: str) -> DamagedError:
    return DamagedError(f"{library.at(folder)} is damaged ({what}): delete that folder, and build the index again")


def write(
    library: Library, folder: str, facts: Mapping[str, Any], new: Mapping[str, Any], kept: Mapping[str, Part]
) -> Snapshot:
    """Put a snapshot in place of an earlier one. The caller holds library.lock().

    `new`: a buffer for each part to write. `kept`: parts that lie in this folder already.
    """
    parts = dict(kept)
    for name, data in new.items():
        buffer = pa.py_buffer(data)
        parts[name] = Part(buffer.size, digest(buffer))
        library.write(f"{folder}/{_file_name(name, parts[name])}", buffer)
    body = {"format": FORMAT, "facts": dict(facts), "parts": {name: asdict(part) for name, part in parts.items()}}
    library.write(f"{folder}/index.json", dump_json(body | {"check": digest(dump_json(body))}))
    used = {"index.json"} | {_file_name(name, part) for name, part in parts.items()}
    for file in library.names(folder):
        if file not in used:
            library.remove(f"{folder}/{file}")
    return Snapshot(library, folder, dict(facts), parts)


def load(library: Library, folder: str, read: Callable[[Snapshot], T]) -> T | None:
    """What `read` makes of the snapshot in this folder; None where there is none, or one of an older Muster.

    Raises DamagedError, and InputError for a snapshot of a newer Muster.
    """
    for _ in range(ATTEMPTS):
        snapshot = _latest(library, folder)
        if snapshot is None:
            return None
        try:
            return read(snapshot)
        except InputError:  # which is a ValueError too
            raise
        except FileNotFoundError:  # replaced while it was being read, or lost
            continue
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # facts that are none
            raise damaged(library, folder, "index.json is not as Muster wrote it") from error
    raise damaged(library, folder, "files that index.json names are missing")


def _latest(library: Library, folder: str) -> Snapshot | None:
    try:
        body = json.loads(library.read(f"{folder}/index.json"))
        if set(body) == {"fingerprint", "sha256"}:  # format 1
            return None
        if body["format"] > FORMAT:
            raise InputError(f"{library.at(folder)} was written by a newer Muster: upgrade Muster")
        if body.pop("check") != digest(dump_json(body)):
            raise damaged(library, folder, "index.json was changed")
        parts = {name: Part(**part) for name, part in body["parts"].items()}
        if not all(
            re.fullmatch("[a-z-]+", name) and re.fullmatch("[0-9a-f]{64}", p.sha256) for name, p in parts.items()
        ):
            raise ValueError("names of files elsewhere")
        return Snapshot(library, folder, body["facts"], parts)
    except FileNotFoundError:
        return None
    except InputError:  # which is a ValueError too
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DecryptionError) as error:
        raise damaged(library, folder, "index.json cannot be read") from error


def _file_name(name: str, part: Part) -> str:
    return f"{name}-{part.sha256[:16]}"
