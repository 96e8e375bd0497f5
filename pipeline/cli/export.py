"""`muster export` and `muster overlay`: what tasks found, for other programs and for the eye."""

from pathlib import Path
from typing import Annotated

import typer

import muster
from muster.pipeline.cli.console import JsonOption, report, say
from muster.pipeline.cli.options import LIBRARY, LibraryOption, TrustOption
from muster.web.words import count

SourceOption = Annotated[
    list[str],
    typer.Option(
        "--model",
        metavar="TASK=NAME",
        help="Rows of this model, or of the fingerprint that `muster status` shows; may be repeated.",
        show_default="those of the model that the library was last run with by name, else those that cover most images",
    ),
]


def export(
    format: Annotated[
        str,
        typer.Option(
            "--format", help="coco, csv, yolo or labelme; with the photos webdataset, parquet, lance or fiftyone."
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="PATH", help="New file; for all but coco and csv a new or empty folder.")
    ],
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    tasks: Annotated[
        str, typer.Option(help="Tasks whose finds have places, with commas: objects, masks, faces. yolo takes one.")
    ] = "objects",
    model: SourceOption = [],  # noqa: B006
    min_score: Annotated[float, typer.Option(help="Least score of what is written, from 0 to 1.")] = 0.0,
    crops: Annotated[
        bool, typer.Option("--crops", help="With the photos: what was found, cut out of them, instead.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write boxes and masks for other programs, or photos with their rows as a data set for training elsewhere.

    Left out are photos that could not be read, or not by each task.

    Example: muster export --format coco --tasks masks --out masks.json -l ./library
    """
    from muster.pipeline.cli.parse import parse_sources, parse_tasks

    chosen = parse_tasks(tasks)
    models = parse_sources(model, chosen)
    facts = muster.open(library, trust=trust).export(
        format, out, chosen, models=models, min_score=min_score, crops=crops
    )
    if facts["pending"]:
        say(
            f"muster: not in it: {count(facts['pending'], 'image')} not processed yet; `muster run --tasks"
            f" {','.join(chosen)}` first does them"
        )
    for photo in facts["left_out"]:
        say(f"muster: left out {photo['uri']}: {photo['error']}")
    found, errors = _found(facts["annotations"], facts["images"], "image"), count(facts["errors"], "image")
    named = f", {len(facts['left_out'])} that cannot be read or written" if facts["left_out"] else ""
    report(facts, as_json, f"{facts['out']}: {found}; left out: {errors} with errors{named}")


def overlay(
    out: Annotated[Path, typer.Option(metavar="DIR", help="New or empty folder for the pictures.")],
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    tasks: Annotated[str, typer.Option(help="Tasks to draw, with commas.", show_default="what the library has")] = "",
    sample: Annotated[int, typer.Option(help="Number of photos.")] = 24,
    seed: Annotated[int, typer.Option(help="Another number, other photos.")] = 0,
    model: SourceOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Draw boxes, masks and faces into copies of some photos, to look at. Start with overview.jpg.

    Example: muster overlay --out ./look -l ./library
    """
    from muster.pipeline.cli.parse import parse_sources, parse_tasks
    from muster.tasks import registry

    chosen = parse_tasks(tasks)
    models = parse_sources(model, chosen or registry.names())
    facts = muster.open(library, trust=trust).overlay(out, chosen, models=models, sample=sample, seed=seed)
    for photo in facts["unreadable"]:
        say(f"muster: left out {photo['uri']}: {photo['error']}")
    report(facts, as_json, f"{facts['overview']}: {_found(facts['things'], facts['images'], 'photo')}")


def _found(finds: int, images: int, noun: str) -> str:
    return f"{count(finds, 'find')} in {count(images, noun)}"
