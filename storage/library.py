"""A library: one directory or bucket prefix that holds everything Muster knows of a collection.

Every file in it appears whole or not at all: written under a temporary name and renamed on local disks, one PUT on
object stores, where what fails is tried again (storage/retry.py). Paths given to the functions here are relative to the
library, with forward slashes. A library that was made with a key (storage/encryption.py) is encrypted, but for its
marker. On a local disk no link in it is followed (storage/disk.py), and it is refused where others may write it.
"""

import base64
import contextlib
import errno
import fcntl
import json
import os
import re
import socket
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from muster.distribution import version
from muster.errors import DecryptionError, InputError, LibraryGoneError, MusterError, NotYetError
from muster.storage.disk import TEMPORARY, Folder, checked
from muster.storage.encryption import KEY, KEY_FILE, MAGIC, NEW_KEY, NEW_KEY_FILE, decrypt, derived, encrypt, key_of
from muster.storage.files import inode
from muster.storage.layout import FACTS, GALLERY, KEYS, LOCK, LOG_LOCK, MARKER, REPORT
from muster.storage.retry import retried
from muster.storage.uris import connect, local_path, local_uri, unread

T = TypeVar("T")

# Of library.json; grows when an older Muster could misread what a newer one wrote. CHANGING: see finish_change().
FORMAT, UNBOUND, ENCRYPTED, CHANGING = 1, 2, 3, 4
PATIENCE = 10.0  # seconds to wait for another process that changes the key of a library, or writes a line of its log
_trusts: ContextVar[bool] = ContextVar("trusts", default=False)  # see trusting()
TRUST = "MUSTER_TRUST"  # in the environment: libraries that others may write are used all the same


@dataclass(frozen=True)
class LibraryFiles:
    """An open library. `uri` reopens it, from another process or node; `fs` and `path` are where it lies.

    `key`: what its files are encrypted with; None: they are not. `place`: device and inode of its folder, and its
    marker, when it was opened on a local disk.
    """

    uri: str
    fs: pafs.FileSystem
    path: str
    key: bytes | None = field(default=None, repr=False)
    place: tuple[tuple[int, int], bytes] | None = field(default=None, repr=False)

    def holds(self, place: str | Path) -> bool:
        """Whether a local path or URI lies in it."""
        other = _locate(str(place))
        if self.local is not None and other.local is not None:
            return other.local.resolve().is_relative_to(self.local.resolve())
        return self.fs.type_name == other.fs.type_name and f"{other.path}/".startswith(f"{self.path}/")

    def check_outside(self, out: Path, parameter: str = "out") -> None:
        """InputError where a user's own file would lie in it: `muster forget` would not know what in it is to go."""
        if self.holds(out):
            raise InputError(f"`{parameter}` {out} lies in the library {self.uri}: give a place outside of it")

    @property
    def local(self) -> Path | None:
        return Path(self.path) if isinstance(self.fs, pafs.LocalFileSystem) else None

    @cached_property
    def disk(self) -> Folder | None:
        """Its folder, where it lies on a local disk."""
        if not isinstance(self.fs, pafs.LocalFileSystem):
            return None
        return Folder(self.path, None if self.place is None else self._is_same)

    def _is_same(self, fd: int) -> bool:
        """Whether an open folder is the one that was opened. Some network mounts give a folder new inode numbers."""
        assert self.place is not None
        place, marker = self.place
        if inode(fd) == place:
            return True
        with contextlib.suppress(OSError), open(MARKER, "rb", opener=partial(os.open, dir_fd=fd)) as file:
            return file.read() == marker
        return False

    def at(self, name: str) -> str:
        return f"{self.path}/{checked(name)}" if name else self.path

    def uri_of(self, name: str) -> str:
        """How one of its files is called where it is a source, as `muster.storage.photos.sources` and its tables name
        it."""
        if self.local is not None:
            return local_uri(self.at(name))
        base, question, query = self.uri.partition("?")
        return f"{base.rstrip('/')}/{name}{question}{query}"

    def read(self, name: str) -> bytes:
        """The bytes of one file, decrypted; FileNotFoundError where there is none. Raises DecryptionError."""
        return self._opened(name, self._raw(name))

    def read_any(self, name: str) -> bytes:
        """The same, but a file that is not encrypted is returned as it is: somebody else may have put it there."""
        data = self._raw(name)
        return self._opened(name, data) if data.startswith(MAGIC) else data

    def _raw(self, name: str) -> bytes:
        return self._repeat("read", name, lambda: self._get(name))

    def _opened(self, name: str, data: bytes) -> bytes:
        if _is_plain(name) or (self.key is None and not data.startswith(MAGIC)):
            return data
        try:
            if self.key is None:
                raise DecryptionError(f"{name} is encrypted, and the library is not")
            return decrypt(self.key, name, data)
        except DecryptionError as error:
            self._check_key()
            raise DecryptionError(f"{self.path}/{error}") from None

    def _check_key(self) -> None:
        """LibraryGoneError where its key was changed since it was opened, on a local disk."""
        if self.disk is not None and self.place is not None:
            with self._marker(self.disk) as file:
                self._check_marker(file)

    def _marker(self, disk: Folder, writable: bool = False) -> IO[bytes]:
        try:
            return disk.open(MARKER, writable)
        except FileNotFoundError:
            raise LibraryGoneError(f"{self.at(MARKER)} is gone: restore it from a backup, and run again") from None

    def _check_marker(self, file: IO[bytes]) -> None:
        assert self.place is not None
        now = os.stat(self.at(MARKER))
        if file.read() != self.place[1] or (now.st_dev, now.st_ino) != inode(file.fileno()):
            raise LibraryGoneError(
                f"the key of library {self.uri} was changed since it was opened here: open it again, with its new key"
            )

    @contextlib.contextmanager
    def holding_key(self, alone: bool = False) -> Iterator[None]:
        """Its key is not changed meanwhile, on a local disk. Several may hold it, or one `alone`, who may change it.

        The lock is on the marker. Raises MusterError where another process changes the key, and LibraryGoneError where
        one has since this library was opened.
        """
        if self.disk is None or self.place is None:
            yield
            return
        with self._marker(self.disk, writable=alone) as file:  # NFS locks alone only what is open to write
            deadline = time.monotonic() + (PATIENCE if alone else 0)
            try:
                while not _flock(file, alone, last=time.monotonic() >= deadline):
                    time.sleep(0.05)
            except BlockingIOError:
                text = "is being changed by another process" if not alone else "cannot be changed while others write"
                raise MusterError(f"the key of library {self.uri} {text}: wait for it to end") from None
            except OSError as error:
                if alone:
                    raise MusterError(f"cannot lock {self.at(MARKER)}: {error.strerror}") from error
            self._check_marker(file)
            yield

    def _get(self, name: str) -> bytes:
        if self.disk is not None:
            return self.disk.read(name)
        with self.fs.open_input_stream(self.at(name)) as stream:
            return bytes(stream.read())

    def begins(self, name: str, magic: bytes) -> bool:
        """Whether the stored bytes of a file, before decryption, begin with `magic`."""
        if self.disk is not None:
            with self.disk.open(name) as file:
                return file.read(len(magic)) == magic
        with self.fs.open_input_stream(self.at(name)) as stream:
            return bytes(stream.read(len(magic))) == magic

    def _repeat(self, verb: str, name: str, attempt: Callable[[], T]) -> T:
        """Try once on a local disk, and several times in a bucket, whose errors may pass."""
        return attempt() if self.disk else retried(f"{verb} {self.at(name)}", attempt)

    def write(self, name: str, data: bytes, sync: bool = True) -> None:
        """Put one file in place, whole; an existing one is replaced. `sync`: it outlasts a machine that loses power."""
        data = self._sealed(name, data)
        if self.disk is not None:
            with self._holding_key_for(name):
                self.disk.write(name, data, sync)
        else:
            self._repeat("write", name, lambda: self._put(name, data))

    def _holding_key_for(self, name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if name == MARKER else self.holding_key()

    def put_aside(self, name: str, data: bytes, tag: str) -> None:
        """Write a file of a local library under a temporary name, until `put_in_place`. `tag`: 32 hex digits."""
        assert self.disk is not None
        self.disk.write(_aside(name, tag), self._sealed(name, data))

    def put_in_place(self, aside: str, base: str) -> None:
        """Give such a file the name that it is for, without its folder; the one that is there gives way."""
        assert self.disk is not None
        self.disk.rename(aside, base)

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
        if self.disk is not None:
            return self.disk.has(name)
        info = self._repeat("look at", name, lambda: self.fs.get_file_info(self.at(name)))
        return bool(info.type == pafs.FileType.File)

    def create(self, name: str, data: bytes) -> bool:
        """Put one file in place if there is none; False where another was there first."""
        if self.disk is not None:
            with self._holding_key_for(name):
                return self.disk.create(name, self._sealed(name, data))
        if self.has(name):  # no conditional PUT in pyarrow.fs; writers of one name write the same rows
            return False
        self.write(name, data)
        return True

    def remove(self, name: str) -> None:
        """Delete one file; nothing happens where there is none."""
        if self.disk is not None:
            with self.holding_key():  # or a change of the key that has read it puts it back
                self.disk.remove(name)
            return
        with contextlib.suppress(FileNotFoundError):
            self._repeat("delete", name, lambda: self.fs.delete_file(self.at(name)))

    def remove_folder(self, folder: str) -> None:
        """Delete a folder with all that is in it, if it is there. OSError where a file does not go."""
        if self.disk is not None:
            with self.holding_key():
                self.disk.remove_folder(folder)
            return
        for name in self._files(folder):
            self.remove(name)
        with contextlib.suppress(OSError):  # most buckets have none
            self.fs.delete_dir(self.at(folder))

    def names(self, folder: str) -> list[str]:
        """The plain names in a folder of the library, sorted, temporary ones left out; empty where it is missing.

        `folder`: "" for the library itself.
        """
        if self.disk is not None:
            names = self.disk.names(folder)
        else:
            selector = pafs.FileSelector(self.at(folder), allow_not_found=True)
            infos = self._repeat("list", folder, lambda: self.fs.get_file_info(selector))
            names = [info.base_name for info in infos]
        return sorted(name for name in names if not name.startswith("."))

    def files(self) -> list[str]:
        """The names of all its files, with lock and temporary files."""
        return self.disk.files() if self.disk is not None else self._files("")

    def _files(self, folder: str) -> list[str]:
        selector = pafs.FileSelector(self.at(folder), allow_not_found=True, recursive=True)
        infos = self._repeat("list", folder, lambda: self.fs.get_file_info(selector))
        files = (info.path for info in infos if info.type == pafs.FileType.File)
        return sorted(path.removeprefix(self.path).lstrip("/") for path in files)

    def remove_temporary(self) -> None:
        """Remove what writers that were killed left under temporary names. The caller holds lock()."""
        if self.disk is None:  # object stores have none
            return
        with self.lock_log():  # whoever writes a line of the log has one
            for name in self.disk.files():
                if TEMPORARY.fullmatch(name.rpartition("/")[2]):
                    self.disk.remove(name)

    def make_private(self) -> None:
        """Make a local library readable for its owner alone: it holds names of people now.

        Not where others are trusted, because then other users are meant to work in it.
        """
        if self.local is not None and not _others_are_trusted():
            # not ours: then we were told to trust its owner, or it is root's
            with contextlib.suppress(PermissionError):
                os.chmod(self.local, 0o700)

    @contextlib.contextmanager
    def lock(self, seconds: float = 0.0) -> Iterator[None]:
        """Hold the library for one writing command. On object stores there is no lock: commits are idempotent there.

        Raises MusterError when another process holds it, after so many `seconds` still, or when the library may not be
        written. The lock dies with its process, however that ends.
        """
        with self._locked(LOCK, seconds, pause=0.1):
            if self.disk is not None:
                self._check_key()
                if self.key is not None or self.has(GALLERY) or self.names(FACTS):  # libraries made before 0.2.0 too
                    self.make_private()
            yield

    @contextlib.contextmanager
    def lock_log(self) -> Iterator[None]:
        """Hold the audit log, and with it what the gallery is, for the moment that a line takes; also beside a command
        that holds `lock`, which takes hours where it processes photos. Who takes both takes `lock` first."""
        with self._locked(LOG_LOCK, PATIENCE, pause=0.002):
            yield

    @contextlib.contextmanager
    def _locked(self, name: str, seconds: float, pause: float) -> Iterator[None]:
        if self.disk is None:
            yield
            return
        try:
            file = self.disk.lock_file(name)
        except OSError as error:
            reads = "; what only reads works: status, export, pages elsewhere" if error.errno == errno.EROFS else ""
            raise MusterError(f"cannot write to library {self.uri}: {error.strerror}{reads}") from error
        with file:
            deadline = time.monotonic() + seconds
            while not self._lock(file, last=time.monotonic() >= deadline):
                time.sleep(pause)
            yield

    def _lock(self, file: IO[str], last: bool) -> bool:
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
        with contextlib.suppress(OSError):  # a full disk: whoever comes now is not told who has it
            file.truncate(0)
            os.pwrite(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        return True


def _flock(file: IO[bytes], alone: bool, last: bool) -> bool:
    """Whether it was locked. BlockingIOError where it was not, and this was the last attempt."""
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        if last:
            raise
        return False
    return True


_ASIDE = re.compile(r"\.(?P<base>.+)\.(?P<tag>[0-9a-f]{32})\.tmp")


def _aside(name: str, tag: str) -> str:
    folder, slash, base = name.rpartition("/")
    return f"{folder}{slash}.{base}.{tag}.tmp"


def _is_plain(name: str) -> bool:
    """Whether a file is read and written as it is. Temporary files hold ciphertext already."""
    return name == MARKER or name.rpartition("/")[2].startswith(".")


def open_library(
    uri: str | Path, create: bool = False, trusted: bool = False, before: Callable[[], None] | None = None
) -> LibraryFiles:
    """Open the library at a local path or any `pyarrow.fs` URI; with `create`, make it where there is none.

    The key is taken from the environment (`key_of`); what is made with one is encrypted. `key_of(…, new=True)` opens
    what has that key already. A change of keys that was cut off is finished. `trusted`: the caller was told to, or
    asked before, whatever others may do there. `before`: called before one is made; where it raises, none is.
    Raises InputError when there is no library, when something else is there, when others may write it, when a newer
    Muster wrote it, or when the key is not its own.
    """
    library, key = _locate(str(uri)), key_of(os.environ)
    if not trusted:
        _check_owner(library)
    try:
        data = library.read(MARKER)
        marker = json.loads(data)
    except FileNotFoundError:
        if not create:
            raise NotYetError(f"no library at {uri}", "scan", str(uri)) from None
        _check_empty(library)
        if before is not None:
            before()
        return _create(library, key)
    except NotADirectoryError:
        raise InputError(f"{uri} is a file, not a library: give a folder") from None
    except OSError as error:
        raise MusterError(f"cannot read library {uri}: {error.strerror or error}") from error
    except (ValueError, RecursionError):
        marker = None
    if not isinstance(marker, dict) or not isinstance(marker.get("format"), int):
        raise InputError(f"{uri}/{MARKER} is damaged, or not of Muster: restore it, or choose another folder")
    if marker["format"] > CHANGING:
        raise InputError(
            f"library {uri} was written by Muster {marker.get('muster')} (format {marker['format']}); this Muster"
            f" reads up to format {CHANGING}: upgrade Muster"
        )
    library = _keyed(library, uri, marker, key)
    if marker["format"] < CHANGING:
        return _placed(library, data)
    try:
        with library.lock(PATIENCE):
            finish_change(library)
    except (MusterError, OSError) as error:
        text = f"the key of library {uri} is being changed, or the change was cut off and is to be finished first"
        raise MusterError(f"{text}: {error}") from None
    return open_library(uri, create, trusted)


def _placed(library: LibraryFiles, marker: bytes) -> LibraryFiles:
    return library if library.local is None else replace(library, place=(inode(library.path), marker))


@contextlib.contextmanager
def trusting(trust: bool) -> Iterator[None]:
    """Within it this thread opens libraries that others may write, where `trust`. Workers are told by `trusted`."""
    token = _trusts.set(trust or _trusts.get())
    try:
        yield
    finally:
        _trusts.reset(token)


def _others_are_trusted() -> bool:
    return _trusts.get() or os.environ.get(TRUST, "0") not in ("", "0")


def _check_owner(library: LibraryFiles) -> None:
    """InputError where others than this user and root may write a local library: they decide what it says."""
    if library.local is None or _others_are_trusted():
        return
    try:
        status = os.stat(library.path)
    except OSError:  # missing or unreadable: opening it will raise the error
        return
    owner, others = status.st_uid not in (0, os.geteuid()), stat.S_IMODE(status.st_mode) & 0o022
    if owner or others:
        raise InputError(
            f"library {library.path} "
            + (f"belongs to another user (number {status.st_uid})" if owner else "may be written by other users")
            + ": whoever writes there decides what Muster reads, deletes and answers. "
            + ("" if owner else f"Take that from them (chmod go-w {library.path}), or, if")
            + ("If" if owner else "")
            + f" you trust them all, say `trust` (or {TRUST}=1)"
        )


def _keyed(library: LibraryFiles, uri: str | Path, marker: dict[str, Any], key: bytes | None) -> LibraryFiles:
    """With the key of a library of this marker: `key`, or the one that it was to have, `key_of(…, new=True)`.

    The latter is looked at only where `key` does not open it: one that was left in the environment stops nothing.
    InputError where it is encrypted and neither is its key, or it is not and there is a key.
    """
    if marker["format"] < UNBOUND:
        if key is not None:
            raise InputError(
                f"library {uri} is not encrypted, and a key is given: unset {KEY} and {KEY_FILE} to use it as it is,"
                " choose a new folder, which is then encrypted, or see `rekey`"
            )
        return library
    if not all(isinstance(marker.get(name), str) for name in ("check", "id")[: marker["format"] - 1]):
        raise InputError(f"{uri}/{MARKER} is damaged: restore it from a backup; the files beside it need it")
    if (own := _own_key(key, marker)) is not None:
        return replace(library, key=own)
    new = key_of(os.environ, new=True)
    if (own := _own_key(new, marker)) is not None:
        return replace(library, key=own)
    if key is None and new is None:
        raise InputError(f"library {uri} is encrypted: set {KEY_FILE} to the file of its key, or {KEY} to the key")
    also = "" if new is None else f", or the one in {NEW_KEY_FILE} or {NEW_KEY}"
    raise InputError(f"library {uri} was encrypted with another key than the one in {KEY_FILE} or {KEY}{also}")


def _own_key(key: bytes | None, marker: dict[str, Any]) -> bytes | None:
    """What the files of a library of this marker are encrypted with; None where `key` is not its key."""
    if key is None:
        return None
    own = derived(key, marker["id"]) if marker["format"] > UNBOUND else key
    try:
        decrypt(own, MARKER, base64.b64decode(marker["check"]))
    except (DecryptionError, ValueError):
        return None
    return own


def _locate(uri: str) -> LibraryFiles:
    if (local := local_path(uri)) is not None:
        path = os.path.abspath(os.path.expanduser(local))
        return LibraryFiles(path, pafs.LocalFileSystem(), path)
    if (reason := unread(uri)) is not None:
        raise InputError(f"cannot open library {uri}: {reason}")
    try:
        fs, path = connect(uri)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"cannot open library {uri}: {error}") from None
    path = path.rstrip("/")
    if not path:
        raise InputError(f"cannot open library {uri}: it names no bucket or folder")
    return LibraryFiles(path if isinstance(fs, pafs.LocalFileSystem) else uri.rstrip("/"), fs, path)


def decrypted(library: LibraryFiles, place: str | Path) -> LibraryFiles:
    """A copy of an encrypted library that is not, in an empty or new place. The caller holds library.lock().

    Its marker is written last: a copy that was cut off is no library. A local one is for its owner alone. Raises
    InputError where the place is not empty, or lies in the library; DecryptionError for a file that was not encrypted:
    whoever put it there has not the key, and it would pass for Muster's in the copy. Keys of the service stay behind:
    one that is revoked later would open the copy for ever, and whoever serves that makes its own.
    """
    if library.key is None:
        raise InputError(f"library {library.uri} is not encrypted: copy its folder")
    if library.holds(place):
        raise InputError(f"{place} lies in the library {library.uri}: give a place outside of it")
    copy = _locate(str(place))
    _check_owner(copy)
    try:
        empty = not copy.names("")
    except OSError as error:
        raise InputError(f"{place} is no folder to write into: {error.strerror or error}") from None
    if not empty:
        raise InputError(
            f"{place} is not empty: give an empty or new folder. What an interrupted `decrypt` left can be read"
            " by everybody: delete it"
        )
    if copy.local is not None:
        _make_folder(copy.local, private=True)
        _check_owner(copy)  # another process may have made the folder meanwhile
    names = encrypted_files(library)
    for name in names:
        if name != KEYS:
            copy.write(name, library.read(name))
    return _create(copy)


def encrypted_files(library: LibraryFiles) -> list[str]:
    """The names of the files of an encrypted library that are encrypted; DecryptionError where one is not that should
    be."""
    names = [name for name in library.files() if not _is_plain(name)]
    if json.loads(library.read(MARKER))["format"] == UNBOUND:  # there the report was not encrypted
        names = [name for name in names if name != REPORT]
    for name in names:
        if not library.begins(name, MAGIC):
            library.read(name)
    return names


def new_marker(key: bytes | None) -> dict[str, Any]:
    """What the marker of a new library says. `check`: something that only its key decrypts."""
    marker: dict[str, Any] = {"format": FORMAT, "muster": _version(), "id": uuid.uuid4().hex}
    if key is not None:
        check = encrypt(derived(key, marker["id"]), MARKER, b"")
        marker |= {"format": ENCRYPTED, "check": base64.b64encode(check).decode()}
    return marker


def finish_change(library: LibraryFiles) -> None:
    """Finish a change of its key, if its marker says that one is at work. The caller holds library.lock().

    All files lie there under temporary names then, which end in the marker's id, encrypted with the new key: each takes
    the place of the one that it was made of. MusterError, before anything is renamed, where a file has neither such a
    temporary file nor the new key: then those were lost, and the old key may be the only one that reads it.
    """
    marker = json.loads(library.read(MARKER))
    if library.disk is None or marker["format"] != CHANGING:  # another process has finished it
        return
    before, names = marker.pop("before"), set(library.files())
    unbound = before["format"] == UNBOUND  # then anybody could have written the report: it goes
    for name in sorted(names):
        there = _is_plain(name) or _aside(name, marker["id"]) in names or (unbound and name == REPORT)
        if not there and not _decrypts(library, name):
            raise MusterError(
                f"{library.at(name)} has not the new key, and the file that was to replace it is gone. If it is not"
                " Muster's, move it out of the library. If it is, restore the files of the library whose names begin"
                f" with a dot and end in .{marker['id']}.tmp; or, where none was renamed yet, put what {MARKER} has"
                " under `before` in the place of all that it says: then the old key opens it, or none"
            )
    for name in sorted(names):
        aside = _ASIDE.fullmatch(name.rpartition("/")[2])
        if aside and aside["tag"] == marker["id"]:
            library.put_in_place(name, aside["base"])
    if unbound:
        library.disk.remove(REPORT)
    library.disk.sync(names)  # all renamed, on the disk, before the marker says so
    library.write(MARKER, json.dumps(marker | {"format": ENCRYPTED}).encode())


def _decrypts(library: LibraryFiles, name: str) -> bool:
    assert library.disk is not None
    assert library.key is not None
    try:
        decrypt(library.key, name, library.disk.read(name))
    except DecryptionError:
        return False
    return True


def _create(library: LibraryFiles, key: bytes | None = None) -> LibraryFiles:
    marker = new_marker(key)
    if key is not None:
        library = replace(library, key=derived(key, marker["id"]))
    data = json.dumps(marker).encode()
    try:
        if library.local is not None:
            _make_folder(library.local, private=key is not None)
            _check_owner(library)  # another process may have made the folder meanwhile
        if library.create(MARKER, data):
            return _placed(library, data)
    except OSError as error:
        raise MusterError(f"cannot make a library at {library.uri}: {error.strerror or error}") from None
    return open_library(library.uri)  # another command made one meanwhile, perhaps with another key


def _make_folder(path: Path, private: bool) -> None:
    """Make a folder that others may not write, whatever the umask is; with `private`, they may not read it either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(0o755)
    if private:
        path.chmod(0o700)


def _check_empty(library: LibraryFiles) -> None:
    """InputError or MusterError where none can be made, as far as that is seen without making it."""
    try:
        if library.names(""):  # names that begin with a dot do not count: .DS_Store, what a killed Muster left
            raise InputError(
                f"{library.uri} holds other files and no library: give an empty or new folder"
                " (Muster writes only there, never beside your photos)"
            )
        if library.local is not None:
            there = next(path for path in (library.local, *library.local.parents) if path.exists())
            if not os.access(there, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise MusterError(f"cannot make a library at {library.uri}: {error.strerror or error}") from None


def _version() -> str:
    return version()


def dump_json(value: Any) -> bytes:
    """JSON bytes for files in a library: the same value always gives the same bytes."""
    return json.dumps(value, sort_keys=True, indent=1, default=str).encode()
