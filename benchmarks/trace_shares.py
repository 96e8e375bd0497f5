"""Where the time of a run's workers went, by the traces that `muster run --trace FILE` wrote.

    python benchmarks/trace_shares.py TRACE.json…

A table with a column for each trace: images/s of all workers together, and what share of its workers' time each kind of
work took; `nothing` is the share in which none of it was done. Reading and committing may go beside the rest, so that a
column may have more than 100 %.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

WAITING = ("wait", "turn")


def shares(spans: list[dict[str, Any]]) -> dict[str, float]:
    """Of one trace's events of kind X."""
    workers: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for span in spans:
        workers[span["pid"]].append(span)
    time = found = 0.0
    sums: dict[str, float] = defaultdict(float)
    for each in workers.values():
        begin, end = min(s["ts"] for s in each), max(s["ts"] + s["dur"] for s in each)
        work = [span for span in each if span["name"] not in WAITING]
        time += end - begin
        sums["nothing"] += end - begin - covered((s["ts"], s["ts"] + s["dur"]) for s in work)
        for span in work:
            sums[span["name"]] += span["dur"]
        found += sum(span["args"].get("images", 0) for span in each if span["name"] == "commit")
    rate = found / time * 1e6 * len(workers)
    return {"images/s": rate} | {name: sums[name] / time for name in sorted(sums, key=lambda name: -sums[name])}


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of what they cover together."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", type=Path, nargs="+")
    paths = parser.parse_args().traces
    columns = [shares([e for e in json.loads(path.read_text()) if e["ph"] == "X"]) for path in paths]
    names = list(dict.fromkeys(name for column in columns for name in column))
    print("| |" + "".join(f" {path.stem} |" for path in paths))
    print("|---|" + "---|" * len(paths))
    for name in names:
        cells = [column.get(name, 0.0) for column in columns]
        texts = [f"{cell:,.0f}" if name == "images/s" else f"{cell:.0%}" for cell in cells]
        print(f"| {name} |" + "".join(f" {text} |" for text in texts))


if __name__ == "__main__":
    main()
