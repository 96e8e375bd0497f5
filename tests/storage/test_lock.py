"""A lock between processes: held by one at a time, and by none that is dead."""

import subprocess
import sys
from pathlib import Path

import pytest

from muster.storage.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from muster.storage.lock import locked
with locked(Path(sys.argv[1])):
    print(flush=True)
    time.sleep(60)
"""


def test_another_process_waits_or_is_told(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
        holder.kill()
        with locked(path):  # it is let go with its process
            pass


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to(tmp_path / "made")
    with pytest.raises(OSError, match="Too many levels"), locked(tmp_path / ".lock"):
        pass
    assert not (tmp_path / "made").exists()
