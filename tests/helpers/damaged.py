"""What becomes of files that hold images, where they are damaged."""

from pathlib import Path

from hypothesis import strategies as st

from muster.errors import ImageError, InputError
from muster.storage.photos.containers import Container
from muster.storage.photos.listing import File
from muster.storage.photos.reader import Reader
from muster.storage.photos.wishes import PLAIN


def damage(path: Path, data: st.DataObject) -> None:
    """Some bytes are others, and its end may be cut off."""
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])


def outcomes(container: Container, uri: str) -> set[str]:
    """`refused` where it cannot be listed; else, of its items, `read` or the kind of the error."""
    try:
        found = container.list(File(uri, None, None), PLAIN).rows["uri"].to_pylist()
    except InputError as error:
        return {"refused" if uri in str(error) else str(error)}
    return set(map(_outcome, found))


def _outcome(uri: str) -> str:
    try:
        Reader().read(uri)
    except ImageError as error:
        return error.kind
    return "read"
