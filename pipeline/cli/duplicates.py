"""`muster duplicates`: which photos are there more than once."""

from itertools import groupby
from typing import Any

import muster
from muster.pipeline.cli.console import JsonOption, report, say
from muster.pipeline.cli.options import LIBRARY, LibraryOption, TrustOption
from muster.web.words import count


def duplicates(library: LibraryOption = LIBRARY, trust: TrustOption = False, as_json: JsonOption = False) -> None:
    """Find the same picture (copies that were resized, converted or edited a little) and the same moment (seconds
    apart, alike), and propose which to keep. Nothing is ever deleted.

    Example: muster duplicates -l ./library
    """
    found = muster.open(library, trust=trust).duplicates()
    facts = {name: value for name, value in vars(found).items() if name != "table"}
    groups = [
        _group(list(rows)) for _, rows in groupby(found.table.to_pylist(), lambda row: (row["kind"], row["group"]))
    ]
    if facts["unseen"]:
        photos = count(facts["unseen"], "photo")
        say(f"muster: {photos} without a preview, compared by hash alone; `muster run --tasks previews` makes them")
    lines = [
        f"{count(facts['pictures'], 'picture')} with copies: {count(facts['copies'], 'copy', 'copies')},"
        f" {facts['exact']} of them exact, {facts['bytes'] / 1e6:.1f} MB",
        f"{count(facts['moments'], 'moment')} with several photos"
        + (f": {facts['shots']}" if facts["moments"] else ""),
    ]
    report({**facts, "groups": groups}, as_json, *lines, *(line for group in groups for line in _lines(group)))


def _group(rows: list[dict[str, Any]]) -> dict[str, Any]:
    photos = [{name: value for name, value in row.items() if name not in ("kind", "group", "reason")} for row in rows]
    return {"kind": rows[0]["kind"], "group": rows[0]["group"], "reason": rows[0]["reason"], "photos": photos}


def _lines(group: dict[str, Any]) -> list[str]:
    best, *others = group["photos"]
    what = "same picture" if group["kind"] == "picture" else "same moment"
    head = f"{what} {group['group']}: keep {best['uri']} ({group['reason']})"
    return [head, *(f"    {'exact copy ' if row['exact'] else ''}{row['uri']}" for row in others)]
