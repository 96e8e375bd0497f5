"""The best of each unit in a library, and the pages of them."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from muster.errors import InputError, NotYetError
from muster.pipeline import forget
from muster.pipeline.run import pending
from muster.pipeline.units import Network, best_of, write_pages, write_stages
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.machine import Machine
from muster.pipeline.work.worker import ShardWorker
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library

CHOICE = TaskChoice(name="units", model="daynight")
NETWORK = Network(None, None, Machine(device="cpu"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """40 photos, one of them three times."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(40):
        noise = np.random.default_rng(number).integers(0, 256, (7, 9, 3), np.uint8)
        Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
    for copy in ("a.png", "b.png"):
        shutil.copy(folder / "07.png", folder / copy)
    return folder


def run(library: LibraryFiles, *choices: TaskChoice) -> None:
    for choice in choices:
        tables.describe(library, choice.description)
    worker = ShardWorker(library.uri, choices, "cpu", None)
    for order in pending(library, choices):
        worker.process(order)


@pytest.fixture
def library(tmp_path: Path, photos: Path) -> LibraryFiles:
    """With shards of 8 to 34 photos."""
    made = open_library(tmp_path / "L", create=True)
    manifest.scan(made, [str(photos)])
    run(made, CHOICE)
    return made


def plain(photos: Path, names: set[str]) -> dict[tuple[str, int], list[str]]:
    """Unit → the names of its nine photos, in one pass over these, sorted out photo by photo."""
    from muster.chosen import task

    units = task("units", model="daynight", machine=Machine(device="cpu"))
    rows = [row for name in sorted(names) for row in units(photos / name).to_pylist()]
    found: dict[tuple[str, int], list[str]] = {}
    for row in sorted(rows, key=lambda row: (-row["value"], row["sha256"])):
        unit = found.setdefault((row["layer"], row["unit"]), [])
        if len(unit) < 9:
            unit.append(Path(row["image_id"]).name)
    return found


def named(library: LibraryFiles, rows: pa.Table) -> dict[tuple[str, int], list[str]]:
    images = manifest.read_manifest(library)
    uris = dict(zip(images["image_id"].to_pylist(), images["uri"].to_pylist(), strict=True))
    found: dict[tuple[str, int], list[str]] = {}
    for row in rows.to_pylist():
        name = Path(uris[row["image_id"]]).name
        found.setdefault((row["layer"], row["unit"]), []).append("07.png" if name in ("a.png", "b.png") else name)
    return found


def distinct(photos: Path) -> set[str]:
    return {path.name for path in photos.iterdir()} - {"a.png", "b.png"}


def test_the_best_are_those_of_one_pass_over_all_photos(library: LibraryFiles, photos: Path) -> None:
    assert len(manifest.shards(library)) > 1
    assert named(library, best_of(library, None)) == plain(photos, distinct(photos))


def test_where_photos_go_their_shards_are_looked_at_again(library: LibraryFiles, photos: Path) -> None:
    """Else what was the tenth best would be missing among the nine."""
    for number in (0, 3, 11, 12, 29):
        (photos / f"{number:02}.png").unlink()
    manifest.scan(library, [str(photos)])
    assert pending(library, [CHOICE])
    run(library, CHOICE)
    assert named(library, best_of(library, None)) == plain(photos, distinct(photos))


def test_a_photo_that_is_forgotten_is_nowhere(library: LibraryFiles, photos: Path) -> None:
    [first] = best_of(library, None)["image_id"].to_pylist()[:1]
    with library.lock():
        forget.forget(library, [first], forget.ASKED)
    run(library, CHOICE)
    assert first not in best_of(library, None)["image_id"].to_pylist()


def pages(out: Path) -> dict[str, str]:
    return {str(path.relative_to(out)): path.read_text() for path in out.rglob("*.html")}


def test_pages_show_each_unit_with_its_photos(library: LibraryFiles, photos: Path, tmp_path: Path) -> None:
    run(library, TaskChoice(name="previews"))
    out = tmp_path / "pages"
    summary = write_pages(library, NETWORK, (), out)
    assert (summary.layers, summary.units, summary.gone) == (5, 121, 0)
    found = pages(out)
    assert summary.pages == len(found)
    for name, text in found.items():
        for link in re.findall(r'(?:href|src)="([^"#]*)', text):
            target = Path(link.removeprefix("file://")) if link.startswith("file:") else (out / name).parent / link
            assert target.exists(), (name, link)
    assert len(list((out / "filters").iterdir())) == 16
    best = best_of(library, None).to_pylist()
    one = next(row for row in best if row["layer"] == "features.3")
    text = found[f"units/001-features-3/{one['unit']}.html"]
    assert f"photos/{one['image_id'][:2]}/{one['image_id']}.jpg" in text
    assert (photos / "00.png").as_uri().rpartition("/")[0] in text
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    write_pages(library, NETWORK, (), out)
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}  # none is cut again


def test_pictures_made_for_units_are_beside_their_patches(library: LibraryFiles, tmp_path: Path) -> None:
    """And go where the pages are written without them."""
    out = tmp_path / "pages"
    write_pages(library, NETWORK, ["features.0"], out, ascent=True)
    made = sorted(path.relative_to(out).as_posix() for path in out.rglob("ascents/*/*.png"))
    assert made == sorted(f"ascents/000-features-0/{unit}.png" for unit in range(16))
    with Image.open(out / made[0]) as picture:
        assert picture.size == (3, 3)
    page = (out / "units/000-features-0/3.html").read_text()
    assert 'src="../../ascents/000-features-0/3.png"' in page
    assert "not a photo" in page
    write_pages(library, NETWORK, ["features.0"], out)
    assert not list(out.rglob("ascents/*/*.png"))
    assert "ascents" not in (out / "units/000-features-0/3.html").read_text()


def test_other_pages_are_not_replaced(library: LibraryFiles, photos: Path, tmp_path: Path) -> None:
    write_stages(photos / "00.png", NETWORK, tmp_path / "stages")
    before = sorted(path.name for path in (tmp_path / "stages").rglob("*"))
    with pytest.raises(InputError, match="holds other pages"):
        write_pages(library, NETWORK, (), tmp_path / "stages")
    assert sorted(path.name for path in (tmp_path / "stages").rglob("*")) == before
    write_stages(photos / "01.png", NETWORK, tmp_path / "stages")  # of the same kind they are


def test_photos_that_vanished_are_named_and_not_shown(library: LibraryFiles, photos: Path, tmp_path: Path) -> None:
    """Without previews the photos themselves are read."""
    for path in photos.iterdir():
        if path.name > "20":
            path.unlink()
    out = tmp_path / "pages"
    summary = write_pages(library, NETWORK, (), out)
    assert 0 < summary.gone < summary.photos
    text = "".join(pages(out).values())
    assert 'class="gone"' in text
    assert not any(re.search(r"\d{2}\.png: ", line) for line in text.splitlines())


def test_a_unit_that_never_fires_is_said_to(tmp_path: Path) -> None:
    folder = tmp_path / "black"
    folder.mkdir()
    Image.new("RGB", (64, 64)).save(folder / "black.png")
    made = open_library(tmp_path / "L", create=True)
    manifest.scan(made, [str(folder)])
    run(made, CHOICE)
    summary = write_pages(made, NETWORK, (), tmp_path / "pages")
    assert 0 < summary.silent < summary.units
    assert sum("never fires" in text for text in pages(tmp_path / "pages").values()) >= summary.silent


def test_a_layer_that_is_not_there_names_the_nearest(library: LibraryFiles, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"features.4: the network has no such layer; the nearest: features"):
        write_pages(library, NETWORK, ["features.4"], tmp_path / "pages")
    summary = write_pages(library, NETWORK, ["features.3"], tmp_path / "pages")
    assert (summary.layers, summary.units) == (1, 24)


def test_a_library_without_units_says_what_to_do(tmp_path: Path, photos: Path) -> None:
    made = open_library(tmp_path / "empty", create=True)
    manifest.scan(made, [str(photos)])
    with pytest.raises(NotYetError, match="no units"):
        write_pages(made, NETWORK, (), tmp_path / "pages")


def test_other_weights_are_not_shown_as_those_of_the_rows(
    library: LibraryFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    from muster.pipeline.work.weights import load_weights
    from muster.tasks.models import zoo

    state: Any = load_weights(zoo.ENTRIES["muster-daynight"], None)
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "mine.safetensors")
    with pytest.raises(InputError, match="by other weights"):
        write_pages(library, NETWORK._replace(weights=tmp_path / "mine.safetensors"), (), tmp_path / "pages")
