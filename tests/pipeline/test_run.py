import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.url_server import UrlServer
from helpers.fixtures import Outcome
from helpers.published import save
from helpers.runs import config_of
from helpers.urls import quick, web
from muster.errors import InputError, MusterError
from muster.pipeline import run as run_module
from muster.pipeline.distributed import actors as actors_module
from muster.pipeline.run import Progress, narrowed, pending, run, summarise, transient
from muster.pipeline.work.dispatch import Order
from muster.pipeline.work.worker import ShardWorker
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.manifest import read_manifest, scan, shards
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.photos.first_bytes import IMAGE_SUFFIXES
from muster.storage.photos.wishes import Wishes
from muster.tasks.models.fastestdet import FastestDet
from muster.tasks.models.yolo import Yolo

Muster = Callable[..., Outcome]
Snapshot = Callable[[Path], dict[str, tuple[str, int]]]
__all__ = ["quick", "web"]
RowsOf = Callable[[Path], dict[str, Any]]
Process = tuple[int, int]  # its id, and when it began
PHOTOS = 240


# ---- processes -------------------------------------------------------------------------------------------------------


def processes() -> dict[Process, int]:
    """Every live process of this machine, with its parent's id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            facts = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if facts[0] != "Z":
            found[int(folder.name), int(facts[19])] = int(facts[1])
    return found


def descendants(parent: int) -> list[Process]:
    alive, found, parents = processes(), [], {parent}
    while generation := [process for process, above in alive.items() if above in parents]:
        found += generation
        parents = {process[0] for process in generation}
    return found


def actors(parent: int) -> list[int]:
    """The worker processes below another."""
    ids = [number for number, _ in descendants(parent)]
    return [i for i in ids if _command(i).startswith(b"ray::_Actor")]


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def started() -> Iterator[set[Process]]:
    """The processes of interrupted runs, none of which may stay: Ray's own agents take a minute to miss theirs."""
    family: set[Process] = set()
    yield family
    until(lambda: not family & processes().keys())
    until(lambda: not actors(os.getpid()))


# ---- a run that is interrupted ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, make_photos: Callable[..., Path]) -> Path:
    return make_photos(tmp_path_factory.mktemp("photos"), range(PHOTOS))


@pytest.fixture
def scanned(tmp_path: Path, photos: Path) -> Path:
    scan(open_library(tmp_path / "L", create=True), [str(photos)])
    return tmp_path / "L"


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where that run writes what its workers did."""
    return tmp_path_factory.mktemp("trace") / "trace.json"


@pytest.fixture(scope="module")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory,
    photos: Path,
    weights: Path,
    ray_cluster: None,
    rows_of: RowsOf,
    trace: Path,
) -> dict[str, Any]:
    """The tables of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "L"
    scan(open_library(folder, create=True), [str(photos)])
    summary = run(replace(config_of(folder, workers=2, weights_dir=weights), trace=trace), lambda progress: None)
    assert (summary.images, summary.ok, summary.errors, summary.processed) == (PHOTOS, PHOTOS, 0, PHOTOS)
    assert summary.rows["faces"] == PHOTOS // 3
    return rows_of(folder)


def test_a_trace_says_what_was_done_to_every_image(uninterrupted: dict[str, Any], trace: Path) -> None:
    spans = [event for event in json.loads(trace.read_text()) if event["ph"] == "X"]
    images: Counter[str] = Counter()
    for span in spans:
        images[span["name"]] += span["args"].get("images", 0)
    done = dict.fromkeys(("read", "decode", "hash", "faces", "previews", "commit"), PHOTOS)
    assert +images == done
    assert len({span["pid"] for span in spans}) == 2  # workers


@pytest.mark.parametrize(("name", "reason"), [("missing/t.json", "cannot be written"), ("L/t.json", "in the library")])
def test_a_trace_that_cannot_be_is_said_before_anything_is_done(scanned: Path, name: str, reason: str) -> None:
    with pytest.raises(InputError, match=f"`trace` .*{reason}"):
        run(replace(config_of(scanned), trace=scanned.parent / name), lambda progress: None)
    assert not open_library(scanned).names("_commits")


def start(folder: Path, weights: Path) -> subprocess.Popen[str]:
    """`muster run` as a user's shell starts it: a process group of its own, to which Ctrl-C goes."""
    command = [
        sys.executable,
        "-m",
        "muster.pipeline.cli.main",
        "run",
        "-l",
        str(folder),
        "--workers",
        "2",
        "--device",
        "cpu",
    ]
    return subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "MUSTER_WEIGHTS": str(weights)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def complete(library: LibraryFiles) -> set[str]:
    """The shards that all tasks have committed."""
    done = [set(tables.committed(library, fingerprint)) for fingerprint in tables.descriptions(library)]
    return set.intersection(*done) if done else set()


def visible(library: LibraryFiles, snapshot: Snapshot) -> dict[str, tuple[str, int]]:
    """Every commit and every file that one speaks of, with its digest and time."""
    assert library.local is not None
    names = {
        file["name"]
        for fingerprint in tables.descriptions(library)
        for commit in tables.commits(library, fingerprint)
        for file in commit["files"]
    }
    files = snapshot(library.local)
    commits = {name for name in files if name.startswith("_commits/") and "/." not in name}
    return {name: files[name] for name in names | commits}


def resume(muster: Muster, folder: Path, snapshot: Snapshot) -> None:
    """Run again: only the rest is done, and nothing that was committed is touched."""
    library = open_library(folder)
    before, left = visible(library, snapshot), dict(shards(library))
    for shard in complete(library):
        del left[shard]
    assert 0 < len(left) < len(shards(library))
    outcome = muster("run", "-l", folder, "--workers", 2, "--device", "cpu", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.facts["processed"] == sum(left.values())
    assert outcome.facts["images"] == PHOTOS
    assert before.items() <= visible(library, snapshot).items()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT])  # test_chaos.py kills it
def test_interrupted_and_run_again(
    number: signal.Signals,
    scanned: Path,
    photos: Path,
    weights: Path,
    uninterrupted: dict[str, Any],
    started: set[Process],
    muster: Muster,
    snapshot: Snapshot,
    rows_of: RowsOf,
) -> None:
    originals, library = snapshot(photos), open_library(scanned)
    process = start(scanned, weights)
    try:
        until(lambda: process.poll() is not None or len(complete(library)) >= len(shards(library)) // 3)
        family, workers = set(descendants(process.pid)), actors(process.pid)
        assert (process.poll(), len(workers)) == (None, 2)
        second = muster("run", "-l", scanned)
        assert (second.code, f"in use by process {process.pid}" in second.error) == (1, True)
        if number == signal.SIGKILL:
            process.kill()
        else:
            os.killpg(process.pid, number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert (process.returncode, out) == (130, "")
        assert err.splitlines()[-1].startswith("muster: stopped. What was done is kept")
        assert "Traceback" not in err
    until(lambda: not {process for process in family if process[0] in workers} & processes().keys(), 30)
    started |= family

    resume(muster, scanned, snapshot)
    assert rows_of(scanned) == uninterrupted
    assert snapshot(photos) == originals


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_stopped_while_workers_start(number: signal.Signals, scanned: Path, weights: Path) -> None:
    process = start(scanned, weights)
    until(lambda: process.poll() is not None or actors(process.pid))
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    *progress, last = err.splitlines()
    assert last == "muster: stopped. What was done is kept: run the same command again to go on"
    assert progress in ([], [f"{PHOTOS} images to process, starting workers"])


def test_a_worker_killed(scanned: Path, weights: Path, uninterrupted: dict[str, Any], rows_of: RowsOf) -> None:
    killed: list[int] = []

    def kill_one(progress: Progress) -> None:
        if progress.images and not killed:
            killed.append(actors(os.getpid())[0])
            os.kill(killed[0], signal.SIGKILL)

    summary = run(config_of(scanned, workers=2, weights_dir=weights), kill_one)
    assert killed
    assert (summary.images, summary.ok, summary.errors) == (PHOTOS, PHOTOS, 0)
    assert rows_of(scanned) == uninterrupted


def test_a_published_model_while_two_workers_are_killed(
    tmp_path: Path, scanned: Path, photos: Path, ray_cluster: None, rows_of: RowsOf
) -> None:
    models = {"objects": f"hf:{save('d_fine', tmp_path / 'model')}"}
    whole = tmp_path / "whole"
    scan(open_library(whole, create=True), [str(photos)])
    facts = {"models": models, "options": {"min_score": 0.3}, "workers": 2}
    assert run(config_of(whole, "objects", **facts), lambda progress: None).rows["objects"] > PHOTOS
    killed: list[int] = []

    def kill_two(progress: Progress) -> None:
        if len(killed) < 2 and progress.images > len(killed) * PHOTOS // 3:
            killed.append(next(number for number in actors(os.getpid()) if number not in killed))
            os.kill(killed[-1], signal.SIGKILL)

    summary = run(config_of(scanned, "objects", **facts), kill_two)
    assert len(killed) == 2
    assert (summary.images, summary.ok, summary.errors) == (PHOTOS, PHOTOS, 0)
    assert rows_of(scanned) == rows_of(whole)


# ---- invariants ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ray_cluster")
def test_every_image_found_has_one_row(data: Path, tmp_path: Path, muster: Muster, snapshot: Snapshot) -> None:
    files = [path for path in sorted((data / "broken").iterdir()) if path.suffix in IMAGE_SUFFIXES]
    small = [path for path in files if path.stat().st_size < 200_000]
    sources = [*small[::6], data / "photos" / "johns" / "John_Simm"]
    before = [(path.stat().st_size, path.stat().st_mtime_ns) for path in small]
    assert muster("scan", *sources, "-l", tmp_path / "L").code == 0
    outcome = muster("run", "-l", tmp_path / "L", "--json")
    assert outcome.code == 0, outcome.err
    facts = outcome.facts
    library = open_library(tmp_path / "L")
    found = read_manifest(library)["image_id"].to_pylist()
    images = tables.require(library, "images", IMAGES_FINGERPRINT)
    assert sorted(images["image_id"].to_pylist()) == sorted(found)
    assert facts["images"] == facts["ok"] + facts["errors"] == len(found)
    broken = images.filter(pc.equal(images["status"], "error"))
    assert facts["errors"] == broken.num_rows > 5
    assert sum(facts["error_kinds"].values()) == broken.num_rows
    for row in broken.to_pylist():
        assert row["error_kind"]
        assert row["error"]
    assert [(path.stat().st_size, path.stat().st_mtime_ns) for path in small] == before


def test_running_again_does_nothing_and_new_photos_alone(
    tmp_path: Path, make_photos: Callable[..., Path], weights: Path, work: Callable[..., Sequence[dict[str, Any]]]
) -> None:
    folder = make_photos(tmp_path / "photos", range(20))
    library = open_library(tmp_path / "L", create=True)
    scan(library, [str(folder)])
    assert sum(result["images"] for result in work(tmp_path / "L", weights)) == 20
    assert work(tmp_path / "L", weights) == []
    make_photos(folder, range(20, 25))
    (folder / "0001.jpg").unlink()
    scan(library, [str(folder)])
    assert sum(result["images"] for result in work(tmp_path / "L", weights)) == 5
    rows = tables.require(library, "images", IMAGES_FINGERPRINT)
    assert sorted(rows["image_id"].to_pylist()) == sorted(read_manifest(library)["image_id"].to_pylist())


def without_a_photo(album: Path, folder: Path) -> tuple[LibraryFiles, Path]:
    """The library L of the photos of the album, one of which has gone away since they were scanned."""
    photos = Path(shutil.copytree(album, folder / "photos"))
    library = open_library(folder / "L", create=True)
    scan(library, [str(photos)])
    (photos / "0003.jpg").rename(folder / "away.jpg")
    return library, photos


def test_a_run_says_each_second_how_far_it_is(
    tmp_path: Path,
    make_photos: Callable[..., Path],
    weights: Path,
    ray_cluster: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A shard of one worker's: before it is done nothing else could be told."""
    monkeypatch.setattr(manifest, "SHARDS_WANTED", 1)
    monkeypatch.setattr("muster.pipeline.work.dispatch.IMAGES_PER_CALL", 200)  # so that it is not cut
    monkeypatch.setattr(actors_module, "PING_SECONDS", 0.1)
    scan(open_library(tmp_path / "L", create=True), [str(make_photos(tmp_path / "photos", range(200)))])
    said: list[tuple[int, int, float | None]] = []

    def on_progress(progress: Progress) -> None:
        assert progress.images + progress.under_way <= progress.total
        said.append((progress.images, progress.under_way, progress.left))

    config = config_of(tmp_path / "L", "faces", workers=1, weights_dir=weights)
    assert run(config, on_progress).ok == 200
    assert said[0] == (0, 0, None)
    assert any(images == 0 < under_way for images, under_way, _ in said)
    assert any(left is not None and left > 0 for _, _, left in said)
    assert said[-1][:2] == (200, 0)


def test_an_error_that_may_pass_is_tried_again_when_asked(
    album: Path, tmp_path: Path, weights: Path, work: Callable[..., Sequence[dict[str, Any]]], rows_of: RowsOf
) -> None:
    library, photos = without_a_photo(album, tmp_path)
    work(tmp_path / "L", weights)
    choices = config_of(tmp_path / "L").choices
    before = summarise(library, choices, Progress(0, 0.0), 0)
    assert (before.errors, before.transient, before.rows["faces"]) == (3, 1, 7)
    (tmp_path / "away.jpg").rename(photos / "0003.jpg")
    assert pending(library, choices) == []
    again = transient(library, choices)
    [order] = pending(library, choices, again)
    assert pending(library, choices) == []  # nothing is dropped before the run can begin
    for fingerprint, shard in again:
        tables.forget_shard(library, fingerprint, shard)
    assert (order.tasks, order.facts) == (("faces", "previews"), True)
    assert [sum(result["images"] for result in work(tmp_path / "L", weights))] == [order.images]
    after = summarise(library, choices, Progress(0, 0.0), 0)
    assert (after.errors, after.transient, after.rows["faces"]) == (2, 0, 8)
    assert transient(library, choices) == []


def test_only_images_whose_error_may_pass_are_read_again(
    album: Path, tmp_path: Path, weights: Path, work: Callable[..., Sequence[dict[str, Any]]], rows_of: RowsOf
) -> None:
    library, photos = without_a_photo(album, tmp_path)
    work(tmp_path / "L", weights)
    config, lacking = config_of(tmp_path / "L"), rows_of(tmp_path / "L")
    (tmp_path / "away.jpg").rename(photos / "0003.jpg")
    again = transient(library, config.choices)
    [order] = narrowed(library, pending(library, config.choices, again), config.choices, again)
    [gone] = [row["image_id"] for row in manifest.read_manifest(library).to_pylist() if "0003" in row["uri"]]
    assert (order.only, order.images, order.facts, order.again) == ((gone,), 1, True, True)
    worker = ShardWorker(str(tmp_path / "L"), config.choices, "cpu", weights)
    result = worker.process(order)
    assert (result["images"], result["errors"], result["committed"]) == (1, 0, True)
    assert worker.process(order)["committed"]  # a second worker's
    now, whole = rows_of(tmp_path / "L"), open_library(tmp_path / "W", create=True)
    assert now != lacking
    scan(whole, [str(photos)])
    work(tmp_path / "W", weights)
    assert now == rows_of(tmp_path / "W")


def test_a_shard_that_lacks_more_is_done_as_a_whole(
    album: Path, tmp_path: Path, weights: Path, work: Callable[..., Sequence[dict[str, Any]]]
) -> None:
    library, _ = without_a_photo(album, tmp_path)
    work(tmp_path / "L", weights, ("faces",))
    choices = config_of(tmp_path / "L", "faces", "previews").choices
    again = transient(library, choices)
    orders = narrowed(library, pending(library, choices, again), choices, again)
    assert again
    assert {order.only for order in orders} == {None}
    assert {order.shard for order in orders if order.again} == {shard for _, shard in again}


@pytest.mark.usefixtures("ray_cluster")
def test_a_run_that_is_cut_off_takes_no_rows_of_what_it_has_not_reached(
    album: Path,
    tmp_path: Path,
    weights: Path,
    work: Callable[..., Sequence[dict[str, Any]]],
    rows_of: RowsOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither where only some images are done again, nor where another task is lacking; photos are gone by now."""

    def cut_off(*_: object) -> int:
        raise KeyboardInterrupt

    library, photos = without_a_photo(album, tmp_path)
    work(tmp_path / "L", weights, ("faces",))
    before = rows_of(tmp_path / "L")
    shutil.rmtree(photos)
    monkeypatch.setattr(run_module, "_work", cut_off)
    for names in (("faces",), ("faces", "previews")) * 2:
        config = replace(config_of(tmp_path / "L", *names, weights_dir=weights), retry_errors=True)
        with pytest.raises(KeyboardInterrupt):
            run(config, lambda _: None)
        assert rows_of(tmp_path / "L") == before
    choices = config_of(tmp_path / "L", "faces").choices
    again = transient(library, choices)
    [order] = narrowed(library, pending(library, choices, again), choices, again)
    assert ShardWorker(str(tmp_path / "L"), choices, "cpu", weights).process(order)["errors"] == 1
    assert rows_of(tmp_path / "L") == before


def test_a_shard_whose_worker_died_at_the_commit_is_done_as_a_whole(
    album: Path,
    tmp_path: Path,
    weights: Path,
    work: Callable[..., Sequence[dict[str, Any]]],
    rows_of: RowsOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At whichever step; the other tables of the shard keep their rows."""
    library, photos = without_a_photo(album, tmp_path)
    work(tmp_path / "L", weights)
    (tmp_path / "away.jpg").rename(photos / "0003.jpg")
    choices = config_of(tmp_path / "L").choices
    again = transient(library, choices)
    [order] = narrowed(library, pending(library, choices, again), choices, again)
    worker = ShardWorker(str(tmp_path / "L"), choices, "cpu", weights)
    shutil.copytree(tmp_path / "L", tmp_path / "before")
    found: list[dict[str, Any]] = []
    write, create = LibraryFiles.write, LibraryFiles.create
    for step in itertools.count():
        left = itertools.count(step, -1)

        def dies(function: Callable[..., Any], *arguments: Any, left: Iterator[int] = left) -> Any:
            if next(left) == 0:
                raise KeyboardInterrupt
            return function(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(LibraryFiles, "write", lambda *given, dies=dies: dies(write, *given))
            patch.setattr(LibraryFiles, "create", lambda *given, dies=dies: dies(create, *given))
            try:
                worker.process(order)
                break
            except KeyboardInterrupt:
                pass
        lacking = pending(library, choices)
        assert {each.shard for each in lacking} == {order.shard}
        assert sum(len(each.tasks) + each.facts for each in lacking) == 1
        assert worker.process(order)["images"] == lacking[0].images  # a second worker's; not the one image of the order
        assert pending(library, choices) == []
        found.append(rows_of(tmp_path / "L"))
        shutil.rmtree(tmp_path / "L")
        shutil.copytree(tmp_path / "before", tmp_path / "L")
    assert len(found) >= 6
    assert all(each == rows_of(tmp_path / "L") for each in found)


def test_faces_are_counted_where_asked_for(processed: Path) -> None:
    library = open_library(processed)
    faces, previews = config_of(processed).choices
    assert summarise(library, [faces, previews], Progress(0, 0.0), 0).rows == {"faces": 8, "previews": 24}
    assert summarise(library, [previews], Progress(0, 0.0), 0).rows == {"previews": 24}


def test_a_task_knows_what_it_lacks_when_a_photo_comes_back_in_a_run_without_it(
    album: Path, tmp_path: Path, weights: Path, work: Callable[..., Sequence[dict[str, Any]]]
) -> None:
    library, photos = without_a_photo(album, tmp_path)
    work(tmp_path / "L", weights)
    (tmp_path / "away.jpg").rename(photos / "0003.jpg")
    faces, previews = config_of(tmp_path / "L").choices
    for fingerprint, shard in transient(library, [faces]):
        tables.forget_shard(library, fingerprint, shard)
    work(tmp_path / "L", weights)
    assert transient(library, [faces]) == []
    assert [each for each in transient(library, [faces, previews]) if each[0] == previews.fingerprint]


def test_an_address_where_nobody_answers_is_said_though_nothing_is_left_to_do(processed: Path) -> None:
    with pytest.raises(MusterError, match="no Ray cluster answers"):
        run(config_of(processed, address="127.0.0.1:1"), print)


def test_another_task_is_new_work_for_that_task_alone(processed: Path, album: Path, tmp_path: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    scan(library, [str(album)])
    orders = pending(library, config_of(tmp_path / "L", "faces").choices)
    assert {(order.tasks, order.facts) for order in orders} == {(("faces",), True)}
    assert sum(order.images for order in orders) == 26
    done, choices = open_library(processed), config_of(processed).choices
    for fingerprint in (IMAGES_FINGERPRINT, *(choice.fingerprint for choice in choices)):
        assert len(tables.committed(done, fingerprint)) == len(shards(done))
    more: list[Any] = [*choices, SimpleNamespace(name="other", fingerprint="0" * 16)]
    assert {(order.tasks, order.facts) for order in pending(done, more)} == {(("other",), False)}


def test_images_are_looked_at_again_where_only_their_rows_are_missing(library: Path) -> None:
    opened, choices = open_library(library), config_of(library).choices
    shard, number = shards(opened)[0]
    tables.forget_shard(opened, IMAGES_FINGERPRINT, shard)
    assert pending(opened, choices) == [Order(shard, (), number)]


def test_the_users_weights(
    tmp_path: Path, make_photos: Callable[..., Path], muster: Muster, ray_cluster: None, rows_of: RowsOf
) -> None:
    """A detector as `muster train objects` writes it: through the command, in workers of their own, and only once."""
    torch.manual_seed(0)
    network = Yolo(80)
    for head in network.heads:
        head.get_parameter("1.bias").data += 3.0  # it finds much, wherever it looks
    save_file({name: value.half() for name, value in network.state_dict().items()}, tmp_path / "objects.safetensors")
    photos = make_photos(tmp_path / "photos", range(3))
    assert muster("scan", photos, "-l", tmp_path / "L").code == 0
    mine = ("run", "-l", tmp_path / "L", "--tasks", "objects", "--device", "cpu", "--model", "objects=own")
    outcome = muster(*mine, "--weights", f"objects={tmp_path}/objects.safetensors", "--json")
    assert (outcome.code, outcome.facts["processed"]) == (0, 3), outcome.err
    [rows] = [table for name, table in rows_of(tmp_path / "L").items() if name.startswith("objects/")]
    assert len(set(rows["image_id"].to_pylist())) == 3
    outcome = muster(*mine, "--weights", f"objects={tmp_path}/objects.safetensors", "--json")
    assert outcome.facts["processed"] == 0
    with (tmp_path / "objects.safetensors").open("ab") as file:
        file.write(b"x")
    outcome = muster(*mine, "--weights", f"objects={tmp_path}/objects.safetensors")
    assert (outcome.code, "cannot be read as weights (SafetensorError)" in outcome.error) == (2, True)


def test_weights_that_do_not_fit(processed: Path, library: Path, muster: Muster, tmp_path: Path) -> None:
    """Said before a worker starts, in a line that names the file; the library does not get to know them."""
    state = FastestDet().state_dict()
    misfits = {
        "twenty": (FastestDet(20).state_dict(), "know 20 classes, not the 80 of COCO"),
        "other": (Yolo(80).state_dict(), "these are not weights of fastestdet (FastestDet, github.com/dog-qiuqiu/"),
        "lacking": ({k: v for k, v in state.items() if "SPP.S1.0" not in k}, 'Missing key(s) in state_dict: "SPP.S1.0'),
        "shape": ({**state, "SPP.S1.0.weight": torch.zeros(3)}, "size mismatch for SPP.S1.0.weight"),
    }
    before = os.listdir(library / "_tasks")
    for name, (held, text) in misfits.items():
        torch.save(held, file := tmp_path / f"{name}.pth")
        outcome = muster("run", "-l", library, "--tasks", "objects", "--weights", f"objects={file}")
        assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1)
        assert outcome.error.startswith(f"muster: --weights objects={file}: ")
        assert text in outcome.error
    assert os.listdir(library / "_tasks") == before


@pytest.mark.usefixtures("ray_cluster")
def test_a_shard_that_fails_is_named_with_its_first_files(library: Path, album: Path) -> None:
    opened = open_library(library)
    [fingerprint] = [f for f, what in tables.descriptions(opened).items() if what["task"] == "previews"]
    shard, images = next(each for each in shards(opened) if each[1] > 3)
    tables.forget_shard(opened, fingerprint, shard)
    shutil.rmtree(library / "previews" / fingerprint)
    (library / "previews" / fingerprint).write_text("a file, where a folder is to be")
    first = tables.from_parquet(opened.read(f"manifest/shard-{shard}.parquet"))["uri"].to_pylist()[:3]
    with pytest.raises(MusterError) as failed:
        run(config_of(library, "previews", workers=1), lambda _: None)
    begin = (
        f"1 of 1 shards failed; {shard} ({', '.join(first)} and {images - 3} more): cannot write to library {library}:"
    )
    assert str(failed.value).startswith(begin)
    assert all(uri.startswith(f"{album}/") for uri in first)


def test_an_empty_library(tmp_path: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    with pytest.raises(InputError, match="has no images yet: `scan` first"):
        pending(library, config_of(tmp_path / "L").choices)


def test_progress_counts_shards() -> None:
    progress = Progress(total=20, began=0.0, ready=time.monotonic() - 10)
    assert progress.rate == 0
    progress.add({"images": 8, "errors": 1, "rows": {"faces": 3, "previews": 7}})
    progress.add({"images": 8, "errors": 0, "rows": {}})
    assert (progress.images, progress.errors, progress.rows["faces"]) == (16, 1, 3)
    assert progress.rate == pytest.approx(1.6, abs=0.1)
    assert progress.left is None
    progress.ends = time.monotonic() + 100
    assert 90 < (progress.left or 0) <= 100


def test_a_commit_names_its_files(processed: Path) -> None:
    """What docs/data-model.md says of a commit: enough to check the library without Muster."""
    for commit in processed.glob("_commits/*/shard-*.json"):
        facts = json.loads(commit.read_text())
        assert facts["fingerprint"] == commit.parent.name
        for file in facts["files"]:
            assert (processed / file["name"]).is_file()


@pytest.mark.usefixtures("quick")
def test_a_web_server_is_asked_again_only_for_what_may_pass(
    web: UrlServer, tmp_path: Path, work: Callable[..., Sequence[dict[str, Any]]]
) -> None:
    """One row for each URL; what lies in a private network is asked for once a scan allows it."""
    final = {"missing/a.jpg": "gone", "forbidden/b.jpg": "refused", "html/c.jpg": "not_an_image", "good/d.jpg": None}
    passing = {"recovers/3/drop/e.jpg": "unreadable", "recovers/1/silent/f.jpg": "timeout"}
    urls = [f"{web.home}/{path}" for path in (final | passing)]
    pq.write_table(pa.table({"URL": urls}), tmp_path / "list.parquet")
    library = open_library(tmp_path / "L", create=True)

    def kinds() -> dict[str, str | None]:
        uris = {row["image_id"]: row["uri"] for row in read_manifest(library).to_pylist()}
        rows = tables.require(library, "images", IMAGES_FINGERPRINT).to_pylist()
        assert len(rows) == len(urls)
        return {uris[row["image_id"]].removeprefix(f"{web.home}/"): row["error_kind"] for row in rows}

    def again() -> None:
        redone = transient(library, [])
        orders = narrowed(library, pending(library, [], redone), [], redone)
        worker = ShardWorker(library.uri, [], "cpu", None)
        for order in orders:
            worker.process(order)

    scan(library, [str(tmp_path / "list.parquet")])
    work(tmp_path / "L", None, ())
    assert set(kinds().values()) == {"private"}
    again()
    assert not web.counts
    scan(library, [str(tmp_path / "list.parquet")], Wishes(allow_private=True))
    again()
    assert kinds() == final | passing
    before = web.counts.copy()
    again()
    assert kinds() == final | dict.fromkeys(passing)
    asked = {path for path, count in web.counts.items() if count > before[path]}
    assert asked == {f"/{path}" for path in passing}
    assert transient(library, []) == []
