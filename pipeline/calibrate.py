"""Measure a gallery's thresholds on its own people, keep them with it, and show them."""

import base64
import html
import io
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from storage import gallery
from storage.errors import MusterError
from storage.library import REPORT, Library
from tasks.calibrate import Searches, gallery_searches, impostor_threshold, point, points, sensible, strictest

FMR = 0.001


def calibrate(library: Library, fpir: float | None) -> dict[str, Any]:
    """Measure, keep and report. `fpir`: as `sensible` has it where None.

    Raises TaskError where they are too few. The caller holds the lock, see forget.locked.
    """
    known = gallery.require(library)
    searches = gallery_searches(known.embeddings, known.owner, len(known.people))
    supported = points(searches)
    chosen = point(searches, fpir if fpir is not None else sensible(len(known.people)))
    fmr = max(FMR, 3 / (known.faces.num_rows * (len(known.people) - 1)))  # as few comparisons can support
    one_to_one = impostor_threshold(known.embeddings, known.owner, len(known.people), fmr)
    facts = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "people": len(known.people),
        "photos": known.faces.num_rows,
        "model": known.model,
        "identify": asdict(chosen),
        "points": [asdict(each) for each in supported],
        "verify": {"fmr": fmr, "threshold": one_to_one},
        "strictest_fpir": strictest(len(known.people)),
    }
    try:
        library.write(REPORT, _report(facts, searches))
    except OSError as error:
        raise MusterError(f"cannot write {library.at(REPORT)}: {error.strerror or error}") from error
    logged = {"people": [], "photos": facts["photos"], "identify": facts["identify"]}
    gallery.write(library, replace(known, calibration=facts), "calibrate", logged)
    return {**facts, "report": library.at(REPORT)}


def _report(facts: dict[str, Any], searches: Searches) -> bytes:
    rows = "".join(
        f"<tr><td>{p['target']:.2g}<td>{p['threshold']:.3f}<td>{_interval(p['fpir'], p['fpir_interval'])}"
        f"<td>{_interval(p['fnir'], p['fnir_interval'])}</tr>"
        for p in [*facts["points"], facts["identify"]]
    )
    pictures = "".join(
        f'<img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        for name, png in _plots(facts, searches).items()
    )
    text = f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Calibration</title>
<style>body{{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}
td,th{{padding:.2em 1em;text-align:right}} img{{max-width:100%}}</style>
<h1>Calibration</h1>
<p>{facts["people"]} people, {facts["photos"]} photos, faces={html.escape(facts["model"])}, {facts["at"]}.
Each enrolled photo was searched for with its own person left out (a stranger) and with only that photo left out
(a known person). Intervals: 95 %, by bootstrap over people.</p>
<table><tr><th>FPIR asked for<th>threshold<th>strangers given a name (FPIR)<th>known people not named (FNIR)</tr>
{rows}</table>
<p>{facts["people"]} people support an FPIR down to {facts["strictest_fpir"]:.2g} (three divided by their number).
For 1:1, {facts["verify"]["fmr"]:.2g} of the comparisons with somebody else reach
{facts["verify"]["threshold"]:.3f}.</p>
{pictures}"""
    return text.encode()


def _interval(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None or interval is None:
        return "nobody has two photos"
    return f"{100 * value:.2f} % ({100 * interval[0]:.2f} to {100 * interval[1]:.2f})"


def _plots(facts: dict[str, Any], searches: Searches) -> dict[str, bytes]:
    """DET curve and histogram of scores, as PNG; none without matplotlib (`pip install matplotlib`)."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return {}
    threshold = facts["identify"]["threshold"]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    edges = np.linspace(min(searches.nonmated.min(), 0), max(1, searches.nonmated.max()), 80)
    left.hist(searches.nonmated, edges, alpha=0.6, density=True, label="strangers")
    if len(searches.mated):
        left.hist(searches.mated[np.isfinite(searches.mated)], edges, alpha=0.6, density=True, label="known people")
        steps = np.quantile(searches.nonmated, np.linspace(0, 1, 400))
        fpir = [(searches.nonmated >= t).mean() for t in steps]
        right.plot(fpir, [(searches.mated < t).mean() for t in steps])
    left.axvline(threshold, color="black", linewidth=1, label="threshold")
    left.set(xlabel="score", ylabel="density")
    left.legend()
    right.set(xlabel="FPIR", ylabel="FNIR", xscale="log", ylim=(0, None), title="DET")
    right.grid(True, which="both", linewidth=0.3)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return {"histogram of scores and DET curve": file.getvalue()}
