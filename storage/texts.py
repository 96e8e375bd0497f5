"""Text files that other programs wrote, as text, and the names of files in them."""

import codecs
import re
from pathlib import Path
from unicodedata import normalize

from muster.storage.uris import path_of

UTF8, UTF16, WINDOWS = "UTF-8", "UTF-16", "Windows-1252"
_BYTE_ORDER_MARK = "\ufeff"

# What no language of Western Europe has, and what texts of other code pages become when they are read as Windows-1252:
# three accented letters in a row (Cyrillic, Greek), a capital one within a word (a Mac's "Müller" is "MŸller"), a sign
# between letters (its "Straße" is "Stra§e"), behind one (of DOS "René" is "Ren‚", of Poland "Paweł" is "Pawe³"), or
# before one ("Łukasz" is "£ukasz", a Mac's "Özil" is "…zil").
_OF_ANOTHER_PAGE = re.compile(
    r"[À-ÖØ-öø-ÿŠŒŽšœžŸ]{3}|[^\W\d_][À-ÖØ-ÞŠŒŽŸ][a-zß-öø-ÿšœž]|[^\W\d_][“”„†‡‰€¢£¤¥§©®¶¿¡][^\W\d_]"
    r"|[a-z][À-ÖØ-ÞŠŒŽŸ]\b|[a-z][‚³¹](?!\d)|[£¥…†‡¤][^\W\d_]"
)


def decoded(data: bytes) -> tuple[str, str]:
    """A text without byte order mark, and its encoding: UTF8, UTF16, or WINDOWS, which older programs of Windows write.

    ValueError where it is none of these for certain.
    """
    for marks, name in (((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), UTF16), ((codecs.BOM_UTF8,), UTF8)):
        if data.startswith(marks):
            return _plain(data, name, name)
    if 4 * data.count(0) > len(data):  # every other byte, where the text is Latin: UTF-16 without a mark
        little = data[1::2].count(0) > data[::2].count(0)
        return _plain(data, "utf-16-le" if little else "utf-16-be", UTF16)
    try:
        return _plain(data, UTF8, UTF8)
    except UnicodeDecodeError as error:
        text = data.decode("cp1252", errors="ignore")
        if len(text) < len(data) or _OF_ANOTHER_PAGE.search(text):
            raise ValueError(f"it is not UTF-8 (byte {error.start})") from None
        return _plain(data, "cp1252", WINDOWS)


def _plain(data: bytes, codec: str, name: str) -> tuple[str, str]:
    text = data.decode(codec).lstrip(_BYTE_ORDER_MARK)
    if "\0" in text:
        raise ValueError("it holds null characters: it is no text")
    return text, name


def unusual(text: str) -> str:
    """The first word with what is not ASCII, to be looked at; "" where there is none."""
    found = re.search(r"\w*[^\x00-\x7f]\w*", text)
    return found[0] if found else ""


def normal(text: str) -> str:
    """In NFC: a letter and its accent are one character, as most keyboards write them, and Macs' file names do not."""
    return normalize("NFC", text)


def file_name(path: str) -> str:
    """The last part of a path that any system wrote, in NFC: by it photos are told apart in files of labels."""
    return normal(re.split(r"[\\/]", path)[-1])


def image_name(uri: str) -> str:
    """The `file_name` of an image."""
    return file_name(path_of(uri))


def files_in(folder: Path) -> dict[str, Path]:
    """What lies in a folder by its name in NFC; of two that are one then, one."""
    return {normal(file.name): file for file in folder.iterdir()} if folder.is_dir() else {}
