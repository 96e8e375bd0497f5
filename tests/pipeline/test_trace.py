import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from muster.errors import InputError
from muster.pipeline.trace import Trace, TraceWarning
from muster.pipeline.work.spans import Span

SPANS = [Span("read", 1_700_000_000.25, 0.5, "reader_0", 8), Span("commit", 1_700_000_001.0, 0.125, "shard-1")]


def events(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def test_a_trace_is_a_list_of_events_with_names_for_workers_and_threads(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "t.json")
    trace.add("worker 7 on a", "shard-1", SPANS)
    trace.add("worker 8 on b", "shard-2", SPANS)
    trace.close()
    found = events(tmp_path / "t.json")
    spans = [event for event in found if event["ph"] == "X"]
    assert [(e["name"], e["ts"], e["dur"]) for e in spans] == [
        ("read", 1_700_000_000_250_000, 500_000),
        ("commit", 1_700_000_001_000_000, 125_000),
    ] * 2
    assert [e["args"] for e in spans[:2]] == [{"shard": "shard-1", "images": 8}, {"shard": "shard-1"}]
    names = {e["pid"]: e["args"]["name"] for e in found if e["name"] == "process_name"}
    threads = {(e["pid"], e["tid"]): e["args"]["name"] for e in found if e["name"] == "thread_name"}
    assert [names[e["pid"]] for e in spans] == ["worker 7 on a"] * 2 + ["worker 8 on b"] * 2
    assert [threads[e["pid"], e["tid"]] for e in spans] == ["reader_0", "shard-1"] * 2


def test_names_are_written_once(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "t.json")
    for shard in range(3):
        trace.add("worker 7 on a", f"shard-{shard}", SPANS)
    trace.close()
    assert sum(event["ph"] == "M" for event in events(tmp_path / "t.json")) == 1 + 2 + 1  # worker, threads, the end


def test_one_without_events_is_a_list_too(tmp_path: Path) -> None:
    Trace(tmp_path / "t.json").close()
    assert len(events(tmp_path / "t.json")) == 1


def test_a_trace_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("old" * 1000)
    Trace(tmp_path / "t.json").close()
    assert "old" not in (tmp_path / "t.json").read_text()


@pytest.mark.parametrize("name", ["missing/t.json", "."])
def test_a_trace_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"`trace` .*: it cannot be written \(.*\): give another place"):
        Trace(tmp_path / name)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_on_a_full_disk_it_ends_and_says_so_once() -> None:
    with pytest.warns(TraceWarning, match=r"`trace` /dev/full ends early: .*No space left on device"):
        trace = Trace(Path("/dev/full"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace.add("worker 7 on a", "shard-1", SPANS)
        trace.close()
