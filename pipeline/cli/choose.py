"""`muster choose`: a library of the photos that a query finds."""

from typing import Annotated

import typer

import muster
from muster.pipeline.cli.console import JsonOption, report
from muster.pipeline.cli.options import LIBRARY, LibraryOption, TrustOption
from muster.web.words import count


def choose(
    query: Annotated[list[str], typer.Argument(metavar="QUERY", help="Which photos, as `muster search` finds them.")],
    out: Annotated[str, typer.Option("--out", "-o", help="The library of these photos; given again, they replace it.")],
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a library of the photos that a query finds, to run slow tasks over these alone.

    No photo is copied: they are read where they lie.

    Example: muster choose "anna 2019" -l ./library --out ./anna
    """
    chosen = muster.open(library, trust=trust).choose(" ".join(query), out)
    photos = chosen.table("manifest", columns="image_id").num_rows
    report({"photos": photos, "library": chosen.uri}, as_json, f"{count(photos, 'photo')}: {chosen.uri}")
