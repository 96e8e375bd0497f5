"""A model's weights as a verified local file: in a folder the user gives, shipped with Muster, cached, or downloaded.

A model loads the very bytes whose SHA-256 was compared (`Content`): by the time a checked file is opened again, it may
be another one.
"""

import hashlib
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from muster import distribution
from muster.errors import InputError, MusterError
from muster.storage.files import read_regular
from muster.storage.lock import locked
from muster.storage.new_files import no_link

TIMEOUT = 30.0  # seconds without a byte before the connection is given up
PAUSES = (0.0, 1.0, 2.0, 4.0)  # seconds before each attempt; their number bounds the attempts
CHUNK = 1 << 18
NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)

OnDownload = Callable[[int, int | None], None]  # bytes done, bytes in all (None: the server does not say)


@dataclass(frozen=True)
class WeightsFile:
    """`file`: its name on disk. `url`: where it is published. `sha256`: of its bytes, 64 lower-case hex digits, or as
    many of the first ones as its publisher gives (torchvision: 8, in the file's name).

    `packaged`: where it lies if it is shipped with Muster; it is then never downloaded, and has no `url`. `how`: what
    a user does to have it where it is published in another form alone; it has no `url` then either.
    """

    file: str
    url: str
    sha256: str
    packaged: Path | None = None
    how: str = ""


def cache_dir() -> Path:
    """`weights` in `$MUSTER_CACHE`, by default in `$XDG_CACHE_HOME/muster`, and that in ~/.cache. Need not exist."""
    cache = os.environ.get("MUSTER_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "muster"
    return Path(cache).expanduser() / "weights"


@dataclass(frozen=True)
class Content:
    """What a file held when it was read, once, and the SHA-256 of that."""

    path: Path
    data: bytes = field(repr=False)
    sha256: str

    def fits(self, sha256: str) -> bool:
        return self.sha256.startswith(sha256.lower())


def read(path: Path) -> Content:
    """Raises MusterError where it cannot be read."""
    try:
        data = read_regular(path)
    except OSError as error:
        raise MusterError(f"cannot read {path}: {error.strerror}") from error
    return Content(path, data, hashlib.sha256(data).hexdigest())


def find(weights: WeightsFile, weights_dir: Path | None = None) -> Content | None:
    """The verified file in `weights_dir` (default: env MUSTER_WEIGHTS), else the packaged or the cached one, else None.

    Raises InputError where the folder is missing or holds a file of that name with other content. A packaged or cached
    file with other content counts as absent: fetch() replaces it, or says how to.
    """
    weights_dir = weights_dir or (Path(os.environ["MUSTER_WEIGHTS"]) if os.environ.get("MUSTER_WEIGHTS") else None)
    if weights_dir is not None and (given := _find_given(weights, weights_dir.expanduser())):
        return given
    return _find_kept(weights, weights.packaged or cache_dir() / weights.file)


def fetch(weights: WeightsFile, weights_dir: Path | None = None, progress: OnDownload | None = None) -> Content:
    """The verified file: found, or downloaded to the cache. Safe to call from many processes at once.

    Raises InputError as find() does and where only the user can have it, MusterError where it cannot be downloaded or
    written, or was shipped with Muster and is no longer what it was.
    """
    if found := find(weights, weights_dir):
        return found
    if weights.packaged is not None:
        raise MusterError(_not_as_shipped(weights.packaged))
    if weights.how:
        raise InputError(f"{weights.file} is not here: {weights.how}")
    target = cache_dir() / weights.file
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(target.name + ".lock")):
            # another process may have been faster
            return _find_kept(weights, target) or _download(weights, target, progress or (lambda done, total: None))
    except OSError as error:
        raise MusterError(f"cannot write {target}: {error}. Set MUSTER_CACHE to a folder with space.") from error


def _find_kept(weights: WeightsFile, path: Path) -> Content | None:
    content = read(path) if path.is_file() else None
    return content if content and content.fits(weights.sha256) else None


def _find_given(weights: WeightsFile, weights_dir: Path) -> Content | None:
    if not weights_dir.is_dir():
        raise InputError(f"the weights folder {weights_dir} does not exist (`weights_dir` or MUSTER_WEIGHTS)")
    path = weights_dir / weights.file
    if not path.is_file():
        return None
    if not (content := read(path)).fits(weights.sha256):
        instead = weights.how or (f"replace it by {weights.url}" if weights.url else "remove it: Muster has this file")
        raise InputError(
            f"{path} is not the file this model needs: its SHA-256 is {content.sha256}, not {weights.sha256}: {instead}"
        )
    return content


def _not_as_shipped(packaged: Path) -> str:
    state = "damaged" if packaged.is_file() else "missing"
    came_from = distribution.origin() or "where Muster came from"
    return (
        f"{packaged} is {state}: this file is part of Muster. Take it again from {came_from}; in a checkout of git:"
        f" git -C {packaged.parent} checkout {packaged.name}"
    )


def _download(weights: WeightsFile, target: Path, progress: OnDownload) -> Content:
    # The checksum in the name keeps a part of another version of the file from being continued.
    part = target.with_name(f"{target.name}.{weights.sha256[:8]}.part")
    for pause in PAUSES:
        time.sleep(pause)
        try:
            _receive(weights.url, part, progress)
        except NETWORK_ERRORS as error:
            cause = str(error) or type(error).__name__
            if isinstance(error, urllib.error.HTTPError) and not _worth_another_try(error.code, part):
                break
            continue
        content = read(part)
        if content.fits(weights.sha256):
            os.replace(part, target)
            return replace(content, path=target)
        part.unlink()
        cause = f"the server's file has SHA-256 {content.sha256}"
    raise MusterError(_by_hand(weights, target, cause))


def _receive(url: str, part: Path, progress: OnDownload) -> None:
    """Append to `part` what it lacks. A server that ignores Range sends all again, and `part` starts anew."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(
        url, headers={"User-Agent": "muster"} | ({"Range": f"bytes={have}-"} if have else {})
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        done = have if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with open(part, "ab" if done else "wb", opener=no_link) as out:
            while chunk := response.read(CHUNK):
                out.write(chunk)
                done += len(chunk)
                progress(done, total)
    if total is not None and done < total:  # urllib ends a cut body as if it were whole
        raise http.client.IncompleteRead(b"", total - done)


def _worth_another_try(status: int, part: Path) -> bool:
    if status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.unlink()  # it is not a beginning of this file
        return True
    return status >= 500 or status in (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_MANY_REQUESTS)


def _by_hand(weights: WeightsFile, target: Path, cause: str) -> str:
    return (
        f"cannot download {weights.file}: {cause}. To fetch it by hand, on any machine: curl -L -o {weights.file}"
        f" '{weights.url}' (SHA-256 {weights.sha256}), then put it into {target.parent}, or into any folder and name"
        " that with `weights_dir` (env MUSTER_WEIGHTS)"
    )
