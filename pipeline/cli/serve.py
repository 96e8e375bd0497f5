"""`muster serve`: the live page, or the service of the gallery."""

import getpass
import os
import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

import muster
from muster.errors import InputError
from muster.pipeline.cli.console import JsonOption, download_bar, report, say
from muster.pipeline.cli.gallery import ThresholdOption
from muster.pipeline.cli.options import LIBRARY, DeviceOption, LibraryOption, ModelOption, TrustOption, WeightsOption

if TYPE_CHECKING:
    from muster.web.live.password import Password

# What serves is imported by the command: --help answers at once.

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"
SPEC = "/v1/openapi.json"
PASSWORD, PASSWORD_FILE = "MUSTER_SERVE_PASSWORD", "MUSTER_SERVE_PASSWORD_FILE"


def serve(
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    model: ModelOption = [],  # noqa: B006
    port: Annotated[int | None, typer.Option(min=1, max=65535, show_default="one that is free")] = None,
    browser: Annotated[
        bool | None,
        typer.Option("--browser/--no-browser", help="Open the page in a browser.", show_default="not with --gallery"),
    ] = None,
    share: Annotated[
        bool,
        typer.Option("--share", help="Let others in the same network look and edit, with a password. Not encrypted."),
    ] = False,
    host: Annotated[
        str | None, typer.Option(help="Address to listen at.", show_default=f"{LOOPBACK}, with --share {EVERYWHERE}")
    ] = None,
    gallery: Annotated[
        bool, typer.Option("--gallery", help="Serve who is enrolled, to programs and a secretary who have keys.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --gallery: certificate and its chain, as PEM.")
    ] = None,
    certificate_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --gallery: the private key of the certificate, as PEM.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="With --gallery: images a minute that a key may ask about.", show_default="600"),
    ] = None,
    threshold: ThresholdOption = None,
    device: DeviceOption = "auto",
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a library's people in the browser, and let them be named, merged, split and hidden there.

    The page is for this computer alone, and for whoever has the address that is printed. Ctrl-C ends it. What is said
    of people stays in the library, whatever is run there later.

    With --share a phone in the same house can look too. It is asked for a password: the one that you type, or that
    MUSTER_SERVE_PASSWORD has, or the file that MUSTER_SERVE_PASSWORD_FILE names. Photos and password are not encrypted
    on the wire: use it in a network whose people you trust.

    With --gallery it is the service of the door instead: is this the card holder, who is this, enrol, forget, over
    HTTP and on a page. Each asker has a key (`muster keys make`); others than this machine ask with --certificate.

    Example: muster serve -l ./library
    """
    only = {"certificate": certificate, "certificate-key": certificate_key, "rate": rate, "threshold": threshold}
    if gallery:
        if share:
            raise InputError("--share is of the live page: --gallery has --certificate and keys")
        _serve_gallery(
            muster.open(library, trust=trust),
            {"port": port, "host": host or LOOPBACK, **{k.replace("-", "_"): v for k, v in only.items()}},
            model,
            muster.Machine(device=device, weights_dir=weights_dir),
            bool(browser),
            as_json,
        )
        return
    if given := next((name for name, value in only.items() if value is not None), None):
        raise InputError(f"--{given} goes with --gallery")
    from muster.web.live.guard import is_loopback

    host = host or (EVERYWHERE if share else LOOPBACK)
    if not share and not is_loopback(host):
        raise InputError(f"--host {host} can be reached by others: give --share too, which asks them for a password")
    password = _password() if share else None
    _do_without_pandas()
    from muster.pipeline.people.served import serve_library
    from muster.storage.library import open_library, trusting

    def ready(url: str, others: Sequence[str]) -> None:
        lines = [f"open {url}", *(f"others in this network: {other}" for other in others)]
        report({"url": url, "port": urlsplit(url).port, "others": others}, as_json, *lines)
        say("muster: Ctrl-C ends it")
        if browser is not False:
            _open(url)

    with trusting(trust):
        files = open_library(library)
    serve_library(files, _model(model), ready, port, host, password)


def _serve_gallery(
    library: "muster.Library",
    options: dict[str, Any],
    model: Sequence[str],
    machine: "muster.Machine",
    browser: bool,
    as_json: bool,
) -> None:
    def ready(url: str) -> None:
        lines = [f"the door is open at {url}; a secretary's page is there too", f"what can be asked: {url}{SPEC}"]
        report({"url": url, "port": urlsplit(url).port}, as_json, *lines)
        say("muster: Ctrl-C ends it")
        if browser:
            _open(url)

    with download_bar() as on_download:
        library.serve_gallery(
            **options,
            model=_model(model),
            machine=machine,
            on_ready=ready,
            on_remark=lambda text: say(f"muster: {text}"),
            on_download=on_download,
        )


def _do_without_pandas() -> None:
    """Where pandas is installed, pyarrow imports it for its first scalar, which takes .3 s; nothing here needs it. What
    it has not found then, it does not look for again; torch does later, and must find what there is."""
    import pyarrow as pa

    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    pa.scalar(0)
    sys.meta_path.remove(finder)


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname, name=fullname)


def _model(options: Sequence[str]) -> str | None:
    if not options:
        return None
    from muster.pipeline.cli.parse import parse_model  # it brings torch

    return parse_model(options, "faces")


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
