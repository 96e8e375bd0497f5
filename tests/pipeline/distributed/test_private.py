import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from muster.pipeline.distributed import private

HOLD = "from muster.pipeline.distributed import private; print(private.folder(), flush=True); input()"


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only common place, with a path as short as such places have."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.delenv("TMPDIR", raising=False)
    with tempfile.TemporaryDirectory(prefix="muster-", dir="/tmp") as folder:
        monkeypatch.setattr(private, "COMMON", (folder,))
        yield Path(folder)


@pytest.fixture
def other(base: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process of this user's."""
    code = HOLD.replace("private; ", f"private; private.COMMON = ({str(base)!r},); ")
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True)
    yield process
    process.kill()
    process.communicate()


def test_a_folder_is_its_owners_alone(base: Path) -> None:
    path = private.folder()
    assert Path(path).parent == base
    assert os.stat(path).st_mode & 0o777 == 0o700


def test_the_folder_of_a_dead_process_is_swept_and_that_of_a_live_one_is_not(
    base: Path, other: "subprocess.Popen[str]"
) -> None:
    assert other.stdout is not None
    theirs, ours = Path(other.stdout.readline().strip()), Path(private.folder())
    (theirs / "file").touch()
    private.sweep()
    assert (theirs.exists(), ours.exists()) == (True, True)
    other.kill()
    other.wait()
    private.sweep()
    assert (theirs.exists(), ours.exists()) == (False, True)


def test_what_is_not_ours_is_not_swept(base: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "file").touch()
    (base / f"{private.PREFIX}aaaaa").symlink_to(elsewhere)
    (base / f"{private.PREFIX}bbbbb").touch()
    (base / f"{private.PREFIX}of-another-kind").mkdir()
    (base / f"{private.PREFIX}ccccc.old").mkdir()
    (base / "muster-aaaaa").mkdir()
    if os.geteuid() == 0:
        (base / f"{private.PREFIX}ccccc").mkdir()
        os.chown(base / f"{private.PREFIX}ccccc", 65534, 65534)
    before = sorted(base.iterdir())
    private.sweep()
    assert sorted(base.iterdir()) == before
    assert (elsewhere / "file").exists()


def test_a_guarded_folder_is_gone_afterwards_links_not_followed(tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "file").touch()
    with private.guarded() as path:
        (Path(path) / "link").symlink_to(elsewhere)
        assert Path(path).is_dir()
    assert not Path(path).exists()
    assert (elsewhere / "file").exists()


def test_a_place_where_others_may_rename_folders_is_refused(base: Path) -> None:
    base.chmod(0o777)
    with pytest.raises(PermissionError, match="others may rename what is in"):
        private.folder()
    base.chmod(0o1777)
    assert Path(private.folder()).is_dir()


@pytest.mark.parametrize("variable", private.NAMED)
def test_the_environment_says_where(base: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as named:
        monkeypatch.setenv(variable, named)
        assert Path(private.folder()).parent == Path(named)
        monkeypatch.chdir(Path(named).parent)
        monkeypatch.setenv(variable, Path(named).name)
        assert Path(private.folder()).parent == Path(named)
        left = Path(named, f"{private.PREFIX}aaaaa")
        left.mkdir()
        private.sweep()
        assert not left.exists()


LONG, NOT_UTF8 = "job" * 25, os.fsdecode(b"\xff")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (LONG, "its name is too long for sockets below it"),
        ("none", "No such file"),
        ("file", "Not a directory"),
        ("full", "MiB are free"),
        ("ä", "ASCII"),
        (NOT_UTF8, "ASCII"),
        ("open", "others may rename what is in"),
        ("open/below", "others may rename what is in"),
        ("another's", "belongs to another user"),
        ("shut", "Read-only file system|Permission denied"),
    ],
)
def test_where_it_cannot_be_another_place_is_taken_and_the_reason_is_said_where_there_is_none(
    base: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="m") as above:
        place = Path(above, name)
        if name == "file":
            place.touch()
        elif name != "none":
            place.mkdir(parents=True)
        if name.startswith("open"):
            Path(above, "open").chmod(0o777)
        if name == "another's":
            if os.geteuid():
                pytest.skip("only root can give a folder away")
            os.chown(place, 65534, 65534)
        if name == "full":
            monkeypatch.setattr(private, "ROOM", 1 << 60)
        if name == "shut":
            place.chmod(0o500)
            mount = ["mount", "-t", "tmpfs", "-o", "ro", "muster-test", str(place)]
            if os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode:
                pytest.skip("no disk can be mounted here")
        monkeypatch.setenv("TMPDIR", str(place))
        try:
            if name != "full":
                assert Path(private.folder()).parent == base
            monkeypatch.setattr(private, "COMMON", ("/none",))
            with pytest.raises(PermissionError, match=reason) as refused:
                private.folder()
        finally:
            if name == "shut" and os.geteuid() == 0:
                subprocess.run(["umount", str(place)], check=True)
    assert all(text in str(refused.value) for text in (f"TMPDIR {os.path.realpath(place)}: ", "/none: ", "set TMPDIR"))


def test_a_place_whose_file_system_has_no_sockets_is_left_again(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some network mounts: here no path of that length is a socket's."""
    monkeypatch.setattr(private, "LONGEST", 999)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as above:
        place = Path(above, LONG, LONG)
        place.mkdir(parents=True)
        monkeypatch.setenv("TMPDIR", str(place))
        assert Path(private.folder()).parent == base
        assert list(place.iterdir()) == []


def test_the_longest_place_holds_the_sockets_of_ray() -> None:
    """As Ray names them, for the longest number that a process has."""
    session = "/r/session_2026-11-29_05-38-32_123456_4194304/sockets/plasma_store"
    assert private.LONGEST + len(session) == (107 if sys.platform == "linux" else 103)


def test_names_of_processes_that_are_no_text_stop_nothing(base: Path) -> None:
    """The system cuts a name in the middle of a letter."""
    name = "b'Stapelverarb\\xc3\\xa4\\xc3'"
    code = f"import ctypes, sys; ctypes.CDLL(None).prctl(15, {name}); print(flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with private.guarded() as path:
            assert Path(path).is_dir()
        assert not Path(path).exists()
        process.communicate()
