import base64
import fcntl
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import typer

import muster as muster_api
from helpers.fixtures import Outcome
from muster.pipeline.cli import console, main
from muster.pipeline.people.grouping import cluster_faces
from muster.pipeline.work.machine import cores
from muster.storage import layout, tables
from muster.storage.library import open_library
from muster.tasks.models import zoo

Muster = Callable[..., Outcome]
Snapshot = Callable[[Path], dict[str, tuple[str, int]]]
NOBODY = 65534
TOO_MANY = str(cores() + 1)  # of those that need a core of their own


def refused(outcome: Outcome, code: int, *parts: str) -> None:
    """The command ended with `code`, nothing on stdout, and one line on stderr that has all `parts`."""
    assert (outcome.code, outcome.out) == (code, ""), outcome
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert outcome.error.startswith("muster: ")
    for part in parts:
        assert part in outcome.error


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may read and write everything: be someone else for a while, so that permissions count."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that `unprivileged` code can reach and write to, which it cannot in pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "muster-test", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be made here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(file: Path) -> None:
    """Make the file as large as its disk allows."""
    with file.open("wb", buffering=0) as out, suppress(OSError):
        while out.write(bytes(4096)):
            pass


# ---- sources ---------------------------------------------------------------------------------------------------------


def test_a_missing_folder(muster: Muster, tmp_path: Path) -> None:
    refused(muster("scan", tmp_path / "none", "-l", tmp_path / "L"), 2, str(tmp_path / "none"), "No such file")
    refused(muster("photos", tmp_path / "none", "-l", tmp_path / "L"), 2, str(tmp_path / "none"), "No such file")


def test_a_folder_without_images(muster: Muster, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("x")
    refused(muster("scan", tmp_path / "notes", "-l", tmp_path / "L"), 2, str(tmp_path / "notes"), "no images", "1 .txt")


def test_one_bad_source_of_two_leaves_the_library_as_it_was(
    muster: Muster, library: Path, album: Path, tmp_path: Path, snapshot: Snapshot
) -> None:
    before = snapshot(library / "manifest")
    refused(muster("scan", album, tmp_path / "none", "-l", library), 2, str(tmp_path / "none"))
    assert snapshot(library / "manifest") == before


def test_a_folder_that_may_not_be_read(muster: Muster, shared: Path, album: Path) -> None:
    locked = shared / "photos"
    shutil.copytree(album, locked)
    locked.chmod(0o700 if os.geteuid() == 0 else 0)
    with unprivileged():
        refused(muster("scan", locked, "-l", shared / "L"), 1, str(locked), "Permission denied")
    locked.chmod(0o700)


def test_a_parquet_file_in_one_large_row_group_is_named(muster: Muster, tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": pa.array([b"x"] * 3000)}), tmp_path / "photos.parquet")
    outcome = muster("scan", tmp_path / "photos.parquet", "-l", tmp_path / "L", "--json")
    assert outcome.facts["large_groups"] == {str(tmp_path / "photos.parquet"): 3000}
    assert "photos.parquet holds 3000 images in one row group" in outcome.error
    assert "row_group_size=256" in outcome.error


def test_a_folder_below_that_may_not_be_read_is_named_and_the_rest_is_kept(
    muster: Muster, shared: Path, album: Path
) -> None:
    shutil.copytree(album, shared / "photos" / "open")
    (shared / "photos" / "open").chmod(0o755)
    locked = shared / "photos" / "locked"
    locked.mkdir(mode=0o700 if os.geteuid() == 0 else 0)
    with unprivileged():
        outcome = muster("scan", shared / "photos", "-l", shared / "L", "--json")
    locked.chmod(0o700)
    assert (outcome.code, outcome.facts["found"], outcome.facts["unreadable"]) == (0, 26, [str(locked)])
    assert str(locked) in outcome.error


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"PAR1 and then nothing that makes sense PAR1", ["as Parquet"]),
        (b"", ["as Parquet"]),
        ("truncated", ["as Parquet"]),
        ("columns", ["no usable column", "uri", "image", "thing (string)"]),
        ("empty", ["no images"]),
    ],
    ids=["corrupt", "no bytes", "truncated", "without a usable column", "without rows"],
)
def test_a_parquet_file_that_is_no_manifest(
    muster: Muster, tmp_path: Path, content: bytes | str, parts: list[str]
) -> None:
    file = tmp_path / "photos.parquet"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        column, values = ("thing" if content == "columns" else "uri", [] if content == "empty" else ["a.jpg"] * 100)
        pq.write_table(pa.table({column: pa.array(values, pa.string())}), file)
        if content == "truncated":
            file.write_bytes(file.read_bytes()[:-60])
    before = file.read_bytes()
    refused(muster("scan", file, "-l", tmp_path / "L"), 2, str(file), *parts)
    assert file.read_bytes() == before


# ---- libraries -------------------------------------------------------------------------------------------------------

ON_A_LIBRARY = (["run"], ["cluster"], ["people"], ["status"])


@pytest.mark.parametrize("command", ON_A_LIBRARY, ids=" ".join)
def test_no_library(muster: Muster, tmp_path: Path, command: list[str]) -> None:
    refused(muster(*command, "-l", tmp_path / "L"), 2, str(tmp_path / "L"), "no library", "muster scan")
    assert not (tmp_path / "L").exists()


@pytest.mark.parametrize("command", [*ON_A_LIBRARY, ["scan", "."]], ids=" ".join)
def test_a_library_of_a_newer_version(muster: Muster, library: Path, snapshot: Snapshot, command: list[str]) -> None:
    (library / "library.json").write_text(json.dumps({"format": 99, "muster": "9.1"}))
    before = snapshot(library)
    refused(muster(*command, "-l", library), 2, str(library), "Muster 9.1", "upgrade")
    assert snapshot(library) == before


def test_a_damaged_library(muster: Muster, library: Path) -> None:
    (library / "library.json").write_text("{")
    refused(muster("status", "-l", library), 2, "library.json", "damaged")


def test_a_library_in_a_folder_of_photos_or_in_a_file(
    muster: Muster, album: Path, tmp_path: Path, snapshot: Snapshot
) -> None:
    before = snapshot(album)
    refused(muster("scan", album, "-l", album), 2, str(album), "holds other files")
    refused(muster("scan", album, "-l", album / "0000.jpg"), 2, str(album / "0000.jpg"), "is a file")
    assert snapshot(album) == before


@pytest.mark.parametrize("command", ["cluster", "people"])
def test_a_library_by_another_model(muster: Muster, library: Path, snapshot: Snapshot, command: str) -> None:
    rename_model(library, "faces", "elsewhere")
    before = snapshot(library)
    refused(muster(command, "-l", library), 2, str(library), "another model", "elsewhere", "--model faces=")
    assert {k: v for k, v in snapshot(library).items() if k != ".lock"} == before


def rename_model(library: Path, task: str, model: str) -> None:
    """Make the table of `task` one of another model: another fingerprint, in every place that has it."""
    opened = open_library(library)
    [(old, description)] = [item for item in tables.descriptions(opened).items() if item[1]["task"] == task]
    new = tables.describe(opened, {**description, "model": model})
    for folder in (library / task, library / "_commits"):
        (folder / old).rename(folder / new)
    for commit in (library / "_commits" / new).iterdir():
        commit.write_text(commit.read_text().replace(old, new))
    (library / "_tasks" / f"{old}.json").unlink()


def test_a_library_not_clustered_or_not_run(muster: Muster, library: Path, album: Path, tmp_path: Path) -> None:
    refused(muster("people", "-l", library), 2, "not clustered", "muster cluster")
    assert muster("scan", album, "-l", tmp_path / "new").code == 0
    refused(muster("cluster", "-l", tmp_path / "new"), 2, "no faces", "muster run")


@pytest.mark.parametrize("command", [["run"], ["cluster"], ["people"], ["scan", "."]], ids=" ".join)
def test_a_library_in_use(muster: Muster, library: Path, snapshot: Snapshot, command: list[str]) -> None:
    with open_library(library).lock():
        before = snapshot(library)
        refused(muster(*command, "-l", library), 1, str(library), "in use by", f"process {os.getpid()}")
        assert snapshot(library) == before
    assert muster("status", "-l", library).code == 0


def test_a_damaged_table_is_named(muster: Muster, library: Path) -> None:
    [file, *_] = sorted(library.glob("faces/*/*.parquet"))
    file.write_bytes(file.read_bytes()[:-100])
    refused(muster("cluster", "-l", library), 1, str(file), "damaged", "_commits")


# ---- disks -----------------------------------------------------------------------------------------------------------


def test_scan_without_write_permission(muster: Muster, shared: Path, album: Path, snapshot: Snapshot) -> None:
    photos = Path(shutil.copytree(album, shared / "photos"))
    (shared / "closed").mkdir(mode=0o555)
    before = snapshot(photos)
    with unprivileged():
        refused(muster("scan", photos, "-l", shared / "closed" / "L"), 1, "closed/L", "Permission denied")
    assert snapshot(photos) == before


def test_a_library_that_may_not_be_written(muster: Muster, shared: Path, processed: Path, snapshot: Snapshot) -> None:
    library = Path(shutil.copytree(processed, shared / "L"))
    (library / ".lock").touch()
    modes = {path: path.stat().st_mode & 0o555 for path in [library, *library.rglob("*")]}
    for path, mode in modes.items():
        path.chmod(mode)
    before = snapshot(library)
    with unprivileged():
        assert muster("status", "-l", library).code == 0
        for command in (["run"], ["cluster"], ["scan", "/"]):
            refused(muster(*command, "-l", library), 1, str(library), "Permission denied")
    assert snapshot(library) == before
    for path, mode in modes.items():
        path.chmod(mode | 0o200)


@pytest.fixture
def read_only(tmp_path: Path, library: Path) -> Iterator[Path]:
    """A clustered library where it cannot be written, by root neither."""
    cluster_faces(open_library(library), None, "graph", None, False)
    (library / ".lock").unlink(missing_ok=True)
    with mounted_read_only(library, tmp_path / "mounted") as place:
        yield place


@contextmanager
def mounted_read_only(folder: Path, place: Path) -> Iterator[Path]:
    place.mkdir()
    if subprocess.run(["mount", "--bind", str(folder), str(place)], capture_output=True).returncode:
        pytest.skip("no folder can be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_what_only_reads_works_where_the_library_cannot_be_written(
    muster: Muster, read_only: Path, tmp_path: Path
) -> None:
    for command in (
        ["status"],
        ["people", "--out", tmp_path / "pages"],
        ["export", "--format", "csv", "--tasks", "faces", "--out", tmp_path / "faces.csv"],
        ["overlay", "--out", tmp_path / "look", "--sample", 2],
        ["copy", "1", "--out", tmp_path / "copies"],
        ["errors"],
        ["audit", "show"],
        ["audit", "verify"],
        ["keys", "list"],
    ):
        outcome = muster(*command, "-l", read_only)
        assert outcome.code == 0, outcome.err
    assert (tmp_path / "pages" / "index.html").is_file()
    assert muster_api.open(read_only).table("clusters").num_rows == 8


def test_a_library_that_cannot_be_written_is_decrypted(
    muster: Muster, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_KEY", base64.b64encode(bytes(32)).decode())
    assert muster("scan", album, "-l", tmp_path / "L").code == 0
    with mounted_read_only(tmp_path / "L", tmp_path / "mounted") as place:
        assert muster("decrypt", tmp_path / "copy", "-l", place).code == 0
    assert (tmp_path / "copy" / "library.json").is_file()


@pytest.mark.parametrize("command", [["run"], ["cluster"], ["people"], ["scan", "/etc"]], ids=" ".join)
def test_what_writes_says_that_the_library_cannot_be_written(
    muster: Muster, read_only: Path, command: list[str]
) -> None:
    parts = (f"cannot write to library {read_only}: Read-only file system", "what only reads works")
    refused(muster(*command, "-l", read_only), 1, *parts)


@pytest.mark.parametrize("what", [layout.FORGETTING, layout.SCANNING])
def test_nothing_is_shown_of_a_library_that_cannot_be_written_while_something_is_to_be_settled(
    muster: Muster, read_only: Path, library: Path, tmp_path: Path, what: str
) -> None:
    """Somebody who is being forgotten is not shown once more."""
    (library / what).parent.mkdir(exist_ok=True)
    (library / what).write_text('{"gone": [], "changed": []}')
    outcome = muster("people", "-l", read_only, "--out", tmp_path / "pages")
    refused(outcome, 1, "was cut off in library", "to be finished before anything is answered", "Read-only file system")
    assert not (tmp_path / "pages").exists()


def test_scan_onto_a_full_disk(muster: Muster, small_disk: Path, album: Path, snapshot: Snapshot) -> None:
    assert muster("scan", album, "-l", small_disk / "L").code == 0
    before, photos = snapshot(small_disk / "L" / "manifest"), snapshot(album)
    more = Path(shutil.copytree(album, small_disk.parent / "more"))
    fill(small_disk / "ballast")
    refused(muster("scan", more, "-l", small_disk / "L"), 1, str(small_disk), "No space left")
    (small_disk / "ballast").unlink()
    assert before.items() <= snapshot(small_disk / "L" / "manifest").items()
    assert muster("scan", more, "-l", small_disk / "L", "--json").facts["new"] == 26
    assert snapshot(album) == photos


def test_what_cannot_be_written_onto_a_full_disk_is_named(
    muster: Muster, small_disk: Path, library: Path, snapshot: Snapshot
) -> None:
    cluster_faces(open_library(library), None, "graph", None, False)
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    there = Path(shutil.copytree(library, small_disk / "L"))
    assert muster("status", "-l", there).code == 0
    (there / ".lock").write_text("process 123456 on a machine of a name that is long enough")
    fill(small_disk / "ballast")
    before = snapshot(there / "clusters")
    for command in (
        ["cluster"],
        ["people"],
        ["people", "--out", small_disk / "pages"],
        ["export", "--format", "csv", "--tasks", "faces", "--out", small_disk / "faces.csv"],
        ["overlay", "--out", small_disk / "look"],
    ):
        refused(muster(*command, "-l", there), 1, str(small_disk), "No space left on device: make room")
    assert snapshot(there / "clusters") == before
    assert {path.name for path in small_disk.iterdir()} <= {"L", "ballast", "pages", "look"}


@pytest.mark.usefixtures("ray_cluster")
def test_run_onto_a_full_disk_keeps_what_was_done(
    muster: Muster, small_disk: Path, processed: Path, album: Path, snapshot: Snapshot, rows_of: Callable[..., object]
) -> None:
    library = small_disk / "L"
    assert muster("scan", album, "-l", library).code == 0
    before = snapshot(album)
    outcome = muster("run", "-l", library, "--workers", 1)
    assert outcome.code == 1
    assert outcome.error.startswith(f"muster: cannot write to library {library}: No space left on device.")
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert muster("run", "-l", library, "--workers", 1).code == 0
    assert rows_of(library) == rows_of(processed)
    assert snapshot(album) == before


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["run", "--workers", "0"], ["--workers 0", "at least 1"]),
        (["run", "--workers", "-3"], ["--workers -3", "at least 1"]),
        (["run", "--workers", "1000000"], ["--workers 1000000", "GiB of memory are free here, enough for"]),
        (["run", "--device", "tpu"], ["--device tpu", "auto, cpu, cuda"]),
        (["run", "--tasks", "smiles"], ["'smiles'", "faces, features, labels, masks, objects, previews"]),
        (["run", "--tasks", ","], ["--tasks", "faces, features, labels, masks, objects, previews"]),
        (["run", "--model", "faces=none"], ["'none'", "own, published"]),
        (["run", "--model", "smiles=none"], ["'smiles'", "faces"]),
        (["run", "--model", "faces"], ["--model faces", "TASK=NAME"]),
        (["run", "--tasks", "previews", "--model", "faces=published"], ["faces=published", "--tasks previews"]),
        (["run", "--weights-dir", "/none"], ["--weights-dir /none", "no such folder"]),
        (["cluster", "--k", "0"], ["--k 0", "at least 1"]),
        (["cluster", "--k", "many"], ["--k many", "auto"]),
        (["cluster", "--k", "3"], ["--k 3", "--method kmeans"]),
        (["cluster", "--method", "kmeans", "--same-photo"], ["--same-photo", "--method graph"]),
        (["cluster", "--method", "magic"], ["--method magic", "graph, kmeans"]),
        (["cluster", "--model", "faces=none"], ["'none'", "own, published"]),
        (["cluster", "--model", "masks=streets"], ["--model masks=streets", "faces=NAME"]),
        (["people", "--model", "objects=fcos"], ["--model objects=fcos", "faces=NAME"]),
        (["enroll", "r.csv", "--model", "objects=fcos"], ["--model objects=fcos", "faces=NAME"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_value_that_cannot_be(
    muster: Muster, library: Path, snapshot: Snapshot, arguments: list[str], parts: list[str]
) -> None:
    before = snapshot(library)
    refused(muster(*arguments, "-l", library), 2, *parts)
    assert {name: file for name, file in snapshot(library).items() if name != ".lock"} == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_without_a_device(muster: Muster, library: Path) -> None:
    refused(muster("run", "-l", library, "--device", "cuda"), 2, "--device cuda", "no CUDA device")


# ---- train -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["train", "smiles"], ["no recipe 'smiles'", "embedder", "detector", "daynight"]),
        (["train", "daynight"], ["--images SOURCE"]),
        (["train", "daynight", "--images", "none"], ["--images", "cannot read none: No such file or directory"]),
        (["train", "detector", "--images", "{album}", "--scenes", "none"], ["--scenes", "cannot read none"]),
        (["train", "daynight", "--images", "{album}", "--steps", "0"], ["--steps 0", "at least 1"]),
        (["train", "daynight", "--images", "{album}", "--limit", "-1"], ["--limit -1", "at least 1"]),
        (["train", "daynight", "--images", "{album}", "--seed", "-1"], ["--seed -1", "whole number from 0"]),
        (["train", "daynight", "--images", "{album}", "--rate", "0"], ["--rate 0", "above 0"]),
        (["train", "daynight", "--images", "{album}", "--rate", "nan"], ["--rate nan", "above 0"]),
        (["train", "daynight", "--images", "{album}", "--workers", "0"], ["--workers 0", "at least 1"]),
        (["train", "daynight", "--images", "{album}", "--workers", TOO_MANY], [f"--workers {TOO_MANY}", "of its own"]),
        (["train", "daynight", "--images", "{album}", "--device", "tpu"], ["--device tpu", "auto, cpu, cuda"]),
        (["train", "daynight", "--images", "{album}", "--weights-dir", "/none"], ["--weights-dir /none"]),
        (["train", "daynight", "--images", "{album}", "--label", "sky"], ["--label sky", "no such column", "{album}"]),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_a_training_that_cannot_be(
    muster: Muster, album: Path, tmp_path: Path, arguments: list[str], parts: list[str]
) -> None:
    given = [argument.format(album=album) for argument in arguments]
    refused(muster(*given, "--out", tmp_path / "out"), 2, *(part.format(album=album) for part in parts))
    assert not list(tmp_path.glob("out/*.safetensors"))


def test_a_style_that_cannot_be_learnt(muster: Muster, album: Path, weights: Path, tmp_path: Path) -> None:
    command = ["train", "style-net", "--images", album, "--weights-dir", weights, "--out", tmp_path / "out"]
    refused(muster(*command), 2, "name a picture of it with --style")
    refused(muster(*command, "--style", album / "none.jpg"), 2, f"--style {album}/none.jpg: no such file")


def test_a_folder_with_a_finished_model(muster: Muster, album: Path, tmp_path: Path, snapshot: Snapshot) -> None:
    (tmp_path / "daynight.safetensors").write_bytes(b"finished")
    before = snapshot(tmp_path)
    refused(
        muster("train", "daynight", "--images", album, "--out", tmp_path),
        2,
        "is a finished model",
        "--out",
        str(tmp_path),
    )
    refused(muster("train", "daynight", "--images", album, "--out", album / "cut.jpg"), 2, "--out", "cut.jpg", "exists")
    assert {name: file for name, file in snapshot(tmp_path).items() if not name.startswith("cache")} == before


def test_a_folder_in_which_another_training_works(muster: Muster, album: Path, tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refused(muster("train", "daynight", "--images", album, "--out", tmp_path), 1, str(tmp_path), "another training")


def test_a_training_from_the_command_line(muster: Muster, data: Path, tmp_path: Path) -> None:
    for kind in ("day", "night"):
        photos = tmp_path / "photos" / kind
        photos.mkdir(parents=True)
        for file in sorted((data / "day_night" / kind).iterdir())[::6]:
            shutil.copy(file, photos)
        for number in range(4):
            (photos / f"broken{number}.jpg").write_text("This is not an image.")
    command = ["train", "daynight", "--images", tmp_path / "photos", "--out", tmp_path / "out", "--steps", 60]
    outcome = muster(*command, "--device", "cpu", "--json")
    assert outcome.code == 0, outcome.err
    facts = outcome.facts
    assert facts.items() >= {"recipe": "daynight", "steps": 60, "skipped": 8}.items()
    assert Path(facts["model"]).is_file()
    assert facts["measured"]
    lines = outcome.err.splitlines()
    assert sum(line.startswith("left out: broken") for line in lines) == 5
    assert lines[-1] == "left out: 8 in all"
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in lines if line.startswith("step ")]
    assert len(losses) == 2
    assert max(losses) < 0.6  # that of knowing nothing is 0.69
    refused(muster(*command), 2, "is a finished model")


@pytest.mark.parametrize(
    "arguments",
    [["photos", ".", *rest] for rest in (["--k", "0"], ["--workers", "0"], ["--tasks", "objects"])],
    ids=" ".join,
)
def test_photos_refuses_a_value_before_it_works(muster: Muster, tmp_path: Path, arguments: list[str]) -> None:
    refused(muster(*arguments, "-l", tmp_path / "L"), 2, " ".join(arguments[-2:]))
    assert not (tmp_path / "L").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["run", "--speed", "9"], "--speed"),
        (["fly"], "'fly'"),
        (["scan"], "SOURCE"),
        (["run", "--workers", "two"], "--workers"),
        (["evaluate", "verify", "--images", "x"], "--pairs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_an_option_or_command(muster: Muster, arguments: list[str], part: str) -> None:
    outcome = muster(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert part in outcome.err
    assert "Traceback" not in outcome.err


def test_an_interrupt_that_python_lost_is_raised_at_the_next_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "interrupted", threading.Event())
    seen: list[int] = []
    on_progress = console._stoppable(seen.append)
    on_progress(1)
    console.interrupted.set()
    with pytest.raises(KeyboardInterrupt):
        on_progress(2)
    assert seen == [1]


# ---- what every command has ------------------------------------------------------------------------------------------


def commands() -> dict[str, typer.models.CommandInfo]:
    found = {}
    for app, prefix in (
        (main.app, ""),
        (main.models_app, "models "),
        (main.evaluate_app, "evaluate "),
        (main.jobs_app, "jobs "),
        (main.gallery.audit_app, "audit "),
        (main.keys_app, "keys "),
    ):
        for command in app.registered_commands:
            assert command.callback is not None
            found[prefix + (command.name or command.callback.__name__)] = command
    return found


@pytest.mark.parametrize("command", commands())
def test_help_has_an_example(muster: Muster, command: str) -> None:
    outcome = muster(*command.split(), "--help")
    assert outcome.code == 0
    assert f"Example: muster {command}" in outcome.out
    assert "--json" in outcome.out or command == "watch"  # whose lines are JSON in any case


def test_a_help_is_folded_by_the_terminal_alone(muster: Muster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert "--column says what they are called otherwise, and then others are left out." in muster("enroll", "-h").out


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented(command: str) -> None:
    home = Path(__file__).parents[3]
    pages = [home / "README.md", *(home / "docs").glob("*.md")]
    text = "\n".join(page.read_text() for page in pages if page.is_file())
    assert re.search(rf"\bmuster {command}\b", text), f"`muster {command}` stands neither in README.md nor in docs/"


def test_json_is_the_last_line(muster: Muster, library: Path, album: Path, tmp_path: Path) -> None:
    def facts(*arguments: object) -> dict[str, object]:
        outcome = muster(*arguments, "--json")
        assert outcome.code == 0, outcome.err
        return outcome.facts

    assert facts("scan", album, "-l", library).items() >= {"found": 26, "new": 0, "unchanged": 26}.items()
    run = facts("run", "-l", library)
    assert {name: run[name] for name in ("images", "ok", "errors", "processed")} == {
        "images": 26,
        "ok": 24,
        "errors": 2,
        "processed": 0,
    }
    assert run["rows"] == {"faces": 8, "previews": 24}
    assert run["error_kinds"] == {"truncated": 1, "not_an_image": 1}
    assert facts("cluster", "-l", library).items() >= {"faces": 8, "people": 1, "method": "graph"}.items()
    assert Path(facts("people", "-l", library, "--out", tmp_path / "pages")["out"], "index.html").is_file()
    everything = facts("photos", album, "-l", library)
    assert (everything["images"], everything["rows"]["faces"], everything["people"]) == (26, 8, 1)
    assert everything["images"] == everything["ok"] + everything["errors"]
    assert everything["scan"].items() >= {"found": 26, "new": 0}.items()
    assert everything["run"].items() >= {"errors": 2, "processed": 0}.items()
    assert everything["cluster"].items() >= {"people": 1, "unclustered": 0}.items()
    assert everything["pages"]["errors"] == 2
    assert everything["index"] == (library / "people" / "index.html").as_uri()
    assert facts("status", "-l", library).items() >= {"images": 26, "ok": 24, "errors": 2, "pending": 0}.items()
    assert facts("models", "list")["models"]
    assert facts("models", "pull", "yunet-n", "mobilefacenet")["paths"]
    assert facts("models", "export", "muster-daynight", "--out", tmp_path / "net.onnx")["bytes"]
    assert set(facts("models", "verify")["models"].values()) <= {"ok", "missing"}
    assert facts("demo", tmp_path / "demo")["folder"] == str(tmp_path / "demo")


@pytest.mark.usefixtures("ray_cluster")
def test_relative_names(
    muster: Muster, album: Path, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers live in another folder than the shell."""
    shutil.copytree(album, tmp_path / "photos")
    (tmp_path / "weights").symlink_to(weights)
    monkeypatch.chdir(tmp_path)
    outcome = muster("photos", "photos", "-l", "L", "--out", "pages", "--weights-dir", "weights", "--workers", 1)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines() == [
        "26 images: 24 ok, 2 errors, 8 faces, 24 previews; 26 now" + outcome.out.splitlines()[0].partition("26 now")[2],
        "1 person in 8 faces; 0 faces left over",
        f"open {(tmp_path / 'pages' / 'index.html').as_uri()}",
    ]
    assert (tmp_path / "pages" / "index.html").is_file()


@pytest.mark.usefixtures("ray_cluster")
def test_what_may_pass_is_said_and_tried_again(muster: Muster, album: Path, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(album, tmp_path / "photos"))
    library = ["-l", tmp_path / "L"]
    run = ["run", *library, "--tasks", "previews", "--workers", 1, "--device", "cpu"]
    assert muster("scan", photos, *library).code == 0
    (photos / "0003.jpg").rename(tmp_path / "away.jpg")
    first, hint = muster(*run).out.splitlines()
    assert first.startswith("26 images: 23 ok, 3 errors, 23 previews; 26 now at ")
    assert hint == "1 error may have passed: `muster run --retry-errors` with the same --tasks tries again"
    (tmp_path / "away.jpg").rename(photos / "0003.jpg")
    assert muster(*run, "--json").facts["processed"] == 0
    facts = muster(*run, "--retry-errors", "--json").facts
    assert facts.items() >= {"ok": 24, "errors": 2, "transient": 0}.items()
    assert len(muster(*run).out.splitlines()) == 1


def test_the_library_may_stand_in_the_environment(
    muster: Muster, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_LIBRARY", str(library))
    assert muster("status", "--json").facts["library"] == str(library)


def test_every_command_speaks_to_people_too(muster: Muster, library: Path) -> None:
    assert muster("run", "-l", library).out.startswith("26 images: 24 ok, 2 errors, 8 faces, 24 previews")
    assert "26 images in 4 shards: 24 ok, 2 errors, 0 not processed yet" in muster("status", "-l", library).out
    assert "MS-Celeb-1M" in muster("models", "list").out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["scna"], ["No such command 'scna'. Did you mean 'scan'? See `", "muster --help`"]),
        (["models", "lst"], ["'lst'", "'list'", "muster models --help`"]),
        (["run", "--libary", "x"], ["--libary", "--library", "muster run --help`"]),
        (["run", "/photos"], ["(/photos). The library is named with -l", "`muster scan`", "muster run --help`"]),
        (["status", "L"], ["(L). The library is named with -l", "muster status --help`"]),
        (["scan"], ["Missing argument 'SOURCE'", "muster scan --help`"]),
        (["demo"], ["Missing argument 'FOLDER'", "muster demo --help`"]),
    ],
    ids=lambda value: " ".join(value) if len(value) < 3 else "",
)
def test_a_command_line_with_a_mistake_in_it(muster: Muster, arguments: list[str], parts: list[str]) -> None:
    refused(muster(*arguments), 2, *parts)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [([], 2, "Usage: "), (["models"], 2, "Usage: "), (["-h"], 0, "Usage: "), (["run", "-h"], 0, "--retry-errors")],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_help_is_shown_where_nothing_is_asked_for(muster: Muster, arguments: list[str], code: int, text: str) -> None:
    outcome = muster(*arguments)
    assert (outcome.code, outcome.err) == (code, "")
    assert text in outcome.out


def test_the_version_says_what_is_installed_and_where(muster: Muster) -> None:
    first, *lines = muster("--version").out.splitlines()
    assert first == f"muster-photos {muster_api.__version__}"
    assert {line.split()[0] for line in lines} == {"torch", "ray", "pyarrow", "faiss-cpu", "python", "in"}
    assert f"torch {importlib.metadata.version('torch')}" in lines
    assert lines[-1] == f"in {Path(muster_api.__file__).parent}"


def test_models_are_a_table_with_licence_data_and_default(muster: Muster) -> None:
    rows = muster("models", "list", "--json").facts["models"]
    out = muster("models", "list").out
    head, *lines = out.partition("\n\n")[0].splitlines()
    assert max(map(len, out.splitlines())) <= 120
    begins = [head.index(name) for name in ("MODEL", "ROLE", "WEIGHTS", "LICENCE", "WHERE")]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        cells = [line[a:b].strip() for a, b in zip(begins, [*begins[1:], None], strict=True)]
        marked = f"{row['task']}={row['model']}" + ("*" if row["default"] else "") if row["task"] else "–"
        assert cells[:4] == [marked, row["role"] or "–", row["name"], row["licence"]]
        assert (cells[4] == "shipped") == row["packaged"]
    text = " ".join(out.split())
    assert all(row["training_data"] in text for row in rows)
    assert {row["task"]: row["model"] for row in rows if row["default"]} == dict(zoo.DEFAULTS)
