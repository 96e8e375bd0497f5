import codecs
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.packets import bag, mp, mwg, packet
from muster.storage.tags.said import MANY, Area, Said, name_of, names_of
from muster.storage.tags.xmp import _NOT_XML, read_xmp

BOX = (0.25, 0.125, 0.5, 0.375)
ANN = Area(origin="mwg-rs", name="Ann", type="Face", box=BOX, applied_to=(640, 480))


def test_regions_as_attributes_and_as_elements() -> None:
    for elements in (False, True):
        said = read_xmp(packet(mwg([("Ann", BOX)], (640, 480), elements) + mp([("Ann", BOX)], elements, "Seq")))
        assert said.areas == (ANN, Area(origin="mp", name="Ann", type="Face", box=BOX))
        assert said.remarks == ()


def test_a_region_without_name_or_dimensions() -> None:
    text = mwg([("", BOX)]).replace('mwg-rs:Name=""', "").replace('mwg-rs:Type="Face"', "")
    assert read_xmp(packet(text)).areas == (Area(origin="mwg-rs", name=None, type="", box=BOX),)


def test_circles_pixels_and_other_namespaces() -> None:
    area = '<mwg-rs:Area stArea:x="0.5" stArea:y="0.5" stArea:d="0.5" stArea:unit="normalized"/>'
    text = mwg([("Ann", BOX)], (400, 200))
    start, end = text.index("<mwg-rs:Area "), text.index("</rdf:Description>")
    [circle] = read_xmp(packet(text[:start] + area + text[end:])).areas
    assert circle.box == (0.375, 0.25, 0.625, 0.75)  # 100 pixels of the shorter side
    [pixels] = read_xmp(packet(text.replace("normalized", "pixel"))).areas
    assert pixels.pixels
    for namespace in (b"http://ns.adobe.com/xmp/sType/Area", b"http://ns.adobe.com/xap/1.0/sType/Area#"):
        data = packet(text).replace(b"http://ns.adobe.com/xmp/sType/Area#", namespace)
        assert read_xmp(data).areas[0].box == BOX
    strange = packet(text).replace(b"metadataworkinggroup.com", b"example.com")
    assert read_xmp(strange) == Said()


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e300", "", "x", "0", "-0.2"])
def test_a_size_that_is_none_leaves_the_name(number: str) -> None:
    text = mwg([("Ann", BOX)]).replace('stArea:w="0.25"', f'stArea:w="{number}"')
    said = read_xmp(packet(text + mp([("Bob", BOX)]).replace(", 0.25, 0.25", f", {number}, 0.25")))
    assert [(area.name, area.box) for area in said.areas] == [("Ann", None), ("Bob", None)]
    assert said.remarks == ("a region has no place, or one of no size",)


def test_keywords_of_all_kinds_come_once() -> None:
    said = read_xmp(
        packet(
            bag("dc:subject", ["Lisbon", "AC/DC", "a, b"])
            + bag("lr:hierarchicalSubject", ["Places|Portugal|Lisbon"])
            + bag("digiKam:TagsList", ["Places/Portugal", "AC/DC"], "Seq")
            + bag("MicrosoftPhoto:LastKeywordXMP", ["lisbon", "Sea"])
        )
    )
    assert said.keywords == ("Lisbon", "AC/DC", "a, b", "Places", "Portugal", "Sea")
    assert read_xmp(packet(attributes='dc:subject="alone"')).keywords == ("alone",)


def test_people_without_a_place() -> None:
    details = (
        "<Iptc4xmpExt:PersonInImageWDetails><rdf:Bag><rdf:li rdf:parseType='Resource'><Iptc4xmpExt:PersonName><rdf:Alt>"
        "<rdf:li xml:lang='x-default'>Bob</rdf:li></rdf:Alt></Iptc4xmpExt:PersonName></rdf:li></rdf:Bag>"
        "</Iptc4xmpExt:PersonInImageWDetails>"
    )
    assert read_xmp(packet(bag("Iptc4xmpExt:PersonInImage", ["Ann"]) + details)).people == ("Ann", "Bob")


def test_languages() -> None:
    def title(*items: tuple[str, str]) -> str:
        inside = "".join(f"<rdf:li xml:lang='{language}'>{text}</rdf:li>" for language, text in items)
        return f"<dc:title><rdf:Alt>{inside}</rdf:Alt></dc:title>"

    assert read_xmp(packet(title(("de", "See"), ("x-default", "Lake")))).title == "Lake"
    assert read_xmp(packet(title(("x-default", " "), ("de", "See")))).title == "See"
    assert read_xmp(packet("<dc:description>one\ntwo</dc:description>")).description == "one\ntwo"
    assert read_xmp(packet("<dc:title><rdf:Alt/></dc:title>")).title is None
    qualified = "<dc:title rdf:parseType='Resource'><rdf:value>Sea</rdf:value></dc:title>"
    assert read_xmp(packet(qualified)).title == "Sea"


@pytest.mark.parametrize(
    ("written", "rating"),
    [("4", 4), ("-1", -1), ("4.0", 4), ("99", 5), ("-7", -1), ("0", None), ("nan", None), ("", None)],
)
def test_ratings(written: str, rating: int | None) -> None:
    assert read_xmp(packet(attributes=f'xmp:Rating="{written}"')).rating == rating


def test_dates() -> None:
    when = datetime(2018, 10, 4, 19, 21, 55)
    assert read_xmp(packet(attributes='photoshop:DateCreated="2018-10-04T19:21:55-04:00"')).taken_at == when
    both = 'xmp:CreateDate="2020-01-01" exif:DateTimeOriginal="2018-10-04T19:21:55"'
    assert read_xmp(packet(attributes=both)).taken_at == when
    assert read_xmp(packet(attributes='photoshop:DateCreated="2018-10-04"')).taken_at == datetime(2018, 10, 4)
    for none in ("2018", "2018-10", "0000-00-00", "2018-13-45T00:00:00", "9" * 5000, "yesterday"):
        assert read_xmp(packet(attributes=f'photoshop:DateCreated="{none}"')).taken_at is None


@pytest.mark.parametrize(
    ("latitude", "longitude", "position"),
    [
        ("52,30.0N", "13,15.0E", (52.5, 13.25)),
        ("52,30,36S", "13,15,0W", (-52.51, -13.25)),
        ("-52.5", "13.25", (-52.5, 13.25)),
        ("0,0N", "0,0E", None),
        ("91,0N", "13,0E", None),
        ("52,75.0N", "13,0E", None),
        ("", "13,0E", None),
        ("N", "E", None),
    ],
)
def test_places(latitude: str, longitude: str, position: tuple[float, float] | None) -> None:
    said = read_xmp(packet(attributes=f'exif:GPSLatitude="{latitude}" exif:GPSLongitude="{longitude}"'))
    assert said.position == (position and pytest.approx(position))


def test_a_reference_beside_decimal_degrees() -> None:
    numbers = "<exif:GPSLatitude>33.5</exif:GPSLatitude><exif:GPSLongitude>70.25</exif:GPSLongitude>"
    refs = "<exif:GPSLatitudeRef>S</exif:GPSLatitudeRef><exif:GPSLongitudeRef>W</exif:GPSLongitudeRef>"
    assert read_xmp(packet(numbers + refs)).position == (-33.5, -70.25)


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("declared", ["", "<?xml version='1.0' encoding='UTF-8'?>"])
def test_encodings(codec: str, declared: str) -> None:
    text = declared + packet(bag("dc:subject", ["Müller Ωλ 東京"])).decode().replace("\ufeff", "")
    for padding in ("", "\n" + " " * 20, "\0\0\0"):
        assert read_xmp((text + padding).encode(codec)).keywords == ("Müller Ωλ 東京",)


def test_encodings_that_are_not_declared_or_not_true() -> None:
    text = packet(bag("dc:subject", ["Müller"])).decode().replace("\ufeff", "")
    assert read_xmp(text.encode("cp1252")).keywords == ("Müller",)
    declared = "<?xml version='1.0' encoding='ISO-8859-1'?>" + text
    assert read_xmp(declared.encode("latin-1")).keywords == ("Müller",)


def test_what_programs_leave_in_a_packet() -> None:
    good = packet(bag("dc:subject", ["lake"]))
    for data in (good.replace(b"lake", b"la\x03ke"), good + b"<rubbish", b"\n \n" + good + b"\0" * 500):
        assert read_xmp(data).keywords == ("lake",)
    bare = good[good.index(b"<rdf:RDF") : good.index(b"</x:xmpmeta>")]
    assert read_xmp(bare).keywords == ("lake",)


BOMB = b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>" + b"".join(
    b"<!ENTITY %c '%s'>" % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9)
)


@pytest.mark.parametrize(
    ("data", "remark"),
    [
        (BOMB + b"]><x>subject &j;</x>", "XMP with entities of its own, or a document type, is not read"),
        (
            b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><x>subject</x>",
            "XMP with entities of its own, or a document type, is not read",
        ),
        (b"<x " + b" ".join(b"a%d='1'" % i for i in range(3_000_000)) + b"/>", "XMP of 36 MiB is not read (limit 16)"),
        (b"<x a='subject' " + b" ".join(b"a%d=''" % i for i in range(400_000)) + b"/>", "nested too deep, or has too"),
        (b"<subject>" * 300_000, "nested too deep, or has too many"),
        (b"<subject>" + b"<a/>" * 400_000 + b"</subject>", "nested too deep, or has too many"),
        (b"subject, and no XML", "its XMP is broken, and is not read"),
        (b"<subject>\xff\xfe\xfd</subject>", "its XMP is broken, and is not read"),
        (packet(bag("dc:subject", ["lake"]))[:-70], "its XMP is broken, and is not read"),
    ],
    ids=["bomb", "external", "attributes", "many attributes", "deep", "wide", "text", "bytes", "cut"],
)
def test_hostile_packets(data: bytes, remark: str) -> None:
    said = read_xmp(data)
    assert [remark in each for each in said.remarks] == [True]
    assert not said.keywords


def test_packets_in_which_nothing_is_said_are_not_parsed() -> None:
    assert read_xmp(b"<x:xmpmeta broken hdrgm:Version='1.0'") == Said()
    assert read_xmp(b"\0" * 100) == Said()


def test_a_sidecar_full_of_strokes_is_read() -> None:
    strokes = bag("crs:Dabs", [f"d 0.{i} 0.{i}" for i in range(100_000)], "Seq").replace(
        "<crs:Dabs", "<crs:Dabs xmlns:crs='http://ns.adobe.com/camera-raw-settings/1.0/'", 1
    )
    assert read_xmp(packet(strokes + bag("dc:subject", ["lake"]))).keywords == ("lake",)


def test_crowds_are_read_as_far() -> None:
    many = [(f"p{i}", BOX) for i in range(MANY + 5)]
    said = read_xmp(packet(mp(many) + bag("dc:subject", [name for name, _ in many])))
    assert (len(said.areas), len(said.keywords)) == (MANY, MANY)


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_any_bytes_raise_nothing(rubbish: bytes, at: int) -> None:
    whole = packet(mwg([("Ann", BOX)], (4, 3)) + bag("dc:subject", ["lake"]), 'xmp:Rating="4"')
    assert isinstance(read_xmp(whole[:at] + rubbish + whole[at + len(rubbish) :]), Said)
    assert isinstance(read_xmp(codecs.BOM_UTF16_LE + rubbish), Said)


def written(text: str) -> str:
    """Without what no XML can hold; where there is such, all of it goes."""
    return _NOT_XML.sub("", text)


@given(st.text(min_size=1), st.lists(st.text(), max_size=3))
def test_names_of_any_letters_come_through(name: str, words: list[str]) -> None:
    said = read_xmp(packet(mp([(name, BOX)]) + bag("dc:subject", words)))
    assert [area.name for area in said.areas] in ([], [name_of(written(name))])
    assert said.keywords == names_of(map(written, words))


def test_real_sidecars(data: Path) -> None:
    folder = data / "photos" / "formats2"
    apple = read_xmp((folder / "apple-test-2.xmp").read_bytes())
    assert (apple.title, apple.description) == ("Botanischer Garten", "Tulpen am See")
    assert apple.keywords == ("Krokus", "Blume", "Schöne Wiese")
    assert apple.position == pytest.approx((52.5250816, 13.3693672))
    assert read_xmp((folder / "iphone_7.xmp").read_bytes()).position == pytest.approx((34.79745, 134.764633))
