"""Measure a gallery's thresholds on its own people, keep them with it, and show them."""

import base64
import html
import io
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from muster.errors import MusterError
from muster.pipeline.gallery.identify import current, templates_of
from muster.storage.gallery import gallery
from muster.storage.layout import REPORT
from muster.storage.library import LibraryFiles
from muster.tasks.people.calibrate import (
    Searches,
    doubt,
    gallery_searches,
    genuine_threshold,
    impostor_threshold,
    point,
    points,
    sensible,
    strictest,
)
from muster.tasks.people.search import CANDIDATES, SCORE, Templates
from muster.tasks.people.second_photo import MEASURED

FMR = 0.001
UNSURE_FMR = 0.01  # from here on a comparison is for a human, where no share of misses is asked for


def calibrate(library: LibraryFiles, fpir: float | None, miss: float | None = None) -> dict[str, Any]:
    """Measure, keep and report. `fpir`: as `sensible` has it where None; `miss`: see
    muster.tasks.people.calibrate.doubt.

    Raises TaskError where they are too few. The caller holds the lock, see forget.locked.
    """
    known = current(library)
    faces = known.embeddings, known.owner, templates_of(library, known)
    searches = gallery_searches(*faces)
    supported = points(searches)
    chosen = point(searches, fpir if fpir is not None else sensible(len(known.people)))
    unsure = doubt(searches, chosen.threshold, miss)
    facts = {
        "score": SCORE,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "people": len(known.people),
        "photos": known.faces.num_rows,
        "model": known.model,
        "identify": asdict(chosen),
        "unsure": asdict(unsure),
        "points": [asdict(each) for each in supported],
        "verify": _one_to_one(faces, searches, miss),
        "strictest_fpir": strictest(len(known.people)),
        "second_photo": _second_photo(known, unsure.mated_people),
    }
    try:
        library.write(REPORT, _report(facts, searches))
    except OSError as error:
        raise MusterError(f"cannot write {library.at(REPORT)}: {error.strerror or error}") from error
    logged = {"people": [], **{name: facts[name] for name in ("photos", "identify", "unsure")}}
    gallery.write(library, replace(known, calibration=facts), "calibrate", logged)
    return {**facts, "report": library.at(REPORT)}


def _one_to_one(faces: tuple[Any, Any, Templates], searches: Searches, miss: float | None) -> dict[str, Any]:
    """As `doubt` for 1:1, where a share of comparisons with others takes the place of a share of strangers.

    `faces`: as `gallery_searches` takes them.
    """
    _, owner, made = faces
    fmr = max(FMR, 3 / (len(owner) * (len(made.vectors) - 1)))  # as few comparisons can support
    threshold = impostor_threshold(*faces, fmr)
    lower = impostor_threshold(*faces, max(UNSURE_FMR, fmr)) if miss is None else genuine_threshold(searches, miss)
    return {"fmr": fmr, "threshold": threshold, "unsure_from": min(lower, threshold)}


def _second_photo(known: gallery.Gallery, with_two: int) -> list[dict[str, Any]] | None:
    """What one, two and four photos a person do; None where half of the people here have two."""
    return None if 2 * with_two >= len(known.people) else MEASURED.get(known.model)


def sentences(facts: dict[str, Any]) -> list[str]:
    """What was measured, for a reader."""
    named, unsure = facts["identify"], facts["unsure"]
    between = f"{_share(unsure['strangers'], unsure['strangers_interval'])} of strangers would be left to a human"
    same = unsure["threshold"] == named["threshold"]
    return [
        f"threshold {named['threshold']:.3f}: {_share(named['fpir'], named['fpir_interval'])} of strangers would be"
        f" given a name by {facts['people']} people",
        "no score is left to a human: both thresholds are one"
        if same
        else f"unsure from {unsure['threshold']:.3f}: {between}, with up to {CANDIDATES} candidates",
        _of_known(named, unsure),
        *_of_second(facts),
    ]


def _of_known(named: dict[str, Any], unsure: dict[str, Any]) -> str:
    if named["fnir"] is None:
        return "how many known people are named and how many missed is not known: nobody has two photos"
    return (
        f"known people: {100 * (1 - named['fnir']):.3g} % named, {100 * unsure['unsure']:.2g} % left to a human,"
        f" {_share(unsure['missed'], unsure['missed_interval'])} missed ({unsure['mated_people']} with two photos)"
    )


def _of_second(facts: dict[str, Any]) -> list[str]:
    if not (rows := facts["second_photo"]):
        return []
    shares = ", ".join(f"{100 * (1 - row['named']):.2g} % with {row['photos']}" for row in rows)
    return [
        "most people have one photo: enrol a second of each. On LFW, where 1 % of strangers are named,"
        f" faces={facts['model']} leaves this share of known people unnamed, by photos of each: {shares}"
    ]


def _share(value: float, interval: tuple[float, float]) -> str:
    low, high = (f"{100 * bound:.2g}" for bound in interval)
    return f"{100 * value:.2g} % ({low} to {high} %)"


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
{facts["verify"]["threshold"]:.3f}; from {facts["verify"]["unsure_from"]:.3f} on it is unsure.</p>
<ul>{"".join(f"<li>{html.escape(text)}" for text in sentences(facts))}</ul>
{pictures}"""
    return text.encode()


def _interval(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None or interval is None:
        return "nobody has two photos"
    return _share(value, interval)


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
    left.axvline(facts["unsure"]["threshold"], color="black", linewidth=1, linestyle=":", label="unsure from")
    left.set(xlabel="score", ylabel="density")
    left.legend()
    right.set(xlabel="FPIR", ylabel="FNIR", xscale="log", ylim=(0, None), title="DET")
    right.grid(True, which="both", linewidth=0.3)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return {"histogram of scores and DET curve": file.getvalue()}
