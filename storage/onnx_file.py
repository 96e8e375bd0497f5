"""An ONNX file, and a YAML file beside it that says how it is used: read once, and digested.

Of its own form (protobuf, by the field numbers of onnx.proto3, github.com/onnx/onnx) only as much is read as must be
known before onnxruntime is given the bytes: what it says of itself, and whether it has all its tensors. Others
onnxruntime 1.32 takes from the folder that the command runs in, and nobody has digested them.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from muster.errors import InputError, MusterError
from muster.storage.files import read_regular

LARGEST_YAML = 1 << 20  # bytes
_DEEPEST = 100  # messages within one another, as protobuf's own readers have it
# Message → the number of a field → which message that holds
_HOLDS = {
    "model": {7: "graph", 14: "metadata", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "elsewhere"},  # external_data
}
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # how a value is written


@dataclass(frozen=True, eq=False)  # it is one thing each time that it was read anew
class OnnxFile:
    """`metadata`: what it says of itself. `beside`: the YAML file beside it, and what that holds; None where there is
    none. `sha256`: of the file. `digest`: SHA-256 over both."""

    path: Path
    data: bytes = field(repr=False)
    metadata: Mapping[str, str]
    beside: tuple[Path, str] | None
    sha256: str
    digest: str


def read_onnx(path: Path) -> OnnxFile:
    """InputError says what is wrong with it."""
    if not path.is_file():
        raise InputError(f"{path} is a folder: give the file" if path.is_dir() else f"{path}: no such file")
    beside = path.with_suffix(".yaml")
    try:
        return _read(path, beside, tuple(_stamp(file) for file in (path, beside)))
    except OSError as error:
        raise MusterError(f"cannot read {error.filename or path}: {error.strerror}") from error


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """What tells whether a file holds the same as before."""
    if not file.is_file():
        return None
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


@lru_cache(4)
def _read(path: Path, beside: Path, stamps: tuple[tuple[int, int, int] | None, ...]) -> OnnxFile:
    data = read_regular(path)
    sha256 = hashlib.sha256(data).hexdigest()
    metadata = _metadata(path, data)
    if stamps[1] is None:
        return OnnxFile(path, data, metadata, None, sha256, sha256)
    if stamps[1][0] > LARGEST_YAML:
        raise InputError(f"{beside} has more than {LARGEST_YAML:,} bytes: it is to say how {path.name} is used")
    said = read_regular(beside)
    digest = hashlib.sha256(f"{sha256} {hashlib.sha256(said).hexdigest()}".encode()).hexdigest()
    try:
        return OnnxFile(path, data, metadata, (beside, said.decode("utf-8-sig")), sha256, digest)
    except UnicodeDecodeError:
        raise InputError(f"{beside} is not in UTF-8: save it so") from None


# ---- what is in it ---------------------------------------------------------------------------------------------------


def _metadata(path: Path, data: bytes) -> dict[str, str]:
    """What a file says of itself. InputError where it is no ONNX file, or lacks tensors."""
    metadata: dict[str, str] = {}
    graphs = 0
    try:
        for message, held in _messages(memoryview(data), "model"):
            if message == "elsewhere":
                raise InputError(
                    f"{path} has its tensors in another file: save it as one file"
                    " (onnx.save(onnx.load('FILE'), 'NEW', save_as_external_data=False))"
                )
            if message == "metadata":
                entry = {number: bytes(value).decode() for number, kind, value in _fields(held) if kind == _BYTES}
                metadata[entry.get(1, "")] = entry.get(2, "")
            graphs += message == "graph"
    except ValueError as error:  # UnicodeDecodeError too, and our own
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no ONNX file, or is damaged or cut short: take it anew") from None
    if not graphs:
        raise InputError(f"{path} is no ONNX file: it holds no network")
    return metadata


def _messages(data: memoryview, message: str, depth: int = 0) -> Iterator[tuple[str, memoryview]]:
    """The messages within one, as far as `_HOLDS` knows them, outermost first."""
    if depth > _DEEPEST:
        raise ValueError("too deep")
    for number, kind, value in _fields(data):
        inner = _HOLDS.get(message, {}).get(number)
        if inner is not None:
            if kind != _BYTES:
                raise ValueError("no message")
            yield inner, value
            yield from _messages(value, inner, depth + 1) if inner in _HOLDS else ()


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Number, kind and value of each field of a message; the value is empty but for bytes. ValueError where these are
    none."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        size = {_EIGHT: 8, _FOUR: 4, _VARINT: 0}.get(kind)
        if kind == _VARINT:
            _, place = _varint(data, place)
        elif kind == _BYTES:
            size, place = _varint(data, place)
        if size is None or number == 0 or place + size > len(data):
            raise ValueError("no field")
        yield number, kind, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A whole number, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("no number")
