"""Pictures of a style, which a user names beside the photos."""

from pathlib import Path

from muster.errors import ImageError, InputError
from muster.storage.photos import decode
from muster.storage.uris import local_path, local_uri


def from_anywhere(name: str) -> str:
    """The name of a file as it holds in any working directory."""
    local = local_path(name)
    return name if local is None else local_uri(str(Path(local).expanduser().absolute()))


def read_picture(parameter: str, name: str, side: int, least: int) -> decode.Photo:
    """Its longest side at most `side` pixels. InputError, which names `parameter`, where it is no picture, or then has
    fewer than `least` pixels on a side."""
    uri = from_anywhere(name)
    try:
        photo = decode.decode(decode.read(uri), side)
    except ImageError as error:
        text = str(error).removeprefix(f"{uri}: ")
        raise InputError(f"`{parameter}` {name}: {text}: give another picture") from None
    if min(photo.pixels.shape[:2]) < least:
        (width, height), needs = photo.size, f"at least {least} pixels on each side, at a `side` of {side} too"
        raise InputError(f"`{parameter}` {name} has {width}×{height} pixels: a style needs {needs}")
    return photo
