"""`muster serve`: the live page."""

import gc
import getpass
import os
import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muster.errors import InputError
from muster.pipeline.cli.console import JsonOption, report, say
from muster.pipeline.cli.options import LIBRARY, LibraryOption, ModelOption, TrustOption

if TYPE_CHECKING:
    from muster.storage.library import LibraryFiles
    from muster.web.live.password import Password

# What serves is imported by the command: --help answers at once.

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"
PASSWORD, PASSWORD_FILE = "MUSTER_SERVE_PASSWORD", "MUSTER_SERVE_PASSWORD_FILE"


def serve(
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    model: ModelOption = [],  # noqa: B006
    port: Annotated[int | None, typer.Option(min=1, max=65535, show_default="one that is free")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    share: Annotated[
        bool,
        typer.Option("--share", help="Let others in the same network look and edit, with a password. Not encrypted."),
    ] = False,
    host: Annotated[
        str | None, typer.Option(help="Address to listen at.", show_default=f"{LOOPBACK}, with --share {EVERYWHERE}")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a library's people in the browser, and let them be named, merged, split and hidden there.

    The page is for this computer alone, and for whoever has the address that is printed. Ctrl-C ends it. What is said
    of people stays in the library, whatever is run there later.

    With --share a phone in the same house can look too. It is asked for a password: the one that you type, or that
    MUSTER_SERVE_PASSWORD has, or the file that MUSTER_SERVE_PASSWORD_FILE names. Photos and password are not encrypted
    on the wire: use it in a network whose people you trust.

    Example: muster serve -l ./library
    """
    sys.meta_path.insert(0, _NoPandas())
    gc.disable()  # until the first page is there: all that is made before it stays, and to look at it takes .1 s
    from muster.pipeline.people.served import live_source
    from muster.storage.layout import FORGETTING
    from muster.storage.library import open_library, trusting
    from muster.web.live.album import LiveAlbum

    with trusting(trust):
        files = open_library(library)
    if files.has(FORGETTING):  # whoever is to be forgotten is not shown
        from muster.pipeline.forget import settled

        settled(files)
    album = LiveAlbum(live_source(files, _model(model)))
    album.load()
    from muster.web.live.app import app
    from muster.web.live.guard import Doors, is_loopback
    from muster.web.live.serving import addresses, answer, listening

    host = host or (EVERYWHERE if share else LOOPBACK)
    if not share and not is_loopback(host):
        raise InputError(f"--host {host} can be reached by others: give --share too, which asks them for a password")
    doors = Doors(password=_password() if share else None)
    bound = listening(host, port)
    shown = host if is_loopback(host) else LOOPBACK
    here = f"http://{f'[{shown}]' if ':' in shown else shown}:{bound.getsockname()[1]}/"
    doors.port = bound.getsockname()[1]
    url = f"{here}?token={doors.token}"
    others = addresses(doors.port) if share else []

    def ready() -> None:
        lines = [f"open {url}", *(f"others in this network: {other}" for other in others)]
        report({"url": url, "port": doors.port, "others": others}, as_json, *lines)
        say("muster: Ctrl-C ends it")
        gc.freeze()
        gc.enable()
        album.search.begin(album)
        if browser:
            _open(url)

    answer(app(album, doors, _readonly(files)), bound, ready)


class _NoPandas(MetaPathFinder):
    """Where pandas is installed, pyarrow imports it for its first scalar, which takes .3 s; nothing here needs it."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname, name=fullname)


def _model(options: Sequence[str]) -> str | None:
    if not options:
        return None
    from muster.pipeline.cli.parse import parse_model  # it brings torch

    return parse_model(options, "faces")


def _readonly(library: "LibraryFiles") -> str:
    """Why nothing can be edited; "": it can."""
    if library.local is None or os.access(library.local, os.W_OK):
        return ""
    return f"Nothing can be changed here: this user may not write to {library.local}, or its disk is read-only."


def _password() -> "Password":
    from muster.web.live.password import Password

    text, file = os.environ.get(PASSWORD), os.environ.get(PASSWORD_FILE)
    if text is None and file:
        try:
            text = Path(file).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {PASSWORD_FILE}={file}: {error}") from None
    if text is None:
        if not sys.stdin.isatty():
            raise InputError(f"--share needs a password: set {PASSWORD}, or {PASSWORD_FILE} to a file with one")
        text = getpass.getpass("Password for others: ", sys.stderr)
    return Password.of(text)


def _open(url: str) -> None:
    """In a thread: a browser that is started by it may take its time."""
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
