from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from helpers.fixtures import Outcome
from helpers.runs import config_of
from muster.errors import InputError
from muster.pipeline.evaluate import faces
from muster.pipeline.evaluate.faces import Labelled, VerifySummary, check_label, check_pairs

Muster = Callable[..., Outcome]
PEOPLE, EACH = 5, 4


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """20 photos of 5 people, and pairs of them in 2 folds of 4 and 4."""
    folder = tmp_path_factory.mktemp("evaluate")
    table = pq.read_table(data / "lfw" / "lfw.parquet")
    many = [row["values"] for row in pc.value_counts(table["person"]).to_pylist() if row["counts"] >= EACH]
    names = sorted(many)[:PEOPLE]
    photos = [table.filter(pc.equal(table["person"], name)).slice(0, EACH) for name in names]
    pq.write_table(pa.concat_tables(photos), folder / "faces.parquet")
    numbers = {
        name: [int(file.removesuffix(".jpg")[-4:]) for file in part["file"].to_pylist()]
        for name, part in zip(names, photos, strict=True)
    }
    lines = ["2\t4"]
    for fold in range(2):
        lines += [f"{name}\t{numbers[name][fold]}\t{numbers[name][fold + 1]}" for name in names[:4]]
        lines += [f"{one}\t{numbers[one][fold]}\t{other}\t{numbers[other][fold]}" for one, other in pairwise(names)]
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def scanned(labelled: Path, weights: Path, ray_cluster: None) -> Labelled:
    config = config_of(labelled / "L", "faces", workers=1, weights_dir=weights)
    return faces.labelled(str(labelled / "faces.parquet"), config, lambda progress: None, lambda images: None)


def test_verify_and_cluster_end_to_end(muster: Muster, labelled: Path, scanned: Labelled) -> None:
    """`scanned` has done the work: the commands find it in the library."""
    images = ["--images", labelled / "faces.parquet", "-l", labelled / "L", "--json"]
    outcome = muster("evaluate", "verify", "--pairs", labelled / "pairs.txt", *images)
    assert outcome.code == 0, outcome.err
    facts = outcome.facts
    assert facts.keys() >= {"accuracy", "std", "threshold", "pairs", "undetected", "tar_at_far_1e-3"}
    assert (facts["pairs"], facts["folds"], facts["images"], facts["undetected"]) == (16, 2, 20, 0)
    assert facts["accuracy"] >= 0.875
    outcome = muster("evaluate", "cluster", "--label", "person", *images)
    assert outcome.code == 0, outcome.err
    facts = outcome.facts
    assert facts.keys() >= {"pairwise_f1", "bcubed_f1", "clusters", "people", "graph", "kmeans"}
    assert (facts["people"], facts["graph"]["faces"]) == (PEOPLE, 20)
    assert facts["bcubed_f1"] == facts["graph"]["bcubed_f1"] >= 0.9
    half = facts["graph"]["half_a"], facts["graph"]["half_b"]
    assert sum(part["clusters"] for part in half) >= facts["clusters"]


@pytest.mark.usefixtures("ray_cluster")
def test_without_a_library_nothing_stays(
    labelled: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    config = config_of("", "faces", workers=1, weights_dir=weights)
    data = faces.labelled(str(labelled / "faces.parquet"), config, lambda progress: None, lambda images: None)
    assert (data.images.num_rows, data.undetected) == (20, 0)
    assert not list(tmp_path.iterdir())


def test_the_labelled_face_is_the_one_nearest_the_centre(scanned: Labelled) -> None:
    assert len(scanned.rows) == len(set(scanned.owner)) == 20
    ids = scanned.faces.table["image_id"].to_pylist()
    images = scanned.images["image_id"].to_pylist()
    assert [ids[row] for row in scanned.rows] == [images[owner] for owner in scanned.owner]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda lines: ["two folds"], ["whose first line is `folds pairs`"]),
        (lambda lines: [], ["whose first line is `folds pairs`"]),
        (lambda lines: ["0 0"], ["0 × 2 × 0 pairs"]),
        (lambda lines: lines[:-1], ["2 × 2 × 4 pairs", "15 follow"]),
        (lambda lines: [*lines[:3], "Nobody\t1\t2", *lines[4:]], ["line 4", "Nobody_0001.jpg", "`images`"]),
        (lambda lines: [*lines[:2], "one two", *lines[3:]], ["line 3", "`name i j` or `name i other j`"]),
        (lambda lines: [*lines[:15], "", "a\tb\tc", *lines[16:]], ["line 17", "`name i j`"]),
    ],
    ids=["no numbers", "empty", "no pairs", "too few", "an unknown image", "too few words", "no number"],
)
def test_a_pairs_file_that_is_wrong(
    scanned: Labelled,
    labelled: Path,
    tmp_path: Path,
    change: Callable[[list[str]], list[str]],
    parts: list[str],
) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text("\n".join(change((labelled / "pairs.txt").read_text().splitlines())))
    with pytest.raises(InputError) as caught:
        faces.verify(scanned, str(file))
    for part in [str(file), *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_pairs_file_as_other_programs_write_it(tmp_path: Path, codec: str, end: str) -> None:
    """Named there as a Mac or Windows names files; names with blanks, where tabs stand between the columns."""
    files = ["Zoë\\Zoë_0001.jpg", "Zoe\u0308/Zoe\u0308_0002.jpg", "Ann Lee_0001.jpg", "Bo_0001.jpg"]
    images = pa.table({"uri": ["/x.parquet#row=0"] * 4, "file": files})
    lines = ["1\t1", "", "Zoë\t1\t2", "Ann Lee\t1\tBo\t1", "", ""]
    (tmp_path / "pairs.txt").write_bytes(end.join(lines).encode(codec))
    a, b, same, *_ = faces._read_pairs(tmp_path / "pairs.txt", images)
    assert (a.tolist(), b.tolist(), same.tolist()) == ([0, 2], [1, 3], [True, False])


def test_no_pairs_file_or_column(scanned: Labelled, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        check_pairs(scanned.images, str(tmp_path / "none.txt"))
    with pytest.raises(InputError, match=r"`label` colour: no such column; the images have .*person"):
        check_label(scanned.images, "colour")
    check_label(scanned.images, "person")
    empty = scanned.images.append_column("colour", pa.nulls(20, pa.string()))
    with pytest.raises(InputError, match="`label` colour: that column is empty"):
        check_label(empty, "colour")


def test_images_without_a_label_are_not_compared(scanned: Labelled) -> None:
    names = scanned.images["person"].to_pylist()
    lone = [name if row % 4 else None for row, name in enumerate(names)]
    images = scanned.images.set_column(
        scanned.images.column_names.index("person"), "person", pa.array(lone, pa.string())
    )
    missing = lone.count(None)
    result = faces.cluster(replace(scanned, images=images), "person", [("graph", None)])["graph"]
    assert (result["faces"], result["unlabelled"]) == (20 - missing, missing)
    assert result["people"] == len({name for name in lone if name})
    assert result["pairwise_recall"] >= 0.8


@pytest.mark.usefixtures("ray_cluster")
def test_labels_that_do_not_fit_are_refused_before_the_work(muster: Muster, labelled: Path, tmp_path: Path) -> None:
    images = ["--images", labelled / "faces.parquet", "-l", tmp_path / "L"]
    outcome = muster("evaluate", "verify", *images, "--pairs", tmp_path / "none.txt")
    assert (outcome.code, "none.txt: no such file" in outcome.error) == (2, True)
    outcome = muster("evaluate", "cluster", *images, "--label", "colour")
    assert (outcome.code, "--label colour: no such column" in outcome.error) == (2, True)
    assert not (tmp_path / "L" / "_commits").exists()
    outcome = muster("evaluate", "cluster", "--images", tmp_path / "none", "--label", "person")
    assert (outcome.code, str(tmp_path / "none") in outcome.error) == (2, True)
    outcome = muster("evaluate", "cluster", "--images", tmp_path, "--label", "person", "--k", "0")
    assert (outcome.code, "--k 0" in outcome.error) == (2, True)


def test_the_names_of_figures() -> None:
    summary = VerifySummary(0.99, 0.01, 0.3, 600, 10, 100, 0, {"1e-3": 0.9})
    facts: dict[str, Any] = summary.as_json()
    assert facts == {k: v for k, v in asdict(summary).items() if k != "tar_at_far"} | {"tar_at_far_1e-3": 0.9}


def test_an_undetected_face_counts_as_different(scanned: Labelled, labelled: Path) -> None:
    whole = faces.verify(scanned, str(labelled / "pairs.txt"))
    lost = Labelled(scanned.faces, scanned.rows[1:], scanned.images, scanned.owner[1:])
    summary = faces.verify(lost, str(labelled / "pairs.txt"))
    assert (summary.undetected, whole.undetected) == (1, 0)
    assert np.isfinite(summary.accuracy)
    assert summary.accuracy <= whole.accuracy
