import hashlib
from collections import Counter
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muster.errors import ImageError, InputError
from muster.storage import demo
from muster.storage.photos.decode import Photo, decode

pytest.importorskip("skimage")
pytest.importorskip("matplotlib")


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "album"
    demo.make_album(folder)
    return folder


@pytest.fixture(scope="module")
def photos(album: Path) -> dict[str, Photo]:
    """Every picture but the broken one."""
    return {file.name: decode(file.read_bytes(), 512) for file in album.iterdir() if file.name != demo.BROKEN}


def test_every_picture_but_one_opens(album: Path, photos: dict[str, Photo]) -> None:
    assert 30 <= len(photos) <= 40
    with pytest.raises(ImageError) as caught:
        decode((album / demo.BROKEN).read_bytes())
    assert caught.value.kind == "truncated"


def test_exactly_one_duplicate(album: Path) -> None:
    counts = Counter(digests(album).values())
    assert sorted(counts.values())[-2:] == [1, 2]
    assert digests(album)[demo.DUPLICATE] == digests(album)[demo.DUPLICATE_OF]


def test_it_is_as_varied_as_a_phone_album(photos: dict[str, Photo]) -> None:
    formats = Counter(photo.format for photo in photos.values())
    assert set(formats) == {"jpeg", "png", "heic"}
    assert {photo.orientation for photo in photos.values()} == set(range(1, 9))
    years = {photo.taken_at.year for photo in photos.values() if photo.taken_at}
    assert len(years) >= 5
    assert len({photo.camera for photo in photos.values()}) >= 4
    located = [photo for photo in photos.values() if photo.latitude is not None]
    assert 5 <= len(located) < len(photos)
    assert len({photo.size for photo in photos.values()}) >= 10


def test_who_is_on_the_pictures() -> None:
    people = Counter(shot.people for shot in demo.ALBUM)
    both = people["collins+hopper"] + people["hopper+collins"]
    assert both >= 1
    assert people["collins"] >= 10
    assert people["hopper"] >= 10
    assert sum(people.values()) - people["collins"] - people["hopper"] - both >= 5


def test_what_is_asked_of_a_shot_is_in_its_file(photos: dict[str, Photo]) -> None:
    for shot in demo.ALBUM:
        photo = photos[shot.name]
        assert max(photo.size) == shot.side
        assert photo.orientation == shot.orientation
        assert photo.taken_at == (datetime.fromisoformat(shot.taken_at) if shot.camera else None)
        if shot.position:
            assert (photo.latitude, photo.longitude) == pytest.approx(shot.position, abs=1e-5)
        else:
            assert photo.latitude is None


def test_pictures_are_upright_and_not_mirrored(photos: dict[str, Photo]) -> None:
    shots = [shot for shot in demo.ALBUM if shot.people == "collins" and shot.frame == demo.ALBUM[1].frame]
    grey = [
        np.asarray(Image.fromarray(photos[shot.name].pixels).convert("L").resize((64, 64)), float) for shot in shots
    ]
    assert {shot.orientation for shot in shots} >= {1, 4, 6}
    for one in grey[1:]:
        assert np.corrcoef(one.ravel(), grey[0].ravel())[0, 1] > 0.95
        assert np.corrcoef(one[:, ::-1].ravel(), grey[0].ravel())[0, 1] < 0.9


def test_the_same_bytes_each_time(album: Path, tmp_path: Path) -> None:
    demo.make_album(tmp_path / "again")
    assert digests(tmp_path / "again") == digests(album)


def test_a_complete_album_is_left_alone_and_an_incomplete_one_made_whole(tmp_path: Path, album: Path) -> None:
    for file in album.iterdir():
        (tmp_path / file.name).write_bytes(b"mine")
    demo.make_album(tmp_path)
    assert set(digests(tmp_path).values()) == {hashlib.sha256(b"mine").hexdigest()}
    (tmp_path / demo.DUPLICATE).unlink()
    demo.make_album(tmp_path)
    assert digests(tmp_path) == digests(album)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(demo._SOURCES, "collins", ("no_such_package", "data/astronaut.png"))
    with pytest.raises(InputError, match="no_such_package: pip install scikit-image matplotlib"):
        demo.make_album(tmp_path / "album")
    assert not (tmp_path / "album").exists()
