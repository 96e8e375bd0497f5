"""Blocks written tag by tag, since cameras write what Pillow would not."""

import io
import struct
from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from muster.storage.photos.decode import decode
from muster.storage.photos.exif import CameraFacts, facts

TEXT, BYTE, SHORT, RATIONAL, UNDEFINED, SIGNED = 2, 1, 3, 5, 7, 10
Ratio = tuple[int, int]
Value = str | bytes | int | Sequence[int] | Sequence[Ratio]
UNKNOWN = (0, 0)
MADE, MODEL, CHANGED, TAKEN, DIGITISED, PART = 0x010F, 0x0110, 0x0132, 0x9003, 0x9004, 0x9291


def entry(tag: int, value: Value, order: str, kind: int = 0) -> tuple[int, int, int, bytes]:
    if isinstance(value, str):
        content = value.encode() + b"\0"
        return tag, kind or TEXT, len(content), content
    if isinstance(value, bytes):
        return tag, kind or UNDEFINED, len(value), value
    numbers = [value] if isinstance(value, int) else list(value)
    if isinstance(numbers[0], tuple):
        signed = any(part < 0 for ratio in numbers for part in ratio)  # type: ignore[union-attr]
        content = b"".join(struct.pack(f"{order}2{'i' if signed else 'I'}", *ratio) for ratio in numbers)
        return tag, SIGNED if signed else RATIONAL, len(numbers), content
    return tag, SHORT, len(numbers), struct.pack(f"{order}{len(numbers)}H", *numbers)


def block(
    base: dict[int, Value],
    detail: dict[int, Value],
    gps: dict[int, Value],
    order: str = "<",
    kinds: dict[int, int] | None = None,
) -> bytes:
    """`kinds`: tag → its type in the directory of positions, where it is not the usual one of such a value."""
    content = (b"II*\0" if order == "<" else b"MM\0*") + bytes(4)
    starts = {}
    for name, tags in (("detail", detail), ("gps", gps), ("base", base)):
        entries = [entry(tag, value, order, (kinds or {}).get(tag, 0)) for tag, value in tags.items()]
        if name == "base":
            entries += [(0x8769, 4, 1, struct.pack(f"{order}I", starts["detail"]))]
            entries += [(0x8825, 4, 1, struct.pack(f"{order}I", starts["gps"]))]
        packed = b""
        for tag, kind, count, data in sorted(entries):
            if len(data) > 4:
                data, content = struct.pack(f"{order}I", len(content)), content + data
            packed += struct.pack(f"{order}HHI", tag, kind, count) + data.ljust(4, b"\0")
        starts[name] = len(content)
        content += struct.pack(f"{order}H", len(entries)) + packed + bytes(4)
    return content[:4] + struct.pack(f"{order}I", starts["base"]) + content[8:]


def facts_of(
    base: dict[int, Value],
    detail: dict[int, Value],
    gps: dict[int, Value],
    order: str = "<",
    kinds: dict[int, int] | None = None,
) -> CameraFacts:
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block(base, detail, gps, order, kinds))
    return facts(exif)


def time_of(*texts: Value, part: Value = "") -> datetime | None:
    """Of DateTimeOriginal, DateTimeDigitized and DateTime."""
    tags: dict[int, Value] = dict(zip((TAKEN, DIGITISED, CHANGED), texts, strict=False))
    base = {CHANGED: tags.pop(CHANGED)} if CHANGED in tags else {}
    return facts_of(base, tags | ({PART: part} if part else {}), {}).taken_at


def place_of(
    latitude: Value, longitude: Value, refs: tuple[Value | None, Value | None] = ("N", "E"), order: str = "<",
    kinds: dict[int, int] | None = None,
) -> tuple[float | None, float | None]:  # fmt: skip
    gps = {1: refs[0], 2: latitude, 3: refs[1], 4: longitude}
    found = facts_of({}, {}, {tag: value for tag, value in gps.items() if value is not None}, order, kinds)
    return found.latitude, found.longitude


# ---- times

MOMENTS = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 30)).map(lambda each: each.replace(microsecond=0))
SEPARATORS = [":", "-", "/", ".", " ", ": ", " : ", "年", "_"]


@given(
    moment=MOMENTS,
    days=st.sampled_from(SEPARATORS),
    between=st.sampled_from([" ", "T", "  ", "_", "日 ", "-"]),
    hours=st.sampled_from([*SEPARATORS[:4], "時"]),
    padding=st.sampled_from(["02", "2", "1"]),
    seconds=st.sampled_from(["", "seconds", "seconds.25", "60"]),
    zone=st.sampled_from(["", "Z", " Z", "+02:00", " +02:00", "-0530", "-05:30"]),
    end=st.sampled_from(["", " ", "\0\0", "\0garbage", "\xff", "\n"]),
)
@settings(max_examples=400, deadline=None)
def test_a_time_in_any_form_is_read_back(
    moment: datetime, days: str, between: str, hours: str, padding: str, seconds: str, zone: str, end: str
) -> None:
    numbers = [format(number, padding) for number in moment.timetuple()[1:6]]
    text = f"{moment.year}{days}{numbers[0]}{days}{numbers[1]}{between}{numbers[2]}{hours}{numbers[3]}"
    expected = moment
    if not seconds:
        expected = moment.replace(second=0)
    elif seconds == "60":
        text += f"{hours}60"
        expected = moment.replace(second=0) + timedelta(minutes=1)
    else:
        text += f"{hours}{numbers[4]}" + (".25" if seconds.endswith(".25") else "")
        expected = moment.replace(microsecond=250_000 if seconds.endswith(".25") else 0)
    if hours != ":" and zone.lstrip()[:1] in ("+", "-"):
        zone = ""  # may be seconds as well
    assert time_of(text + zone + end) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("2019: 1: 5  9:03:07", datetime(2019, 1, 5, 9, 3, 7)),
    ("2019:01:05", datetime(2019, 1, 5)),
    ("2019:01:05 ", datetime(2019, 1, 5)),
    ("2019:01:05   :  :  ", datetime(2019, 1, 5)),
    ("20190105 090307", datetime(2019, 1, 5, 9, 3, 7)),
    ("20190105T090307Z", datetime(2019, 1, 5, 9, 3, 7)),
    ("20190105", datetime(2019, 1, 5)),
    ("2019:01:05 09:03", datetime(2019, 1, 5, 9, 3)),
    ("2019:01:05 09:03-05:00", datetime(2019, 1, 5, 9, 3)),
    ("2019:01:05 9:03:07 PM", datetime(2019, 1, 5, 21, 3, 7)),
    ("2019:01:05 12:03:07 a.m.", datetime(2019, 1, 5, 0, 3, 7)),
    ("2019:01:05 12:03 pm", datetime(2019, 1, 5, 12, 3)),
    # Phones that count hours from 1 to 24: the file of the first is IMG_20190101_000418.jpg.
    ("2019:01:01 24:04:20", datetime(2019, 1, 1, 0, 4, 20)),
    ("2015:08:22 24:08:19", datetime(2015, 8, 22, 0, 8, 19)),
    ("2019:12:31 23:59:60", datetime(2020, 1, 1)),
    ("2014:04:26 19:09:1", datetime(2014, 4, 26, 19, 9, 1)),
    (b"2019:01:05 09:03:07", datetime(2019, 1, 5, 9, 3, 7)),
    ((2019, 1, 5, 9, 3, 7), datetime(2019, 1, 5, 9, 3, 7)),
    (b"\xef\xbb\xbf", None), (b"\xff\xfe\xfd", None), ("", None), (b"", None), ("\0", None), (b"\0" * 20, None),
    ("0000:00:00 00:00:00", None), ("    :  :     :  :  ", None), ("2019:00:00 00:00:00", None),
    ("2019:02:30 01:02:03", None),
    ("2019:01:05 25:00:00", None), ("2019:01:05 10:61:00", None), ("2019:01:05 10:00:61", None),
    ("19:01:05 09:03:07", None),
    ("05:01:2019 09:03:07", None), ("2019", None), ("2019:01", None),
    ("yesterday", None), ("9999:12:31 23:59:60", None),
    (7, None), ((2019, 1), None),
])  # fmt: skip
def test_times(text: Value, expected: datetime | None) -> None:
    assert time_of(text) == expected


UNUSABLE = ("0000:00:00 00:00:00", "", "2019:02:30 01:02:03", b"\xff\xff", "yesterday")


@pytest.mark.parametrize("unusable", UNUSABLE)
def test_a_tag_that_cannot_be_used_leaves_the_word_to_the_next(unusable: Value) -> None:
    good = "2019:01:05 09:03:07"
    expected = datetime(2019, 1, 5, 9, 3, 7)
    assert time_of(unusable, good) == time_of(unusable, unusable, good) == time_of(good, unusable) == expected


@pytest.mark.parametrize(("part", "microsecond"), [
    ("539", 539_000), ("539 ", 539_000), ("  5", 500_000), ("05", 50_000), ("123456789", 123_456), (539, 539_000),
    ("0.5", 0), ("x", 0), (b"\xff", 0), ("\0", 0), ("   ", 0), (b"250\0", 250_000),
])  # fmt: skip
def test_parts_of_a_second(part: Value, microsecond: int) -> None:
    assert time_of("2019:01:05 09:03:07", part=part) == datetime(2019, 1, 5, 9, 3, 7, microsecond)


def test_parts_of_a_second_that_is_unknown_are_none() -> None:
    assert time_of("2019:01:05 09:03", part="539") == datetime(2019, 1, 5, 9, 3)


def test_the_zone_changes_nothing() -> None:
    tags: dict[int, Value] = {TAKEN: "2019:01:05 09:03:07", 0x9011: "+02:00", 0x9010: "-05:00"}
    assert facts_of({}, tags, {}).taken_at == datetime(2019, 1, 5, 9, 3, 7)


# ---- places


def shapes(value: Fraction) -> dict[str, list[Ratio]]:
    """Ways to write a positive angle of whole thousandths of a second."""

    def ratio(number: Fraction, below: int) -> Ratio:
        return int(number * below), below

    whole, minutes, seconds = (int(value), 1), value % 1 * 60, value * 60 % 1 * 60
    degrees, fine = ratio(value, 3_600_000), ratio(minutes, 60_000)
    return {
        "seconds as rational": [whole, (int(minutes), 1), ratio(seconds, 1000)],
        "minutes": [whole, fine, (0, 1)],
        "minutes, no seconds": [whole, fine, UNKNOWN],
        "two numbers": [whole, fine],
        "degrees": [degrees],
        "degrees, nothing else": [degrees, UNKNOWN, UNKNOWN],
        "degrees, zeros": [degrees, (0, 1), (0, 1)],
    }


REFS = {
    False: [
        ("N", "E"),
        ("north", "East"),
        ("n", "e"),
        (b"N\0", b"E\0"),
        (" N", "E "),
        (None, None),
        ("", "?"),
        (b"\0\0", 3),
    ],
    True: [("S", "W"), ("South", "WEST"), ("s", "w"), (b"S\0", b"W\0"), (" S", "W "), (b"S", b"W")],
}


@given(
    angles=st.tuples(st.integers(1, 90 * 3_600_000 // 2 - 1), st.integers(1, 180 * 3_600_000 // 2 - 1)),
    shape=st.sampled_from(list(shapes(Fraction(1, 2)))),
    south=st.booleans(),
    which=st.integers(0, 7),
    order=st.sampled_from("<>"),
)
@settings(max_examples=300, deadline=None)
def test_a_place_in_any_form_is_read_back(
    angles: tuple[int, int], shape: str, south: bool, which: int, order: str
) -> None:
    exact = [Fraction(2 * angle + 1, 3_600_000) for angle in angles]  # odd: never whole degrees, of which less is known
    found = place_of(*(shapes(each)[shape] for each in exact), REFS[south][which % len(REFS[south])], order)
    sign = -1 if south else 1
    assert found == pytest.approx([sign * float(each) for each in exact], abs=1e-9)


@pytest.mark.parametrize(("value", "degrees"), [
    ([(48, 1), (51, 1), UNKNOWN], 48.85),
    ([(48, 1), (51, 1), (1, 0)], 48.85),  # infinite
    ([(48, 1), (0, 1), UNKNOWN], 48.0),
    ([(4885, 100), UNKNOWN, UNKNOWN], 48.85),
    ([(48, 1)], 48.0),
    ([(-48, 1), (51, 1), (0, 1)], -48.85),
    ("48.85", 48.85), ("48,85", 48.85), ("-48.85", -48.85), ("48.85S", -48.85), ("48,51.0N", 48.85),
    ("48, 51, 0", 48.85),
    ("48° 51' 0\"", 48.85), (b"48.85", 48.85),
    ([(48, 1), UNKNOWN, UNKNOWN], None),  # by up to a hundred kilometres
    ([UNKNOWN, (51, 1), (0, 1)], None), ([UNKNOWN] * 3, None), ([(91, 1), (0, 1), (0, 1)], None),
    ([(90, 1), (1, 60), (0, 1)], None),
    ("", None), ("north", None), ("948.85", None), (b"\xff\xff", None), (b"\0" * 24, None),
])  # fmt: skip
def test_places(value: Value, degrees: float | None) -> None:
    kinds = {2: TEXT} if isinstance(value, str) else None
    found = place_of(value, [(2, 1), (21, 1), (0, 1)], (None, "E"), kinds=kinds)
    assert found == ((None, None) if degrees is None else pytest.approx((degrees, 2.35)))


def test_a_sign_and_a_ref_that_say_the_same_are_one() -> None:
    south = [(-33, 1), (52, 1), (0, 1)]
    assert place_of(south, [(151, 1), (12, 1), (0, 1)], ("S", "E")) == pytest.approx((-33.866667, 151.2), abs=1e-5)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
def test_every_format_that_has_them(name: str) -> None:
    gps: dict[int, Value] = {1: "N", 2: [(48, 1), (51, 1), UNKNOWN], 3: "E", 4: [(2, 1), (21, 1), UNKNOWN]}
    exif = block({MADE: "Apple"}, {TAKEN: "2015:08:22 24:08:19"}, gps, ">")
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, name, exif=b"Exif\0\0" + exif)
    photo = decode(file.getvalue())
    assert (photo.camera, photo.taken_at) == ("Apple", datetime(2015, 8, 22, 0, 8, 19))
    assert (photo.latitude, photo.longitude) == pytest.approx((48.85, 2.35))


# ---- cameras, and what is broken


@pytest.mark.parametrize(("make", "model", "camera"), [
    ("Canon\0\0\0", "Canon EOS 5D\0\0", "Canon EOS 5D"), ("\0Canon", "EOS", "Canon EOS"), ("  ", "X100", "X100"),
    ("OLYMPUS IMAGING CORP.  ", "E-M1   ", "OLYMPUS IMAGING CORP. E-M1"),
    ("OLYMPUS IMAGING CORP.", "OLYMPUS E-1", "OLYMPUS E-1"),
    ("Canon", "Canon", "Canon"), ("CANON", "canon eos", "canon eos"), ("小米", "M9", "小米 M9"),
    (b"Z\xfcrich", "1", "Zürich 1"), ("Ca\tnon\n", "E\x01OS", "Ca non E OS"), ("\0\0", b"\0", None),
])  # fmt: skip
def test_cameras(make: Value, model: Value, camera: str | None) -> None:
    assert facts_of({MADE: make, MODEL: model}, {}, {}).camera == camera


@pytest.mark.parametrize("pointer", [0x8825, 0x8769])
def test_one_broken_directory_costs_nothing_else(pointer: int) -> None:
    gps: dict[int, Value] = {1: "N", 2: [(48, 1), (51, 1)], 3: "E", 4: [(2, 1), (21, 1)]}
    whole = block({MADE: "Apple", CHANGED: "2019:01:05 09:03:07"}, {TAKEN: "2018:01:05 09:03:07"}, gps)
    at = whole.index(struct.pack("<HHI", pointer, 4, 1)) + 8
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + whole[:at] + b"\xff\xff\xff\x7f" + whole[at + 4 :])
    found = facts(exif)
    assert found.camera == "Apple"
    assert (found.latitude is None) == (pointer == 0x8825)
    assert found.taken_at == datetime(2019 if pointer == 0x8769 else 2018, 1, 5, 9, 3, 7)
