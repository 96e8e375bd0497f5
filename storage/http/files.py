"""A file of a web server for random reads, and the file system that `pyarrow.fs` sees: one file for each URL."""

import errno
import io
import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from muster.errors import ImageError, UnreachableError
from muster.storage.http import fetch
from muster.storage.http.addresses import private_addresses, private_allowed
from muster.storage.http.requests import public

T = TypeVar("T")

MOST = 8 << 20  # bytes asked for at once: each request has its time
_ERRNO = {"gone": errno.ENOENT, "refused": errno.EACCES, "private": errno.EACCES}
_MAY_PASS = ("unreadable", "timeout")


class HttpFile(io.RawIOBase):
    """Each read is a request, tried again by itself. Raises OSError, or UnreachableError.

    What was allowed when it was opened stays so, whichever thread reads; several may at once.
    """

    ahead = 1 << 20  # bytes that are worth reading at once, where the next part may be wanted too

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url, self._private, self._at = url, private_allowed(), 0
        self._facts = _or_os_error(lambda: fetch.look(url))
        if self._facts.size is None or not self._facts.parts:
            raise OSError(
                errno.EOPNOTSUPP, f"{public(url)}: its server gives no parts of files (ranges): download it first"
            )
        self.size: int = self._facts.size

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`, fewer where the file ends."""
        ends = min(offset + length, self.size)
        with private_addresses(self._private):
            return b"".join(self._piece(at, min(MOST, ends - at)) for at in range(offset, ends, MOST))

    def _piece(self, offset: int, length: int) -> bytes:
        return _or_os_error(lambda: fetch.part(self._url, offset, length, self._facts))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self.size)[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        data = self.read_at(self._at, self.size - self._at if size is None or size < 0 else size)
        self._at += len(data)
        return data


class HttpFiles(pafs.FileSystemHandler):  # type: ignore[misc] # pyarrow has no types
    """Paths are whole URLs. Servers do not list their files, and nothing is written to them."""

    def get_type_name(self) -> str:
        return "http"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HttpFiles)

    __hash__ = None  # type: ignore[assignment]

    def get_file_info(self, paths: Sequence[str]) -> list[pafs.FileInfo]:
        return [self._info(path) for path in paths]

    def _info(self, url: str) -> pafs.FileInfo:
        try:
            facts = _or_os_error(lambda: fetch.look(url))
        except FileNotFoundError:
            return pafs.FileInfo(url, pafs.FileType.NotFound)
        time = None if facts.version is None else facts.version * 1000
        return pafs.FileInfo(url, pafs.FileType.File, mtime_ns=time, size=facts.size)

    def open_input_file(self, path: str) -> pa.PythonFile:
        return pa.PythonFile(HttpFile(path), mode="r")

    open_input_stream = open_input_file

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info_selector(self, selector: pafs.FileSelector) -> NoReturn:
        raise OSError(errno.EOPNOTSUPP, "a web server does not list its files: name each, or a list of their URLs")

    def _refuse(self, *_: Any) -> NoReturn:
        raise OSError(errno.EROFS, "nothing is written to web servers")

    copy_file = create_dir = delete_dir = delete_dir_contents = delete_file = delete_root_dir_contents = _refuse
    move = open_append_stream = open_output_stream = _refuse


def _or_os_error(ask: Callable[[], T]) -> T:
    """What is asked for. An ImageError is of one image; of a file that holds many it is what the others raise."""
    try:
        return ask()
    except ImageError as error:
        if error.kind in _MAY_PASS:
            raise UnreachableError(str(error)) from error
        raise OSError(_ERRNO.get(error.kind, errno.EIO), str(error)) from error
