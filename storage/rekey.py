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
from muster.storage.layout import LOCK, LOG_LOCK, MARKER, PAGES
from muster.storage.library import (
    CHANGING,
    ENCRYPTED,
    LibraryFiles,
    encrypted_files,
    finish_change,
    new_marker,
    open_library,
)
from muster.storage.tags.beside import writer_of

_NAMES = (  # *: any part of a name that begins with no dot; #: a digit
    *(layout.manifest_shard("*"), layout.SCANNING, layout.rows("*", "*", "*"), layout.commit("*", "*")),
    *(f"{layout.parts('*', '*')}/*/*", layout.description("*"), layout.MODELS, layout.clusters("*")),
    *(layout.TAGS, layout.TAGS_READ, layout.DUPLICATES, layout.index("*", "faces"), layout.index("*", "templates")),
    *(f"{layout.INDEX}/*/{name}" for name in ("index.json", "ids-*", "vectors-*")),  # of before 0.2
    *(layout.GALLERY, layout.NEXT_GALLERY, layout.ROSTER, layout.FORGETTING, layout.REPORT),
    *(layout.KEYS, layout.fact("*"), layout.AUDIT_HEAD, layout.audit_log("####-##"), layout.receipt("*")),
    layout.audit_part("####-##", "######"),
)
_OURS = re.compile("|".join(re.escape(name).replace(r"\*", r"[^/.][^/]*").replace(r"\#", r"\d") for name in _NAMES))


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
        new = new_marker(key) | {"writer": writer_of(library)}
        into = replace(library, key=derived(key, new["id"]))
        try:
            for name in names:
                into.put_aside(name, library.read(name), new["id"])
            library.disk.sync(names)  # all of them, on the disk, before the marker says so
            into.write(MARKER, json.dumps(new | {"format": CHANGING, "before": marker}).encode())
        except BaseException:
            if json.loads(library.read(MARKER)).get("id") != new["id"]:
                library.remove_temporary()
            raise
        library.make_private()
        library.disk.sync([MARKER])  # and it, before the files that it was the marker of are gone
        finish_change(into)
    return open_library(library.uri, trusted=True), len(names)


def _own_files(library: LibraryFiles) -> list[str]:
    """The files of a library that is not encrypted, and is to be. InputError for what is not Muster's, or no key hides.

    Temporary files are gone before.
    """
    names = [name for name in library.files() if name not in (MARKER, LOCK, LOG_LOCK)]
    for name in names:
        if name.startswith(f"{PAGES}/"):
            raise InputError(
                f"{library.at(PAGES)} holds pages with copies of photos, which a browser could not open encrypted:"
                " delete that folder, and write pages to a folder elsewhere"
            )
        if not _OURS.fullmatch(name):
            raise InputError(f"{library.at(name)} is not Muster's, and stays as it is: move it out of the library")
    return names
