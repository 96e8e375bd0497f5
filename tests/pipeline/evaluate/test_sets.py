from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from muster.errors import InputError
from muster.pipeline.evaluate import faces
from muster.pipeline.evaluate.faces import Labelled, check_pairs
from muster.pipeline.evaluate.sets import is_list_of_sets, pairs_of, sets_of
from muster.pipeline.people.faces import Faces

URIS = ["/v/a b.mp4#t=0", "/v/a b.mp4#t=1", "/v/c.mkv#t=0", "/f/Woody_Allen/3/1.jpg", "/f/Woody_Allen/3/2.jpg"]
IMAGES = pa.table({"image_id": list("abcde"), "uri": URIS})
SPLITS = "split number, first name, second name, is same\n1, a b, Woody_Allen/3, 1\n2, c.mkv, a b.mp4, 0\n"


def test_a_set_is_a_video_or_a_folder_of_frames() -> None:
    found = sets_of(IMAGES)
    assert found["a b.mp4"] == found["a b"] == [0, 1]
    assert found["c"] == [2]
    assert found["Woody_Allen/3"] == [3, 4]


def test_frames_in_a_parquet_file_go_by_the_column_that_names_them() -> None:
    images = pa.table({"uri": ["/x.parquet#row=0", "/x.parquet#row=1"], "file": ["A/0/1.jpg", "A\\0\\2.jpg"]})
    assert sets_of(images)["A/0"] == [0, 1]


def test_pairs_are_read_with_their_folds() -> None:
    assert is_list_of_sets(SPLITS)
    assert not is_list_of_sets("2\t4\nname\t1\t2\n")
    pairs = pairs_of(Path("splits.txt"), SPLITS, IMAGES)
    assert [[pairs.sets[i] for i in side] for side in (pairs.a, pairs.b)] == [[[0, 1], [2]], [[3, 4], [0, 1]]]
    assert (pairs.same.tolist(), pairs.folds.tolist()) == ([True, False], [0, 1])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("1, a b, nobody, 1\n", "line 1: set 'nobody' is not among `images`"),
        ("1, a b, c, yes\n", "line 1: expected `split, first, second, same`"),
        ("split, first, second, same\n", "no line"),
    ],
)
def test_a_list_that_is_wrong(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "splits.txt").write_text(text)
    with pytest.raises(InputError, match=part):
        check_pairs(IMAGES, str(tmp_path / "splits.txt"))


def test_sets_are_compared_by_the_means_of_their_good_faces(tmp_path: Path) -> None:
    """The second moment of the first set is poor, and looks like somebody else; the third set has no face."""
    embeddings = np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8]], np.float32)
    table = pa.table({"image_id": list("abde"), "quality": np.array([0.9, 0.1, 0.9, 0.1], np.float32)})
    data = Labelled(Faces("f", table, embeddings), np.arange(4), IMAGES, np.array([0, 1, 3, 4]))
    (tmp_path / "splits.txt").write_text(SPLITS)
    summary = faces.verify(data, str(tmp_path / "splits.txt"))
    assert (summary.accuracy, summary.pairs, summary.folds, summary.undetected) == (1.0, 2, 2, 1)
