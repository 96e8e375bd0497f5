import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muster.errors import MusterError
from muster.storage.gallery import audit
from muster.storage.layout import AUDIT_HEAD
from muster.storage.library import LibraryFiles


def fill(library: LibraryFiles, count: int) -> Path:
    for number in range(count):
        audit.append(library, "identify", {"people": [f"p{number}"], "faces": number})
    [name] = [name for name in library.names("audit") if name.endswith(".jsonl")]
    return Path(library.at(f"audit/{name}"))


def test_a_log_that_nobody_touched(library: LibraryFiles) -> None:
    assert audit.check(library) == audit.Check(0, audit.START, None)
    fill(library, 4)
    found = audit.check(library)
    assert (found.lines, found.problem) == (4, None)
    entries = audit.entries(library)
    assert [(e["line"], e["action"], e["faces"]) for e in entries] == [(i + 1, "identify", i) for i in range(4)]
    assert all("@" in e["by"] and e["at"].endswith("+00:00") for e in entries)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_any_edit_is_found(library: LibraryFiles, data: st.DataObject) -> None:
    for name in library.names("audit"):
        library.remove(f"audit/{name}")
    file = fill(library, 3)
    lines = file.read_bytes().splitlines(keepends=True)
    edits = {
        "byte": lambda: _flip(b"".join(lines), data.draw(st.integers(0, sum(map(len, lines)) - 2))),
        "dropped": lambda: b"".join(lines[:at] + lines[at + 1 :]),
        "twice": lambda: b"".join(lines[: at + 1] + lines[at:]),
        "swapped": lambda: b"".join([lines[1], lines[0], lines[2]]),
        "emptied": lambda: b"",
    }
    at = data.draw(st.integers(0, 2))
    file.write_bytes(edits[data.draw(st.sampled_from(sorted(edits)))]())
    assert audit.check(library).problem
    with pytest.raises(MusterError, match="see `audit verify`"):
        audit.entries(library)


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_an_edit_at_the_end_stops_what_would_follow(library: LibraryFiles) -> None:
    file = fill(library, 3)
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(MusterError, match="1 line is missing at its end; nothing is done until"):
        audit.append(library, "forget", {})
    file.unlink()
    with pytest.raises(MusterError, match="lines are missing"):
        audit.append(library, "forget", {})


@pytest.mark.parametrize("left", ["line without a head", "half a line", "new file"])
def test_a_crash_is_no_edit(library: LibraryFiles, left: str) -> None:
    file = fill(library, 2)
    head = library.read(AUDIT_HEAD)
    audit.append(library, "verify", {})
    if left == "line without a head":
        library.write(AUDIT_HEAD, head)
    elif left == "half a line":
        with file.open("ab") as stream:
            stream.write(b'{"line": 4, "at"')
    else:
        file.rename(file.parent / "2020-01.jsonl")
    assert audit.check(library).problem is None
    audit.append(library, "calibrate", {})
    assert audit.check(library) == audit.Check(4, json.loads(library.read(AUDIT_HEAD))["sha256"], None)


def test_a_full_file_is_followed_by_another(library: LibraryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "LARGEST", 1000)
    for number in range(40):
        audit.append(library, "identify", {"number": number})
    files = [name for name in library.names("audit") if name.endswith(".jsonl")]
    assert len(files) > 5
    assert files[1].endswith(".part000002.jsonl")
    assert all(len(library.read(f"audit/{name}")) < 1400 for name in files)
    assert [entry["number"] for entry in audit.entries(library)] == list(range(40))
    library.remove(f"audit/{files[2]}")
    assert "does not follow" in (audit.check(library).problem or "")


@pytest.mark.parametrize("full", [False, True])
def test_a_crash_after_several_lines_is_no_edit(
    library: LibraryFiles, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(library, 2)
    head = library.read(AUDIT_HEAD)
    monkeypatch.setattr(audit, "LARGEST", 1 if full else audit.LARGEST)
    with library.lock_log():
        audit.extend(library, [("verify", {"number": number}) for number in range(3)])
    assert len(library.names("audit")) == 2 + full
    library.write(AUDIT_HEAD, head)
    assert audit.check(library).problem is None
    audit.append(library, "calibrate", {})
    assert audit.check(library) == audit.Check(6, json.loads(library.read(AUDIT_HEAD))["sha256"], None)
    actions = [entry["action"] for entry in audit.entries(library)]
    assert actions == ["identify", "identify", "verify", "verify", "verify", "calibrate"]


def test_lines_of_several_threads_are_one_chain(library: LibraryFiles) -> None:
    def work(number: int) -> None:
        for _ in range(5):
            audit.append(library, "identify", {"thread": number})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert audit.check(library).problem is None
    assert len(audit.entries(library)) == 20
