import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.storage.tags.said import Said
from muster.storage.tags.takeout import album_files, album_title, read_photo, sidecars

LONG = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("photo", "name"),
    [
        ("IMG.jpg", "IMG.jpg.json"),
        ("IMG.JPG", "img.jpg.JSON"),
        ("IMG.jpg", "IMG.jpg.supplemental-metadata.json"),
        ("IMG_20190102_030405678.jpg", "IMG_20190102_030405678.jpg.supplemental-me.json"),
        ("PXL_20230922_061936855.PORTRAIT.jpg", "PXL_20230922_061936855.PORTRAIT.jpg.suppleme.json"),
        (f"{LONG[:42]}.jpg", f"{LONG[:42]}.jpg.json"),
        (f"{LONG[:43]}.jpg", f"{LONG[:43]}.jp.json"),
        (f"{LONG[:42]}_n.jpg", f"{LONG[:42]}_n.j.json"),
        (f"{LONG[:47]}.jpg", f"{LONG[:46]}.json"),
        ("DSC_0101(1).JPG", "DSC_0101.JPG(1).json"),
        ("Scan35(1).jpg", "Scan35.jpg.supplemental-metadata(1).json"),
        (f"{LONG[:47]}(2).jpg", f"{LONG[:46]}(2).json"),
        ("IMG(1).jpg", "IMG(1).jpg.json"),
        ("IMG-edited.jpg", "IMG.jpg.json"),
        ("IMG-edited(1).jpg", "IMG.jpg(1).json"),
        ("IMG-modifié.jpg", "IMG.jpg.supplemental-metadata.json"),
        ("IMG-bearbeitet.jpg", "IMG.jpg.json"),
        ("IMG-modificato.jpg", "IMG.jpg.json"),
        ("IMG-編集済み.jpg", "IMG.jpg.json"),
        (f"{LONG[:41]}-edite.jpg", f"{LONG[:41]}.jpg.json"),
        ("東京タワーの夜景の写真を撮りました.jpg", "東京タワーの夜景の写真を撮りまし.json"),
        ("cafe\u0301.jpg", "café.jpg.json"),
        ("sample_photo.jpg", "sample_photo.json"),
    ],
)
def test_names_that_belong_together(photo: str, name: str) -> None:
    others = ["other.jpg.json", "IMG_0.jpg.json", "metadata.json", photo]
    assert sidecars([photo], [*others, name]) == {photo: name}


@pytest.mark.parametrize(
    ("photo", "name"),
    [
        ("IMG(1).jpg", "IMG.jpg.json"),
        ("IMG.jpg", "IMG(1).jpg.json"),
        ("IMG.jpg", "IMG.jpg(1).json"),
        ("IMG(1).jpg", "IMG.jpg(2).json"),
        ("IMG_2.jpg", "IMG_20.jpg.json"),
        ("IMG_20.jpg", "IMG_2.json"),
        (f"{LONG[:47]}(1).jpg", f"{LONG[:46]}.json"),
        ("IMG.jpg", "IMG.png.json"),
        ("IMG-edited.jpg", "IMG(1).jpg.json"),
        ("IMG.jpg", "IMG.jpg.supplemental-data.json"),
        ("noending", "metadata.json"),
    ],
)
def test_names_that_do_not(photo: str, name: str) -> None:
    assert sidecars([photo], [name]) == {}


def test_each_of_several_has_its_own() -> None:
    photos = ["IMG.jpg", "IMG(1).jpg", "IMG-edited.jpg", "IMG_1.jpg"]
    names = ["IMG.jpg.supplemental-metadata.json", "IMG.jpg.supplemental-metadata(1).json", "IMG_1.jpg.json"]
    assert sidecars(photos, names) == {
        "IMG.jpg": names[0],
        "IMG(1).jpg": names[1],
        "IMG-edited.jpg": names[0],
        "IMG_1.jpg": names[2],
    }


@given(st.text(min_size=1, max_size=80), st.lists(st.text(max_size=80), max_size=5))
def test_any_names_raise_nothing(photo: str, names: list[str]) -> None:
    assert set(sidecars([photo], [f"{name}.json" for name in names])) <= {photo}


def said(**facts: Any) -> Said | None:
    return read_photo(json.dumps({"title": "IMG.jpg", "photoTakenTime": {"timestamp": "1468614566"}, **facts}).encode())


def test_what_a_photo_is_said_to_be() -> None:
    place = {"latitude": 38.7, "longitude": -9.1, "altitude": 3.0}
    none = {"latitude": 0.0, "longitude": 0.0}
    found = said(
        description="At the\nlake",
        people=[{"name": "Anna"}, {"name": "anna"}, {"name": "Bob"}],
        geoData=none,
        geoDataExif=place,
        favorited=True,
        trashed=True,
    )
    assert found == Said(
        description="At the\nlake",
        people=("Anna", "Bob"),
        taken_at=datetime(2016, 7, 15, 20, 29, 26),
        position=(38.7, -9.1),
        favourite=True,
        remarks=("in the bin of Google Photos",),
    )
    assert said(description="", people=[], geoData=none) == Said(taken_at=datetime(2016, 7, 15, 20, 29, 26))


@pytest.mark.parametrize(
    ("written", "when"),
    [
        ("-86400", datetime(1969, 12, 31)),
        (1468614566, datetime(2016, 7, 15, 20, 29, 26)),
        ("0", None),
        ("", None),
        (True, None),
        (None, None),
        ("9" * 15, None),
        ("9" * 5000, None),
        ([1], None),
        ("1e5", None),
    ],
)
def test_times(written: object, when: datetime | None) -> None:
    found = said(photoTakenTime={"timestamp": written})
    assert found is not None
    assert found.taken_at == when


@pytest.mark.parametrize(
    "odd",
    [
        {"people": {"name": "Ann"}},
        {"people": [None, 1, ["x"], {"name": 7}, {"name": ["Ann"]}]},
        {"geoData": [1, 2]},
        {"geoData": {"latitude": "38", "longitude": True}},
        {"geoData": {"latitude": 1e400, "longitude": 1}},
        {"geoData": {"latitude": 91, "longitude": 10**400}},
        {"description": {"text": "x"}},
        {"favorited": "yes", "trashed": 1},
        {"photoTakenTime": {"timestamp": {}}, "creationTime": 1},
    ],
)
def test_wrong_types_say_nothing(odd: dict[str, Any]) -> None:
    found = said(**odd)
    assert found is not None
    assert (found.people, found.position, found.description, found.favourite) == ((), None, None, False)


@pytest.mark.parametrize(
    "data",
    [b"{" * 100_000, b"[" * 100_000, b"", b"{", b"\xff\xfe", b'{"title": "a"', b" " * (2 << 20)],
    ids=["objects", "lists", "empty", "cut", "bytes", "open", "long"],
)
def test_broken_json_is_said(data: bytes) -> None:
    found = read_photo(data)
    assert found is not None
    assert found.remarks == ("its JSON is broken, or too long, and is not read",)
    assert album_title(data) is None


def test_json_of_others_is_not_takeouts() -> None:
    for other in ([], 7, {"images": [], "annotations": []}, {"title": "x"}, {"externalOrderId": "1", "title": "x"}):
        assert read_photo(json.dumps(other).encode()) is None


def test_the_last_of_duplicate_keys_counts() -> None:
    data = b'{"photoTakenTime": {"timestamp": "5"}, "description": "a", "description": "b"}'
    found = read_photo(data)
    assert found is not None
    assert found.description == "b"


@settings(max_examples=30)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_any_json_raises_nothing(value: Any) -> None:
    names = ("title", "photoTakenTime", "creationTime", "geoData", "people", "description", "albumData")
    for each in (value, dict.fromkeys(names, value), {"photoTakenTime": {}, "people": [value], "geoData": value}):
        data = json.dumps(each).encode()
        read_photo(data)
        album_title(data)


@pytest.mark.parametrize(
    ("facts", "title"),
    [
        ({"title": "Greece", "description": "", "access": "protected", "date": {"timestamp": "1"}}, "Greece"),
        ({"albumData": {"title": "Greece", "access": "protected"}}, "Greece"),
        ({"title": "Greece"}, "Greece"),
        ({"title": "Greece", "enrichments": [], "sharedAlbumComments": []}, "Greece"),
        ({"title": "Photos from 2019", "access": "protected"}, None),
        ({"title": "Fotos von 2019"}, None),
        ({"title": "IMG.jpg", "photoTakenTime": {"timestamp": "1"}, "description": ""}, None),
        ({"title": "", "access": "protected"}, None),
        ({"externalOrderId": "x", "title": "Book", "date": {}}, None),
        ({"title": "A site", "name": "x"}, None),
        ([], None),
    ],
)
def test_titles_of_albums(facts: object, title: str | None) -> None:
    assert album_title(json.dumps(facts).encode()) == title


def test_files_that_may_be_an_albums() -> None:
    names = ["IMG.jpg", "IMG.jpg.json", "métadonnées.json", "print.json", "Metadaten(1).json", "x.txt"]
    assert album_files(names, ["IMG.jpg.json"]) == ["métadonnées.json", "Metadaten(1).json", "print.json"]
    assert album_files([*names, "метаданные.json"], []) == ["метаданные.json", "métadonnées.json", "Metadaten(1).json"]
    assert len(album_files([f"{i}.json" for i in range(99)], ["a"])) == 16


def test_real_files(data: Path) -> None:
    folder = data / "photos" / "formats2" / "takeout"
    found = {path.name[:4]: read_photo(path.read_bytes()) for path in folder.iterdir()}
    assert found == {
        "046a": Said(people=("Sebastian",), taken_at=datetime(2016, 7, 15, 20, 29, 26)),
        "0d88": Said(taken_at=datetime(2016, 8, 27, 12, 17, 11)),
        "791e": Said(taken_at=datetime(2016, 4, 5, 13, 29, 52)),
        "samp": Said(taken_at=datetime(2020, 9, 2, 20, 33, 52), position=(37.7749, -122.4194)),
    }
