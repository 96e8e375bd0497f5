"""Any part of a file, wherever it lies: what is inside an archive is read without the rest of it."""

import os
import weakref
from typing import Protocol

import pyarrow.fs as pafs

from muster.storage.files import open_regular
from muster.storage.http.files import HttpFile
from muster.storage.retry import retried
from muster.storage.uris import filesystem_of, is_http, local_path


class Bytes(Protocol):
    """A file of which any part can be read, also by several threads at once. `size`: in bytes. `ahead`: how many are
    worth reading at once, where the next part may be wanted too."""

    size: int
    ahead: int

    def read_at(self, offset: int, length: int) -> bytes:
        """These bytes; fewer where the file ends before. Raises OSError or UnreachableError."""
        ...

    def close(self) -> None: ...


class LocalBytes:
    ahead = 1 << 14

    def __init__(self, path: str) -> None:
        """Raises OSError, also where it is no regular file."""
        with open_regular(path) as file:
            self._file = os.dup(file.fileno())
        self.close = weakref.finalize(self, os.close, self._file)  # whoever lets go of it last need not know
        self.size = os.fstat(self._file).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        return os.pread(self._file, length, offset)


class RemoteBytes:
    ahead = 1 << 20

    def __init__(self, fs: pafs.FileSystem, path: str) -> None:
        """Raises OSError or UnreachableError."""
        self._what = f"read {path}"
        self._file = retried(self._what, lambda: fs.open_input_file(path))
        self.size = int(self._file.size())

    def read_at(self, offset: int, length: int) -> bytes:
        wanted = max(0, min(length, self.size - offset))
        data: bytes = retried(self._what, lambda: self._file.read_at(wanted, offset)) if wanted else b""
        return data

    def close(self) -> None:
        self._file.close()


def open_bytes(uri: str) -> Bytes:
    """Of a file by its URI (muster.storage.uris). Raises OSError, pyarrow.ArrowException or UnreachableError."""
    path = local_path(uri)
    if is_http(uri):
        return HttpFile(uri)
    return RemoteBytes(*filesystem_of(uri)) if path is None else LocalBytes(path)
