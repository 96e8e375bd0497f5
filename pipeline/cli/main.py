"""The `muster` command."""

import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from muster.errors import MusterError
from muster.pipeline.cli import export as cli_export
from muster.pipeline.cli import gallery
from muster.pipeline.cli.console import (
    JsonOption,
    download_bar,
    interrupted,
    prepare,
    progress,
    report,
    say,
    say_traceback,
    skipped,
    training_progress,
)
from muster.pipeline.cli.evaluate import evaluate_app
from muster.pipeline.cli.jobs import jobs_app
from muster.pipeline.cli.jobs import submit as submit_command
from muster.pipeline.cli.options import (
    LIBRARY,
    TASKS,
    AddressOption,
    ClassesOption,
    DeviceOption,
    FollowLinksOption,
    KOption,
    LibraryOption,
    MethodOption,
    MinScoreOption,
    ModelOption,
    RetryOption,
    SamePhotoOption,
    SharedOption,
    SourcesArgument,
    TasksOption,
    TrustOption,
    WeightsFileOption,
    WeightsOption,
    WorkersOption,
    chosen,
)
from muster.pipeline.cli.wording import worded
from muster.storage.encryption import key_of
from muster.storage.library import MARKER, open_library

if TYPE_CHECKING:
    from muster.pipeline.work.config import RunConfig

# torch, ray and faiss take seconds to import: the commands that need them import them, so that --help answers at once.


def _interrupt(number: int, frame: object) -> None:
    interrupted.set()
    signal.signal(number, signal.SIG_DFL)  # a second one ends at once
    raise KeyboardInterrupt  # anything else that is raised inside Ray's compiled code becomes a SystemError


def main() -> None:
    """Run the command; what a user can cause ends as one line and an exit code: 2 for bad input, 130 for Ctrl-C."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    prepare()
    try:
        code = app(standalone_mode=False)  # else typer prints what a command line holds, and Ctrl-C, in its own way
        if code == 130:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except KeyboardInterrupt:
        say("muster: stopped. What was done is kept: run the same command again to go on")
        os._exit(130)  # by the door: after an interrupted wait Ray crashed 2 of 30 times as the interpreter ended
    except MusterError as error:
        _fail(worded(error, typer.main.get_command(app)), error.exit_code)
    except TyperException as error:
        _misused(error)
    except OSError as error:  # of the disk or the network, where nobody nearer knew what to say
        _fail(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "), 1)
    except UnicodeEncodeError as error:  # of a path, where a library takes no bytes that are not UTF-8
        _fail(f"{error.object[:200]} is not UTF-8: give another name", 2)
    except Exception:
        say_traceback()
        sys.exit(1)


def _misused(error: Any) -> NoReturn:
    """What typer says of a command line; no text where it has shown the help."""
    command = error.ctx.command_path if error.ctx else "muster"
    if text := error.format_message():
        say(f"muster: {text.rstrip('.')}: see `{command} --help`")
    sys.exit(error.exit_code)


def _fail(text: str, code: int) -> NoReturn:
    say(f"muster: {text}")
    sys.exit(code)


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Who and what is in a collection of photos.",
)
models_app = typer.Typer(no_args_is_help=True, help="The networks Muster knows, and their weights.")
app.add_typer(models_app, name="models")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(jobs_app, name="jobs")
app.add_typer(gallery.audit_app, name="audit")


@app.command()
def scan(
    sources: SourcesArgument,
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    follow_links: FollowLinksOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find images and note them in the library's manifest; a later scan finds what is new, changed or gone.

    Example: muster scan ~/Pictures 's3://bucket/photos/' -l ./library
    """
    facts = _scan(library, sources, follow_links)
    report(facts, as_json, "{found} images: {new} new, {changed} changed, {gone} gone".format_map(facts))


@app.command()
def run(
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    tasks: TasksOption = TASKS,
    model: ModelOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    address: AddressOption = None,
    retry_errors: RetryOption = False,
    shared_library: SharedOption = False,
    classes: ClassesOption = "",
    min_score: MinScoreOption = None,
    weights: WeightsFileOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Process every image that the tasks have not seen yet. Stop it and run it again as often as you like.

    Example: muster run -l ./library --tasks faces --workers 4
    """
    from muster.pipeline.work.config import RunConfig
    from muster.pipeline.work.machine import Machine

    machine = Machine(device=device, workers=workers, weights_dir=weights_dir, address=address, shared=shared_library)
    choices = chosen(tasks, model, weights, classes, min_score)
    facts = _run(RunConfig(library=library, choices=choices, machine=machine, retry_errors=retry_errors))
    report(facts, as_json, *_run_text(facts))


@app.command()
def cluster(
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    method: MethodOption = "graph",
    k: KOption = "auto",
    same_photo: SamePhotoOption = False,
    model: ModelOption = [],  # noqa: B006
    address: AddressOption = None,
    shared_library: SharedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find out which faces are one person. Ids of people stay when photos are added.

    Example: muster cluster -l ./library
    """
    facts = _cluster(library, method, k, same_photo, model, address, shared_library)
    report(facts, as_json, _CLUSTER_TEXT.format_map(facts))


@app.command()
def people(
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the pages.", show_default="LIBRARY/people")] = None,
    model: ModelOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Write the people pages: a site that opens from disk, without a server.

    Example: muster people -l ./library --out ~/people
    """
    facts = _people(library, out, model)
    report(facts, as_json, _PEOPLE_TEXT.format_map(facts))


@app.command()
def photos(
    sources: SourcesArgument,
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the pages.", show_default="LIBRARY/people")] = None,
    method: MethodOption = "graph",
    k: KOption = "auto",
    same_photo: SamePhotoOption = False,
    tasks: TasksOption = TASKS,
    model: ModelOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    follow_links: FollowLinksOption = False,
    as_json: JsonOption = False,
) -> None:
    """Photos in, people pages out: scan, run, cluster and people in one. The JSON has each step's under its name.

    With the tasks objects and scenes too, the pages have filters: with a dog, at night.

    Example: muster photos ~/Pictures
    """
    from muster.pipeline.work.config import RunConfig
    from muster.pipeline.work.machine import Machine

    _check_out(library, out)
    _check_cluster(method, k, same_photo, model)
    _check_tasks(tasks)
    machine = Machine(device=device, workers=workers, weights_dir=weights_dir)
    config = RunConfig(library=library, choices=chosen(tasks, model), machine=machine)
    steps = {"scan": _scan(library, sources, follow_links)}
    say(f"{steps['scan']['found']} images, {steps['scan']['new']} of them new")
    steps["run"] = _run(config)
    steps["cluster"] = _cluster(library, method, k, same_photo, model, None, False)
    steps["pages"] = _people(library, out, model)
    facts = {
        **{name: steps["run"][name] for name in ("images", "ok", "errors", "faces")},
        "people": steps["cluster"]["people"],
        "index": steps["pages"]["index"],
        **steps,
    }
    texts = [*_run_text(steps["run"]), _CLUSTER_TEXT.format_map(steps["cluster"])]
    report(facts, as_json, *texts, _PEOPLE_TEXT.format_map(steps["pages"]))


@app.command()
def status(library: LibraryOption = LIBRARY, trust: TrustOption = False, as_json: JsonOption = False) -> None:
    """What a library holds, and what is still to be done.

    Example: muster status -l ./library
    """
    from muster.pipeline.status import status as status_of

    facts = status_of(open_library(library))
    lines = [
        "{images} images in {shards} shards: {ok} ok, {errors} errors, {pending} not processed yet".format_map(facts)
    ]
    lines += [
        f"{t['task']} ({t['model'] or 'no model'}, {t['fingerprint']}):"
        f" {t['rows']} rows, {t['errors']} errors, {t['shards']} shards done"
        for t in facts["tables"]
    ]
    if facts["scan_interrupted"]:
        lines.append("a scan was interrupted: scan again, or any other command puts it in order")
    report(facts, as_json, *lines)


@app.command()
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
            help="detector: photos to put faces into; quality: to find what is no face. Repeatable.",
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
    from muster.pipeline.train import train as train_recipe
    from muster.pipeline.work.machine import Machine
    from muster.pipeline.work.training import Training
    from muster.training.inputs import Inputs

    inputs = Inputs(
        images=images, out=out, label=label, labels=labels, scenes=scenes, limit=limit, steps=steps, rate=rate,
        seed=seed, start=start,
    )  # fmt: skip
    machine = Machine(device=device, workers=workers, weights_dir=weights_dir, address=address)
    training = Training(recipe=name, inputs=inputs, machine=machine)
    with training_progress() as on_report, skipped() as on_skipped, download_bar() as on_download:
        facts = train_recipe(training, on_report, on_skipped, on_download)
    report(facts, as_json, *_train_text(facts))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to fill.")], as_json: JsonOption = False
) -> None:
    """Make an album of public-domain photographs to try Muster on.

    Example: muster demo ./demo
    """
    from muster.storage.demo import make_album

    make_album(folder)
    report({"folder": str(folder)}, as_json, f"an album is in {folder}: try `muster photos {folder}`")


for command in (
    gallery.enroll,
    gallery.calibrate,
    gallery.verify,
    gallery.identify,
    gallery.forget,
    gallery.decrypt,
    *(cli_export.export, cli_export.overlay),
):
    app.command()(command)
app.command("submit", context_settings={"allow_interspersed_args": False})(submit_command)


@models_app.command("list")
def models_list(weights_dir: WeightsOption = None, as_json: JsonOption = False) -> None:
    """The models of each task, with licence, training data and where their weights are.

    Example: muster models list
    """
    from muster.pipeline.work import weights as models

    rows = models.describe_all(weights_dir)
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
    from muster.pipeline.work import weights as models

    with download_bar() as on_download:
        paths = models.pull(names, weights_dir, on_download)
    shipped = {name: ", shipped with Muster" if models.find_entry(name).packaged else "" for name in paths}
    report({"paths": paths}, as_json, *(path + shipped[name] for name, path in paths.items()))


@models_app.command("verify")
def models_verify(weights_dir: WeightsOption = None, as_json: JsonOption = False) -> None:
    """Check the SHA-256 of all weights that are here; exit code 1 where one is wrong.

    Example: muster models verify
    """
    from muster.pipeline.work import weights as models

    states = models.verify(weights_dir)
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
    from muster.pipeline.onnx import export

    with download_bar() as on_download:
        facts = export(name, out, weights_dir, on_download)
    report(facts, as_json, "{path}: {bytes} bytes, opset {opset}, {input} to {outputs}".format_map(facts))


_CLUSTER_TEXT = "people: {people}; faces: {clustered} of them, {unclustered} of nobody known"
_PEOPLE_TEXT = "open {index}"


def _run_text(facts: dict[str, Any]) -> list[str]:
    text = "{images} images: {ok} ok, {errors} errors"
    if facts["faces"] is not None:
        text += ", {faces} faces"
    lines = [text + "; {processed} now at {images_per_second} images/s"]
    if facts["transient"]:
        lines.append(
            "{transient} errors may have passed: `muster run --retry-errors` with the same --tasks tries again"
        )
    return [line.format_map(facts) for line in lines]


def _scan(library: str, sources: list[str], follow_links: bool) -> dict[str, Any]:
    from muster.pipeline import forget
    from muster.storage import manifest

    opened = open_library(library, create=True)
    with forget.locked(opened):
        result = asdict(manifest.scan(opened, sources, follow_links))
    for folder in result["unreadable"]:
        say(f"muster: cannot list {folder}: what is in it was left out")
    for folder, links in result["links_out"].items():
        say(f"muster: {links} links lead out of {folder} and were left out: --follow-links takes them in")
    for file, rows in result["large_groups"].items():
        say(f"muster: {file} holds {rows} images in one row group, which is slow: write it with row_group_size=256")
    return result


def _run(config: "RunConfig") -> dict[str, Any]:
    from muster.pipeline.run import run

    with progress() as on_progress, download_bar() as on_download:
        return asdict(run(config, on_progress, on_download))


def _cluster(
    library: str, method: str, k: str, same_photo: bool, model: list[str], address: str | None, shared: bool
) -> dict[str, Any]:
    from muster.pipeline import forget
    from muster.pipeline.people.grouping import cluster_faces
    from muster.pipeline.work.machine import Machine

    count, name = _check_cluster(method, k, same_photo, model)
    opened = open_library(library)
    machine = Machine(address=address, shared=shared)
    with forget.locked(opened):
        return asdict(cluster_faces(opened, name, method, count, same_photo, machine))


def _check_cluster(method: str, k: str, same_photo: bool, model: list[str]) -> tuple[int | None, str | None]:
    """Number of people and model of faces."""
    from muster.pipeline.people.grouping import check_method, parse_k
    from muster.pipeline.work.config import parse_models

    count = parse_k(k)
    check_method(method, count, same_photo)
    return count, parse_models(model).get("faces")


def _people(library: str, out: Path | None, model: list[str]) -> dict[str, Any]:
    from muster.pipeline import forget
    from muster.pipeline.people.pages import write_people
    from muster.pipeline.work.config import parse_models

    opened, name = open_library(library), parse_models(model).get("faces")
    folder = _check_out(library, out)
    with forget.locked(opened):
        summary = write_people(opened, name, folder)
    return {**asdict(summary), "out": str(folder), "index": (folder / "index.html").absolute().as_uri()}


def _check_tasks(tasks: str) -> None:
    from muster.errors import InputError
    from muster.pipeline.work.config import DEFAULT_TASKS, parse_tasks

    if missing := [name for name in DEFAULT_TASKS if name not in parse_tasks(tasks)]:
        raise InputError(f"--tasks {tasks}: the people pages need {' and '.join(missing)} too")


def _check_out(library: str, out: Path | None) -> Path:
    from muster.errors import InputError

    if out is None and "://" in library:
        raise InputError(f"library {library} is not on this machine: say with --out where the pages go")
    folder = out.expanduser() if out is not None else Path(library).expanduser() / "people"
    there = (Path(library).expanduser() / MARKER).is_file()
    key = open_library(library).key if there else key_of(os.environ)
    if key is not None and folder.resolve().is_relative_to(Path(library).expanduser().resolve()):
        raise InputError(
            f"library {library} is encrypted, and pages with copies of its photos are not: say with --out in which"
            " folder outside of it they go"
        )
    return folder


def _train_text(facts: dict[str, Any]) -> list[str]:
    lines = [f"{what}: {facts[what]}" for what in ("model", "card", "metrics")]
    lines.append(f"curves: {facts['curves'] or 'none, they need matplotlib: pip install matplotlib'}")
    return [*lines, *(f"{name}: {value}" for name, value in facts["measured"].items())]


if __name__ == "__main__":
    main()
