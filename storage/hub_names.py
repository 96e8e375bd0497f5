"""Published models that are known by name, `ORG/NAME` or `ORG/NAME@REVISION`: fetching, checking and finding them.

A name is pinned when its model is fetched: to one revision, and to the SHA-256 over all its files. From then on that is
the model of this name, on this machine, with or without a network. Files come from `$HF_ENDPOINT`, by default
huggingface.co, whose interface is documented at https://huggingface.co/docs/hub/api.
"""

import hashlib
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from muster.errors import InputError, MusterError
from muster.storage import downloads, hub
from muster.storage.lock import locked
from muster.storage.new_files import new_file

_NAME = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([A-Za-z0-9][\w.-]*))?", re.ASCII)
_SMALL = 64 << 20  # bytes of a file of settings at most
_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class Published:
    """What a server says of a model: `files`, name → (bytes, SHA-256 or "", git's SHA-1 or "")."""

    name: str
    revision: str
    licence: str
    files: Mapping[str, tuple[int, str, str]]

    @property
    def bytes(self) -> int:
        return sum(size for size, _, _ in self.files.values())


def find(name: str) -> hub.Model:
    """The model of this name, as it was pinned. InputError says how to have it where it is not here."""
    repository, _ = _parsed(name)
    pin = _pins().get(name)
    if pin is None:
        raise InputError(
            f"{name} is not here: `models pin` hf:{name} fetches it, with its licence. Without a network: fetch the"
            f" files of {endpoint()}/{repository} on any machine ({hub.CONFIG}, {hub.WEIGHTS} and the other JSON files"
            " will do), and give their folder, hf:FOLDER"
        )
    model = hub.read_model(_folder(repository, pin["revision"]))
    if model.digest != pin["digest"]:
        raise InputError(f"{model.folder} is no longer what was fetched: `models pin` hf:{name} fetches it again")
    return model


def pinned(name: str) -> dict[str, Any] | None:
    """The `digest`, `revision` and `folder` that a name is pinned to; None where it was never fetched."""
    pin = _pins().get(name)
    return None if pin is None else {**pin, "folder": _folder(_parsed(name)[0], pin["revision"])}


def look_up(name: str) -> Published:
    """What the server has under a name. InputError where it has no such model, or none that can be used; MusterError
    where it does not answer."""
    repository, revision = _parsed(name)
    url = f"{endpoint()}/api/models/{repository}/revision/{quote(revision or 'main', safe='')}?blobs=true"
    data = _get(url)
    try:
        said = json.loads(data)
        commit, found = said["sha"], {each["rfilename"]: _facts(each) for each in said["siblings"]}
        licence = (said.get("cardData") or {}).get("license") or ""
        if not _COMMIT.fullmatch(commit):
            raise ValueError("no revision")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise MusterError(f"{url} does not answer as the hub of models does ({type(error).__name__})") from None
    return Published(name, commit, str(licence), {each: found[each] for each in _wanted(name, found)})


def pin(found: Published, on_download: downloads.OnDownload | None = None) -> hub.Model:
    """Fetch what `look_up` found, each file compared with what the server says it is, and pin the name to it."""
    repository, _ = _parsed(found.name)
    folder = _folder(repository, found.revision)
    pins = _pins_file()
    try:
        _fetch_all(found, repository, folder, on_download)
        model = hub.read_model(folder)
        with locked(pins.with_suffix(".lock")), new_file(pins) as file:
            now = _pins() | {found.name: {"revision": found.revision, "digest": model.digest}}
            file.write(json.dumps(now, indent=1, sort_keys=True).encode())
    except OSError as error:
        raise MusterError(f"cannot write {folder}: {error}. Set MUSTER_CACHE to a folder with space.") from error
    return model


def _fetch_all(found: Published, repository: str, folder: Path, on_download: downloads.OnDownload | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, sha256, sha1) in found.files.items():
        url = f"{endpoint()}/{repository}/resolve/{found.revision}/{name}"
        if sha256:
            file = str((folder / name).relative_to(downloads.cache_dir()))
            downloads.fetch(downloads.WeightsFile(file, url, sha256), None, on_download)
        else:
            _fetch_small(url, sha1, folder / name)


def endpoint() -> str:
    """Where models are asked for. InputError where that is no address of a web server."""
    address = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    if not re.fullmatch(r"https?://[\w.-]+(:\d+)?(/[\w./-]*)?", address, re.ASCII):
        raise InputError(f"HF_ENDPOINT {address}: give the address of a web server, such as https://huggingface.co")
    return address


def _parsed(name: str) -> tuple[str, str | None]:
    if not (found := _NAME.fullmatch(name)) or ".." in name:
        raise InputError(f"hf:{name}: give a folder, or the name of a model, ORG/NAME or ORG/NAME@REVISION")
    return found[1], found[2]


def _folder(repository: str, revision: str) -> Path:
    return downloads.cache_dir() / "hub" / repository.replace("/", "--") / revision


def _pins_file() -> Path:
    return downloads.cache_dir() / "hub" / "pins.json"


def _pins() -> dict[str, dict[str, str]]:
    file = _pins_file()
    try:
        pins = json.loads(downloads.read(file).data) if file.is_file() else {}
        return {str(name): {"revision": pin["revision"], "digest": pin["digest"]} for name, pin in pins.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise MusterError(f"{file} is not as Muster wrote it: delete it, and pin the models once more") from None


def _wanted(name: str, found: Mapping[str, Any]) -> list[str]:
    """Of the files of a model those that are read, and its card."""
    weights = [each for each in found if re.fullmatch(r"model(-\d+-of-\d+)?\.safetensors", each)]
    if hub.CONFIG not in found:
        raise InputError(f"hf:{name} has no {hub.CONFIG}: it is no model of the `transformers` library")
    if not weights:
        raise InputError(f"hf:{name} has no {hub.WEIGHTS}: Muster takes weights as safetensors alone")
    if hub.WEIGHTS in weights:
        weights = [hub.WEIGHTS]
    return [each for each in (*hub.SETTINGS, hub.INDEX, hub.CARD, *sorted(weights)) if each in found]


def _facts(file: Mapping[str, Any]) -> tuple[int, str, str]:
    """Bytes, SHA-256 or "", git's SHA-1 or "". ValueError where these are none: they become parts of names, and are
    what the file is compared with."""
    large = file.get("lfs") or {}
    size, sha256, sha1 = int(file.get("size") or 0), large.get("sha256") or "", file.get("blobId") or ""
    if not (re.fullmatch("(?:[0-9a-f]{64})?", sha256) and re.fullmatch("(?:[0-9a-f]{40})?", sha1) and (sha256 or sha1)):
        raise ValueError("no digest")
    if not isinstance(file["rfilename"], str):
        raise ValueError("no name")
    return size, sha256, sha1


def _fetch_small(url: str, sha1: str, target: Path) -> None:
    data = _get(url)
    # As git names what it keeps: a small file has no other digest there.
    if hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() != sha1:
        raise MusterError(f"{url} is not the file that the server says it is: try again, or fetch the model by hand")
    with new_file(target) as file:
        file.write(data)


def _get(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"User-Agent": "muster"})
    try:
        with urllib.request.urlopen(request, timeout=downloads.TIMEOUT) as response:
            data: bytes = response.read(_SMALL + 1)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403, 404):
            raise InputError(
                f"{url}: there is no such model, or it is given only to those who accept its licence ({error.code});"
                " accept that on its page, fetch its files, and give their folder, hf:FOLDER"
            ) from None
        raise MusterError(f"{url} answers {error.code}: try again later") from None
    except downloads.NETWORK_ERRORS as error:
        raise MusterError(f"cannot reach {url}: {error}. Without a network, give the folder of a model") from None
    if len(data) > _SMALL:
        raise MusterError(f"{url} is larger than {_SMALL} bytes, and no file of settings")
    return data
