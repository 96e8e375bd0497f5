"""What a training writes down: a line of figures per report, and their curves."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from muster.storage.new_files import no_link

METRICS, CURVES = "metrics.jsonl", "curves.png"


class Log:
    """metrics.jsonl; lines beyond the step that a training goes on from are dropped."""

    def __init__(self, out: Path, begun: int, writes: bool) -> None:
        self.path, self.writes = out / METRICS, writes
        if writes:
            kept = [line for line in read_metrics(self.path) if line["step"] <= begun]
            text = "".join(json.dumps(line) + "\n" for line in kept)
            replace_file(self.path, lambda file: file.write(text.encode()))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if self.writes:
            with open(self.path, "a", opener=no_link) as file:
                file.write(json.dumps({"step": step} | {k: round(v, 6) for k, v in values.items()}) + "\n")


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of a metrics file, without one that a kill cut short."""
    lines = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(line))
        except (ValueError, RecursionError):
            break
    return lines


def plot(lines: Sequence[Mapping[str, float]], path: Path) -> None:
    """Every figure of a training over its steps, a panel each. Without matplotlib (the `train` extra) there is none."""
    try:
        import matplotlib.figure
    except ImportError:
        return
    names = list(dict.fromkeys(name for line in lines for name in line if name != "step"))
    figure = matplotlib.figure.Figure(figsize=(4 * max(1, len(names)), 3), layout="constrained")
    for panel, name in zip(figure.subplots(1, max(1, len(names)), squeeze=False)[0], names, strict=False):
        known = [(line["step"], line[name]) for line in lines if name in line]
        panel.plot(*zip(*known, strict=True), linewidth=1, marker="." if len(known) < 50 else None)
        panel.set(title=name, xlabel="step")
    replace_file(path, lambda file: figure.savefig(file, format="png"))


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write to a temporary name beside `path`, then rename: a kill leaves the old file or the new one."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)  # of a training that was killed; a link there is not written through
    try:
        with part.open("xb") as file:
            write(file)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)  # half a file would keep the disk full
        raise
