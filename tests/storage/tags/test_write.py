"""Every document is read back by a reader that shares no code with the writer: tests/helpers/regions.py."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from defusedxml import ElementTree
from hypothesis import given
from hypothesis import strategies as st

from helpers.regions import RDF, SIZE, UNKNOWN, document, jpeg, mp, mwg, overlap, raw_regions, regions_in, upright
from muster.storage.tags import write
from muster.storage.tags.elements import SidecarError
from muster.storage.tags.mwg import Frame, mark
from muster.storage.tags.write import Merged, NamedFace

STORED = (600, 400)
FRAME = Frame(*STORED)
ANNA, BOB = NamedFace("Anna", (60, 40, 180, 160)), NamedFace("Bob", (300, 100, 420, 240))
FACES = [ANNA, BOB]
HER = (60, 40, 180, 160)


def merged(there: bytes | None, faces: list[NamedFace], frame: Frame, writer: str = "a") -> Merged:
    return write.merged(there, faces, frame, writer)


def frame_of(orientation: int) -> Frame:
    return Frame(*(STORED[::-1] if orientation >= 5 else STORED), orientation)


def data_of(result: Merged) -> bytes:
    assert result.data is not None
    return result.data


def names_in(data: bytes) -> list[str]:
    return [name for name, _ in raw_regions(data)]


def inserted(before: bytes, after: bytes) -> bytes:
    """What was put into a document at one place; everything else stayed."""
    head = next((at for at, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), len(before))
    assert after.endswith(before[head:])
    return after[head : len(after) - len(before) + head]


# ---- where -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", [None, mwg, mp])
@pytest.mark.parametrize("attributes", [False, True])
def test_a_region_is_read_back_where_the_face_is(orientation: int, form: object, attributes: bool) -> None:
    photo = jpeg(STORED, orientation)
    faces = {f"No. {number}": upright(box, STORED, orientation) for number, box in enumerate([HER, (0, 300, 90, 400)])}
    theirs = ("Carl", (300, 200, 400, 320))
    there = None if form is None else document(UNKNOWN, form([theirs], STORED, attributes))  # type: ignore[operator]
    result = merged(there, [NamedFace(name, box) for name, box in faces.items()], frame_of(orientation))
    found = dict(regions_in(data_of(result), photo))
    assert found.keys() == {*faces, *(["Carl"] if form is mwg else [])}
    assert all(overlap(found[name], box) >= 0.99 for name, box in faces.items())
    if there is not None:
        inserted(there, data_of(result))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_dimensions_are_those_of_the_stored_image(orientation: int) -> None:
    root = ElementTree.fromstring(data_of(merged(None, [ANNA], frame_of(orientation))))
    assert [next(root.iter(SIZE + side)).text for side in "wh"] == ["600", "400"]


def test_a_box_past_the_edge_is_cut_off_and_one_outside_is_counted() -> None:
    faces = [NamedFace("Anna", (-60, -40, 120, 200)), NamedFace("Bob", (700, 0, 800, 100)), NamedFace("", (0, 0, 9, 9))]
    result = merged(None, faces, FRAME)
    assert raw_regions(data_of(result)) == [("Anna", (0.1, 0.25, 0.2, 0.5))]
    assert (result.written, result.outside) == (1, 1)


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "<b>&amp;</b>]]>",
        "שרה \u202e evil",
        'O\'Neil "Shorty"',
        "Ω" * 10_000,
        "👩‍👧",
        " a\tb\nc\rd\r\n",
        "\ud7ff\U00010000",
    ],
)
def test_a_name_is_read_back_as_it_is(name: str) -> None:
    assert names_in(data_of(merged(None, [NamedFace(name, HER)], FRAME))) == [name]


@pytest.mark.parametrize("name", ["a\0b", "a\x1bb", "a\ufffeb", "a\udc80b"])
def test_what_xml_has_no_character_for_is_shown_as_missing(name: str) -> None:
    data = data_of(merged(None, [NamedFace(name, HER)], FRAME))
    assert names_in(data) == ["a\ufffdb"]
    assert merged(data, [NamedFace(name, HER)], FRAME).data == data


# ---- a document that is there ----------------------------------------------------------------------------------------


def test_where_nobody_is_named_there_is_no_document() -> None:
    assert merged(None, [], FRAME).data is None
    assert merged(data_of(merged(None, FACES, FRAME)), [], FRAME).data is None


def test_who_is_there_already_is_not_written_twice() -> None:
    there = document(mwg([("Anna", (66, 44, 190, 170))], STORED))
    result = merged(there, FACES, FRAME)
    assert names_in(data_of(result)) == ["Anna", "Bob"]
    assert (result.there, result.written) == (1, 1)


def test_a_pet_in_the_same_place_is_nobody() -> None:
    there = document(mwg([("Rex", HER)], STORED).replace(">Face<", ">Pet<"))
    assert names_in(data_of(merged(there, [replace(ANNA, certain=True)], FRAME))) == ["Rex", "Anna"]


def test_a_person_of_that_name_elsewhere_is_another_face() -> None:
    result = merged(document(mwg([("Anna", (400, 200, 500, 300))], STORED)), [ANNA], FRAME)
    assert names_in(data_of(result)) == ["Anna", "Anna"]


def test_regions_are_given_to_the_faces_that_they_fit_best() -> None:
    near, far = NamedFace("Near", (60, 40, 180, 160)), NamedFace("Far", (100, 40, 220, 160))
    there = document(mwg([("Far", (98, 40, 222, 160)), ("Near", (58, 40, 178, 160))], STORED))
    assert merged(there, [near, far], FRAME).data == there


@pytest.mark.parametrize("attributes", [False, True])
@pytest.mark.parametrize("way", [{"certain": True}, {"former": ["Ann"]}])
def test_a_name_of_others_stays_unless_it_gives_way(attributes: bool, way: dict[str, Any]) -> None:
    there = document(mwg([("An&#110;", HER)], STORED, attributes), UNKNOWN)
    kept = merged(there, [replace(ANNA, former=["Hanna"])], FRAME)
    assert (kept.data, kept.otherwise, kept.written) == (there, [("Ann", "Anna")], 0)

    renamed = merged(there, [replace(ANNA, **way), BOB], FRAME)
    assert (renamed.renamed, names_in(data_of(renamed))) == (1, ["Anna", "Bob"])
    assert merged(renamed.data, FACES, FRAME).data == renamed.data  # nobody knows of its former name any more
    assert merged(renamed.data, [], FRAME).data == there


def test_a_new_name_of_ours_takes_the_place_of_the_old_one() -> None:
    before = data_of(merged(document(UNKNOWN), FACES, FRAME))
    after = data_of(merged(before, [NamedFace("Anne", ANNA.box_xyxy), BOB], FRAME))
    assert sorted(names_in(after)) == ["Anne", "Bob"]


def test_who_is_taken_back_goes_alone() -> None:
    there = document(mwg([("Carl", (400, 200, 500, 300))], STORED), UNKNOWN)
    both = data_of(merged(there, FACES, FRAME))
    assert merged(both, [BOB], FRAME).data == merged(there, [BOB], FRAME).data
    assert merged(both, [], FRAME).data == there


def test_what_another_library_wrote_is_that_of_others() -> None:
    theirs = data_of(merged(None, [ANNA], FRAME, writer="b"))
    both = merged(theirs, FACES, FRAME)
    assert (both.there, both.written) == (1, 1)
    assert merged(both.data, [], FRAME).data == theirs
    assert merged(merged(both.data, [], FRAME, writer="b").data, [], FRAME).data is None


@pytest.mark.parametrize("orientation", range(5, 9))
def test_regions_of_an_upright_picture_get_ours_beside_them(orientation: int) -> None:
    """As programs write them that turn a photo and keep its EXIF, and as `regions.place` reads them."""
    frame = frame_of(orientation)
    theirs, ours = ("Carl", (10, 10, 90, 90)), NamedFace("Anna", (200, 300, 300, 450))
    result = merged(document(mwg([theirs], (frame.width, frame.height))), [ours], frame)
    areas = dict(raw_regions(data_of(result)))
    assert areas["Anna"] == pytest.approx((250 / 400, 375 / 600, 100 / 400, 150 / 600))


@pytest.mark.parametrize("change", [(">Anna<", ">Hanna<"), (">0.200000<", ">0.210000<")])
def test_what_somebody_changed_is_no_longer_ours(change: tuple[str, str]) -> None:
    ours = data_of(merged(None, [ANNA], FRAME))
    theirs = ours.replace(*(each.encode() for each in change))
    assert theirs != ours
    assert merged(theirs, [], FRAME).data == theirs
    both = merged(theirs, FACES, FRAME)
    assert (both.written, both.there + len(both.otherwise)) == (1, 1)


def test_ours_is_known_when_another_program_has_written_it_anew() -> None:
    """As Adobe's toolkit does: one description, fields as attributes, its own order."""
    ours = data_of(merged(None, FACES, FRAME)).decode()
    fields = {name: re.findall(f"<{name}>(.*?)</{name}>", ours) for name in ("mwg-rs:Name", "muster:Wrote")}
    areas = [re.findall(f"<stArea:{key}>(.*?)<", ours) for key in "xywh"]
    items = "".join(
        f"""<rdf:li><rdf:Description mwg-rs:Name="{name}" muster:Wrote="{mark}" mwg-rs:Type="Face"><mwg-rs:Area
        stArea:x="{float(x)}" stArea:y="{float(y)}" stArea:w="{float(w)}" stArea:h="{float(h)}"/></rdf:Description>
        </rdf:li>"""
        for name, mark, x, y, w, h in zip(*fields.values(), *areas, strict=True)
    )
    theirs = document(
        f"""<rdf:Description rdf:about="" xmlns:muster="urn:muster:regions#" xmlns:x="x" muster:Made="1" x:Rating="5">
        <mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:RegionList><rdf:Bag>{items}</rdf:Bag></mwg-rs:RegionList>
        </mwg-rs:Regions></rdf:Description>"""
    )
    assert sorted(names_in(theirs)) == ["Anna", "Bob"]
    assert names_in(data_of(merged(theirs, [BOB], FRAME))) == ["Bob"]
    assert b"Rating" in data_of(merged(theirs, [], FRAME))


def test_properties_that_others_put_beside_ours_stay() -> None:
    ours = data_of(merged(None, [ANNA], FRAME))
    theirs = ours.replace(b" </mwg-rs:Regions>\n", b" </mwg-rs:Regions><x:y xmlns:x='z'/>\n")
    left = data_of(merged(theirs, [], FRAME))
    assert names_in(left) == []
    assert b"<x:y xmlns:x='z'/>" in left


def test_a_name_that_somebody_changed_again_is_theirs() -> None:
    there = document(mwg([("Ann", HER)], STORED))
    renamed = data_of(merged(there, [replace(ANNA, certain=True)], FRAME))
    again = renamed.replace(b">Anna<", b">Zoe<")
    result = merged(again, [replace(ANNA, certain=True)], FRAME)
    assert (result.data, result.otherwise) == (again, [("Zoe", "Anna")])


@pytest.mark.parametrize("attributes", [False, True])
def test_a_mark_in_another_form_than_the_name_is_not_believed(attributes: bool) -> None:
    there = document(mwg([("Anna", HER)], STORED, attributes))
    sign = mark("Anna", raw_regions(there)[0][1], "a")
    if attributes:
        marked = there.replace(b"</rdf:Description></rdf:li>", b"%s</rdf:Description></rdf:li>")
    else:
        marked = there.replace(b"</mwg-rs:Name>", b"</mwg-rs:Name>%s")
    was = "<muster:Was xmlns:muster='urn:muster:regions#'>Ann</muster:Was>" + (
        f"<muster:Wrote xmlns:muster='urn:muster:regions#'>{sign}</muster:Wrote>"
    )
    marked = marked.replace(b"%s", was.encode())
    assert marked != there
    assert (merged(marked, [], FRAME).data == marked) is attributes


def test_the_order_of_faces_does_not_count() -> None:
    twins = [*FACES, NamedFace("Anna", (420, 300, 500, 380))]
    assert merged(None, twins, FRAME).data == merged(None, twins[::-1], FRAME).data


def test_of_two_names_for_one_face_ours_is_enough() -> None:
    there = document(mwg([("Ann", HER), ("Anna", (66, 44, 190, 170))], STORED))
    result = merged(there, [ANNA], FRAME)
    assert (result.data, result.there, result.otherwise) == (there, 1, [])


def test_names_with_line_breaks_give_way_and_come_back_in_attributes() -> None:
    there = document(mwg([("Ann", HER)], STORED, True))
    renamed = data_of(merged(there, [NamedFace("An\nna", HER, certain=True)], FRAME))
    assert names_in(renamed) == ["An\nna"]
    assert merged(renamed, [], FRAME).data == there


def test_what_is_not_understood_stays_as_it_is_without_ours_too() -> None:
    ours = data_of(merged(document(UNKNOWN), FACES, FRAME))
    assert write.without(ours, "a") == document(UNKNOWN)
    assert write.without(ours, "b") == ours
    assert write.without(ours[:-100] + b"<", "a") == ours[:-100] + b"<"
    utf16 = data_of(merged(document(UNKNOWN).decode().encode("utf-16"), FACES, FRAME))
    assert write.without(utf16, "a") == document(UNKNOWN).decode().encode("utf-16")


@pytest.mark.parametrize("name", ["niaz.xmp", "canon_eos_6d.xmp", "apple-test-2.xmp", "iphone_7.xmp"])
def test_real_sidecars_keep_every_byte(data: Path, name: str) -> None:
    there = (data / "photos/formats2" / name).read_bytes()
    result = merged(there, [ANNA], FRAME)
    assert "Anna" in names_in(data_of(result))
    inserted(there, data_of(result))
    assert merged(result.data, [], FRAME).data == there


# ---- documents that are left alone -----------------------------------------------------------------------------------

BOMB = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&b;</x:xmpmeta>'
REGIONS = "<rdf:Description><mwg-rs:Regions{}</rdf:Description>"


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (b"", "well-formed"),
        (b"\0" * 100, "well-formed"),
        (b"\xff\xd8\xff\xe0 a JPEG", "utf-8"),
        (document(UNKNOWN)[:300], "well-formed"),
        (document(UNKNOWN) + b"\0", "well-formed"),
        (BOMB, "document type"),
        (b"<svg/>", "rdf:RDF"),
        (document(UNKNOWN).replace(b"<?xpacket", b"<?xml version='1.0' encoding='cp037'?><?xpacket", 1), "cp037"),
        ("\ufeff<a/>".encode("utf-16-le")[:-1], "utf-16-le"),
        (document(REGIONS.format(" rdf:resource='x'/>")), "no place"),
        (document(REGIONS.format("><mwg-rs:RegionList/></mwg-rs:Regions>")), "no place"),
        (document("<rdf:Description mwg-rs:Regions='x'/>"), "rdf:resource"),
        (document("<a>" * 250_000 + "</a>" * 250_000), "elements"),
        (document("<rdf:Description/>" * 250_000), "elements"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_document_that_is_not_understood_is_refused(there: bytes, why: str) -> None:
    with pytest.raises(SidecarError, match=why):
        merged(there, FACES, FRAME)


def test_a_change_that_could_not_be_taken_back_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "_pieces", lambda *_: [])
    with pytest.raises(SidecarError, match="taken back"):
        merged(document(UNKNOWN), FACES, FRAME)


# ---- any document ----------------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=8).filter(str.strip)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """XMP as somebody may have written it."""
    others = [("Carl", (400, 200, 500, 300)), ("Ann", (60, 40, 180, 160))][: draw(st.integers(0, 2))]
    properties = [UNKNOWN, draw(st.sampled_from(["", UNKNOWN, mp(others, STORED)]))]
    if draw(st.booleans()):
        properties.append(mwg(others, STORED, draw(st.booleans())))
    text = document(*draw(st.permutations(properties))).decode()
    if not others:
        empty = draw(st.sampled_from(["<rdf:Bag/>", "<rdf:Bag />", "<rdf:Bag></rdf:Bag>"]))
        text = re.sub(r"<rdf:Bag>\s*</rdf:Bag>", empty, text)
    if draw(st.booleans()):
        text = text.replace("rdf:Bag", "rdf:Seq")
    if draw(st.booleans()):  # other prefixes, and ours for something else
        text = (
            text.replace("mwg-rs", "Q")
            .replace("xmlns:stArea=", "xmlns:muster='urn:else' xmlns:A=")
            .replace("stArea:", "A:")
        )
    if draw(st.booleans()):
        text = text.replace("<rdf:RDF", f"<rdf:RDF xmlns='{RDF[1:-1]}'").replace("<rdf:", "<").replace("</rdf:", "</")
    if draw(st.booleans()):  # no wrappers
        text = text[text.index("<", text.index("adobe:ns:meta")) : text.index("</x:xmpmeta>")]
    text = draw(st.sampled_from(["", "\n  ", "<!-- first -->"])) + text
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n", "\r", " ", "\n\t"])))
    codec = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"]))
    declared = {"utf-16-be": "\ufeff", "latin-1": "<?xml version='1.0' encoding='ISO-8859-1'?>"}.get(codec, "")
    return f"{declared}{text}".encode(codec, "xmlcharrefreplace")


@given(documents(), NAMES, st.booleans())
def test_any_document_keeps_what_others_wrote(there: bytes, name: str, certain: bool) -> None:
    faces = [NamedFace(name, HER, certain), NamedFace("Zoé", (300, 100, 420, 240))]
    theirs = raw_regions(there)
    result = merged(there, faces, FRAME)
    after = data_of(result)
    assert merged(after, faces, FRAME).data == after
    assert merged(after, [], FRAME).data == there
    assert len(raw_regions(after)) == len(theirs) + result.written
    assert result.written + result.there + result.renamed + len(result.otherwise) == 2
    if not result.renamed:
        assert raw_regions(after)[: len(theirs)] == theirs


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_bytes_of_any_kind_are_merged_or_refused(there: bytes) -> None:
    try:
        result = merged(there, FACES, FRAME)
    except SidecarError:
        return
    assert merged(result.data, [], FRAME).data == there


@given(documents(), st.integers(0, 5000), st.integers(0, 5000))
def test_a_document_cut_anywhere_is_merged_or_refused(there: bytes, start: int, end: int) -> None:
    cut = there[: start % len(there)] + there[end % len(there) :]
    try:
        result = merged(cut, FACES, FRAME)
    except SidecarError:
        return
    assert merged(result.data, [], FRAME).data == cut
