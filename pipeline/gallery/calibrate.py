"""Measure a gallery's thresholds on its own people, keep them with it, and show them."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from muster.arrays import Floats
from muster.errors import InputError, MusterError
from muster.pipeline.gallery import groups
from muster.pipeline.gallery.desk import current, templates_of
from muster.pipeline.gallery.groups import AGE, GROUP, TIME
from muster.storage.gallery import gallery
from muster.storage.layout import REPORT
from muster.storage.library import LibraryFiles
from muster.storage.texts import normal
from muster.tasks.people.calibrate import (
    ALIKE_FOR_ALL,
    Searches,
    another_of,
    doubt,
    gallery_searches,
    genuine_threshold,
    impostor_threshold,
    measured,
    people_needed,
    point,
    points,
    sensible,
    strictest,
)
from muster.tasks.people.groups import Grouping, impostor_threshold_of, needed, raised, rows, thresholds
from muster.tasks.people.lookalikes import ALIKE, SHARE, share_of, spread
from muster.tasks.people.search import CANDIDATES, SCORE, Templates, nearest
from muster.tasks.people.second_photo import MEASURED

FMR = 0.001
SHOWN = 5  # groups named in one line, or warned of
NOBODY = "nobody has two photos"
TABLES = {"": GROUP, "age ": AGE, "time between photos ": TIME}
HEADINGS = {
    "groups": "By group",
    "ages": "By age on the photo that is asked about",
    "photo_ages": "By age on the newest enrolled photo",
    "times": "By time between the newest enrolled photo and the one that is asked about",
}
UNSURE_FMR = 0.01  # from here on a comparison is for a human, where no share of misses is asked for


@dataclass(frozen=True)
class Wishes:
    """`fpir`: as `sensible` has it where None; `miss`: see muster.tasks.people.calibrate.doubt. `by`: one of
    `groups.BY`, that errors are counted by; with `each_group` the FPIR holds in every one of them. `alike`: pairs of
    person_ids who look alike; those of before stay."""

    fpir: float | None = None
    miss: float | None = None
    by: str | None = None
    each_group: bool = False
    alike: Sequence[tuple[str, str]] = ()


def calibrate(library: LibraryFiles, wishes: Wishes = Wishes()) -> dict[str, Any]:
    """Measure, keep and report.

    Raises TaskError where they are too few, InputError for groups or people that there are not. The caller holds the
    lock, see forget.locked.
    """
    known = current(library)
    by = wishes.by or GROUP
    if wishes.by or wishes.each_group:
        groups.check(known, by)
    declared = _declared(known, wishes.alike)
    faces = known.embeddings, known.owner, templates_of(library, known, held=True)
    searches = gallery_searches(*faces)
    supported = points(searches)
    above, target = ALIKE_FOR_ALL, sensible(len(known.people)) if wishes.fpir is None else wishes.fpir
    if wishes.each_group:
        grouping = groups.grouping(known, by, searches)
        lowest, found = thresholds(searches, grouping, target)
        found = groups.no_looser(by, found, lowest)
        above = raised(grouping, lowest, found)
        chosen = measured(searches, target, lowest, above)
    else:
        chosen = point(searches, target)
    unsure = doubt(searches, chosen.threshold, wishes.miss, above)
    verify, each = _one_to_one(faces, searches, wishes.miss), None
    if wishes.each_group:
        of_verify = _each_one_to_one(known, by, grouping.names, faces, verify)
        each = {"by": by, "identify": _named(grouping, found), "verify": _named(grouping, of_verify)}

    def table(grouping: Grouping) -> list[dict[str, Any]]:
        return [asdict(row) for row in rows(searches, grouping, chosen.target, chosen.threshold, above)]

    facts = {
        "score": SCORE,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "people": len(known.people),
        "photos": known.faces.num_rows,
        "model": known.model,
        "identify": asdict(chosen),
        "unsure": asdict(unsure),
        "points": [asdict(each) for each in supported],
        "verify": verify,
        "by": by,
        "groups": table(groups.grouping(known, by, searches)) if groups.has(known, by) else [],
        "each_group": each,
        "each_group_ended": None if each else ((known.calibration or {}).get("each_group") or {}).get("by"),
        "ages": table(groups.grouping(known, AGE, searches)) if groups.has(known, AGE) else [],
        "photo_ages": table(groups.by_photo_age(known, searches)) if groups.has(known, AGE) else [],
        "times": table(groups.grouping(known, TIME, searches)) if groups.has(known, TIME) else [],
        "alike": _alike(faces, chosen.target, unsure.mated_people) | {"declared": declared},
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


def _each_one_to_one(
    known: gallery.Gallery, by: str, names: Sequence[str], faces: tuple[Any, Any, Templates], whole: dict[str, Any]
) -> Floats:
    """(K,): of each group the threshold for 1:1, by comparisons within it, none below that of all. How old a photo is
    says nothing of who claims to be somebody: there it is that of all."""
    found = np.full(len(names), np.nan)
    for i, name in enumerate(names):
        member = np.array([each == name for each in groups.of_people(known, by)])
        comparisons = int(member[known.owner].sum()) * (int(member.sum()) - 1)
        if by != TIME and comparisons * SHARE >= 3:
            fmr = max(whole["fmr"], 3 / comparisons)
            found[i] = max(whole["threshold"], impostor_threshold_of(*faces, member, fmr))
    return groups.no_looser(by, found, whole["threshold"])


def _named(grouping: Grouping, found: Floats) -> dict[str, float]:
    """Groups that somebody is of, and what is measured for them."""
    there = sorted({*grouping.stranger.tolist(), *grouping.candidate.tolist()})
    return {grouping.names[i]: float(found[i]) for i in there}


def _declared(known: gallery.Gallery, pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Pseudonyms of pairs who were said to look alike, now or before, and are still here."""
    people = {normal(person): person for person in known.people}
    found = {tuple(pair) for pair in ((known.calibration or {}).get("alike") or {}).get("declared", [])}
    for pair in pairs:
        one, other = (known.pseudonym_of(people.get(normal(each), each)) for each in pair)
        if one == other:
            raise InputError(f"`alike` {pair[0]} and {pair[1]}: that is one person, name two")
        found.add(tuple(sorted((one, other))))
    here = set(known.faces["pseudonym"].to_pylist())
    return [list(pair) for pair in sorted(found) if here >= set(pair)]


def _alike(faces: tuple[Any, Any, Templates], target: float, with_two: int) -> dict[str, Any]:
    """`people`: how many look like another. Of their photos at most `share` is named as that one; `spread`: how far
    photos fall. Both None where too few people have two photos."""
    embeddings, owner, made = faces
    everybody = np.arange(len(made.vectors))
    next_to, _ = nearest(made.vectors, made, own=everybody)
    cosines = np.einsum("gd,gkd->gk", made.vectors, made.vectors[next_to])
    people = int(((cosines >= ALIKE) & (next_to != everybody[:, None])).any(1).sum())
    share = share_of(with_two, target)
    fallen = None if share is None else spread(embeddings, owner, another_of(owner), made, share)
    return {"people": people, "share": share, "spread": fallen and fallen._asdict(), "with_two": with_two}


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
        *_of_groups(facts),
        *_of_alike(facts["alike"]),
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


def _of_groups(facts: dict[str, Any]) -> list[str]:
    """Who is promised less, and of whom more strangers are named than of all."""
    target, each = facts["identify"]["target"], facts["each_group"]
    held = [f"kept for every group by {each['by']}: each has its own threshold, or a stricter one"] if each else []
    if each and each["by"] == TIME:
        held += [
            "that is so of photos made on the day they are asked about: of an older one, time counts from that day too"
        ]
    if ended := facts["each_group_ended"]:
        held += [
            f"warning: until now every group by {ended} had a threshold of its own, and has none from now on: calibrate"
            " with `each_group` to have them again"
        ]
    lines = []
    for heading, table in (("", facts["groups"]), ("age ", facts["ages"]), ("time between photos ", facts["times"])):
        if heading and facts["by"] == TABLES[heading]:
            continue  # they are the groups
        more = [row for row in table if row["more"]]
        lines += [
            f"warning: {heading}{row['name']}: {_share(row['fpir'], row['fpir_interval'])} of its strangers would be"
            f" given a name, more than {100 * target:.2g} %"
            for row in more[:SHOWN]
        ]
        if len(more) > SHOWN:
            lines.append(f"warning: {heading}{len(more) - SHOWN} more: more than {100 * target:.2g} %, see the report")
        few = [f"{row['name']} ({row['people']})" for row in table if row["people"] < needed(target)]
        if few:
            lines.append(
                f"nothing is promised for {heading}{', '.join(few[:SHOWN])}"
                + (f" and {len(few) - SHOWN} more" if len(few) > SHOWN else "")
                + f": {needed(target):,} people of each would be needed"
            )
    return held + lines


def _of_alike(facts: dict[str, Any]) -> list[str]:
    if not (facts["people"] or facts["declared"]):
        return []
    who = f"{facts['people']} people look like another, {len(facts['declared'])} pairs were said to: "
    if facts["share"] is None:
        return [
            f"{who}they are left to a human, as {people_needed(SHARE)} people with two photos are needed to say how far"
            f" one must be ahead of the other, and there are {facts['with_two']}"
        ]
    return [
        f"{who}named where one is so far ahead that it is true of up to {100 * facts['share']:.2g} % of the other's"
    ]


def _share(value: float, interval: tuple[float, float]) -> str:
    low, high = (f"{100 * bound:.2g}" for bound in interval)
    return f"{100 * value:.2g} % ({low} to {high} %)"


def _report(facts: dict[str, Any], searches: Searches) -> bytes:
    lines = "".join(
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
{lines}</table>
{"".join(_table(heading, facts[key]) for key, heading in HEADINGS.items() if facts[key])}
<p>{facts["people"]} people support an FPIR down to {facts["strictest_fpir"]:.2g} (three divided by their number).
For 1:1, {facts["verify"]["fmr"]:.2g} of the comparisons with somebody else reach
{facts["verify"]["threshold"]:.3f}; from {facts["verify"]["unsure_from"]:.3f} on it is unsure.</p>
<ul>{"".join(f"<li>{html.escape(text)}" for text in sentences(facts))}</ul>
{pictures}"""
    return text.encode()


def _table(heading: str, found: list[dict[str, Any]]) -> str:
    lines = "".join(
        f"<tr><td>{html.escape(row['name'])}<td>{row['people']}<td>{_levels(row['threshold'])}"
        f"<td>{_interval(row['fpir'], row['fpir_interval'], 'too few people')}<td>{row['known']}"
        f"<td>{_interval(row['fnir'], row['fnir_interval'], 'too few people' if row['known'] else NOBODY)}</tr>"
        for row in found
    )
    return (
        f"<h2>{heading}</h2><table><tr><th><th>people<th>threshold<th>strangers given a name (FPIR)"
        f"<th>with two photos<th>known people not named (FNIR)</tr>{lines}</table>"
    )


def _levels(between: tuple[float, float] | None) -> str:
    if between is None:
        return "nobody is met"
    low, high = (f"{bound:.3f}" for bound in between)
    return low if low == high else f"{low} to {high}"


def _interval(value: float | None, interval: tuple[float, float] | None, nobody: str = NOBODY) -> str:
    if value is None or interval is None:
        return nobody
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
