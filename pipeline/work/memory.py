"""How much memory there is for workers, and what one takes."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# A worker's own pages in MiB, on Linux: 335 once it has started (Python, torch, Ray); at most 390 with `previews` or
# `scenes` and 470 with `faces` too on photos of 250 pixels, 650 with `objects`, 810 with `faces` on phone photos.
LEAST, USUAL = 300 << 20, 800 << 20


def available(root: Path = Path("/")) -> int | None:
    """Bytes that new processes may take; None where the system does not say (macOS). `root`: of the file system.

    Without swap: Ray ends workers when memory is full, whatever swap there is.
    """
    least = min([*_of_system(root), *_of_groups(root)], default=None)
    return None if least is None else max(0, least)  # a group may be over its limit for a moment


def _of_system(root: Path) -> Iterator[int]:
    with suppress(OSError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) << 10


def _of_groups(root: Path) -> Iterator[int]:
    """What each limit leaves: of this process's control group (version 1 or 2), and of those that it lies in.

    In a container the group's name may be that of the host, where nothing is: then the limit is the outermost one.
    """
    lines: list[str] = []
    with suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            top, limit, used, cache = root / "sys/fs/cgroup", "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            top, cache = root / "sys/fs/cgroup/memory", "total_"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        inside = top / name.strip("/")
        for group in (inside, *inside.parents[: len(inside.parts) - len(top.parts)]):
            with suppress(OSError, ValueError, KeyError):  # of the outermost, or "max": no limit
                most, taken = (int((group / file).read_text()) for file in (limit, used))
                facts = dict(fact.split() for fact in (group / "memory.stat").read_text().splitlines())
                files = sum(int(facts[f"{cache}{kind}_file"]) for kind in ("inactive", "active"))  # can be read again
                yield most - taken + files
