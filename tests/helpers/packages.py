"""Packages that add to Muster, as if they were installed."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from muster.tasks import plugins, registry
from muster.tasks.models import zoo

# A task that gives each image its mean colour, which a test changes with `str.replace`.
TASK = """
import pyarrow as pa
from muster.tasks.base import IMAGE_ID, Findings, Option, Task, number


class Means(Task):
    name = "means"
    version = 1
    schema = pa.schema([IMAGE_ID, pa.field("label", pa.string()), pa.field("mean", pa.float32())])
    max_side = 64
    options = {"least": Option(number(0, 255), "darker images have no row", 0)}
    findings = Findings(noun="mean", label="label")

    def __init__(self, model=None, least=0):
        self.parameters = {"least": least}

    def load(self, device, weights):
        pass

    def __call__(self, images):
        rows = [(i.image_id, "an image", float(i.pixels.mean())) for i in images]
        rows = [row for row in rows if row[2] >= self.parameters["least"]]
        return pa.table(list(zip(*rows)) or [[]] * 3, self.schema)
"""


def write(folder: Path, package: str, entries: Mapping[str, str], source: str = TASK) -> Path:
    """A package of one module, with its metadata. `entries`: "group:name" → what it is, as `module:attribute`."""
    module = package.replace("-", "_")
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{module}.py").write_text(source)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    groups: dict[str, list[str]] = {}
    for key, value in entries.items():
        group, _, name = key.partition(":")
        groups.setdefault(group, []).append(f"{name} = {value}")
    (info / "entry_points.txt").write_text(
        "".join(f"[{g}]\n" + "\n".join(lines) + "\n\n" for g, lines in groups.items())
    )
    return folder


def reread() -> None:
    """As in a new process."""
    importlib.invalidate_caches()
    plugins._refused.clear()
    for cached in (plugins.found, registry._other, zoo._other):
        cached.cache_clear()


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """With what lies in this folder among the packages that are installed."""
    modules, entries = set(sys.modules), dict(zoo._entries)
    sys.path.insert(0, str(folder))
    reread()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - modules:
            if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(folder)):
                del sys.modules[name]
        zoo._entries.clear()
        zoo._entries.update(entries)
        reread()
