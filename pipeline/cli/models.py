"""`muster models`: the networks Muster knows, and their weights."""

from pathlib import Path
from typing import Annotated

import typer

import muster
from muster.pipeline.cli.console import JsonOption, download_bar, report
from muster.pipeline.cli.options import WeightsOption

models_app = typer.Typer(no_args_is_help=True, help="The networks Muster knows, and their weights.")


@models_app.command("list")
def models_list(weights_dir: WeightsOption = None, as_json: JsonOption = False) -> None:
    """The models of each task, with licence, training data and where their weights are.

    Example: muster models list
    """
    rows = muster.models.entries(weights_dir)
    lines = [
        f"{r['task']}={r['model']} {r['role']}: {r['name']}, {r['licence']}, trained on {r['training_data']}, "
        f"{r['path'] or r['how'] or ('missing: install Muster again' if r['packaged'] else 'not here yet')}"
        for r in rows
    ]
    report({"models": rows}, as_json, *lines)


@models_app.command("pull")
def models_pull(
    names: Annotated[list[str] | None, typer.Argument(help="Weights to fetch.", show_default="all")] = None,
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download weights into the cache, verified by their SHA-256. Those that are shipped with Muster are only checked.

    Example: muster models pull mobilefacenet
    """
    from muster.pipeline.work.weights import find_entry

    with download_bar() as on_download:
        paths = muster.models.pull(*(names or ()), weights_dir=weights_dir, on_download=on_download)
    shipped = {name: ", shipped with Muster" if find_entry(name).packaged else "" for name in paths}
    report({"paths": paths}, as_json, *(path + shipped[name] for name, path in paths.items()))


@models_app.command("verify")
def models_verify(weights_dir: WeightsOption = None, as_json: JsonOption = False) -> None:
    """Check the SHA-256 of all weights that are here; exit code 1 where one is wrong.

    Example: muster models verify
    """
    states = muster.models.verify(weights_dir)
    report({"models": states}, as_json, *(f"{name}: {state}" for name, state in states.items()))
    if "wrong" in states.values():
        raise typer.Exit(1)


@models_app.command("export")
def models_export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Weights, as `muster models list` names them.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="File to write.", show_default="NAME.onnx")] = None,
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a network as ONNX, for phones and other devices.

    Example: muster models export mobilefacenet --out mobilefacenet.onnx
    """
    with download_bar() as on_download:
        facts = muster.models.export(name, out, weights_dir=weights_dir, on_download=on_download)
    report(facts, as_json, "{path}: {bytes} bytes, opset {opset}, {input} to {outputs}".format_map(facts))
