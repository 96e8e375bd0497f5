"""`muster serve`: the live page."""

from collections.abc import Sequence
from typing import Annotated

import typer

from muster.pipeline.cli.console import JsonOption, report, say
from muster.pipeline.cli.options import LIBRARY, LibraryOption, ModelOption, TrustOption

# What serves is imported by the command: --help answers at once.

HOST = "127.0.0.1"


def serve(
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    model: ModelOption = [],  # noqa: B006
    port: Annotated[int | None, typer.Option(min=1, max=65535, show_default="one that is free")] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; one that others reach needs --share.")] = HOST,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Show a library's people in the browser, and let them be named, merged, split and hidden there.

    The page is for this computer alone, and for whoever has the address that is printed. Ctrl-C ends it.

    Example: muster serve -l ./library
    """
    from muster.pipeline.people.served import live_source
    from muster.storage.library import open_library, trusting
    from muster.web.live.app import app
    from muster.web.live.guard import Doors
    from muster.web.live.serving import listening
    from muster.web.live.serving import serve as answer

    with trusting(trust):
        source = live_source(open_library(library), _model(model))
    bound = listening(host, port)
    doors = Doors(bound.getsockname()[1])
    address = f"http://{host}:{doors.port}/?token={doors.token}"

    def ready() -> None:
        report({"url": address, "host": host, "port": doors.port}, as_json, f"open {address}")
        say("muster: Ctrl-C ends it")

    answer(app(source, doors), bound, ready)


def _model(options: Sequence[str]) -> str | None:
    if not options:
        return None
    from muster.pipeline.cli.parse import parse_model  # it brings torch

    return parse_model(options, "faces")
