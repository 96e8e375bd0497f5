import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from skimage import data as pictures

from helpers.precision import DTYPES
from muster.errors import InputError
from muster.tasks.models import yunet
from muster.training.data import crops, examples
from muster.training.inputs import Inputs

pytestmark = pytest.mark.precision


@pytest.fixture(scope="module")
def detector(weights: Path) -> torch.nn.Module:
    state = torch.load(weights / "yunet_n.pth", map_location="cpu", weights_only=True)
    return yunet.from_published(state)


def encoded(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=95)
    return out.getvalue()


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait, its mirror image, a photo without a face, and a file that is broken."""
    portrait = pictures.astronaut()
    images = [encoded(portrait), encoded(portrait[:, ::-1].copy()), encoded(pictures.coffee()), b"\xff\xd8\xff nothing"]
    path = tmp_path_factory.mktemp("crops") / "images.parquet"
    who = ["Collins", "Collins", "nobody", "nobody"]
    names = ["upright.jpg", "mirrored.jpg", "coffee.jpg", "broken.jpg"]
    pq.write_table(pa.table({"image": images, "person": who, "file": names}), path)
    return path


def difference(crop: torch.Tensor, other: torch.Tensor, reach: int = 4) -> float:
    """The mean difference of two crops (H, W, 3) where they fit best, up to `reach` pixels apart."""
    inner = other[reach:-reach, reach:-reach].permute(2, 0, 1).float()
    shifted = crop.float().unfold(0, inner.shape[1], 1).unfold(1, inner.shape[2], 1)
    return float((shifted - inner).abs().mean((2, 3, 4)).min())


@pytest.mark.parametrize("dtype", DTYPES)
def test_crops_of_a_collection(
    album: Path, detector: torch.nn.Module, tmp_path: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crops, "inference_dtype", lambda device: dtype)
    skipped: list[str] = []
    inputs = Inputs(images=[str(album)], out=tmp_path / "out", label="person", on_skipped=skipped.append)
    found = crops.read_crops(inputs, detector)
    assert found.names == ["upright.jpg", "mirrored.jpg"]
    assert found.labels == ["Collins", "Collins"]
    side = 112 + 2 * crops.MARGIN
    assert found.pixels.shape == (2, side, side, 3)
    upright, mirrored = found.pixels[0], found.pixels[1].flip(1)
    # The same face from either side. How far its landmarks lie apart differs with the precision, as rounding decides
    # which of two cells of the detector that see it equally well has the say. So no number is asked for, but who is
    # nearest.
    same = difference(upright, mirrored)
    assert 2 * same < difference(upright, mirrored.roll(12, 1))  # a crop of another place
    assert 2 * same < difference(upright, mirrored.flip(1))  # one that faces the other way
    assert [text.partition(":")[0] for text in skipped] == ["broken.jpg", "coffee.jpg"]
    assert found.kept_out[0] == found.kept_out[1]
    assert len(found.training.names) + len(found.measured.names) == 2


def test_they_are_found_once(album: Path, detector: torch.nn.Module, tmp_path: Path) -> None:
    inputs = Inputs(images=[str(album)], out=tmp_path / "out", label="person")
    first = crops.read_crops(inputs, detector)

    def no_detector(images: torch.Tensor) -> list[torch.Tensor]:
        raise AssertionError("the crops are there already")

    again = crops.read_crops(inputs, no_detector)  # type: ignore[arg-type]
    assert torch.equal(first.pixels, again.pixels)
    assert first.names == again.names
    cache = tmp_path / "out" / crops.CACHE
    for damaged in (b"nothing of the kind", cache.read_bytes()[:-500]):
        cache.write_bytes(damaged)
        assert torch.equal(crops.read_crops(inputs, detector).pixels, first.pixels)


def test_no_face_at_all(detector: torch.nn.Module, tmp_path: Path) -> None:
    Image.fromarray(pictures.coffee()).save(tmp_path / "coffee.jpg")
    with pytest.raises(InputError, match=r"no face was found in .*images: 1"):
        crops.read_crops(Inputs(images=[str(tmp_path)], out=tmp_path / "out"), detector)


def test_nobody_to_train_with(
    album: Path, detector: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "PEOPLE_HELD_OUT", 1.0)
    with pytest.raises(InputError, match="faces are of people kept out to measure with"):
        crops.read_crops(Inputs(images=[str(album)], out=tmp_path / "out"), detector)
