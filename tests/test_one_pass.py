"""What benchmarks/one_pass.py compares and how it counts; it is not run here."""

from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.one_pass import TASKS, WAYS, Took, agree, overlap, repeated, summary, together
from muster.storage.photos import decode


def rows(*finds: tuple[str, str, list[float]]) -> pa.Table:
    return pa.Table.from_pylist([{"image_id": i, "label": label, "box_xyxy": box} for i, label, box in finds])


def test_rows_agree_on_photo_label_and_box() -> None:
    dog, cat, far = ("a", "dog", [0, 0, 10, 10]), ("a", "cat", [0, 0, 10, 10]), ("a", "dog", [5, 5, 15, 15])
    near = ("a", "dog", [0.5, 0, 10, 10])
    assert overlap(dog[2], near[2]) == pytest.approx(0.95)
    assert overlap(dog[2], [20, 20, 30, 30]) == 0
    assert agree(rows(dog, cat), rows(cat, near)) == 1
    assert agree(rows(dog, cat), rows(far, cat)) == 0.5
    assert agree(rows(dog), rows(dog, cat)) == 0.5
    assert agree(rows(dog), rows(("b", *dog[1:]))) == 0
    assert (agree(rows(), rows()), agree(rows(), rows(dog))) == (1, 0)
    scene = pa.table({"image_id": ["a"], "label": ["day"]})
    assert agree(scene, scene) == 1


def test_repeated_photos_are_different_files_of_the_same_pixels(tmp_path: Path, data: Path) -> None:
    photo = min((data / "photos" / "johns").rglob("*.jpg"))
    repeated([photo], 2, tmp_path)
    first, second = (decode.decode(path.read_bytes()) for path in sorted(tmp_path.iterdir()))
    assert first.sha256 != second.sha256
    assert (first.pixels == second.pixels).all()


def test_ratios_are_of_medians() -> None:
    found = dict.fromkeys(TASKS, rows(("a", "dog", [0, 0, 1, 1])))
    parts = [Took(3.0, 1.0, {task: found[task]}) for task in TASKS]
    rounds = [
        {way: together(parts) for way in WAYS} | {"one_pass": Took(each, 2.0, found)} for each in (5.0, 6.0, 50.0)
    ]
    facts = summary(rounds, images=12)
    assert (facts["ratio_to_separate_runs"], facts["ratio_to_loops"]) == (2.0, 2.0)
    assert facts["without_startup"]["loops"] == 2.0
    assert facts["images_per_second"]["one_pass"] == 2.0
    assert facts["agree"]["separate"] == dict.fromkeys(TASKS, 1.0)
