"""`muster models`: the networks Muster knows, and their weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import muster
from muster.pipeline.cli.console import JsonOption, columns, download_bar, report, say, wrapped
from muster.pipeline.cli.options import WeightsOption

if TYPE_CHECKING:
    from muster.storage.hub_names import Published

models_app = typer.Typer(no_args_is_help=True, help="The networks Muster knows, and their weights.")


@models_app.command("list")
def models_list(weights_dir: WeightsOption = None, as_json: JsonOption = False) -> None:
    """The networks of each task and of none, with licence, training data and where their weights are; --json has files.

    Example: muster models list
    """
    rows = muster.models.entries(weights_dir)
    table = [("MODEL", "ROLE", "WEIGHTS", "LICENCE", "WHERE")]
    table += [(_model(r), r["role"] or "–", r["name"], r["licence"], _where(r)) for r in rows]
    data: dict[str, dict[str, None]] = {}  # what it was trained on → weights
    for r in rows:
        data.setdefault(r["training_data"], {})[r["name"]] = None
    trained = [f"{', '.join(names)}: {what}" for what, names in data.items()]
    own = {r["name"]: r["how"] for r in rows if r["how"]}
    lines = [*columns(table), "", "* taken where no model is named, of a library without rows of another", ""]
    lines += ["Trained on", *wrapped(trained)]
    if own:
        lines += ["", "Weights that you give with --weights", *wrapped(f"{name}: {how}" for name, how in own.items())]
    report({"models": rows}, as_json, *lines)


def _model(row: dict[str, Any]) -> str:
    return f"{row['task']}={row['model']}{'*' * row['default']}" if row["task"] else "–"


def _where(row: dict[str, Any]) -> str:
    if row["how"]:
        return "yours"
    if row["name"].startswith("hf:"):
        return "here" if row["path"] else "to pin"
    if row["path"]:
        return "shipped" if row["packaged"] else "here"
    return "missing: install Muster again" if row["packaged"] else "to download"


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


@models_app.command("pin")
def models_pin(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Of the list, such as dfine-n, or hf:ORG/NAME[@REVISION].")
    ],
    as_json: JsonOption = False,
) -> None:
    """Download published models, and note which revision that was: from then on, it is the model of this name.

    Its licence is shown before. Needs a network; without one, name the folder of a model: --model TASK=hf:FOLDER.

    Example: muster models pin dfine-n
    """

    def tell(found: "Published") -> None:
        licence = found.licence or "not stated"
        say(f"{found.name} at {found.revision[:12]}: licence {licence}, {found.bytes / 1e6:.1f} MB")

    with download_bar() as on_download:
        pinned = [muster.models.pin(name, on_found=tell, on_download=on_download) for name in names]
    report({"models": pinned}, as_json, *("{name}: {path}".format_map(each) for each in pinned))


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
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What a training of yours wrote.", show_default="its own")
    ] = None,
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a network as ONNX, for phones and other devices.

    Example: muster models export mobilefacenet --out mobilefacenet.onnx
    """
    with download_bar() as on_download:
        facts = muster.models.export(name, out, weights=weights, weights_dir=weights_dir, on_download=on_download)
    report(facts, as_json, "{path}: {bytes} bytes, opset {opset}, {input} to {outputs}".format_map(facts))
