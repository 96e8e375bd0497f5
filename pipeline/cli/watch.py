"""`muster watch`: a camera at the door."""

from pathlib import Path
from typing import Annotated

import typer

import muster
from muster.pipeline.cli.console import download_bar, report, say
from muster.pipeline.cli.gallery import ThresholdOption, open_gallery
from muster.pipeline.cli.options import LIBRARY, DeviceOption, LibraryOption, TrustOption, WeightsOption


def watch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            envvar="MUSTER_CAMERA",
            help="rtsp://… or rtsps://…, a video device such as /dev/video0, or a video file.",
        ),
    ],
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    threshold: ThresholdOption = None,
    name: Annotated[
        str | None, typer.Option(help="What events call the camera.", show_default="its host, device or file")
    ] = None,
    agree: Annotated[int, typer.Option(help="So many of a track's best faces must be one person to name them,")] = 3,
    of: Annotated[int, typer.Option(help="of so many that are compared at most.")] = 5,
    away: Annotated[float, typer.Option(metavar="SECONDS", help="Who is not seen for so long has left.")] = 5.0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Add the events to this file too.")] = None,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", envvar="MUSTER_WEBHOOK", help="Post the events there too (https).")
    ] = None,
    allow_http: Annotated[
        bool, typer.Option("--allow-http", help="Post them by http:// to another machine, for all between to read.")
    ] = False,
    keep: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep a JPEG of each frame in which somebody came.")
    ] = None,
    device: DeviceOption = "auto",
    weights_dir: WeightsOption = None,
) -> None:
    """Tell who comes before a camera and who leaves: a line of JSON each on stdout. Ctrl-C ends it, and a file its end.

    Somebody is named once --agree of the best faces of theirs are one person; then they are one visit until they are
    not seen for --away seconds. The newest frame is looked at, and what came meanwhile is dropped; a camera that stops
    is opened again. No picture is stored, but by --keep. Every event stands in the audit log before it is told.

    An address with a password is better in MUSTER_CAMERA, as other users see command lines; a webhook's in
    MUSTER_WEBHOOK. With MUSTER_WEBHOOK_SECRET what is posted is signed.

    Example: muster watch rtsp://door.local/stream -l ./school
    """
    machine = muster.Machine(device=device, weights_dir=weights_dir)
    with download_bar() as on_download:
        open_gallery(library, trust).watch(
            source,
            lambda event: report(event, as_json=True),
            name=name,
            threshold=threshold,
            agree=agree,
            of=of,
            away=away,
            out=out,
            webhook=webhook,
            allow_http=allow_http,
            keep=keep,
            machine=machine,
            on_remark=lambda text: say(f"muster: {text}"),
            on_download=on_download,
        )
