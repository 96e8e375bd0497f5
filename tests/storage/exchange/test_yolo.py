"""Folders as YOLO's readers read them."""

from dataclasses import replace
from pathlib import Path

from helpers.exchange import CATEGORIES, DOG, SKY, photo
from muster.storage.exchange.photo import Finding
from muster.storage.exchange.yolo import write_yolo


def test_yolo(tmp_path: Path) -> None:
    import yaml

    photos = [photo("a/1.jpg", DOG), photo("b/1.jpg"), photo("a/1.png", SKY), photo("a/1.png", DOG)]
    write_yolo(photos, tmp_path / "out", CATEGORIES, {})
    labels = tmp_path / "out" / "labels"
    files = {str(path.relative_to(labels)): path.read_text() for path in labels.rglob("*.txt")}
    assert files.keys() == {"a/1.txt", "b/1.txt", "a/1.png.txt", "a/1.png-2.txt"}
    assert files["a/1.txt"] == files["a/1.png-2.txt"] == "1 0.200000 0.375000 0.200000 0.250000\n"
    assert files["b/1.txt"] == ""
    first, second = files["a/1.png.txt"].splitlines()
    assert first == "2 0.100000 0.250000 0.300000 0.250000 0.300000 0.500000 0.100000 0.500000"
    assert second.startswith("2 0.070000 0.625000")
    content = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    names = {0: "person", 1: "dog", 2: "sky"}
    assert content == {"train": "images.txt", "val": "images.txt", "names": names}


def test_yolo_lists_the_images_whose_labels_are_found(tmp_path: Path) -> None:
    """As Ultralytics' img2label_paths looks for them: the last `/images/` is `/labels/`, the ending `.txt`.

    It reads the list as UTF-8 and splits it as Python does: a name that is not UTF-8, or of two lines, is in none."""
    names = [
        "a/1.jpg",
        "a/1.png",
        "b.c/1.d.jpeg",
        "a/images/1.jpg",
        "images/1.jpg",
        "l.parquet/3",
        "ü #1%41.jpg",
        "\udcff.jpg",
    ]
    names += ["no ending", "two\nlines.jpg", "two\u2028lines.jpg", "two\rlines.jpg", "two\x85lines.jpg"]
    things = [Finding("objects", "dog", 0.5, (i, 0, 100, 80)) for i in range(len(names))]
    photos = [photo(name, thing) for name, thing in zip(names, things, strict=True)]
    photos[5] = replace(photos[5], uri="/photos/l.parquet#row=3")
    write_yolo(photos, tmp_path / "out", CATEGORIES, {})
    listed = (tmp_path / "out" / "images.txt").read_text().splitlines()
    assert listed == [f"./images/{name}" for name in ("a/1.jpg", "b.c/1.d.jpeg", "l.parquet/3.jpg", "ü #1%41.jpg")]
    for image, i in zip(listed, (0, 2, 5, 6), strict=True):
        path = "/labels/".join(str(tmp_path / "out" / image).rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt"
        assert float(Path(path).read_text().split()[3]) == (100 - i) / 100


def test_a_face_that_reaches_past_the_edge(tmp_path: Path) -> None:
    """Ultralytics drops a photo with a number above 1, with all that is in it."""
    write_yolo([photo("1.jpg", Finding("faces", "dog", 0.5, (-10, 60, 110, 90)))], tmp_path / "out", CATEGORIES, {})
    assert (tmp_path / "out" / "labels" / "1.txt").read_text() == "1 0.500000 0.875000 1.000000 0.250000\n"


def test_names_of_classes(tmp_path: Path) -> None:
    import yaml

    names = ["true", "null", "a: b", "it's", '"q"', "a,b", "né", "1", "", "x\ny", "#c", "- d", "{e", "\u2028", "😀"]
    write_yolo([photo("1.jpg")], tmp_path / "out", {name: i for i, name in enumerate(names)}, {})
    assert yaml.safe_load((tmp_path / "out" / "data.yaml").read_bytes())["names"] == dict(enumerate(names))


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_yolo([photo("1.jpg", DOG)], tmp_path / "out", CATEGORIES, {})
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "labels" / "1.txt").is_file()
