"""docs/api.md is true: its examples run, its signatures are those of the code, and it names all there is."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

import muster
from helpers.packages import TASK, installed, write
from muster import errors
from muster.pipeline.cli import main

HOME = Path(__file__).parents[1]
PAGE = (HOME / "docs" / "api.md").read_text()
HEAVY = ("torch", "ray", "pyarrow", "numpy", "faiss")


@pytest.fixture
def place(tmp_path: Path, make_photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the page speaks of: 12 photos, of which four show one person."""
    photos = make_photos(tmp_path / "photos", range(12))
    (tmp_path / "people" / "ann").mkdir(parents=True)
    shutil.copy(photos / "0000.jpg", tmp_path / "people" / "ann" / "1.jpg")
    names = ["0000", "0003", "0006"]
    labelled = {"image": [(photos / f"{name}.jpg").read_bytes() for name in names], "person": ["ann"] * 3}
    pq.write_table(pa.table(labelled), tmp_path / "labelled.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))
    for name in ("MUSTER_WEIGHTS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.usefixtures("ray_cluster")
def test_the_examples_of_the_api_page(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S):
        exec(compile(block, "docs/api.md", "exec"), names)
    printed = capsys.readouterr().out
    summary, answers, receipt = (names[name] for name in ("summary", "answers", "receipt"))
    assert (summary.images, summary.errors, summary.rows["faces"]) == (12, 0, 4)
    assert (place / "pages" / "index.html").is_file()
    assert names["found"]["image_id"].to_pylist() == ["photos/0000.jpg"]  # there is no face in an empty picture
    assert answers.table["person_id"].to_pylist() == ["ann"]
    assert (receipt.people, receipt.found_afterwards) == (["ann"], [])
    assert "0 of 12" in printed
    assert "`scan` first" in printed


def test_a_script_of_the_api_needs_no_main_guard(place: Path) -> None:
    """It starts and ends a Ray of its own."""
    script = place / "script.py"
    script.write_text(
        "import muster\n"
        "library = muster.open('library', create=True)\n"
        "library.scan('photos')\n"
        "print(library.run('previews', machine=muster.Machine(workers=1)).ok)\n"
        "import ray\n"
        "print(ray.is_initialized())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["12", "False"], done.stderr


def test_importing_the_api_is_light() -> None:
    code = f"import sys, muster, muster.errors; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_help_of_the_command_imports_as_little_as_the_api() -> None:
    code = f"import sys, muster.pipeline.cli.main; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_api_page_names_all_there_is_and_nothing_else() -> None:
    named = set(re.findall(r"\bmuster\.(\w+)", PAGE))
    assert named == set(muster.__all__)
    verbs = {name for name in vars(muster.Library) if not name.startswith("_")}
    assert set(re.findall(r"\bLibrary\.(\w+)", PAGE)) == verbs
    tree = re.findall(r"─ (\w+)", PAGE)
    public = {name for name, each in vars(errors).items() if inspect.isclass(each)}
    assert {*tree, "MusterError"} == public
    assert errors.__doc__ is not None
    assert all(f"─ {name}" in errors.__doc__ for name in tree)


def test_the_names_of_the_api_exist() -> None:
    assert muster.__version__ == "0.2.0" or re.fullmatch(r"\d+\.\d+\.\d+.*", muster.__version__)
    assert set(muster.__all__) <= set(dir(muster))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        muster.nothing  # noqa: B018


def signature(function: Any) -> str:
    """Its parameters with their defaults, without `self` and types."""
    parameters = inspect.signature(function).parameters.values()
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters if p.name != "self"]
    return str(inspect.Signature(plain))


def found(name: str) -> Any:
    """What `muster.models.pull` or `Library.run` means."""
    value: Any = muster
    for part in name.removeprefix("muster.").split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("line", re.findall(r"\*\*`([^`]+)`\*\*", PAGE))
def test_a_signature_on_the_api_page(line: str) -> None:
    name, _, _ = line.partition("(")
    assert line == name + signature(found(name))


def test_every_public_function_of_the_api_has_its_signature_on_the_page() -> None:
    described = {line.partition("(")[0] for line in re.findall(r"\*\*`([^`]+)`\*\*", PAGE)}
    public = {f"muster.{name}" for name in muster.__all__ if inspect.isfunction(getattr(muster, name))}
    public |= {f"Library.{name}" for name, each in vars(muster.Library).items() if _is_public(name, each)}
    for module in (muster.evaluate, muster.models, muster.jobs, muster.testing):
        mine = {name: each for name, each in vars(module).items() if getattr(each, "__module__", "") == module.__name__}
        public |= {f"{module.__name__}.{name}" for name, each in mine.items() if _is_public(name, each)}
    assert public == described - {"muster.Machine", "ChosenTask.__call__"}


def _is_public(name: str, value: Any) -> bool:
    return not name.startswith("_") and inspect.isfunction(value)


def commands(app: typer.Typer, path: str = "muster") -> Iterator[str]:
    for each in app.registered_commands:
        assert each.callback is not None
        yield f"{path} {each.name or each.callback.__name__}"
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, f"{path} {group.name}")


def test_what_the_command_line_can_do_the_api_can() -> None:
    table = dict(re.findall(r"^\| `(muster [a-z ]+)` \| `([\w.]+)` \|$", PAGE, re.M))
    assert table.keys() == set(commands(main.app))
    for name in table.values():
        assert callable(found(name)), name


@pytest.mark.parametrize("error", [each for each in vars(errors).values() if inspect.isclass(each)])
def test_an_error_of_the_api_crosses_processes(error: type[errors.MusterError]) -> None:
    import pickle

    given = error("kind", "text") if error is errors.ImageError else error("text")
    again = pickle.loads(pickle.dumps(given))
    assert (type(again), str(again), vars(again)) == (error, str(given), vars(given))
    assert issubclass(error, errors.MusterError)
    assert given.exit_code in (1, 2)


def test_a_folder_that_is_no_library_is_refused_by_the_api(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("x")
    with pytest.raises(ValueError, match=r"no library at .*: `scan` first"):
        muster.open(tmp_path)
    with pytest.raises(errors.InputError, match="holds other files and no library"):
        muster.open(tmp_path, create=True)


def test_tables_of_the_api(library: Path) -> None:
    opened = muster.open(library)
    assert opened.table("manifest", columns=["uri"]).num_rows == opened.table("images").num_rows == 26
    faces = opened.table("faces", columns=["face_id", "embedding"])
    assert faces.num_rows == opened.table("faces", model="own").num_rows == 8
    broken = opened.table("errors")  # two files that are no pictures, for both tasks
    assert (broken.num_rows, set(broken["task"].to_pylist())) == (4, {"faces", "previews"})
    with pytest.raises(errors.NotYetError, match="not clustered yet: `cluster` first"):
        opened.table("clusters")
    opened.cluster()
    assert set(opened.table("clusters")["face_id"].to_pylist()) == set(faces["face_id"].to_pylist())
    with pytest.raises(errors.NotYetError, match="has no scenes for its images yet: `run` first"):
        opened.table("scenes")
    with pytest.raises(
        errors.InputError, match="no table 'smiles'; known: answers, captions, clusters, duplicates, errors, faces"
    ):
        opened.table("smiles")
    for name in ("faces", "images", "manifest", "clusters"):
        with pytest.raises(errors.InputError, match=f"table {name} has no column 'smile'; it has .*image_id"):
            opened.table(name, columns=["image_id", "smile"])
    with pytest.raises(errors.InputError, match="name what to scan"):
        opened.scan()


def test_the_api_takes_paths_and_arrays(place: Path) -> None:
    import numpy as np

    faces = muster.task("faces", machine=muster.Machine(device="cpu"))
    whole = faces([Path("photos/0000.jpg"), str(place / "photos" / "0003.jpg")])
    assert whole["image_id"].to_pylist() == ["photos/0000.jpg", str(place / "photos" / "0003.jpg")]
    assert faces(f"file:{place}/photos/0000.jpg")["box_xyxy"].to_pylist() == whole["box_xyxy"].to_pylist()[:1]
    assert faces([]).schema == faces.schema == whole.schema
    from PIL import Image

    pixels = np.asarray(Image.open("photos/0000.jpg"))
    [row] = faces([np.zeros_like(pixels), pixels]).to_pylist()
    assert row["image_id"] == "1"
    assert np.abs(np.subtract(row["box_xyxy"], whole["box_xyxy"][0].as_py())).max() < 3
    for wrong in (pixels[..., 0], pixels.astype(np.float32), pixels[:0]):
        with pytest.raises(errors.InputError, match="give \\(height, width, 3\\) of uint8"):
            faces(wrong)
    with pytest.raises(errors.ImageError, match="no such file"):
        faces("photos/none.jpg")
    Path("notes.txt").write_text("no image")
    with pytest.raises(errors.ImageError, match=r"^notes\.txt: not an image"):
        faces(["photos/0000.jpg", "notes.txt"])
    for strange in (Image.fromarray(pixels), [None], [pixels, 3]):
        with pytest.raises(errors.InputError, match=r"picture [01] is of \w+: give a path, a URI or an array"):
            faces(strange)


def test_a_task_of_a_plugin_that_answers_something_else(tmp_path: Path) -> None:
    import numpy as np

    source = TASK.replace("return pa.table(list(zip(*rows)) or [[]] * 3, self.schema)", "return rows")
    write(tmp_path, "means", {"muster.tasks:means": "means:Means"}, source)
    with (
        installed(tmp_path),
        pytest.raises(errors.TaskError, match="task 'means' did not return a table of its schema"),
    ):
        muster.task("means")([np.zeros((8, 8, 3), np.uint8)])


def test_the_api_trusts_for_as_long_as_it_works(tmp_path: Path) -> None:
    folder = tmp_path / "L"
    muster.open(folder, create=True)
    folder.chmod(0o777)
    with pytest.raises(errors.InputError, match="may be written by other users"):
        muster.open(folder)
    assert muster.open(folder, trust=True).status()["images"] == 0
    with pytest.raises(errors.InputError, match="none: No such file"):
        muster.photos(tmp_path / "none", library=folder, trust=True)
    assert "MUSTER_TRUST" not in os.environ
    with pytest.raises(errors.InputError, match="may be written by other users"):
        muster.open(folder)
    trusted = muster.open(folder, trust=True)
    with trusted._in_use(), ThreadPoolExecutor(1) as other:  # what one thread trusts, another does not
        refused = other.submit(muster.open, folder)
        with pytest.raises(errors.InputError, match="may be written by other users"):
            refused.result()


def test_one_name_stands_for_a_list_of_one_in_the_api(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", range(2))
    library = muster.open(tmp_path / "L", create=True)
    assert library.scan([photos]).found == library.scan(photos).found == 2
    assert library.table("manifest", columns="uri").column_names == ["uri"]
    for tasks in ("objects", ["objects"]):
        with pytest.raises(errors.NotYetError, match="objects"):
            library.export("csv", tmp_path / "out.csv", tasks)
