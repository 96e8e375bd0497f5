import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.tags.elements import Element, SidecarError, from_utf8, parse, to_utf8

ODD = (
    "<?xml version='1.0'?><!-- <a> --><p:a xmlns:p='u' xmlns='v' p:one = '&lt;1>' two=\"'é'\"><b  />"
    "<c>ü&#10;<![CDATA[</c>]]><d></d\n></c></p:a>\n"
).encode()


def every(element: Element) -> list[Element]:
    return [element, *(each for child in element.children for each in every(child))]


def test_elements_know_where_they_stand() -> None:
    root = parse(ODD)
    texts = {each.name: (ODD[each.start : each.end], ODD[each.inside : each.close]) for each in every(root)}
    assert texts["v b"] == (b"<b  />", b"")
    assert texts["v d"] == (b"<d></d\n>", b"")
    assert texts["v c"][1] == "ü&#10;<![CDATA[</c>]]><d></d\n>".encode()
    assert texts["u a"][0] == ODD[ODD.index(b"<p:a") :].rstrip()
    assert root.children[1].text == "ü\n</c>"
    assert root.children[1].prefixes == {"p": "u", "": "v"}


def test_attributes_know_where_they_stand() -> None:
    one, two = parse(ODD).attributes
    assert (one.name, one.value, two.name, two.value) == ("u one", "<1>", "two", "'é'")
    assert (ODD[one.start : one.end], ODD[one.value_start : one.end]) == (b" p:one = '&lt;1>'", b"'&lt;1>'")
    assert ODD[two.value_start : two.end] == "\"'é'\"".encode()


@given(st.text(st.characters(codec="utf-8"), max_size=30), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_a_document_comes_back_to_the_byte(text: str, codec: str) -> None:
    data = f"<{text}".encode(codec)
    if text.startswith("\0"):
        return
    assert from_utf8(*to_utf8(data)) == data


def test_an_encoding_that_it_declares_is_read() -> None:
    data = "<?xml version='1.0' encoding='ISO-8859-1'?><a>é</a>".encode("latin-1")
    utf8, codec = to_utf8(data)
    assert parse(utf8).text == "é"
    assert from_utf8(utf8.replace("é".encode(), "éπ".encode()), codec) == data.replace(b"\xe9", b"\xe9&#960;")
    with pytest.raises(SidecarError, match="utf-8"):
        to_utf8(b"<a>\xe9</a>")
