"""A library on a disk and elsewhere: whole files or none, one writer at a time, and what is no library."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec.implementations.memory  # type: ignore[import-untyped]
import pyarrow.fs as pafs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.errors import InputError, MusterError
from muster.storage.encryption import MAGIC
from muster.storage.library import CHANGING, FORMAT, LibraryFiles, dump_json, open_library

ROOT = Path(__file__).parents[2]


def local(folder: Path) -> LibraryFiles:
    return open_library(folder / "library", create=True)


def subtree(folder: Path) -> LibraryFiles:
    """Has folders, and is not the local disk to us: as HDFS is."""
    return LibraryFiles("sub://library", pafs.SubTreeFileSystem(str(folder), pafs.LocalFileSystem()), "library")


def memory(folder: Path) -> LibraryFiles:
    handler = pafs.FSSpecHandler(fsspec.implementations.memory.MemoryFileSystem())
    return LibraryFiles(f"memory://{folder.name}", pafs.PyFileSystem(handler), f"/{folder.name}")


def mock(folder: Path) -> LibraryFiles:
    return LibraryFiles("mock://library", pafs._MockFileSystem(), "library")


@pytest.fixture(params=[local, subtree, memory, mock])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> LibraryFiles:
    make: Callable[[Path], LibraryFiles] = request.param
    return make(tmp_path)


@pytest.fixture
def disk(tmp_path: Path) -> LibraryFiles:
    return local(tmp_path)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ---- files -----------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read(library: LibraryFiles) -> None:
    library.write("a/b/c.bin", b"one")
    library.write("a/b/c.bin", b"two")
    library.write("a/b/empty", b"")
    assert library.read("a/b/c.bin") == b"two"
    assert library.read("a/b/empty") == b""
    assert library.names("a/b") == ["c.bin", "empty"]
    assert library.has("a/b/c.bin")
    assert not library.has("a/b")
    assert not library.has("a/b/d")


def test_a_missing_file_is_said_to_be_missing(library: LibraryFiles) -> None:
    with pytest.raises(FileNotFoundError):
        library.read("a/nothing")
    assert library.names("a") == []


def test_create_leaves_an_existing_file(library: LibraryFiles) -> None:
    assert library.create("a/x", b"first")
    assert not library.create("a/x", b"second")
    assert library.read("a/x") == b"first"


def test_remove_twice(library: LibraryFiles) -> None:
    library.write("a/x", b"")
    library.remove("a/x")
    library.remove("a/x")
    library.remove("b/x")
    assert not library.has("a/x")


PLAIN = st.binary().filter(lambda data: not data.startswith(MAGIC))  # of an encrypted file it is refused


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["write", "create", "remove"]), st.sampled_from("abc"), PLAIN)))
def test_every_file_system_behaves_as_a_dict(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("dict")
    for library in (local(folder), subtree(folder / "elsewhere"), memory(folder), mock(folder)):
        expected: dict[str, bytes] = {}
        for step, name, data in steps:
            if step == "write":
                library.write(f"f/{name}", data)
                expected[name] = data
            elif step == "create":
                assert library.create(f"f/{name}", data) == (name not in expected)
                expected.setdefault(name, data)
            else:
                library.remove(f"f/{name}")
                expected.pop(name, None)
        assert {name: library.read(f"f/{name}") for name in library.names("f")} == expected


def test_names_leave_out_what_a_killed_writer_left(disk: LibraryFiles) -> None:
    disk.write("a/x", b"")
    Path(disk.at("a/.y.0123.tmp")).write_bytes(b"half")
    assert disk.names("a") == ["x"]


def test_the_same_value_is_the_same_json() -> None:
    assert dump_json({"b": [1, 2.5, None], "a": "é"}) == dump_json({"a": "é", "b": [1, 2.5, None]})
    assert json.loads(dump_json({"a": Path("/x")})) == {"a": "/x"}


# ---- whole or not at all ---------------------------------------------------------------------------------------------


def test_a_reader_never_sees_half_a_file(disk: LibraryFiles) -> None:
    sizes = [1, 100_000, 3_000_000]
    disk.write("a/x", b"\0" * sizes[0])
    stop = threading.Event()

    def read() -> int:
        seen = 0
        while not stop.is_set():
            data = disk.read("a/x")
            assert len(data) in sizes
            assert data == data[:1] * len(data)
            seen += 1
        return seen

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for number in range(60):
            disk.write("a/x", bytes([number]) * sizes[number % 3])
        stop.set()
        assert all(reader.result() for reader in readers)


@pytest.mark.parametrize("put", [LibraryFiles.write, LibraryFiles.create])
def test_a_write_that_fails_leaves_nothing(
    disk: LibraryFiles, put: Callable[[LibraryFiles, str, bytes], object]
) -> None:
    before = files(Path(disk.path))
    (Path(disk.path) / "a" / "x" / "in the way").mkdir(parents=True)
    if put is LibraryFiles.write:
        with pytest.raises(OSError, match="x"):
            put(disk, "a/x", b"data")
    else:
        assert put(disk, "a/x", b"data") is False
    with pytest.raises(TypeError):
        put(disk, "a/y", "not bytes")  # type: ignore[arg-type]
    assert files(Path(disk.path)) == before


@pytest.mark.parametrize("limit", [0, 1000])
def test_a_full_disk_leaves_the_old_file_and_no_other(disk: LibraryFiles, limit: int) -> None:
    """A limit on the size of files stands in for the disk's end: both fail in the middle of a write."""
    disk.write("a/x", b"old")
    code = f"""if True:
        import resource, signal
        from muster.storage.library import open_library
        library = open_library({disk.path!r})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        for put in (library.write, library.create):
            try:
                put("a/x" if put == library.write else "a/y", b"x" * 100_000)
            except OSError as error:
                assert error.errno == 27, error
            else:
                raise SystemExit("it was written")
    """
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert disk.read("a/x") == b"old"
    assert files(Path(disk.path)) == ["a/x", "library.json"]


def test_one_of_many_creates_the_file(disk: LibraryFiles) -> None:
    for number in range(30):
        start = threading.Barrier(8)

        def create(writer: int, name: str = f"a/{number}", start: threading.Barrier = start) -> bool:
            start.wait()
            return disk.create(name, bytes([writer]) * 1000)

        with ThreadPoolExecutor(8) as pool:
            created = list(pool.map(create, range(8)))
        assert created.count(True) == 1
        assert disk.read(f"a/{number}") == bytes([created.index(True)]) * 1000


def test_a_process_killed_while_it_writes_leaves_whole_files(disk: LibraryFiles) -> None:
    code = f"""if True:
        from muster.storage.library import open_library
        library = open_library({disk.path!r})
        print("begun", flush=True)
        for number in range(10**9):
            library.write("a/x", bytes([number % 256]) * 1_000_000)
    """
    for seed in range(5):
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            threading.Event().wait(random.Random(seed).uniform(0.01, 0.05))
            process.kill()
        assert disk.names("a") in (["x"], [])
        data = disk.read("a/x") if disk.has("a/x") else b""
        assert data == data[:1] * len(data)
        assert len(data) in (0, 1_000_000)


# ---- one writer at a time --------------------------------------------------------------------------------------------


@pytest.fixture
def holder(disk: LibraryFiles) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the library until it is ended."""
    code = f"""if True:
        import sys
        from muster.storage.library import open_library
        with open_library({disk.path!r}).lock():
            print("held", flush=True)
            sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_lock_keeps_another_process_out_until_it_is_killed(
    disk: LibraryFiles, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(MusterError, match=f"is in use by process {holder.pid} on .*: wait for it to end"), disk.lock():
        pytest.fail("held by two")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with disk.lock():
        assert (Path(disk.path) / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_who_waits_for_the_lock_gets_it(disk: LibraryFiles, holder: subprocess.Popen[str]) -> None:
    assert holder.stdin
    timer = threading.Timer(0.3, holder.stdin.close)
    timer.start()
    with disk.lock(60):
        holder.wait()  # it has let go
    timer.join()


def test_the_lock_is_free_again_after_an_error(disk: LibraryFiles) -> None:
    with pytest.raises(ZeroDivisionError), disk.lock():
        _ = 1 / 0
    with disk.lock(), pytest.raises(MusterError, match="is in use by process"), disk.lock():
        pytest.fail("held twice in one process")


def test_where_there_is_no_lock_everyone_may_write(tmp_path: Path) -> None:
    library = subtree(tmp_path)
    with library.lock(), library.lock():
        library.write("x", b"")


# ---- what is a library -----------------------------------------------------------------------------------------------


def test_a_library_is_made_once_and_opened_by_path_and_uri(tmp_path: Path) -> None:
    made = open_library(tmp_path / "new" / "library", create=True)
    made.write("x", b"data")
    for uri in (made.uri, Path(made.path), f"file://{made.path}", f"{made.path}/"):
        assert open_library(uri).read("x") == b"data"
        assert open_library(uri, create=True).read("x") == b"data"
    assert json.loads(made.read("library.json"))["format"] == FORMAT


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    library = open_library("here", create=True)
    monkeypatch.chdir("/")
    assert open_library(library.uri).path == str(tmp_path / "here")


def test_a_folder_with_nothing_but_dot_files_is_empty(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    (tmp_path / ".library.json.0123.tmp").write_bytes(b"{")  # a Muster was killed just here
    open_library(tmp_path, create=True)


def test_no_library_where_there_is_none(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"no library at .*: `scan` first"):
            open_library(place)
    assert files(tmp_path) == []


def test_a_folder_of_photos_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(InputError, match="holds other files and no library"):
        open_library(tmp_path, create=True)
    assert files(tmp_path) == ["photo.jpg"]


@pytest.mark.parametrize("below", ["", "/sub", "/sub/sub"])
@pytest.mark.parametrize("create", [False, True])
def test_a_file_is_refused_and_left_alone(tmp_path: Path, below: str, create: bool) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(InputError, match="is a file, not a library"):
        open_library(f"{tmp_path}/photo.jpg{below}", create)
    assert (tmp_path / "photo.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize("uri", ["nonsense://x", "file://host/library", "s3://"])
def test_a_uri_that_is_none(uri: str) -> None:
    with pytest.raises(InputError, match=f"cannot open library {uri}"):
        open_library(uri)


@pytest.mark.parametrize(
    "marker", [b"", b"{", b"\xff", b"[]", b"null", b"3", b"{}", b'{"format": "1"}', b'{"name": "a PlatformIO library"}']
)
@pytest.mark.parametrize("create", [False, True])
def test_a_damaged_marker_is_refused_and_left_alone(disk: LibraryFiles, marker: bytes, create: bool) -> None:
    disk.write("library.json", marker)
    with pytest.raises(InputError, match=r"library\.json is damaged, or not of Muster"):
        open_library(disk.uri, create)
    assert disk.read("library.json") == marker


@pytest.mark.parametrize("create", [False, True])
def test_a_library_of_a_newer_muster_is_refused_and_left_alone(disk: LibraryFiles, create: bool) -> None:
    disk.write("library.json", json.dumps({"format": CHANGING + 1, "muster": "9.0"}).encode())
    with pytest.raises(InputError, match=rf"was written by Muster 9\.0 \(format {CHANGING + 1}\).*: upgrade Muster"):
        open_library(disk.uri, create)
    assert files(Path(disk.path)) == ["library.json"]


# ---- no permission ---------------------------------------------------------------------------------------------------


WITHOUT_RIGHTS = """if True:
    import importlib.metadata, os, tempfile
    from muster.errors import MusterError
    from muster.storage.library import open_library

    importlib.metadata.version("muster-photos")  # what it imports may not be readable below
    if os.geteuid() == 0:  # no permission keeps root out
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        made = open_library(folder + "/library", create=True)
        def said(action):
            try:
                action()
            except MusterError as error:
                print(type(error).__name__, str(error).replace(folder, "FOLDER"))
            else:
                print("nothing")
        def lock():
            with made.lock():
                pass
        os.chmod(made.path, 0o555)
        said(lambda: open_library(made.path))
        said(lock)
        os.chmod(made.path, 0o000)
        said(lambda: open_library(made.path))
        said(lambda: open_library(made.path, create=True))
        said(lock)
        os.chmod(made.path, 0o700)
        os.chmod(folder, 0o555)
        said(lambda: open_library(folder + "/other", create=True))
        os.chmod(folder, 0o700)
"""


def test_what_may_not_be_read_or_written_is_said() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_RIGHTS], cwd=ROOT, capture_output=True, text=True)
    if "os.setg" in done.stderr or "os.setuid" in done.stderr:
        pytest.skip(f"root may not give up its rights here: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    read, write = "cannot read library FOLDER/library", "cannot write to library FOLDER/library: Permission denied"
    lines = done.stdout.splitlines()
    assert lines[0] == "nothing"
    assert lines[1] == f"MusterError {write}"
    assert lines[2] == lines[3]
    assert lines[2].startswith(f"MusterError {read}: ")
    assert "Permission denied" in lines[2]
    assert lines[4] == f"MusterError {write}"
    assert lines[5] == "MusterError cannot make a library at FOLDER/other: Permission denied"


@pytest.mark.parametrize("form", ["file:{}", "file://localhost{}", "FILE://{}"])
def test_every_form_of_a_file_uri(tmp_path: Path, form: str) -> None:
    made = open_library(form.format(f"{tmp_path}/a%20b"), create=True)
    assert made.uri == f"{tmp_path}/a b"
    assert open_library(form.format(f"{tmp_path}/a%20b/")).uri == made.uri
