"""`muster train`: networks of Muster's own."""

from pathlib import Path
from typing import Annotated, Any

import typer

import muster
from muster.pipeline.cli.console import JsonOption, download_bar, report, skipped, training_progress
from muster.pipeline.cli.options import AddressOption, DeviceOption, WeightsOption


def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Recipe; any other word lists them.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for checkpoint, curves, model and card.")],
    images: Annotated[
        list[str], typer.Option("--images", metavar="SOURCE", help="Photos to learn from; may be repeated.")
    ] = [],  # noqa: B006
    label: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Their column that names who or what it is.", show_default="folder"),
    ] = None,
    labels: Annotated[
        list[str],
        typer.Option(
            "--labels",
            metavar="LABELS",
            help="For each --images: a folder of label images, or a COCO file; detector, quality: COCO files"
            " of people in --scenes. Repeatable.",
        ),
    ] = [],  # noqa: B006
    scenes: Annotated[
        list[str],
        typer.Option(
            "--scenes",
            metavar="SOURCE",
            help="detector: photos to put faces into; localise, yolo …: to draw over; quality: to find what is no face."
            " Repeatable.",
        ),
    ] = [],  # noqa: B006
    styles: Annotated[
        list[str],
        typer.Option(
            "--style", metavar="PICTURE", help="style-net: a picture whose style is learnt. Repeatable: mixed."
        ),
    ] = [],  # noqa: B006
    limit: Annotated[int | None, typer.Option(help="Take the first so many images.", show_default="all")] = None,
    steps: Annotated[int | None, typer.Option(help="Batches to train on.", show_default="the recipe's")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate.", show_default="the recipe's")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is random.", show_default="the recipe's")] = None,
    start: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An earlier training of this recipe, to begin with its weights.")
    ] = None,
    device: DeviceOption = "auto",
    workers: Annotated[int, typer.Option(help="Processes; more than one run in Ray Train, and need a shared DIR.")] = 1,
    address: AddressOption = None,
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a network of Muster's own. Stopped, it goes on from DIR's checkpoint when run again.

    Example: muster train embedder --images lfw.parquet --label person --out ./embedder
    """
    machine = muster.Machine(device=device, workers=workers, weights_dir=weights_dir, address=address)
    with training_progress() as on_report, skipped() as on_skipped, download_bar() as on_download:
        facts = muster.train(
            name,
            images,
            out,
            label=label,
            labels=labels,
            scenes=scenes,
            styles=styles,
            limit=limit,
            steps=steps,
            rate=rate,
            seed=seed,
            start=start,
            machine=machine,
            on_report=on_report,
            on_skipped=on_skipped,
            on_download=on_download,
        )
    report(facts, as_json, *_train_text(facts))


def _train_text(facts: dict[str, Any]) -> list[str]:
    lines = [f"{what}: {facts[what]}" for what in ("model", "card", "metrics")]
    lines.append(f"curves: {facts['curves'] or 'none, they need matplotlib: pip install matplotlib'}")
    return [*lines, *(f"{name}: {value}" for name, value in facts["measured"].items())]
