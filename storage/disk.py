"""A local folder whose files are reached without following links: no name in it leads out of it.

Every step down opens a folder below the last one with O_NOFOLLOW, so that a link planted in a folder that somebody else
may write, also between a look and its use, is refused and never followed. Only the folder itself may be reached by
links: that is how its user names it. What is made in it is as open to others as the folder itself.
"""

import contextlib
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from muster.errors import LibraryGoneError, MusterError
from muster.storage.files import naming

_DOWN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC  # NONBLOCK: to open a pipe must not wait
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")  # names that a writer gives, and leaves where it is killed
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def checked(name: str) -> str:
    """`name`, relative and with forward slashes. MusterError where it could lead out of its folder."""
    if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        raise MusterError(f"{name!r} is not a name that Muster gives to files: it could lead out of the library")
    return name


@dataclass(frozen=True)
class Folder:
    """`root`: an absolute path. `linked`: whether it may be reached by a link. `is_same(fd)`: whether an opened root is
    still the folder that is meant.

    Names are relative to it, see `checked`. Every function raises MusterError where a link stands in a name.
    """

    root: str
    is_same: Callable[[int], bool] | None = None
    linked: bool = True

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor of the folder. LibraryGoneError where it is no longer what it was."""
        try:
            fd = os.open(self.root, _DOWN & ~os.O_NOFOLLOW if self.linked else _DOWN)
        except FileNotFoundError:
            if self.is_same is None:
                raise
            raise LibraryGoneError(_gone(self.root)) from None
        try:
            if self.is_same is not None and not self.is_same(fd):
                raise LibraryGoneError(_gone(self.root))
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _at(self, name: str, make: bool = False) -> Iterator[tuple[int, str]]:
        """The folder that holds `name`, and the last part of it. `make`: folders that are missing are made."""
        *folders, base = checked(name).split("/")
        with self.opened() as root:
            fds = [root]
            try:
                for depth, part in enumerate(folders, 1):
                    new = make and _made(part, fds[-1])
                    fds.append(self._down(fds[-1], part, "/".join(folders[:depth])))
                    if new:  # whatever the umask says; a set-group-id bit came from the folder above
                        os.fchmod(fds[-1], _mode(root) | os.fstat(fds[-1]).st_mode & stat.S_ISGID)
                yield fds[-1], base
            finally:
                for fd in fds[1:]:
                    os.close(fd)

    def _down(self, fd: int, part: str, name: str) -> int:
        try:
            return os.open(part, _DOWN, dir_fd=fd)
        except OSError:
            self._refuse_link(fd, part, name)
            raise

    def _refuse_link(self, fd: int, base: str, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISLNK(os.stat(base, dir_fd=fd, follow_symlinks=False).st_mode):
                raise MusterError(
                    f"{self.root}/{name} is a link, and Muster follows none there: put what it leads to in its place,"
                    " or remove it"
                )

    def open(self, name: str, writable: bool = False) -> IO[bytes]:
        """A regular file to read; FileNotFoundError where there is none. `writable`: its descriptor may write too."""
        with self._at(name) as (fd, base):
            try:
                file = os.open(base, _READ | os.O_RDWR if writable else _READ, dir_fd=fd)
            except OSError:
                self._refuse_link(fd, base, name)
                raise
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise MusterError(f"{self.root}/{name} is no regular file: remove it")
        return os.fdopen(file, "rb")

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()

    def has(self, name: str) -> bool:
        """Whether there is a regular file of this name."""
        try:
            with self._at(name) as (fd, base):
                self._refuse_link(fd, base, name)
                return stat.S_ISREG(os.stat(base, dir_fd=fd, follow_symlinks=False).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def write(self, name: str, data: Any, sync: bool = True, mode: int | None = None) -> None:
        """Put one file in place, whole; an existing one is replaced, and a link gives way. `mode`: of the file, where
        it is not to be as open as the folder."""
        with self._temporary(name, data, sync, mode) as (fd, temporary, base):
            os.replace(temporary, base, src_dir_fd=fd, dst_dir_fd=fd)

    def create(self, name: str, data: Any) -> bool:
        """The same, if there is none; False where another was there first."""
        with self._temporary(name, data, True) as (fd, temporary, base):
            try:
                os.link(temporary, base, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
            except FileExistsError:
                return False
            except OSError:  # no hard links here (exFAT, some network mounts)
                with contextlib.suppress(FileNotFoundError):
                    os.stat(base, dir_fd=fd, follow_symlinks=False)
                    return False
                os.replace(temporary, base, src_dir_fd=fd, dst_dir_fd=fd)
        return True

    @contextlib.contextmanager
    def _temporary(self, name: str, data: Any, sync: bool, mode: int | None = None) -> Iterator[tuple[int, str, str]]:
        if mode is None:
            with self.opened() as root:
                mode = _mode(root) & 0o666
        with naming(f"{self.root}/{name}"), self._at(name, make=True) as (fd, base):
            temporary = f".{base}.{uuid.uuid4().hex}.tmp"
            try:
                with os.fdopen(os.open(temporary, _NEW, mode, dir_fd=fd), "wb") as file:
                    os.fchmod(file.fileno(), mode)
                    file.write(data)
                    file.flush()
                    if sync:
                        os.fsync(file.fileno())
                yield fd, temporary, base
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=fd)

    def rename(self, name: str, base: str) -> None:
        """Give a file another name in the folder that it is in; one that is there gives way."""
        with self._at(name) as (fd, old):
            os.replace(old, base, src_dir_fd=fd, dst_dir_fd=fd)

    def sync(self, names: Iterable[str]) -> None:
        """What became of these names outlasts a machine that loses power, as far as its filesystem can do that."""
        for folder in sorted({name.rpartition("/")[0] for name in names}):
            with contextlib.suppress(OSError), self._listed(folder) as fd:
                os.fsync(fd)

    def lock_file(self, name: str) -> IO[str]:
        """A file to lock, made where there is none: those may open it who may write the folder, and no others."""
        with self.opened() as root:
            writers = _mode(root) & 0o222
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            try:
                fd = os.open(name, flags, writers | writers << 1, dir_fd=root)
            except OSError:
                self._refuse_link(root, name, name)
                raise
        file = os.fdopen(fd, "r+", errors="replace")
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:  # a hard link: writing would change a file elsewhere
            file.close()
            raise MusterError(f"{self.root}/{name} is no plain file of its own: remove it")
        if info.st_uid == os.geteuid():
            os.fchmod(fd, writers | writers << 1)
        return file

    def remove(self, name: str) -> None:
        """Delete one file, or a link itself; nothing happens where there is none."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._at(name) as (fd, base):
            os.unlink(base, dir_fd=fd)

    def remove_folder(self, name: str, empty: bool = False) -> None:
        """Delete a folder with all that is in it, or only where it is `empty`; a link in it goes, and not its target.

        Nothing happens where it is not there: another process may be doing the same. OSError where it does not go.
        """
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._at(name) as (fd, base):
            os.close(os.open(base, _DOWN, dir_fd=fd))  # a folder, and no pipe: rmtree would wait for it
            if empty:
                os.rmdir(base, dir_fd=fd)
            else:
                shutil.rmtree(base, dir_fd=fd)

    def names(self, name: str = "") -> list[str]:
        """The plain names in one of its folders; empty where it is missing."""
        try:
            with self._listed(name) as fd:
                return os.listdir(fd)
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def _listed(self, name: str) -> Iterator[int]:
        if not name:
            with self.opened() as fd:
                yield fd
            return
        with self._at(name) as (above, base):
            fd = self._down(above, base, name)
            try:
                yield fd
            finally:
                os.close(fd)

    def files(self) -> list[str]:
        """The names of all regular files below it, sorted; links are not followed and not named."""
        found = []
        with self.opened() as root:
            for folder, _, names, fd in os.fwalk(".", dir_fd=root, onerror=_raise):
                for name in names:
                    with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                        if stat.S_ISREG(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                            found.append(os.path.normpath(f"{folder}/{name}"))
        return sorted(found)


def _raise(error: OSError) -> None:
    """Raise errors of a listing, because an unreadable folder is not an empty one. A folder that is gone is."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _made(folder: str, above: int) -> bool:
    try:
        os.mkdir(folder, 0o700, dir_fd=above)
    except FileExistsError:
        return False
    return True


def _mode(folder: int) -> int:
    return stat.S_IMODE(os.fstat(folder).st_mode) & 0o777


def _gone(root: str) -> str:
    return (
        f"{root} was moved, unmounted or replaced while Muster worked in it: nothing more is written. Put it back, and"
        " run again"
    )
