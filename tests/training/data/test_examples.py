"""training/data/examples.py: labelled images of every kind of source."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from muster.errors import InputError
from muster.training.data.examples import Example, find_examples, held_out, of_each_label, read_photos


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ada and ben with three photos each; those of ada are 40×30 pixels, those of ben 80×60."""
    folder = tmp_path_factory.mktemp("people")
    for name, width in (("ada", 40), ("ben", 80)):
        (folder / name).mkdir()
        for number in range(3):
            Image.new("RGB", (width, width * 3 // 4), (60 * number, 0, 0)).save(folder / name / f"{number} ü.jpg")
    return folder


@pytest.fixture(scope="module")
def parquet(people: Path) -> Path:
    """The same as rows, with columns person (one null) and age."""
    files = sorted(people.rglob("*.jpg"))
    table = pa.table(
        {
            "image": [file.read_bytes() for file in files],
            "person": [None, *(file.parent.name for file in files[1:])],
            "age": [30 + i for i in range(len(files))],
            "file": [f"photos/{file.name}" for file in files],
        }
    )
    pq.write_table(table, people.parent / "people.parquet")
    return people.parent / "people.parquet"


def test_the_folder_is_the_label_unless_a_column_is(people: Path, parquet: Path) -> None:
    names = [f"{number} ü.jpg" for number in range(3)] * 2
    found = find_examples([str(people)], None)
    assert [(e.name, e.label) for e in found] == list(zip(names, ["ada"] * 3 + ["ben"] * 3, strict=True))
    found = find_examples([str(parquet)], "person")
    assert [(e.name, e.label) for e in found] == list(zip(names, [None, *["ada"] * 2, *["ben"] * 3], strict=True))
    assert [e.label for e in find_examples([str(parquet)], "age")] == ["30", "31", "32", "33", "34", "35"]
    assert [e.label for e in find_examples([str(parquet)], None)] == [None] * 6


def test_a_column_called_file_that_holds_no_names(people: Path, tmp_path: Path) -> None:
    photo = next(people.rglob("*.jpg")).read_bytes()
    pq.write_table(pa.table({"image": [photo], "file": [7]}), tmp_path / "x.parquet")
    [example] = find_examples([str(tmp_path / "x.parquet")], None)
    assert example.name == "x.parquet#row=0"


def test_a_column_called_file_name_holds_names_as_in_coco(people: Path, tmp_path: Path) -> None:
    photo = next(people.rglob("*.jpg")).read_bytes()
    pq.write_table(pa.table({"image": [photo], "file": [7], "file_name": ["train/7.jpg"]}), tmp_path / "x.parquet")
    [example] = find_examples([str(tmp_path / "x.parquet")], None)
    assert example.name == "7.jpg"


def test_several_sources_and_a_limit(people: Path) -> None:
    sources = [str(people / "ben"), str(people / "ada" / "1 ü.jpg")]
    assert [e.label for e in find_examples(sources, None)] == ["ben"] * 3 + ["ada"]
    assert find_examples(sources, None, limit=2) == find_examples(sources, None)[:2]


def test_a_table_may_say_what_is_for_training(people: Path, tmp_path: Path) -> None:
    photo = next(people.rglob("*.jpg")).read_bytes()
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": [photo] * 3, "split": ["train", None, "test"]}), file)
    assert [e.split for e in find_examples([str(file)], None)] == ["train", None, "test"]
    pq.write_table(pa.table({"image": [photo] * 2, "split": [1, 2]}), file)
    assert [e.split for e in find_examples([str(file), str(people)], None)] == [None] * 8


@given(
    st.lists(st.tuples(st.sampled_from(["ada", "ben", None]), st.sampled_from(["train", None])), max_size=40),
    st.integers(1, 50),
)
def test_a_limit_takes_of_each_label_and_split(kinds: list[tuple[str | None, str | None]], limit: int) -> None:
    examples = [Example(str(i), str(i), label, split=split) for i, (label, split) in enumerate(kinds)]
    assert of_each_label(examples, None) == examples
    kept = of_each_label(examples, limit)
    assert kept == [example for example in examples if example in kept]  # in order
    assert len(kept) <= limit
    here, before = Counter((e.label, e.split) for e in kept), Counter(kinds)
    assert all(here[kind] <= -(-limit // len(before)) for kind in here)
    if limit % max(1, len(before)) == 0:  # else the last of the labels may be cut
        assert all(here[kind] == min(count, limit // len(before)) for kind, count in before.items())


def test_what_is_not_there(people: Path, parquet: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`label` smile: no such column in .*people\.parquet; known: .*person, age"):
        find_examples([str(parquet)], "smile")
    with pytest.raises(InputError, match="`label` person: no such column"):
        find_examples([str(people)], "person")
    with pytest.raises(InputError, match="none"):
        find_examples([str(tmp_path / "none")], None)
    with pytest.raises(InputError, match="no images"):
        find_examples([str(tmp_path)], None)


def test_photos_come_in_order_and_broken_ones_are_told_of(people: Path, parquet: Path) -> None:
    listed = find_examples([str(parquet), str(people)], None)
    gone = Example(str(people / "gone.jpg"), "gone.jpg", None)
    (people.parent / "text.jpg").write_text("This is not an image.")
    text = Example(str(people.parent / "text.jpg"), "text.jpg", None)
    told: list[str] = []
    read = list(read_photos([gone, *listed, text], max_side=20, on_skipped=told.append))
    assert [example for example, _ in read] == listed
    assert {max(photo.pixels.shape) for _, photo in read} == {20}
    assert {photo.size for _, photo in read} == {(40, 30), (80, 60)}
    reds = np.array([photo.pixels[..., 0].mean() for _, photo in read]).reshape(-1, 3)
    assert np.abs(reds - [0, 60, 120]).max() < 4
    assert [line.partition(":")[0] for line in told] == ["gone.jpg", "text.jpg"]


def test_more_photos_than_are_held_at_once(people: Path) -> None:
    listed = find_examples([str(people)], None) * 30  # 180: reads are in parts of 64
    assert [e for e, _ in read_photos(listed, 64, pytest.fail)] == listed


def test_who_is_held_out_does_not_change() -> None:
    names = [f"person {number}" for number in range(2000)]
    out = [name for name in names if held_out(name, 0.2)]
    assert 340 < len(out) < 460
    assert {name for name in names if held_out(name, 0.1)} < set(out)
    assert not any(held_out(name, 0) for name in names)
    assert all(held_out(name, 1) for name in names)
    assert [held_out(f"person {number}", 0.2) for number in range(8)] == [n == 3 for n in range(8)]


def test_a_number_is_one_name_whatever_the_column(people: Path, tmp_path: Path) -> None:
    """And one person is kept out of training in each of them."""
    photo = next(people.rglob("*.jpg")).read_bytes()
    for name, kind in {"ints": pa.int32(), "floats": pa.float64(), "texts": pa.string()}.items():
        labels = pa.array([7, 12, None]).cast(kind)
        pq.write_table(pa.table({"image": [photo] * 3, "id": labels}), tmp_path / f"{name}.parquet")
    for name in ("ints", "floats", "texts"):
        assert [e.label for e in find_examples([str(tmp_path / f"{name}.parquet")], "id")] == ["7", "12", None]
    pq.write_table(pa.table({"image": [photo], "id": [0.5]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"`label` id: 0\.5 is a number that is no name"):
        find_examples([str(tmp_path / "x.parquet")], "id")


def test_the_path_of_hugging_face_is_the_name(people: Path, tmp_path: Path) -> None:
    image = {"bytes": next(people.rglob("*.jpg")).read_bytes(), "path": "photos/a.jpg"}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array([image], kind), "label": [3]}), tmp_path / "x.parquet")
    [example] = find_examples([str(tmp_path / "x.parquet")], "label")
    assert (example.name, example.label) == ("a.jpg", "3")
    [(_, photo)] = read_photos([example], 64, pytest.fail)
    assert photo.pixels.ndim == 3
