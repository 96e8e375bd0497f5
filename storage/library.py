"""A library: one directory or bucket prefix that holds everything Muster knows of a collection.

Every file in it appears whole or not at all: written under a temporary name and renamed on local disks, one PUT on
object stores, where what fails is tried again (storage/retry.py). Paths given to the functions here are relative to the
library, with forward slashes. A library that was made with a key (storage/encryption.py) is encrypted, but for PLAIN.
"""

import base64
import contextlib
import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from storage.encryption import KEY, KEY_FILE, MAGIC, DecryptionError, decrypt, encrypt, key_of
from storage.errors import InputError, MusterError
from storage.retry import retried
from storage.uris import connect, local_uri

T = TypeVar("T")

FORMAT, ENCRYPTED = 1, 2  # of library.json; grows when an older Muster could misread what a newer one wrote
MARKER = "library.json"
REPORT = "gallery/calibration.html"  # what `muster calibrate` measured: curves and counts, nobody's data
PLAIN = (MARKER, REPORT)
ROSTER = "gallery/roster.parquet"  # the images of everybody who was enrolled, as a source to scan


@dataclass(frozen=True)
class Library:
    """An open library. `uri` reopens it, from another process or node; `fs` and `path` are where it lies.

    `key`: what its files are encrypted with; None: they are not.
    """

    uri: str
    fs: pafs.FileSystem
    path: str
    key: bytes | None = field(default=None, repr=False)

    def holds(self, place: str | Path) -> bool:
        """Whether a local path or URI lies in it."""
        other = _locate(str(place))
        if self.local is not None and other.local is not None:
            return other.local.resolve().is_relative_to(self.local.resolve())
        return self.fs.type_name == other.fs.type_name and f"{other.path}/".startswith(f"{self.path}/")

    @property
    def local(self) -> Path | None:
        return Path(self.path) if isinstance(self.fs, pafs.LocalFileSystem) else None

    def at(self, name: str) -> str:
        return f"{self.path}/{name}" if name else self.path

    def uri_of(self, name: str) -> str:
        """How one of its files is called where it is a source, as `storage.sources` and its tables name it."""
        if self.local is not None:
            return local_uri(self.at(name))
        base, question, query = self.uri.partition("?")
        return f"{base.rstrip('/')}/{name}{question}{query}"

    def read(self, name: str) -> bytes:
        """The bytes of one file, decrypted; FileNotFoundError where there is none. Raises DecryptionError."""
        return self._opened(name, self._raw(name))

    def read_any(self, name: str) -> bytes:
        """The same, of a file that somebody else may have put there."""
        data = self._raw(name)
        return self._opened(name, data) if data.startswith(MAGIC) else data

    def _raw(self, name: str) -> bytes:
        return self._repeat("read", name, lambda: self._get(name))

    def _opened(self, name: str, data: bytes) -> bytes:
        if self.key is None or _is_plain(name):
            return data
        try:
            return decrypt(self.key, name, data)
        except DecryptionError as error:
            raise DecryptionError(f"{self.path}/{error}") from None

    def _get(self, name: str) -> bytes:
        with self.fs.open_input_stream(self.at(name)) as stream:
            return bytes(stream.read())

    def _repeat(self, verb: str, name: str, attempt: Callable[[], T]) -> T:
        """Local disks get one chance, buckets several."""
        return attempt() if self.local else retried(f"{verb} {self.at(name)}", attempt)

    def write(self, name: str, data: bytes) -> None:
        """Put one file in place, whole; an existing one is replaced."""
        data = self._sealed(name, data)
        if self.local is None:
            self._repeat("write", name, lambda: self._put(name, data))
            return
        with self._temporary(name, data) as temporary:
            os.replace(temporary, self.at(name))

    def _sealed(self, name: str, data: bytes) -> bytes:
        return data if self.key is None or _is_plain(name) else encrypt(self.key, name, data)

    def _put(self, name: str, data: bytes) -> None:
        try:
            stream = self.fs.open_output_stream(self.at(name))
        except FileNotFoundError:  # not an object store: it has folders
            self.fs.create_dir(self.at(name).rpartition("/")[0])
            stream = self.fs.open_output_stream(self.at(name))
        with stream:
            stream.write(data)

    def has(self, name: str) -> bool:
        info = self._repeat("look at", name, lambda: self.fs.get_file_info(self.at(name)))
        return bool(info.type == pafs.FileType.File)

    def create(self, name: str, data: bytes) -> bool:
        """Put one file in place if there is none; False where another was there first."""
        if self.local is None:  # no conditional PUT in pyarrow.fs; writers of one name write the same rows
            if self.has(name):
                return False
            self.write(name, data)
            return True
        with self._temporary(name, self._sealed(name, data)) as temporary:
            try:
                os.link(temporary, self.at(name))
            except FileExistsError:
                return False
            except OSError:  # no hard links here (exFAT, some network mounts)
                if os.path.exists(self.at(name)):
                    return False
                os.replace(temporary, self.at(name))
        return True

    @contextlib.contextmanager
    def _temporary(self, name: str, data: bytes) -> Iterator[str]:
        folder, _, base = self.at(name).rpartition("/")
        os.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{base}.{uuid.uuid4().hex}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)

    def remove(self, name: str) -> None:
        """Delete one file; nothing happens where there is none."""
        with contextlib.suppress(FileNotFoundError):
            self._repeat("delete", name, lambda: self.fs.delete_file(self.at(name)))

    def names(self, folder: str) -> list[str]:
        """The plain names in a folder of the library, sorted, temporary ones left out; empty where it is missing.

        `folder`: "" for the library itself.
        """
        selector = pafs.FileSelector(self.at(folder), allow_not_found=True)
        infos = self._repeat("list", folder, lambda: self.fs.get_file_info(selector))
        return sorted(info.base_name for info in infos if not info.base_name.startswith("."))

    def files(self) -> list[str]:
        """The names of all its files, those of Muster's own working (`.lock`) and temporary ones too."""
        infos = self._repeat("list", "", lambda: self.fs.get_file_info(pafs.FileSelector(self.path, recursive=True)))
        files = (info.path for info in infos if info.type == pafs.FileType.File)
        return sorted(path.removeprefix(self.path).lstrip("/") for path in files)

    @contextlib.contextmanager
    def lock(self, seconds: float = 0.0) -> Iterator[None]:
        """Hold the library for one writing command. On object stores there is no lock: commits are idempotent there.

        Raises MusterError when another process holds it, after so many `seconds` still, or when the library may not be
        written. The lock dies with its process, however that ends.
        """
        if self.local is None:
            yield
            return
        try:
            file = open(self.local / ".lock", "a+")  # noqa: SIM115  closed below
        except OSError as error:
            raise MusterError(f"cannot write to library {self.uri}: {error.strerror}") from error
        with file:
            deadline = time.monotonic() + seconds
            while not self._lock(file, last=time.monotonic() >= deadline):
                time.sleep(0.1)
            yield

    def _lock(self, file: TextIO, last: bool) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not last:
                return False
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise MusterError(f"library {self.uri} is in use by {holder}: wait for it to end, or stop it") from None
        except OSError as error:
            raise MusterError(f"cannot lock library {self.uri}: {error.strerror}. Its disk must offer flock") from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        return True


def _is_plain(name: str) -> bool:
    return name in PLAIN or name.rpartition("/")[2].startswith(".")  # a temporary file holds what was encrypted before


def open_library(uri: str | Path, create: bool = False) -> Library:
    """Open the library at a local path or any `pyarrow.fs` URI; with `create`, make it where there is none.

    The key is taken from the environment (`key_of`); what is made with one is encrypted. Raises InputError when there
    is no library, when something else is there, when a newer Muster wrote it, or when the key is not its own.
    """
    library, key = _locate(str(uri)), key_of(os.environ)
    try:
        marker = json.loads(library.read(MARKER))
    except FileNotFoundError:
        if not create:
            raise InputError(f"no library at {uri}: make one with `muster scan FOLDER -l {uri}`") from None
        _check_empty(library)
        return _create(replace(library, key=key))
    except NotADirectoryError:
        raise InputError(f"{uri} is a file, not a library: give -l a folder") from None
    except OSError as error:
        raise MusterError(f"cannot read library {uri}: {error.strerror or error}") from error
    except ValueError:
        marker = None
    if not isinstance(marker, dict) or not isinstance(marker.get("format"), int):
        raise InputError(f"{uri}/{MARKER} is damaged, or not of Muster: restore it, or choose another folder with -l")
    if marker["format"] > ENCRYPTED:
        raise InputError(
            f"library {uri} was written by Muster {marker.get('muster')} (format {marker['format']}); this Muster"
            f" reads up to format {ENCRYPTED}: upgrade Muster"
        )
    _check_key(uri, marker, key)
    return replace(library, key=key)


def _check_key(uri: str | Path, marker: dict[str, Any], key: bytes | None) -> None:
    """InputError where a library is encrypted and this is not its key, or it is not and there is a key."""
    if marker["format"] < ENCRYPTED:
        if key is not None:
            raise InputError(
                f"library {uri} is not encrypted, and a key is given: unset {KEY} and {KEY_FILE} to use it as it is, or"
                " choose a new folder with -l, which is then encrypted"
            )
        return
    if key is None:
        raise InputError(f"library {uri} is encrypted: set {KEY_FILE} to the file of its key, or {KEY} to the key")
    if not isinstance(marker.get("check"), str):
        raise InputError(f"{uri}/{MARKER} is damaged: restore it from a backup; the files beside it need it")
    try:
        decrypt(key, MARKER, base64.b64decode(marker["check"]))
    except (DecryptionError, ValueError):
        raise InputError(f"library {uri} was encrypted with another key than the one in {KEY_FILE} or {KEY}") from None


def _locate(uri: str) -> Library:
    if "://" not in uri:
        path = os.path.abspath(os.path.expanduser(uri))
        return Library(path, pafs.LocalFileSystem(), path)
    try:
        fs, path = connect(uri)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"cannot open library {uri}: {error}") from None
    path = path.rstrip("/")
    if not path:
        raise InputError(f"cannot open library {uri}: it names no bucket or folder")
    return Library(path if isinstance(fs, pafs.LocalFileSystem) else uri.rstrip("/"), fs, path)


def decrypted(library: Library, place: str | Path) -> Library:
    """A copy of an encrypted library that is not, in an empty or new place. The caller holds library.lock().

    Its marker is written last: a copy that was cut off is no library. Raises InputError where the place is not empty,
    or lies in the library.
    """
    if library.key is None:
        raise InputError(f"library {library.uri} is not encrypted: copy its folder")
    if library.holds(place):
        raise InputError(f"{place} lies in the library {library.uri}: give a place outside of it")
    copy = _locate(str(place))
    try:
        empty = not copy.names("")
    except OSError as error:
        raise InputError(f"{place} is no folder to write into: {error.strerror or error}") from None
    if not empty:
        raise InputError(
            f"{place} is not empty: give an empty or new folder. What an interrupted `muster decrypt` left can be read"
            " by everybody: delete it"
        )
    for name in library.files():
        if name != MARKER and not name.rpartition("/")[2].startswith("."):
            copy.write(name, library.read_any(name))
    return _create(copy)


def _create(library: Library) -> Library:
    marker: dict[str, Any] = {"format": FORMAT, "muster": _version()}
    if library.key is not None:  # something that only this key decrypts
        check = base64.b64encode(encrypt(library.key, MARKER, b"")).decode()
        marker |= {"format": ENCRYPTED, "check": check}
    try:
        if library.create(MARKER, json.dumps(marker).encode()):
            return library
    except OSError as error:
        raise MusterError(f"cannot make a library at {library.uri}: {error.strerror or error}") from None
    return open_library(library.uri)  # another command made one meanwhile, perhaps with another key


def _check_empty(library: Library) -> None:
    try:
        if library.names(""):  # names that begin with a dot do not count: .DS_Store, what a killed Muster left
            raise InputError(
                f"{library.uri} holds other files and no library: give -l an empty or new folder"
                " (Muster writes only there, never beside your photos)"
            )
    except OSError as error:
        raise MusterError(f"cannot make a library at {library.uri}: {error.strerror or error}") from None


def _version() -> str:
    from importlib.metadata import version

    return version("muster")


def dump_json(value: Any) -> bytes:
    """JSON bytes for files in a library: the same value always gives the same bytes."""
    return json.dumps(value, sort_keys=True, indent=1, default=str).encode()
