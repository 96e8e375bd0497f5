"""Memory as the files of the kernel say it, in a folder of the test's own."""

from pathlib import Path

import pytest

from muster.pipeline.work import memory

GIB = 1 << 30


def write(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


def group(folder: str, most: object, used: int, cache: int, version: int = 2) -> dict[str, object]:
    names = ("max", "current", "") if version == 2 else ("limit_in_bytes", "usage_in_bytes", "total_")
    limit, usage, prefix = names
    files = f"{prefix}inactive_file {cache - cache // 4}\n{prefix}active_file {cache // 4}"
    return {
        f"{folder}/memory.{limit}": most,
        f"{folder}/memory.{usage}": used,
        f"{folder}/memory.stat": f"anon 5\n{files}",
    }


SYSTEM = {"proc/meminfo": f"MemTotal: {64 << 20} kB\nMemAvailable: {16 << 20} kB\nSwapFree: 9 kB"}


def test_what_this_machine_says() -> None:
    free = memory.available()
    assert free is None or free > 0


def test_a_system_that_does_not_say(tmp_path: Path) -> None:
    assert memory.available(tmp_path) is None


def test_without_limits_it_is_what_the_system_has(tmp_path: Path) -> None:
    assert memory.available(write(tmp_path, SYSTEM)) == 16 * GIB
    unlimited = {"proc/self/cgroup": "0::/a", **group("sys/fs/cgroup/a", "max", GIB, 0)}
    assert memory.available(write(tmp_path, unlimited)) == 16 * GIB


@pytest.mark.parametrize("name", ["/a/b", "/a"])
def test_a_limit_holds_for_the_groups_below_it(tmp_path: Path, name: str) -> None:
    """What is cached of files gives way."""
    root = write(tmp_path, {**SYSTEM, "proc/self/cgroup": f"0::{name}"})
    write(root, group("sys/fs/cgroup/a", 4 * GIB, 3 * GIB, GIB))
    write(root, group("sys/fs/cgroup/a/b", 8 * GIB, GIB, 0))
    assert memory.available(root) == 2 * GIB


def test_a_group_over_its_limit_has_nothing(tmp_path: Path) -> None:
    root = write(tmp_path, {**SYSTEM, "proc/self/cgroup": "0::/a"})
    assert memory.available(write(root, group("sys/fs/cgroup/a", GIB, 2 * GIB, 0))) == 0


def test_version_1_in_a_container_that_has_its_hosts_name(tmp_path: Path) -> None:
    lines = "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/"
    root = write(tmp_path, {**SYSTEM, "proc/self/cgroup": lines})
    write(root, group("sys/fs/cgroup/memory", 3 * GIB, 2 * GIB, GIB // 2, version=1))
    assert memory.available(root) == 1.5 * GIB


def test_a_limit_beyond_what_the_system_has(tmp_path: Path) -> None:
    root = write(tmp_path, {**SYSTEM, "proc/self/cgroup": "4:memory:/"})
    write(root, group("sys/fs/cgroup/memory", 1 << 63, GIB, 0, version=1))
    assert memory.available(root) == 16 * GIB
