import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from muster.pipeline.distributed import private

HOLD = "from muster.pipeline.distributed import private; print(private.folder(), flush=True); input()"


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(private, "BASES", (str(tmp_path),))
    monkeypatch.setattr(private, "LONGEST", 999)
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def other(base: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process of this user's."""
    code = HOLD.replace("private; ", f"private; private.BASES = ({str(base)!r},); private.LONGEST = 999; ")
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
    (base / f"{private.PREFIX}aaaaaaaa").symlink_to(elsewhere)
    (base / f"{private.PREFIX}bbbbbbbb").touch()
    (base / f"{private.PREFIX}of-another-kind").mkdir()
    (base / "muster-aaaaaaaa").mkdir()
    if os.geteuid() == 0:
        (base / f"{private.PREFIX}cccccccc").mkdir()
        os.chown(base / f"{private.PREFIX}cccccccc", 65534, 65534)
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
    with pytest.raises(PermissionError, match="without others renaming"):
        private.folder()
    base.chmod(0o1777)
    assert Path(private.folder()).is_dir()


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
