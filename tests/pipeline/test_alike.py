from pathlib import Path

import pytest
import torch
from PIL import Image
from skimage import data as photos

import muster
from muster.errors import InputError, NotYetError
from muster.pipeline.run import pending
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.machine import Machine
from muster.pipeline.work.worker import ShardWorker
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library

NAMES = ("coffee", "astronaut", "chelsea")
CPU = Machine(device="cpu")


def run(library: LibraryFiles, choice: TaskChoice, weights: Path | None = None) -> None:
    tables.describe(library, choice.description)
    worker = ShardWorker(library.uri, [choice], "cpu", weights)
    for order in pending(library, [choice]):
        worker.process(order)


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    """Three photos, one of them twice: the other is half as large."""
    (tmp_path / "photos").mkdir()
    for name in NAMES:
        Image.fromarray(getattr(photos, name)()).save(tmp_path / "photos" / f"{name}.jpg")
    Image.fromarray(photos.chelsea()[::2, ::2]).save(tmp_path / "photos" / "cat.jpg")
    library = open_library(tmp_path / "L", create=True)
    manifest.scan(library, [str(tmp_path / "photos")])
    return library


def found(library: LibraryFiles, text: str = "", **more: object) -> list[tuple[str, float]]:
    table = muster.open(library.uri).search(text, machine=CPU, **more).table  # type: ignore[arg-type]
    names = [Path(uri).stem for uri in table["uri"].to_pylist()]
    return list(zip(names, table["similarity"].to_pylist(), strict=True))


def test_photos_like_one_of_the_library(library: LibraryFiles) -> None:
    """By its name, path or id; it is not among them itself. Words narrow it down."""
    run(library, TaskChoice(name="features"))
    rows = found(library, like="chelsea.jpg")
    assert rows[0][0] == "cat"
    assert rows[0][1] > 0.9 > rows[1][1]
    assert [similarity for _, similarity in rows] == sorted((s for _, s in rows), reverse=True)
    assert {name for name, _ in rows} == {"cat", "coffee", "astronaut"}
    table = muster.open(library.uri).table("manifest")
    [row] = [row for row in table.to_pylist() if row["uri"].endswith("chelsea.jpg")]
    path = Path(library.uri).parent / "photos/chelsea.jpg"
    assert found(library, like=row["image_id"]) == found(library, like=path) == rows
    assert found(library, like=path, most=1) == rows[:1]
    assert [name for name, _ in found(library, "-file:cat", like=path)] == [name for name, _ in rows if name != "cat"]


def test_photos_like_a_file(library: LibraryFiles, tmp_path: Path) -> None:
    run(library, TaskChoice(name="features"))
    Image.fromarray(photos.astronaut()[:, ::-1]).save(tmp_path / "mirrored.png")
    [(name, similarity), *_] = found(library, like=tmp_path / "mirrored.png")
    assert (name, similarity > 0.9) == ("astronaut", True)
    Image.fromarray(photos.astronaut()).save(tmp_path / "chelsea.jpg")  # a file goes before a name of the library
    assert found(library, like=tmp_path / "chelsea.jpg")[0][0] == "astronaut"
    assert found(library, like=(tmp_path / "chelsea.jpg").as_uri())[0][0] == "astronaut"
    (tmp_path / "words.jpg").write_text("no picture")
    for file, text in {"words.jpg": "words.jpg", "none.jpg": "none.jpg"}.items():
        with pytest.raises(InputError, match=f"`like` .*{text}: no photo of the library is called so, and as a file"):
            found(library, like=tmp_path / file)
    with pytest.raises(InputError, match="`most` 0"):
        found(library, like="chelsea.jpg", most=0)


def test_without_embeddings_it_says_what_to_run(library: LibraryFiles) -> None:
    run(library, TaskChoice(name="previews"))
    with pytest.raises(NotYetError) as raised:
        found(library, like="chelsea.jpg")
    assert (raised.value.step, raised.value.tasks) == ("run", ("features",))


def test_embeddings_of_other_weights_are_not_compared_with(library: LibraryFiles, tmp_path: Path) -> None:
    import safetensors.torch

    from muster.tasks.models.features import Features

    torch.manual_seed(0)
    safetensors.torch.save_file(Features().state_dict(), tmp_path / "others.safetensors")
    run(library, TaskChoice(name="features", weights=tmp_path / "others.safetensors"))
    assert len(found(library, like="chelsea.jpg")) == 3
    Image.fromarray(photos.astronaut()).save(tmp_path / "file.png")
    with pytest.raises(InputError, match="of other weights or of another version"):
        found(library, like=tmp_path / "file.png")
