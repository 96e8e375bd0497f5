"""`muster tags`: what other programs wrote of photos, read."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import muster
from muster.pipeline.cli.console import JsonOption, report, say
from muster.pipeline.cli.options import LIBRARY, LibraryOption, TrustOption
from muster.web.words import count

if TYPE_CHECKING:
    from muster.pipeline.tags import TagsSummary

REMARKS = 5  # that are said: --json has all


def tags(library: LibraryOption = LIBRARY, trust: TrustOption = False, as_json: JsonOption = False) -> None:
    """Read names, keywords, dates and places that other programs wrote: XMP in photos and sidecars, Google Takeout.

    Example: muster tags -l ./library
    """
    summary = muster.open(library, trust=trust).read_tags()
    say_odd(summary)
    report(asdict(summary), as_json, *(tags_text(summary) or [f"no tags in {count(summary.photos, 'photo')}"]))


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
