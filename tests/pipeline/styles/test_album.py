"""pipeline/styles/album.py: an album is painted photo by photo, once."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import muster
from helpers.seen import seen
from muster.errors import InputError, MissingError, NotYetError
from muster.pipeline.run import patient
from muster.pipeline.styles import album
from muster.pipeline.styles.album import StyleSummary
from muster.pipeline.work.choice import choose
from muster.pipeline.work.dispatch import Policy
from muster.storage import manifest
from muster.storage.library import open_library
from muster.tasks.models.style_net import StyleNet
from muster.tasks.style import encoded
from muster.training.loop import half

FAST = {"side": 48, "steps": 2}


@pytest.fixture
def photos(tmp_path: Path, make_photos: Callable[..., Path]) -> Path:
    return make_photos(tmp_path / "photos", range(3))


@pytest.fixture
def style(tmp_path: Path) -> Path:
    file = tmp_path / "sty\x1ble.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)).save(file)
    return file


Paint = Callable[..., StyleSummary]


@pytest.fixture
def paint(tmp_path: Path, weights: Path, ray_cluster: None, style: Path) -> Paint:
    def call(**options: Any) -> StyleSummary:
        machine = muster.Machine(device="cpu", workers=1, weights_dir=weights)
        styles = options.pop("styles", style)
        library = muster.open(tmp_path / "library")
        return library.style(styles, tmp_path / "out", machine=machine, **(FAST | options))

    return call


def jpegs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.jpg")}


def test_photos_are_painted_once_and_new_ones_alone(
    paint: Paint, photos: Path, tmp_path: Path, make_photos: Callable[..., Path]
) -> None:
    muster.scan(photos, library=tmp_path / "library")
    first = paint()
    assert (first.photos, first.painted, first.runs[0].processed) == (3, 3, 3)
    assert first.pictures.name.startswith("sty_le-")
    assert sorted(name[:5] for name in jpegs(first.pictures)) == ["0000-", "0001-", "0002-"]
    with Image.open(next(first.pictures.glob("0000-*.jpg"))) as picture:
        assert picture.size == (48, 36)
    assert first.curve.is_file()
    before = jpegs(first.pictures)

    make_photos(photos, range(3, 4))
    (photos / "0002.jpg").unlink()
    muster.scan(photos, library=tmp_path / "library")
    second = paint()
    assert (second.photos, second.painted, second.runs[0].processed) == (3, 3, 1)
    assert {name: data for name, data in jpegs(second.pictures).items() if name in before} == before
    rows = muster.open(tmp_path / "out" / "library").table("style").to_pylist()
    assert all(row["steps"] == len(row["costs"]) == 2 and row["seconds"] > 0 for row in rows)


def test_a_worker_is_not_given_up_over_a_photo_that_takes_minutes() -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    slow = choose(["style"], options={"style": [encoded(pixels, "a" * 64)], "side": 512, "steps": 200})
    usual = choose(["previews"])
    assert patient(usual) is None
    assert (policy := patient(usual + slow)) is not None
    assert policy.per_image > 600 > Policy.per_image


def test_each_photo_is_a_shard_of_its_own(paint: Paint, photos: Path, tmp_path: Path) -> None:
    muster.scan(photos, library=tmp_path / "library")
    paint()
    assert [images for _, images in manifest.shards(open_library(tmp_path / "out" / "library"))] == [1, 1, 1]


def test_photos_that_vanished_are_errors_and_the_others_are_painted(paint: Paint, photos: Path, tmp_path: Path) -> None:
    muster.scan(photos, library=tmp_path / "library")
    data = (photos / "0001.jpg").read_bytes()
    (photos / "0001.jpg").unlink()
    summary = paint()
    assert (summary.photos, summary.painted) == (3, 2)
    assert summary.runs[0].error_kinds == {"not_found": 1}
    (photos / "0001.jpg").write_bytes(data)
    again = paint(retry_errors=True)
    assert (again.painted, again.runs[0].processed) == (3, 1)


def test_a_query_chooses(paint: Paint, photos: Path, tmp_path: Path) -> None:
    seen(tmp_path / "library", photos)
    summary = paint(photos="0001.jpg")
    assert (summary.photos, summary.painted) == (1, 1)
    with pytest.raises(InputError, match=r"`photos` 000l.jpg: no `000l.jpg` here"):
        paint(photos="000l.jpg")
    with pytest.raises(MissingError, match="no photo is found"):
        paint(photos="0001.jpg 0002.jpg")


def test_a_sheet_has_each_ratio(paint: Paint, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(album, "RATIOS", (1e-4, 1.0))  # each starts workers
    muster.scan(photos / "0000.jpg", library=tmp_path / "library")
    summary = paint(sheet=True, steps=1)
    assert summary.sheet is not None
    with Image.open(summary.sheet) as sheet:
        assert sheet.width == 256 * 2
    assert len(summary.runs) == 2
    assert [run.processed for run in paint(sheet=True, steps=1).runs] == [0, 0]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """The weights of a network that has learnt a style, as a training writes them."""
    torch.manual_seed(0)
    (tmp_path / "whirls").mkdir()
    file = tmp_path / "whirls" / "style-net.safetensors"
    file.write_bytes(safetensors.torch.save(half(StyleNet((4, 6, 8), 1).state_dict())))
    return file


def test_a_network_that_has_learnt_a_style_paints_an_album(
    photos: Path, tmp_path: Path, net: Path, make_photos: Callable[..., Path], ray_cluster: None
) -> None:
    muster.scan(photos, library=tmp_path / "library")

    def paint(**options: Any) -> StyleSummary:
        machine = muster.Machine(device="cpu", workers=1)
        given = {"model": "net", "weights": net, "side": 64, **options}
        return muster.open(tmp_path / "library").style([], tmp_path / "out", machine=machine, **given)

    for options, says in {
        ("weights", None): "Muster has no weights of muster-style-net: train it with",
        ("model", None): "at least one picture of a style, or the model `net`, which has learnt one",
        ("sheet", True): "a `sheet` shows α/β",
        ("alpha", 1): "takes `side` and `colours`, and no `alpha`",
    }.items():
        with pytest.raises(InputError, match=says):
            paint(**dict([options]))
    assert not (tmp_path / "out").exists()

    first = paint()
    assert (first.painted, first.runs[0].processed, first.cost, first.curve) == (3, 3, None, None)
    assert first.pictures.name.startswith("whirls-style-net-")
    before = jpegs(first.pictures)
    assert len(before) == 3
    make_photos(photos, range(3, 4))
    muster.scan(photos, library=tmp_path / "library")
    second = paint()
    assert (second.painted, second.runs[0].processed) == (4, 1)
    assert before.items() < jpegs(second.pictures).items()


# ---- what cannot be --------------------------------------------------------------------------------------------------


@pytest.fixture
def scanned(photos: Path, tmp_path: Path) -> Path:
    muster.scan(photos, library=tmp_path / "library")
    return tmp_path


def made(file: Path, size: tuple[int, int]) -> Path:
    Image.new("1", size).save(file)
    return file


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"alpha": -1}, "style.alpha=-1"),
        ({"beta": -1}, "style.beta=-1"),
        ({"alpha": 0, "beta": 0}, "both 0"),
        ({"beta": 0, "sheet": True}, "has no α/β"),
        ({"layers": "feature.1"}, "no layer 'feature.1'; the nearest it has: features.1"),
        ({"side": "wide"}, "`side` wide"),
        ({"styles": {}}, "at least one picture"),
        ({"model": "sams"}, "no model 'sams'"),
    ],
)
def test_options_that_cannot_be(paint: Paint, scanned: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        paint(**options)
    assert not (scanned / "out").exists()


def test_styles_that_cannot_be(paint: Paint, scanned: Path) -> None:
    (scanned / "text.jpg").write_text("no picture")
    header = struct.pack(">4sIIBBBBB", b"IHDR", 60_000, 60_000, 8, 2, 0, 0, 0)
    (scanned / "huge.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + header
        + struct.pack(">I", zlib.crc32(header))
        + b"\0\0\0\1IDAT\0"
    )
    for styles, says in {
        scanned / "text.jpg": "text.jpg: ",
        made(scanned / "narrow.png", (1, 400)): "has 1×400 pixels: a style needs at least 32",
        scanned / "huge.png": "huge.png: too large to decode: give another picture",
        scanned / "none.jpg": "no such file",
        scanned: "folder",
    }.items():
        with pytest.raises(InputError, match=says):
            paint(styles=styles)
    with pytest.raises(InputError, match="weights of pictures must be greater than 0"):
        paint(styles={str(made(scanned / "a.png", (40, 40))): 0.0})
    assert not (scanned / "out").exists()


def test_weights_that_are_none(paint: Paint, scanned: Path) -> None:
    torch.save({"a": torch.zeros(1)}, scanned / "mine.pth")
    with pytest.raises(InputError, match=r"mine.pth: these are no weights of a network of a style: it has no 'head"):
        paint(styles=[], model="net", weights=scanned / "mine.pth", steps=None)
    with pytest.raises(InputError, match=r"mine.pth: these are no weights of squeezenet"):
        paint(weights=scanned / "mine.pth")
    (scanned / "mine.pth").write_bytes(b"x")
    with pytest.raises(InputError, match="cannot be read as weights"):
        paint(weights=scanned / "mine.pth")


def test_a_folder_that_is_not_ours_stays_as_it_is(paint: Paint, scanned: Path) -> None:
    (scanned / "out").mkdir()
    (scanned / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is there already, and was not made by `style`"):
        paint()
    library = muster.open(scanned / "library")
    with pytest.raises(InputError, match="lies in the library"):
        library.style(made(scanned / "b.png", (40, 40)), scanned / "library" / "out")
    with pytest.raises(InputError, match="no folder"):
        library.style(made(scanned / "b.png", (40, 40)), scanned / "none" / "out")


def test_an_empty_library(paint: Paint, tmp_path: Path) -> None:
    muster.open(tmp_path / "library", create=True)
    with pytest.raises(NotYetError, match="no images yet"):
        paint()
