import errno
import os
import pickle
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from helpers.runs import config_of
from muster.errors import ImageError, InputError, MusterError
from muster.pipeline.run import Progress as RunProgress
from muster.pipeline.run import pending, summarise
from muster.pipeline.work import parts
from muster.pipeline.work import worker as worker_module
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.dispatch import Order
from muster.pipeline.work.parts import slice_of
from muster.pipeline.work.worker import (
    MIN_SIDE,
    ShardWorker,
    ahead,
    apply,
    chunks,
    far_ahead,
    is_fatal,
)
from muster.storage import commit_facts, tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.manifest import read_shard, scan, shards
from muster.storage.outcomes import ERRORS, IMAGES_FINGERPRINT
from muster.storage.photos import decode
from muster.storage.photos.pixels import perceptual_hash
from muster.tasks import base
from muster.tasks.faces import Faces
from muster.tasks.models import zoo
from muster.tasks.models.yolo import Yolo


class Widths:
    """A task that fails on the images named in `bad`, and on batches of more than `most`."""

    name = "widths"
    version = 1
    schema = pa.schema([pa.field("image_id", pa.string(), nullable=False), ("width", pa.int32())])
    max_side = 64
    models: Mapping[str, str] = {}
    parameters: Mapping[str, Any] = {}
    findings = base.Findings()

    def __init__(self, bad: Sequence[str] = (), most: int = 1000) -> None:
        self.bad, self.most = set(bad), most
        self.batches: list[int] = []

    def load(self, device: torch.device, weights: Mapping[str, base.StateDict]) -> None:
        pass

    def __call__(self, images: Sequence[base.Image]) -> pa.Table:
        self.batches.append(len(images))
        if len(images) > self.most:
            raise torch.OutOfMemoryError("too many")
        for image in images:
            if image.image_id in self.bad:
                raise RuntimeError(f"I do not like {image.image_id}")
        rows = [{"image_id": image.image_id, "width": image.size[0]} for image in images]
        return pa.Table.from_pylist(rows, self.schema)


def image(number: int) -> base.Image:
    return base.Image(str(number), np.zeros((4, 4, 3), np.uint8), 1.0, (number + 1, 4))


# ---- a task that fails -----------------------------------------------------------------------------------------------


def test_files_that_are_far_are_read_behind_one_that_stalls() -> None:
    """All of them; they come in order, and neighbours are begun apart."""
    stalls, begun = threading.Event(), list[int]()

    def read(number: int) -> list[tuple[str, bytes | ImageError]]:
        begun.append(number)
        assert number or stalls.wait(10)
        return [(str(number), bytes(10))]

    with ThreadPoolExecutor(3) as pool:
        lay: list[int] = []
        files = far_ahead(pool, 3, read, range(50), lay)
        until = time.monotonic() + 10
        while len(begun) < 50 and time.monotonic() < until:
            time.sleep(0.01)
        assert sorted(begun) == list(range(50)) != begun
        stalls.set()
        assert [name for [(name, _)] in files] == [str(n) for n in range(50)]
    assert len(lay) == 50


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("stalls", [None, 0])
def test_files_that_are_far_take_no_more_memory_than_they_may(
    monkeypatch: pytest.MonkeyPatch, threads: int, stalls: int | None
) -> None:
    """Also where nothing is wanted for a while, or what is wanted stalls; and what is wanted is read for all that."""
    monkeypatch.setattr(worker_module, "HELD", 100)
    held, most, lock = 0, 0, threading.Lock()

    def read(number: int) -> list[tuple[str, bytes | ImageError]]:
        nonlocal held, most
        if number == stalls:
            time.sleep(0.2)
        with lock:
            held += 10
            most = max(most, held)
        return [(str(number), bytes(10))]

    with ThreadPoolExecutor(threads) as pool:
        files = far_ahead(pool, threads, read, range(200), [])
        if stalls is None:
            time.sleep(0.2)
        for number, [(name, _)] in enumerate(files):
            assert name == str(number)
            with lock:
                held -= 10
    assert 100 <= most <= 100 + 10 * (threads + 2)  # what is being read, what is wanted, and what was just given out


def test_files_that_are_far_are_let_be_once_the_shard_fails() -> None:
    begun, fails = list[int](), threading.Event()

    def read(number: int) -> list[tuple[str, bytes | ImageError]]:
        begun.append(number)
        if number == 0:
            raise OSError("gone")
        assert fails.wait(10)
        return [(str(number), b"")]

    with ThreadPoolExecutor(3) as pool:
        files = far_ahead(pool, 3, read, range(3), [])
        fails.set()
        with pytest.raises(OSError, match="gone"):
            next(files)
    fails.clear()
    begun.clear()
    with ThreadPoolExecutor(3) as pool:
        far_ahead(pool, 3, read, range(1, 500), [])
        pool.shutdown(wait=False, cancel_futures=True)
        fails.set()
    assert len(begun) == 3


@given(st.integers(1, 40), st.sets(st.integers(0, 39)))
def test_only_the_images_that_fail_are_lost(number: int, bad: set[int]) -> None:
    task = Widths([str(i) for i in bad])
    table, errors = apply(task, [image(i) for i in range(number)], {})
    assert table["image_id"].to_pylist() == [str(i) for i in range(number) if i not in bad]
    assert [error["image_id"] for error in errors] == [str(i) for i in range(number) if i in bad]
    assert all(error["error_kind"] == "task" and "RuntimeError: I do not like" in error["error"] for error in errors)
    assert pa.Table.from_pylist(errors, ERRORS).num_rows == len(errors)


@given(st.integers(1, 40), st.integers(1, 40))
def test_out_of_memory_halves_the_batch(number: int, most: int) -> None:
    task, ceilings = Widths(most=most), {}
    for _ in range(2):
        task.batches.clear()
        table, errors = apply(task, [image(i) for i in range(number)], ceilings)
        assert (table["image_id"].to_pylist(), errors) == ([str(i) for i in range(number)], [])
    assert max(task.batches) <= most  # what fits is remembered


def test_one_image_that_does_not_fit_lowers_no_ceiling() -> None:
    class Greedy(Widths):
        def __call__(self, images: Sequence[base.Image]) -> pa.Table:
            if any(image.image_id == "5" for image in images):
                raise MemoryError
            return super().__call__(images)

    ceilings: dict[tuple[str, int], int] = {}
    table, [error] = apply(Greedy(), [image(i) for i in range(16)], ceilings)
    assert (table.num_rows, error["image_id"], error["error_kind"]) == (15, "5", "out_of_memory")
    assert ceilings == {}


def test_the_ceiling_is_of_the_resolution() -> None:
    ceilings: dict[tuple[str, int], int] = {}
    large = [base.Image(str(i), np.zeros((300, 4, 3), np.uint8), 1.0, (i + 1, 4)) for i in range(8)]
    apply(Widths(most=4), large, ceilings)
    task = Widths()
    apply(task, [image(i) for i in range(8)], ceilings)
    assert task.batches == [8]
    apply(task, large, ceilings)
    assert task.batches == [8, 4, 4]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda rows: rows.drop(rows.column_names[-1:]), "task 'widths' did not return a table of its schema"),
        (lambda rows: rows.to_pylist(), "task 'widths' did not return a table of its schema"),
        (
            lambda rows: rows.set_column(0, rows.schema[0], pa.array(["strange"] * len(rows))),
            "task 'widths' returned rows of images that it was not given",
        ),
    ],
)
def test_a_task_that_does_not_keep_to_what_it_says_damages_no_table(change: Callable[[Any], Any], text: str) -> None:
    class Loose(Widths):
        def __call__(self, images: Sequence[base.Image]) -> Any:
            return change(super().__call__(images))

    table, errors = apply(Loose(), [image(i) for i in range(2)], {})
    assert table.equals(Widths.schema.empty_table())
    assert [row["error"] for row in errors] == [f"TaskError: {text}"] * 2


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("score", np.nan),
        ("box_xyxy", [0.0, 0.0, np.inf, 9.0]),
        ("landmarks", [[0.0, 0.0]] * 4 + [[np.nan, 0.0]]),
        ("embedding", [np.nan] * 128),
    ],
)
def test_numbers_that_are_none_are_the_error_of_their_image(column: str, value: Any) -> None:
    """As networks give that overflow, or were compiled for a device wrongly: nothing could be compared with it."""
    good = {"score": 0.5, "box_xyxy": [0.0] * 4, "landmarks": [[0.0, 0.0]] * 5, "embedding": [1.0] + [0.0] * 127}

    class Overflowing(Widths):
        schema = pa.schema([Faces.schema.field(name) for name in ("image_id", *good)])
        findings = Faces.findings

        def __call__(self, images: Sequence[base.Image]) -> pa.Table:
            rows = [{"image_id": each.image_id, **good} for each in images]
            rows = [row | ({column: value} if row["image_id"] == "3" else {}) for row in rows]
            return pa.Table.from_pylist(rows, self.schema)

    table, [error] = apply(Overflowing(), [image(i) for i in range(6)], {})
    assert table["image_id"].to_pylist() == ["0", "1", "2", "4", "5"]
    assert (error["image_id"], error["error_kind"]) == ("3", "task")
    assert error["error"] == f"TaskError: task 'widths' returned NaN or infinity as {column!r}"


def test_out_of_memory_on_one_image_is_its_error() -> None:
    table, [error] = apply(Widths(most=0), [image(3)], {})
    assert (table.num_rows, error["image_id"], error["error_kind"]) == (0, "3", "out_of_memory")


# ---- threads and chunks ----------------------------------------------------------------------------------------------


@given(st.integers(0, 50), st.integers(1, 8))
def test_ahead_keeps_the_order_and_the_limit(number: int, limit: int) -> None:
    asked: list[int] = []
    lay: list[int] = []
    with ThreadPoolExecutor(3) as pool:
        items = (asked.append(i) or i for i in range(number))
        for i, result in enumerate(ahead(pool, lambda n: n * n, items, limit, lay)):
            assert result == i * i
            assert len(asked) <= i + 1 + limit
    assert len(asked) == len(lay) == number
    assert all(0 <= each <= min(limit, number) for each in lay)


def test_ahead_passes_a_failure_on() -> None:
    with ThreadPoolExecutor(2) as pool, pytest.raises(ZeroDivisionError):
        list(ahead(pool, lambda n: 1 // n, [1, 0, 1], 2, []))


@given(st.integers(0, 200))
def test_chunks_hold_every_image_once(number: int) -> None:
    images: list[Any] = [(str(i), ImageError("truncated", "")) for i in range(number)]
    cut = list(chunks(images))
    assert [pair for chunk in cut for pair in chunk] == images
    assert all(len(chunk) == parts.IMAGES_PER_CALL for chunk in cut[:-1])


# ---- shards ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def scanned(tmp_path: Path, album: Path) -> LibraryFiles:
    library = open_library(tmp_path / "L", create=True)
    scan(library, [str(album)])
    return library


def worker_of(library: LibraryFiles, task: Widths, decoders: int = 0) -> ShardWorker:
    """A worker whose one task is `task`."""
    worker = ShardWorker(library.uri, [], "cpu", None, decoders)
    worker.tasks[task.name], worker.fingerprints[task.name] = task, "f" * 16
    return worker


def rows(library: LibraryFiles, table: str, fingerprint: str = "f" * 16) -> list[dict[str, Any]]:
    return tables.require(library, table, fingerprint).to_pylist()


def image_rows(library: LibraryFiles) -> dict[str, dict[str, Any]]:
    return {row["image_id"]: row for row in rows(library, "images", IMAGES_FINGERPRINT)}


def first(library: LibraryFiles, *tasks: str) -> Order:
    """A shard of eight photos that are well."""
    shard = next(shard for shard, number in shards(library) if number == 8)
    return Order(shard, tasks, 8)


def others(library: LibraryFiles, order: Order) -> list[Order]:
    return [Order(shard, order.tasks, number) for shard, number in shards(library) if shard != order.shard]


def members(library: LibraryFiles, order: Order) -> list[str]:
    return read_shard(library, order.shard)["image_id"].to_pylist()


def test_a_shard_in_parts_gives_the_rows_of_the_shard(
    scanned: LibraryFiles, tmp_path: Path, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "IMAGES_PER_CALL", 2)
    order = first(scanned, "widths")
    ids = members(scanned, order)
    other = open_library(tmp_path / "other", create=True)
    scan(other, [str(album)])
    worker_of(scanned, Widths([ids[2], ids[6]])).process(order)
    for number in (2, 0, 1):
        assert not tables.committed(other, "f" * 16)
        part = replace(order, part=(number, 3), images=len(slice_of(ids, (number, 3))))
        result = worker_of(other, Widths([ids[2], ids[6]])).process(part)
        assert (result["images"], result["committed"]) == (part.images, number == 1)
    assert image_rows(other) == image_rows(scanned)
    for name in (IMAGES_FINGERPRINT, "f" * 16):
        [facts], [whole] = ([commit_facts.of(c) for c in tables.commits(each, name)] for each in (other, scanned))
        assert facts["at"] >= whole["at"]
        assert len(facts["slowest"]) == len(whole["slowest"]) == (5 if name == IMAGES_FINGERPRINT else 0)
        assert facts["slowest"].keys() <= set(ids)
    for table in ("widths", "errors"):
        assert rows(other, table) == rows(scanned, table)


def test_a_task_that_raises_on_one_image_costs_one_row(scanned: LibraryFiles) -> None:
    order = first(scanned, "widths")
    ids = members(scanned, order)
    result = worker_of(scanned, Widths([ids[2]])).process(order)
    assert (result["images"], result["errors"], result["rows"]) == (8, 1, {"widths": 7})
    [error] = rows(scanned, "errors")
    assert (error["image_id"], error["task"], error["error_kind"]) == (ids[2], "widths", "task")
    assert sorted(row["image_id"] for row in rows(scanned, "widths")) == sorted(set(ids) - {ids[2]})
    assert {row["status"] for row in image_rows(scanned).values()} == {"ok"}
    choices: list[Any] = [SimpleNamespace(name="widths", fingerprint="f" * 16)]
    for other in others(scanned, order):
        worker_of(scanned, Widths()).process(other)
    summary = summarise(scanned, choices, RunProgress(0, 0.0), 0)
    assert (summary.images, summary.ok, summary.errors) == (26, 23, 3)
    assert summary.error_kinds == {"task": 1, "truncated": 1, "not_an_image": 1}


@pytest.mark.parametrize("kind", ["crash", "timeout"])
def test_images_to_skip_become_rows_with_their_error(scanned: LibraryFiles, kind: str) -> None:
    order = first(scanned, "widths")
    ids = members(scanned, order)
    skip = Order(order.shard, order.tasks, order.images, skip=((ids[1], kind),))
    task = Widths()
    result = worker_of(scanned, task).process(skip)
    assert (result["images"], result["errors"], sum(task.batches)) == (8, 1, 7)
    row = image_rows(scanned)[ids[1]]
    assert (row["status"], row["error_kind"]) == ("error", kind)
    assert "worker" in row["error"]
    assert ids[1] not in [row["image_id"] for row in rows(scanned, "widths")]


def test_an_image_that_was_well_and_is_no_more_is_an_error_of_the_new_task(scanned: LibraryFiles) -> None:
    """Its row in `images` is committed: it may not be lost between the two."""
    order = first(scanned)
    ids = members(scanned, order)
    worker_of(scanned, Widths()).process(order)
    again = Order(order.shard, ("widths",), order.images, skip=((ids[1], "crash"),), facts=False)
    assert worker_of(scanned, Widths()).process(again)["errors"] == 1
    assert image_rows(scanned)[ids[1]]["status"] == "ok"
    [error] = rows(scanned, "errors")
    assert (error["image_id"], error["task"], error["error_kind"]) == (ids[1], "widths", "crash")


def test_what_was_read_and_where_it_failed_is_counted(scanned: LibraryFiles, album: Path) -> None:
    worker = worker_of(scanned, Widths())
    results = [worker.process(Order(shard, ("widths",), number)) for shard, number in shards(scanned)]
    assert sum(result["bytes"] for result in results) == sum(file.stat().st_size for file in album.iterdir())
    errors = sum((result["errors_by"] for result in results), Counter[tuple[str, str]]())
    assert errors == {("truncated", str(album)): 1, ("not_an_image", str(album)): 1}
    assert all(0 <= mean <= 32 for result in results for mean in result["ahead"].values())
    assert worker.seen[0] == 26


def test_a_probe_commits_nothing(scanned: LibraryFiles) -> None:
    order = first(scanned, "widths")
    ids = members(scanned, order)
    task = Widths()
    result = worker_of(scanned, task).process(Order(order.shard, order.tasks, 3, probe=tuple(ids[:3])))
    assert (result["images"], task.batches) == (3, [3])
    assert not scanned.names("_commits")
    assert not scanned.names("widths")


def test_a_shard_done_twice_is_done_once(scanned: LibraryFiles) -> None:
    order = first(scanned, "widths")
    worker_of(scanned, Widths()).process(order)
    before = rows(scanned, "widths")
    worker_of(scanned, Widths()).process(order)
    assert rows(scanned, "widths") == before
    assert len(image_rows(scanned)) == 8


def test_two_shards_at_once_are_each_their_own(scanned: LibraryFiles) -> None:
    """A worker decodes one shard while another is in the model."""
    worker, ids = worker_of(scanned, Widths()), shards(scanned)
    with ThreadPoolExecutor(len(ids)) as pool:
        results = list(pool.map(lambda s: worker.process(Order(s[0], ("widths",), s[1])), ids))
    assert sum(result["images"] for result in results) == len(image_rows(scanned)) == 26
    assert sorted(row["image_id"] for row in rows(scanned, "widths")) == sorted(
        name for name, row in image_rows(scanned).items() if row["status"] == "ok"
    )


def test_decoders_make_the_rows_that_one_thread_makes(scanned: LibraryFiles, tmp_path: Path, album: Path) -> None:
    other = open_library(tmp_path / "other", create=True)
    scan(other, [str(album)])
    for library, decoders in ((scanned, 0), (other, 3)):
        worker = worker_of(library, Widths(), decoders)
        for shard, number in shards(library):
            worker.process(Order(shard, ("widths",), number))
    assert image_rows(scanned) == image_rows(other)
    assert rows(scanned, "widths") == rows(other, "widths")


@pytest.mark.parametrize("decoders", [0, 2])
def test_a_worker_says_what_it_did_when(scanned: LibraryFiles, decoders: int) -> None:
    before = time.time()
    result = worker_of(scanned, Widths(), decoders).process(first(scanned, "widths"))
    spans = {span.name: span for span in result["spans"]}
    assert set(spans) == {"manifest", "read", "wait", "decode", "hash", "turn", "widths", "commit"}
    assert {name: span.images for name, span in spans.items() if span.images} == dict.fromkeys(
        ("read", "decode", "hash", "widths", "commit"), 8
    )
    assert all(before <= span.begun <= time.time() - span.seconds for span in spans.values())
    assert spans["read"].thread.startswith("reader")
    assert spans["decode"].thread.startswith("decoder" if decoders else threading.current_thread().name)
    assert result["process"].startswith(f"worker {os.getpid()} on ")
    decoding = 0.0 if decoders else spans["decode"].seconds + spans["hash"].seconds
    waited = sum(span.seconds for span in result["spans"] if span.name == "wait")
    assert result["waited"]["decode"] == pytest.approx(waited + decoding)
    turn = sum(span.seconds for span in result["spans"] if span.name == "turn")
    assert result["waited"]["model"] == pytest.approx(spans["widths"].seconds + (turn if decoders else 0.0))


def test_photos_are_hashed_where_their_rows_are_made(scanned: LibraryFiles) -> None:
    order = first(scanned, "widths")
    worker_of(scanned, Widths()).process(order)
    table = read_shard(scanned, order.shard)
    for image_id, uri in zip(table["image_id"].to_pylist(), table["uri"].to_pylist(), strict=True):
        photo = decode.decode(decode.read(uri), MIN_SIDE)
        assert image_rows(scanned)[image_id]["phash"] == perceptual_hash(photo.pixels)
    again = worker_of(scanned, Widths()).process(replace(order, facts=False))
    assert "hash" not in {span.name for span in again["spans"]}


def test_broken_files_are_rows(processed: Path, album: Path) -> None:
    found = image_rows(open_library(processed))
    broken = {row["error_kind"]: row for row in found.values() if row["status"] == "error"}
    assert (len(found), set(broken)) == (26, {"truncated", "not_an_image"})
    assert all(row["error"] and row["sha256"] for row in broken.values())
    well = next(row for row in found.values() if row["status"] == "ok")
    assert (well["width"], well["height"], well["format"], well["orientation"]) == (400, 300, "jpeg", 1)


def test_threads_do_not_pile_up(scanned: LibraryFiles) -> None:
    worker = worker_of(scanned, Widths())
    order = first(scanned, "widths")
    worker.process(order)
    before = threading.active_count()
    for other in others(scanned, order):
        worker.process(other)
    assert threading.active_count() <= before


def test_a_library_that_cannot_be_written(scanned: LibraryFiles, tmp_path: Path) -> None:
    (tmp_path / "L" / "widths").write_text("in the way")
    with pytest.raises(MusterError, match="cannot write to library") as caught:
        worker_of(scanned, Widths()).process(first(scanned, "widths"))
    assert not is_fatal(caught.value)  # other shards may be done
    for number in (errno.ENOSPC, errno.EACCES, errno.EROFS):
        error = MusterError("x")
        error.__cause__ = OSError(number, os.strerror(number))
        assert is_fatal(error)


def test_a_manifest_shard_that_is_gone(scanned: LibraryFiles) -> None:
    with pytest.raises(MusterError, match=r"shard-0-8\.parquet is missing or damaged"):
        worker_of(scanned, Widths()).process(Order("0-8", (), 8))


# ---- models ----------------------------------------------------------------------------------------------------------


def test_a_fingerprint_covers_what_changes_rows() -> None:
    facts = TaskChoice(name="faces").description
    assert facts == TaskChoice(name="faces", model="own").description
    assert {role: entry["name"] for role, entry in facts["weights"].items()} == zoo.MODELS["faces"]["own"]
    assert all(len(entry["sha256"]) == 64 for entry in facts["weights"].values())
    assert facts["parameters"]["max_side"]
    assert len({tables.fingerprint({**facts, name: None}) for name in facts} | {tables.fingerprint(facts)}) == 6


def test_the_users_weights_stand_in_the_fingerprint(weights: Path, tmp_path: Path) -> None:
    published = weights / "fastestdet_coco80.pth"
    assert TaskChoice(name="objects", weights=published).description == TaskChoice(name="objects").description
    (tmp_path / "mine.pth").write_bytes(published.read_bytes() + b"x")
    mine = TaskChoice(name="objects", weights=tmp_path / "mine.pth").description
    theirs = TaskChoice(name="objects").description
    assert mine["weights"]["detector"].pop("sha256") != theirs["weights"]["detector"].pop("sha256")
    assert mine == theirs
    sam = TaskChoice(name="masks", model="sam", weights=published).description["weights"]
    assert sam["detector"] == TaskChoice(name="objects").description["weights"]["detector"]
    assert sam["segmenter"] == {"name": "sam", "sha256": zoo.ENTRIES["fastestdet"].sha256}


def test_weights_that_change_during_a_run(tmp_path: Path) -> None:
    file = tmp_path / "objects.safetensors"
    torch.manual_seed(0)
    save_file(Yolo(80).state_dict(), file)
    choice = pickle.loads(pickle.dumps(TaskChoice(name="objects", model="own", weights=file)))  # as a worker gets it
    assert choice.load(torch.device("cpu"), None).name == "objects"
    save_file(Yolo(80).state_dict(), file)
    with pytest.raises(InputError, match=r"objects\.safetensors is no longer the file that it was"):
        choice.load(torch.device("cpu"), None)


def test_the_rows_of_a_run_do_not_depend_on_the_process(
    processed: Path,
    album: Path,
    tmp_path: Path,
    weights: Path,
    work: Callable[..., object],
    rows_of: Callable[..., Any],
) -> None:
    library = open_library(tmp_path / "L", create=True)
    scan(library, [str(album)])
    assert len(pending(library, config_of(library.uri).choices)) == len(shards(library))
    work(tmp_path / "L", weights)
    assert rows_of(tmp_path / "L") == rows_of(processed)
