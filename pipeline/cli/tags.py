"""`muster tags`: what other programs wrote of photos, read; and who is where, written for them."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import muster
from muster.pipeline.cli.console import JsonOption, report, say
from muster.pipeline.cli.options import LIBRARY, LibraryOption, ModelOption, TrustOption
from muster.web.words import count

if TYPE_CHECKING:
    from muster.pipeline.people.sidecars import NamesWritten
    from muster.pipeline.tags import TagsSummary

REMARKS = 5  # that are said: --json has all


def tags(
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write names into sidecars here, below the photos' whole paths.")
    ] = None,
    beside: Annotated[bool, typer.Option("--beside", help="Write names into sidecars next to the photos.")] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write who is where into a CSV.")] = None,
    model: ModelOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Read names, keywords, dates and places that other programs wrote: XMP in photos and sidecars, Google Takeout.

    With --beside, --out or --csv instead write who is where, for other programs. Photos are never changed, and what
    others wrote into a sidecar stays.

    Example: muster tags --beside -l ./library
    """
    from muster.pipeline.cli.parse import parse_model

    opened = muster.open(library, trust=trust)
    if out is None and not beside and csv is None:
        summary = opened.read_tags()
        say_odd(summary)
        report(asdict(summary), as_json, *(tags_text(summary) or [f"no tags in {count(summary.photos, 'photo')}"]))
        return
    written = opened.write_tags(out, beside=beside, csv=csv, model=parse_model(model, "faces"))
    _say_left(written)
    report(asdict(written), as_json, *_written_text(written))


def _say_left(written: "NamesWritten") -> None:
    """Sidecars that stay as they are, and names in them, on stderr."""
    reasons = Counter(each.error for each in written.left_out)
    first = {each.error: each.uri for each in reversed(written.left_out)}
    for reason, photos in reasons.most_common(REMARKS):
        more = f" and {count(photos - 1, 'photo')} more" if photos > 1 else ""
        say(f"muster: no sidecar written for {first[reason]}{more}: {reason}")
    for each in written.other_names[:REMARKS]:
        say(f"muster: {each.uri}: its sidecar calls {each.theirs} who is {each.ours} here, and stays as it is")
    hidden = len(written.other_names[REMARKS:])
    if hidden or len(reasons) > REMARKS:
        say("muster: there is more of this kind: --json has all")


def _written_text(written: "NamesWritten") -> list[str]:
    people, faces = count(written.people, "person", "people"), count(written.faces, "face")
    lines = [f"{people} in {faces} of {count(written.photos, 'photo')}"]
    files = {name: getattr(written, name) for name in ("new", "changed", "unchanged", "removed")}
    if any(files.values()):
        lines[0] += f"; sidecars: {', '.join(f'{number} {name}' for name, number in files.items() if number)}"
    if written.renamed:
        lines.append(f"{count(written.renamed, 'name')} of others gave way")
    return lines


def say_odd(summary: "TagsSummary") -> None:
    """What was odd, on stderr."""
    for folder, reason in summary.unlisted.items():
        say(f"muster: cannot list {folder} ({reason}): sidecars in it were not looked for")
    for remark, photos in list(summary.remarks.items())[:REMARKS]:
        say(f"muster: {count(photos, 'photo')}: {remark}")
    if summary.elsewhere:
        say(f"muster: {count(summary.elsewhere, 'photo')} in buckets or Parquet files: their tags are not read")


def tags_text(summary: "TagsSummary") -> list[str]:
    """A line; none where there is nothing to tell."""
    if not summary.tagged:
        return []
    named = f"{count(summary.people, 'name')}, {count(summary.named, 'named face')}"
    rest = f"{count(summary.keywords, 'keyword')}, {count(summary.albums, 'album')}"
    return [f"tags of {count(summary.tagged, 'photo')}: {named}, {rest}"]
