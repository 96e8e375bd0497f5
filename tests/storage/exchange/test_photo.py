import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.exchange.photo import common_folder, name_of, parts_of, public_uri


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/a/b/1.jpg", ("a", "b", "1.jpg")),
        ("/a/50% off?.jpg", ("a", "50% off?.jpg")),
        ("file:///a/%ff%20.jpg", ("a", "\ufffd .jpg")),
        ("s3://bucket/b%20c/1.jpg?region=x", ("bucket", "b c", "1.jpg")),
        ("s3://key:secret@bucket/1.jpg", ("bucket", "1.jpg")),
        ("/a/lfw.parquet#row=7", ("a", "lfw.parquet", "7")),
        ("s3://bucket/lfw.parquet?region=x#row=7", ("bucket", "lfw.parquet", "7")),
        ("gs://bucket/%2e%2e/%2Fetc/a%00.jpg", ("bucket", "etc", "a_.jpg")),
    ],
)
def test_names(uri: str, name: tuple[str, ...]) -> None:
    assert name_of(uri) == name


@given(st.text())
def test_no_name_leads_out_of_a_folder(text: str) -> None:
    for parts in (parts_of(text), name_of(text), name_of(f"s3://b/{text}")):
        assert not {"", ".", ".."} & set(parts)
        assert not any("/" in part or "\0" in part for part in parts)


def test_what_names_have_in_common() -> None:
    assert common_folder([]) == ()
    assert common_folder([("a", "b", "1.jpg")]) == ("a", "b")
    assert common_folder([("a", "b", "1.jpg"), ("a", "bc", "2.jpg")]) == ("a",)
    assert common_folder([("a", "b", "1.jpg"), ("a", "b", "1.jpg", "2.jpg")]) == ("a", "b")
    assert common_folder([("a", "1.jpg"), ("b", "1.jpg")]) == ()


def test_no_password_is_published() -> None:
    assert public_uri("s3://key:secret@bucket/a@b.jpg") == "s3://bucket/a@b.jpg"
    for uri in ("/a@b/c.jpg", "s3://bucket/a@b.jpg", "file:///a@b"):
        assert public_uri(uri) == uri
