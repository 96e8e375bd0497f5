"""`muster units`: what the units of a network see."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import muster
from muster.pipeline.cli.console import JsonOption, download_bar, report, say
from muster.pipeline.cli.options import (
    LIBRARY,
    DeviceOption,
    LibraryOption,
    ModelOption,
    TrustOption,
    WeightsFileOption,
    WeightsOption,
)
from muster.web.words import count


def units(
    out: Annotated[Path, typer.Option(metavar="DIR", help="New or empty folder for the pages, or one of theirs.")],
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    layers: Annotated[list[str], typer.Option("--layer", metavar="NAME", help="Only this layer. Repeatable.")] = [],  # noqa: B006
    ascent: Annotated[
        bool, typer.Option("--ascent", help="Also a picture for each unit, made to excite it. Slow: name a layer.")
    ] = False,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What the network makes of this photo instead, stage by stage.")
    ] = None,
    model: ModelOption = [],  # noqa: B006
    weights_dir: WeightsOption = None,
    weights: WeightsFileOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Write pages of what the units of a network see: for each the nine photos that excite it most, and where.

    `muster run --tasks units,previews` finds them. With --image it is the stages of one photo, and no library.

    Example: muster units -l ./library --out ~/units --model units=squeezenet --weights-dir ./weights
    """
    from muster.pipeline.cli.parse import parse_model, parse_weights

    machine, name = muster.Machine(device=device, weights_dir=weights_dir), parse_model(model, "units")
    file = parse_weights(weights).get("units")
    with download_bar() as on_download:
        if image is not None:
            facts = muster.models.stages(image, out, model=name, weights=file, machine=machine, on_download=on_download)
        else:
            opened = muster.open(library, trust=trust)
            pages = opened.unit_pages(
                out,
                model=name,
                weights=file,
                layers=layers,
                ascent=ascent,
                machine=machine,
                on_download=on_download,
            )
            facts = asdict(pages)
    if facts.get("gone"):
        say(f"muster: {count(facts['gone'], 'photo')} cannot be shown: they are not there any more")
    if facts.get("silent"):
        say(f"muster: {facts['silent']} of {count(facts['units'], 'unit')} never fire in these photos")
    report(facts, as_json, f"open {facts['index']}")
