"""Another key for a library on a local disk, or a first one: every file is written anew, beside itself, and then all
take their places.

Until the marker is replaced, the library has its old key, and what was written is nothing but temporary files. From
then on it has the new one, and whoever opens it puts the files in their places first (`finish_change`). So nobody opens
it while a part of it has one key and a part the other.
"""

import json
import os
import re
from dataclasses import replace

from muster.errors import InputError
from muster.storage import layout
from muster.storage.encryption import HOW_TO_MAKE, NEW_KEY, NEW_KEY_FILE, derived, key_of
from muster.storage.layout import MARKER, PAGES, REPORT
from muster.storage.library import (
    CHANGING,
    ENCRYPTED,
    UNBOUND,
    LibraryFiles,
    encrypted_files,
    finish_change,
    new_marker,
    open_library,
)

_SHARD = re.compile(r"[^/]+/[^/]+/shard-[^/]+\.parquet")  # of any table
_PLACES = (layout.GALLERY, layout.TAGS, layout.DUPLICATES)
_FOLDERS = {
    *(layout.MANIFEST, layout.COMMITS, layout.PARTS, layout.TASKS, layout.CLUSTERS, layout.INDEX, layout.FACTS),
    *(layout.AUDIT, layout.RECEIPTS),
    *(place.partition("/")[0] for place in _PLACES),
}


def rekeyed(library: LibraryFiles) -> tuple[LibraryFiles, int]:
    """The library, with the key in MUSTER_NEW_KEY_FILE or MUSTER_NEW_KEY, and how many files were encrypted with it: 0
    where it had that key. The caller holds library.lock(), and has settled.

    It takes as much room again as the library has. Raises InputError where there is no new key, the library lies in a
    bucket, or holds what cannot be encrypted; DecryptionError for a file that was not encrypted, or is damaged; OSError
    where the disk is full. Then the old key holds, and nothing is left of the new one.
    """
    key = key_of(os.environ, new=True)
    if key is None:
        raise InputError(f"no new key is given: set {NEW_KEY_FILE} to its file, or {NEW_KEY} to the key; {HOW_TO_MAKE}")
    if library.disk is None:
        raise InputError(
            f"{library.uri} lies in a bucket, which has neither locks nor renaming: another could write into it"
            " meanwhile. Copy it into a folder, `rekey` that, copy it into a new prefix, and delete the old one"
        )
    with library.holding_key(alone=True):
        marker = json.loads(library.read(MARKER))
        if marker["format"] == ENCRYPTED and library.key == derived(key, marker["id"]):
            return library, 0
        library.remove_temporary()
        names = _own_files(library) if library.key is None else encrypted_files(library)
        library.make_private()
        new = new_marker(key)
        into = replace(library, key=derived(key, new["id"]))
        try:
            for name in names:
                into.put_aside(name, library.read(name), new["id"])
            if marker["format"] == UNBOUND:  # in format 2 anybody could have written it
                library.remove(REPORT)
            library.disk.sync(names)  # all of them, on the disk, before the marker says so
            into.write(MARKER, json.dumps(new | {"format": CHANGING}).encode())
        except BaseException:
            if json.loads(library.read(MARKER)).get("id") != new["id"]:
                library.remove_temporary()
            raise
        library.disk.sync([MARKER])  # and it, before the files that it was the marker of are gone
        finish_change(into)
    return open_library(library.uri, trusted=True), len(names)


def _own_files(library: LibraryFiles) -> list[str]:
    """The files of a library that is not encrypted, and is to be. InputError for what is not Muster's, or no key hides.

    Names that begin with a dot are no files of it, see `LibraryFiles.names`.
    """
    names = [name for name in library.files() if name != MARKER and not name.rpartition("/")[2].startswith(".")]
    for name in names:
        if name.startswith(f"{PAGES}/"):
            raise InputError(
                f"{library.at(PAGES)} holds pages with copies of photos, which a browser could not open encrypted:"
                " delete that folder, and write pages to a folder elsewhere"
            )
        if name != layout.MODELS and name.partition("/")[0] not in _FOLDERS and not _SHARD.fullmatch(name):
            raise InputError(f"{library.at(name)} is not Muster's, and stays as it is: move it out of the library")
    return names
