"""Encryption of a library's files at rest: AES-256-GCM, with a key from the environment.

A file is MAGIC, then pieces of up to PIECE bytes, each as nonce (12 bytes, random), ciphertext and tag (16 bytes). The
file's name in the library, the piece's number and whether it is the last are authenticated with it, so that nothing can
be changed, cut off, or put in another file's place unnoticed; an older version of the same file can. Random nonces are
safe for 2^32 pieces under one key (NIST SP 800-38D, section 8.3). Each library has a key of its own, derived from the
user's (HKDF, RFC 5869): a file of one is refused in another.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muster.errors import DecryptionError, InputError
from muster.storage.files import open_regular, others_may_read

KEY, KEY_FILE = "MUSTER_KEY", "MUSTER_KEY_FILE"
NEW_KEY, NEW_KEY_FILE = "MUSTER_NEW_KEY", "MUSTER_NEW_KEY_FILE"  # of a library whose key is to be changed
HOW_TO_MAKE = "make one with `openssl rand -base64 32`"
KEY_BYTES, NONCE_BYTES, TAG_BYTES = 32, 12, 16
MAGIC = b"MUSTER\x00\x01"
PIECE = 64 << 20


def key_of(environment: Mapping[str, str], new: bool = False) -> bytes | None:
    """The key in MUSTER_KEY, or in the file that MUSTER_KEY_FILE names: 32 bytes in base64; None without either.

    `new`: the one that a library is to have, in MUSTER_NEW_KEY or MUSTER_NEW_KEY_FILE. Raises InputError where it is no
    key, or both are there.
    """
    by_text, by_file = (NEW_KEY, NEW_KEY_FILE) if new else (KEY, KEY_FILE)
    text, file = environment.get(by_text), environment.get(by_file)
    if text and file:
        raise InputError(f"{by_text} and {by_file} are both set: unset one")
    if not text and not file:
        return None
    name = f"{by_file}={file}" if file else by_text
    try:
        text = text or _key_file(Path(str(file)).expanduser(), by_text, by_file)
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror or error}") from None
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        key = b""
    if len(key) != KEY_BYTES:
        raise InputError(f"{name} is no key: it must be {KEY_BYTES} random bytes in base64; {HOW_TO_MAKE}")
    return key


def _key_file(path: Path, by_text: str, by_file: str) -> str:
    """The text of a file that its owner alone may read. OSError, InputError."""
    with open_regular(path) as file:
        if others_may_read(file):
            raise InputError(f"others may read {by_file}={path}: chmod 600 {path}, or give the key itself in {by_text}")
        return file.read(1000).decode("ascii", "replace")


def derived(key: bytes, library_id: str) -> bytes:
    """The key of one library, KEY_BYTES long (HKDF-SHA256), so that no file of another library passes for one of it."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), KEY_BYTES, salt=library_id.encode(), info=b"muster library").derive(key)


def encrypt(key: bytes, name: str, data: Any) -> bytes:
    """`data` (anything with a buffer) as the file `name` of a library holds it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher, view = AESGCM(key), memoryview(data).cast("B")
    count = max(1, -(-len(view) // PIECE))
    parts = [MAGIC]
    for number in range(count):
        nonce = os.urandom(NONCE_BYTES)
        piece = view[number * PIECE : (number + 1) * PIECE]
        parts += [nonce, cipher.encrypt(nonce, piece, _bound(name, number, number == count - 1))]
    return b"".join(parts)


def decrypt(key: bytes, name: str, data: bytes) -> bytes:
    """What was given to `encrypt`. Raises DecryptionError."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher, view, size = AESGCM(key), memoryview(data), NONCE_BYTES + PIECE + TAG_BYTES
    starts = range(len(MAGIC), max(len(data), len(MAGIC) + 1), size)
    try:
        if view[: len(MAGIC)] != MAGIC:
            raise InvalidTag
        return b"".join(
            cipher.decrypt(
                view[start : start + NONCE_BYTES],
                view[start + NONCE_BYTES : start + size],
                _bound(name, number, number == len(starts) - 1),
            )
            for number, start in enumerate(starts)
        )
    except (InvalidTag, ValueError):  # ValueError: cut off within a nonce
        text = "cannot be decrypted: it was changed, cut off, or encrypted with another key"
        raise DecryptionError(f"{name} {text}") from None


def _bound(name: str, number: int, last: bool) -> bytes:
    return f"{name}\0{number}\0{last:d}".encode()
