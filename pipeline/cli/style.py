"""`muster style`: photos painted in the style of other pictures."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import muster
from muster.errors import InputError
from muster.pipeline.cli.console import JsonOption, download_bar, progress, report, say
from muster.pipeline.cli.library import say_errors
from muster.pipeline.cli.options import (
    LIBRARY,
    AddressOption,
    DeviceOption,
    LibraryOption,
    ModelOption,
    RetryOption,
    SetOption,
    SharedOption,
    TrustOption,
    WeightsFileOption,
    WeightsOption,
    WorkersOption,
)
from muster.web.words import count

StyleOption = Annotated[
    list[str],
    typer.Option(
        "--style", metavar="PICTURE[=WEIGHT]", help="A picture whose style is taken. Repeatable: mixed by weight."
    ),
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures; given again, it goes on there.")]
PhotosOption = Annotated[
    str,
    typer.Option("--photos", metavar="QUERY", help="Which photos, as `muster search` finds them.", show_default="all"),
]
SheetOption = Annotated[
    bool, typer.Option("--sheet", help="Paint each photo with α/β from 1e-4 to 1, on one contact sheet.")
]


def style(
    out: OutOption,
    styles: StyleOption = [],  # noqa: B006
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    photos: PhotosOption = "",
    alpha: Annotated[str, typer.Option(help="How much a picture is held to its photo.")] = "0.02",
    beta: Annotated[str, typer.Option(help="How much it is held to the style.")] = "1",
    side: Annotated[str, typer.Option(help="Longest side of the pictures, in pixels.")] = "512",
    steps: Annotated[str, typer.Option(help="Evaluations of the cost.")] = "200",
    start: Annotated[str, typer.Option(help="content: from the photo. noise: from nothing.")] = "content",
    colours: Annotated[str, typer.Option(help="style, or photo: its own colours are kept.")] = "style",
    sheet: SheetOption = False,
    settings: SetOption = [],  # noqa: B006
    model: ModelOption = [],  # noqa: B006
    weights: WeightsFileOption = [],  # noqa: B006
    weights_dir: WeightsOption = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    address: AddressOption = None,
    shared: SharedOption = False,
    retry_errors: RetryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Paint photos of a library in the style of other pictures (Gatys et al., 2015). Stop it and run it again as often
    as you like: it goes on photo by photo.

    In the folder there are then a JPEG for each photo, a curve of the costs, and a library with the table `style`.

    With --model style=net, a network paints that has learnt a style (muster train style-net), in less than a second.

    Example: muster style --style starry_night.jpg --photos "beach 2019" --out ./painted -l ./library
    """
    from muster.pipeline.cli.parse import parse_model, parse_settings, parse_weights

    own = parse_settings(settings)
    files = parse_weights(weights)
    if others := sorted({*own, *files} - {"style"}):
        raise InputError(f"this command is about style, not {others[0]}")
    given = {"alpha": alpha, "beta": beta, "side": side, "steps": steps, "start": start, "colours": colours}
    machine = muster.Machine(device=device, workers=workers, weights_dir=weights_dir, address=address, shared=shared)
    with progress() as on_progress, download_bar() as on_download:
        summary = muster.open(library, trust=trust).style(
            dict(map(_weighted, styles)),
            out,
            photos=photos,
            sheet=sheet,
            model=parse_model(model, "style"),
            weights=files.get("style"),
            machine=machine,
            retry_errors=retry_errors,
            on_progress=on_progress,
            on_download=on_download,
            **(given | own.get("style", {})),
        )
    for run in summary.runs:
        say_errors(asdict(run), summary.library)
    lines = [f"{count(summary.painted, 'photo')} of {summary.photos} painted: {summary.pictures}"]
    if summary.sheet:
        lines.append(f"the sheet is {summary.sheet}")
    if summary.painted < summary.photos:
        say("muster: once the others can be read, the same command with --retry-errors paints them")
    report(asdict(summary), as_json, *lines)


def _weighted(text: str) -> tuple[str, float]:
    """`a.jpg=0.5` → ("a.jpg", 0.5); a file whose name is the whole text goes first."""
    name, equals, weight = text.rpartition("=")
    if not equals or Path(text).exists():
        return text, 1.0
    try:
        return name, float(weight)
    except ValueError:
        return text, 1.0
