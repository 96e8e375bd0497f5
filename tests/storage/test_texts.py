"""What other programs write, read as it is meant; what may be something else is refused."""

import codecs
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from muster.storage.texts import UTF8, UTF16, WINDOWS, decoded, file_name, files_in, image_name, unusual

TEXTS = st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"]))


@given(TEXTS)
@example("Zoë;Øyvind")
def test_every_encoding_of_unicode_gives_the_text(text: str) -> None:
    assert decoded(text.encode()) == (text, UTF8)
    assert decoded(codecs.BOM_UTF8 + text.encode()) == (text, UTF8)
    for mark, codec in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        assert decoded(mark + text.encode(codec)) == (text, UTF16)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark(codec: str) -> None:
    text = "person_id;name;image\r\n1;Łukasz Żółć;a.jpg\r\n"
    assert decoded(text.encode(codec)) == (text, UTF16)


@pytest.mark.parametrize("text", ["Zoë", "Müller", "ŠKODA, MÜLLER", "Señor Núñez à l’école", "„Jörg“ – 5 €", "Straße"])
def test_windows_1252_is_read(text: str) -> None:
    assert decoded(text.encode("cp1252")) == (text, WINDOWS)


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("Müller", "mac_roman"),
        ("Jäger", "mac_roman"),
        ("Straße", "mac_roman"),
        ("Иванов", "cp1251"),
        ("Παπάς", "cp1253"),
        ("山田", "shift_jis"),
    ],
)
def test_other_code_pages_are_not_taken_for_it(text: str, codec: str) -> None:
    with pytest.raises(ValueError, match=r"not UTF-8 \(byte"):
        decoded(text.encode(codec))


@pytest.mark.parametrize("data", [b"PK\x03\x04\x14\0\x06\0", b"\xff\xfe\0\0a\0\0\0", b"a\0", b"\xfe\xff\0\0"])
def test_what_is_no_text(data: bytes) -> None:
    try:
        text, _ = decoded(data)
    except ValueError:
        return
    assert "\0" not in text


def test_a_word_to_look_at() -> None:
    assert unusual("person_id\n1,Anna Müller\n") == "Müller"
    assert unusual("Anna") == ""


def test_names_of_files(tmp_path: Path) -> None:
    for path in ("a/b/Zoë.jpg", "a\\b\\Zoë.jpg", "C:\\b/Zoë.jpg", "Zoë.jpg"):
        for form in ("NFC", "NFD"):
            assert file_name(normalize(form, path)) == normalize("NFC", "Zoë.jpg")
    assert image_name("s3://b/50%25%20%C3%A9.jpg?region=eu") == "50% é.jpg"
    assert image_name("/a/50%20.jpg") == "50%20.jpg"
    (tmp_path / normalize("NFD", "Zoë.png")).touch()
    assert files_in(tmp_path) == {normalize("NFC", "Zoë.png"): tmp_path / normalize("NFD", "Zoë.png")}
    assert files_in(tmp_path / "none") == {}
