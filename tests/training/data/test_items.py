import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from muster.errors import InputError
from muster.tasks.models.encoders import RATE, Plan
from muster.training.data.items import read_items, read_pairs

SOUND = Plan("sound", (RATE // 2,), (8,), (1,))
PICTURE = Plan("picture", (12, 20), (8,), (1, 1))
TEXT = Plan("text", (6,), (8,), (1,))
VOLUME = Plan("volume", (6, 6, 6), (8,), (1, 1, 1))


def table(path: Path, **columns: Any) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def wav(seconds: float, rate: int = RATE, channels: int = 1, width: int = 2, pitch: int = 440) -> bytes:
    time = np.arange(round(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * pitch * time) * (100 if width == 1 else 0.5 * 2 ** (8 * width - 1))
    values = np.round(tone + (128 if width == 1 else 0)).astype({1: "u1", 2: "<i2", 4: "<i4"}[width])
    file = io.BytesIO()
    with wave.open(file, "wb") as opened:
        opened.setparams((channels, width, rate, 0, "NONE", ""))
        opened.writeframes(np.repeat(values, channels).tobytes())
    return file.getvalue()


def at_rate(data: bytes, rate: int) -> bytes:
    return data[:24] + rate.to_bytes(4, "little") + data[28:]


def png(side: int = 20) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side, side), 200).save(file, "PNG")
    return file.getvalue()


def test_sounds_of_other_rates_and_channels_are_one_sound(tmp_path: Path) -> None:
    sounds = [wav(0.5), wav(0.5, 16000, 2), wav(0.5, 44100, 1, 4), wav(0.5, 11025, 2, 1)]
    file = table(tmp_path / "s.parquet", audio=sounds, who=["a", "a", "b", "b"])
    skipped: list[str] = []
    items = read_items([file], "who", SOUND, skipped.append)
    assert (skipped, tuple(items.values.shape), items.said("who")) == ([], (4, 4000), ["a", "a", "b", "b"])
    spectra = np.abs(np.fft.rfft(items.values.numpy()[:, 400:3600].astype(float)))
    assert set(spectra.argmax(1)) == {176}  # 440 Hz in 0.4 seconds


def test_sounds_that_do_not_do_are_named_and_left_out(tmp_path: Path) -> None:
    bad = {
        "it is empty": b"",
        "it is no WAV file": b"ID3 a song",
        "of 4000 samples it has 1000": wav(0.5)[: 44 + 2000],
        "it has 0": wav(0.5)[:44],
        "whole numbers: it is cut": wav(0.5)[:30],
        "there is no sound": wav(0),
        "1000 to 192,000": wav(0.1, 800),
        "1073741827 samples a second": at_rate(wav(0.1), 1073741827),
    }
    sounds = [wav(0.5), *bad.values(), None, wav(0.4)]
    file = table(tmp_path / "clips.parquet", audio=sounds, who=[str(i) for i in range(len(sounds))])
    skipped: list[str] = []
    items = read_items([file], "who", SOUND, skipped.append)
    assert items.names == ["clips.parquet, row 0", "clips.parquet, row 10"]
    assert items.said("who") == ["0", "10"]
    assert len(skipped) == 9
    for row, (why, said) in enumerate(zip(bad, skipped, strict=False), 1):
        assert said.startswith(f"clips.parquet, row {row}: ")
        assert why in said or why == "there is no sound"


def test_pictures_that_do_not_do_are_named_and_left_out(tmp_path: Path) -> None:
    images, genuine = [png(), b"no photo", png(400), png()[:40]], [True, True, False, None]
    file = table(tmp_path / "p.parquet", image=images, who=["a"] * 4, genuine=genuine)
    skipped: list[str] = []
    items = read_items([file], "who", PICTURE, skipped.append)
    assert tuple(items.values.shape) == (2, 12, 20)
    assert items.genuine().tolist() == [True, False]
    assert [text.split(":")[0] for text in skipped] == ["p.parquet, row 1", "p.parquet, row 3"]


def test_volumes_of_other_sizes(tmp_path: Path) -> None:
    shapes = [[6, 6, 6], [3, 8, 5], [1, 1, 1], [2, 2, 2], [0, 6, 6], [6, 36], None, [-6, -6, 6]]
    sizes = [216, 120, 1, 9, 0, 216, 216, 216]
    data = [bytes([255]) * size for size in sizes]
    file = table(tmp_path / "v.parquet", volume=data, shape=shapes, who=["a"] * len(shapes))
    skipped: list[str] = []
    items = read_items([file], "who", VOLUME, skipped.append)
    assert (tuple(items.values.shape), int(items.values.min())) == ((3, 6, 6, 6), 255)
    assert len(skipped) == 5
    for shape in ("6x6x6", 216, [6.0, 6.5, 6.0]):
        table(tmp_path / "v.parquet", volume=data[:1], shape=[shape], who=["a"])
        with pytest.raises(InputError, match=r"no volume of .* can be read"):
            read_items([file], "who", VOLUME, skipped.append)
        assert skipped[-1].endswith(f"216 bytes are no volume of shape {shape}")


@pytest.mark.parametrize("value", ["a.wav", 7])
def test_cells_that_hold_no_bytes_are_told(value: object, tmp_path: Path) -> None:
    skipped: list[str] = []
    with pytest.raises(InputError, match=r"no sound of .* can be read"):
        read_items([table(tmp_path / "s.parquet", audio=[value], who=["a"])], "who", SOUND, skipped.append)
    assert skipped == [f"s.parquet, row 0: it holds no bytes: {value}"]


def test_texts_of_any_length(tmp_path: Path) -> None:
    one, other = ["a", "", " \n", "b", None], ["word " * 2000, "c", "d", "?", "e"]
    file = table(tmp_path / "t.parquet", question1=one, question2=other, is_duplicate=[True] * 5)
    skipped: list[str] = []
    pairs = read_pairs([file], TEXT, skipped.append)
    assert (pairs.items.values > 0).any(2).sum(1).tolist() == [1, 6, 1, 1]
    assert len(skipped) == 3


def test_tables_that_do_not_do(tmp_path: Path) -> None:
    file = table(tmp_path / "s.parquet", audio=[b""], who=["a"])
    with pytest.raises(InputError, match=r"`label` speaker: no such column in .*s.parquet; known: audio, who"):
        read_items([file], "speaker", SOUND, print)
    with pytest.raises(InputError, match=r"no column volume and no shape: items are read from volume, shape; it has"):
        read_items([file], "who", VOLUME, print)
    with pytest.raises(InputError, match=r"no sound of .*s.parquet can be read"):
        read_items([file], "who", SOUND, lambda text: None)
    (tmp_path / "no.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match=r"cannot read .*no.parquet as Parquet"):
        read_items([str(tmp_path / "no.parquet")], "who", SOUND, print)


def test_pairs_hold_each_text_once(tmp_path: Path) -> None:
    one, other = ["a b", "a b", "c", "", "e"], ["c", "d", "a b", "f", "g"]
    file = table(tmp_path / "q.parquet", question1=one, question2=other, is_duplicate=[1, 0, 1, 1, None])
    skipped: list[str] = []
    pairs = read_pairs([file], TEXT, skipped.append)
    assert pairs.items.names == ["a b", "c", "d"]
    assert (pairs.rows.tolist(), pairs.same.tolist()) == ([[0, 1], [0, 2], [1, 0]], [True, False, True])
    assert [text.split(":")[0] for text in skipped] == ["q.parquet, row 3", "q.parquet, row 4"]
    with pytest.raises(InputError, match="no column question1 and no question2 and no is_duplicate"):
        read_pairs([table(tmp_path / "t.parquet", text=["a"])], TEXT, print)
