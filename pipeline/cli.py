"""The `muster` command. Only this file and console.py print."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from pipeline.cli_jobs import jobs_app
from pipeline.cli_jobs import submit as submit_command
from pipeline.console import JsonOption
from pipeline.console import report as _report
from pipeline.console import say as _say
from storage.errors import MusterError
from storage.library import open_library

# torch, ray and faiss take seconds to import: the commands that need them import them, so that --help answers at once.


_interrupted = threading.Event()


def _interrupt(number: int, frame: object) -> None:
    _interrupted.set()
    signal.signal(number, signal.SIG_DFL)  # a second one ends at once
    raise KeyboardInterrupt  # anything else that is raised inside Ray's compiled code becomes a SystemError


def main() -> None:
    """Run the command; what a user can cause ends as one line and an exit code: 2 for bad input, 130 for Ctrl-C."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SystemExit) and stop.code != 130:  # what typer makes of Ctrl-C
            raise
        _say("muster: stopped. What was done is kept: run the same command again to go on")
        os._exit(130)  # by the door: after an interrupted wait Ray crashed 2 of 30 times as the interpreter ended
    except MusterError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:  # of the disk or the network, where nobody nearer knew what to say
        _fail(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "), 1)
    except ValueError as error:
        if type(error).__name__ != "TaskError":  # tasks.base is not imported here: it brings torch
            raise
        _fail(str(error), 2)


def _fail(text: str, code: int) -> NoReturn:
    print(f"muster: {text}", file=sys.stderr)
    sys.exit(code)


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Who and what is in a collection of photos.",
)
models_app = typer.Typer(no_args_is_help=True, help="The networks Muster knows, and their weights.")
evaluate_app = typer.Typer(no_args_is_help=True, help="Accuracy on labelled photos.")
app.add_typer(models_app, name="models")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(jobs_app, name="jobs")
app.command("submit", context_settings={"allow_interspersed_args": False})(submit_command)

LibraryOption = Annotated[
    str, typer.Option("--library", "-l", envvar="MUSTER_LIBRARY", help="Folder or bucket URI of the library.")
]
ModelOption = Annotated[
    list[str],
    typer.Option("--model", metavar="TASK=NAME", help="Model of a task; may be repeated. See `muster models list`."),
]
WeightsOption = Annotated[
    Path | None, typer.Option("--weights-dir", envvar="MUSTER_WEIGHTS", help="Folder to look for weights in first.")
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, or auto: cuda where there is one.")]
WorkersOption = Annotated[int | None, typer.Option(help="Number of workers.", show_default="one per GPU or core")]
AddressOption = Annotated[
    str | None, typer.Option(envvar="RAY_ADDRESS", help="A running Ray cluster.", show_default="this machine alone")
]
RetryOption = Annotated[
    bool, typer.Option("--retry-errors", help="Try again what could not be reached, crashed, or ran out of memory.")
]
TasksOption = Annotated[str, typer.Option(help="Tasks to run, with commas.")]
SourcesArgument = Annotated[
    list[str], typer.Argument(metavar="SOURCE", help="Folders, globs, files or Parquet manifests; local or any URI.")
]
MethodOption = Annotated[
    str, typer.Option(help="graph: finds the number of people. kmeans: see --k; knows nothing of photos or quality.")
]
KOption = Annotated[str, typer.Option(help="Number of people for kmeans, or auto.")]
SamePhotoOption = Annotated[
    bool, typer.Option("--same-photo", help="graph: two faces of one photo may be one person (collages).")
]
LIBRARY, TASKS = "./library", "faces,previews"


@app.command()
def scan(sources: SourcesArgument, library: LibraryOption = LIBRARY, as_json: JsonOption = False) -> None:
    """Find images and note them in the library's manifest; a later scan finds what is new, changed or gone.

    Example: muster scan ~/Pictures 's3://bucket/photos/' -l ./library
    """
    facts = _scan(library, sources)
    _report(facts, as_json, "{found} images: {new} new, {changed} changed, {gone} gone".format_map(facts))


@app.command()
def run(
    library: LibraryOption = LIBRARY,
    tasks: TasksOption = TASKS,
    model: ModelOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    address: AddressOption = None,
    retry_errors: RetryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Process every image that the tasks have not seen yet. Stop it and run it again as often as you like.

    Example: muster run -l ./library --tasks faces --workers 4
    """
    facts = _run(library, tasks, model, device, workers, weights_dir, address, retry_errors)
    _report(facts, as_json, _run_text(facts))


@app.command()
def cluster(
    library: LibraryOption = LIBRARY,
    method: MethodOption = "graph",
    k: KOption = "auto",
    same_photo: SamePhotoOption = False,
    model: ModelOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Find out which faces are one person. Ids of people stay when photos are added.

    Example: muster cluster -l ./library
    """
    facts = _cluster(library, method, k, same_photo, model)
    _report(facts, as_json, _CLUSTER_TEXT.format_map(facts))


@app.command()
def people(
    library: LibraryOption = LIBRARY,
    out: Annotated[Path | None, typer.Option(help="Folder for the pages.", show_default="LIBRARY/people")] = None,
    model: ModelOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Write the people pages: a site that opens from disk, without a server.

    Example: muster people -l ./library --out ~/people
    """
    facts = _people(library, out, model)
    _report(facts, as_json, _PEOPLE_TEXT.format_map(facts))


@app.command()
def photos(
    sources: SourcesArgument,
    library: LibraryOption = LIBRARY,
    out: Annotated[Path | None, typer.Option(help="Folder for the pages.", show_default="LIBRARY/people")] = None,
    method: MethodOption = "graph",
    k: KOption = "auto",
    same_photo: SamePhotoOption = False,
    model: ModelOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Photos in, people pages out: scan, run, cluster and people in one. The JSON has each step's under its name.

    Example: muster photos ~/Pictures
    """
    _check_out(library, out)
    _check_cluster(method, k, same_photo, model)
    _config(library, TASKS, model, device, workers, weights_dir, None)
    steps = {"scan": _scan(library, sources)}
    _say(f"{steps['scan']['found']} images, {steps['scan']['new']} of them new")
    steps["run"] = _run(library, TASKS, model, device, workers, weights_dir, None)
    steps["cluster"] = _cluster(library, method, k, same_photo, model)
    steps["pages"] = _people(library, out, model)
    facts = {
        **{name: steps["run"][name] for name in ("images", "ok", "errors", "faces")},
        "people": steps["cluster"]["people"],
        "index": steps["pages"]["index"],
        **steps,
    }
    texts = [_run_text(steps["run"]), _CLUSTER_TEXT.format_map(steps["cluster"])]
    _report(facts, as_json, "\n".join([*texts, _PEOPLE_TEXT.format_map(steps["pages"])]))


@app.command()
def status(library: LibraryOption = LIBRARY, as_json: JsonOption = False) -> None:
    """What a library holds, and what is still to be done.

    Example: muster status -l ./library
    """
    from pipeline.status import status as status_of

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
    _report(facts, as_json, "\n".join(lines))


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
    scenes: Annotated[
        list[str],
        typer.Option("--scenes", metavar="SOURCE", help="detector: photos to put faces into. Repeatable."),
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
    from pipeline.train import Training
    from pipeline.train import train as train_recipe
    from training import recipes
    from training.inputs import Inputs

    recipe = recipes.find(name)
    inputs = Inputs(images, out, label, scenes, limit=limit, steps=steps, rate=rate, seed=seed, start=start)
    training = Training(name, recipe.build, recipe.teachers, inputs, device, workers, weights_dir, address)
    with _training_progress() as on_report, _skipped() as on_skipped, _download_bar() as on_download:
        facts = train_recipe(training, on_report, on_skipped, on_download)
    _report(facts, as_json, _train_text(facts))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to fill.")], as_json: JsonOption = False
) -> None:
    """Make an album of public-domain photographs to try Muster on.

    Example: muster demo ./demo
    """
    from storage.demo import make_album

    make_album(folder)
    _report({"folder": str(folder)}, as_json, f"an album is in {folder}: try `muster photos {folder}`")


@models_app.command("list")
def models_list(weights_dir: WeightsOption = None, as_json: JsonOption = False) -> None:
    """The models of each task, with licence, training data and where their weights are.

    Example: muster models list
    """
    from pipeline import models

    rows = models.describe_all(weights_dir)
    lines = [
        f"{r['task']}={r['model']} {r['role']}: {r['name']}, {r['licence']}, trained on {r['training_data']}, "
        f"{r['path'] or ('missing: install Muster again' if r['packaged'] else 'not here yet')}"
        for r in rows
    ]
    _report({"models": rows}, as_json, "\n".join(lines))


@models_app.command("pull")
def models_pull(
    names: Annotated[list[str] | None, typer.Argument(help="Weights to fetch.", show_default="all")] = None,
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download weights into the cache, verified by their SHA-256. Those that are shipped with Muster are only checked.

    Example: muster models pull mobilefacenet
    """
    from pipeline import models

    with _download_bar() as on_download:
        paths = models.pull(names, weights_dir, on_download)
    shipped = {name: ", shipped with Muster" if models.find_entry(name).packaged else "" for name in paths}
    _report({"paths": paths}, as_json, "\n".join(path + shipped[name] for name, path in paths.items()))


@models_app.command("verify")
def models_verify(weights_dir: WeightsOption = None, as_json: JsonOption = False) -> None:
    """Check the SHA-256 of all weights that are here; exit code 1 where one is wrong.

    Example: muster models verify
    """
    from pipeline import models

    states = models.verify(weights_dir)
    _report({"models": states}, as_json, "\n".join(f"{name}: {state}" for name, state in states.items()))
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
    from pipeline.export import export

    with _download_bar() as on_download:
        facts = export(name, out, weights_dir, on_download)
    _report(facts, as_json, "{path}: {bytes} bytes, opset {opset}, {input} to {outputs}".format_map(facts))


ImagesOption = Annotated[str, typer.Option("--images", help="Labelled images: a Parquet file or any other source.")]
KeepOption = Annotated[
    str, typer.Option("--library", "-l", help="Library to keep the work in.", show_default="one that is thrown away")
]


@evaluate_app.command("verify")
def evaluate_verify(
    images: ImagesOption,
    pairs: Annotated[str, typer.Option(help="Pairs file in the layout of LFW's View 2.")],
    library: KeepOption = "",
    model: ModelOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is this the same person? Accuracy over labelled pairs, fold by fold.

    Example: muster evaluate verify --images lfw.parquet --pairs pairs.txt
    """
    from pipeline import evaluate

    config = _config(library, "faces", model, device, workers, weights_dir, None)
    with _progress() as on_progress:
        data = evaluate.labelled(images, config, on_progress, lambda rows: evaluate.check_pairs(rows, pairs))
    text = "accuracy {accuracy} ± {std} at {threshold}, {pairs} pairs, {undetected} images without a face"
    facts = evaluate.verify(data, pairs).as_json()
    _report(facts, as_json, text.format_map(facts))


@evaluate_app.command("cluster")
def evaluate_cluster(
    images: ImagesOption,
    label: Annotated[str, typer.Option(help="Column that names the person.")],
    library: KeepOption = "",
    k: KOption = "auto",
    model: ModelOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Are the clusters the people? Both methods over labelled photos.

    Example: muster evaluate cluster --images lfw.parquet --label person
    """
    from pipeline import evaluate
    from pipeline.people import parse_k

    count = parse_k(k)
    config = _config(library, "faces", model, device, workers, weights_dir, None)
    with _progress() as on_progress:
        data = evaluate.labelled(images, config, on_progress, lambda rows: evaluate.check_label(rows, label))
    results = evaluate.cluster(data, label, [("graph", None), ("kmeans", count)])
    text = "\n".join(
        f"{method}: pairwise F {r['pairwise_f1']}, BCubed F {r['bcubed_f1']},"
        f" {r['clusters']} clusters, {r['people']} people"
        for method, r in results.items()
    )
    _report({**results["graph"], **results, "undetected": data.undetected}, as_json, text)


_CLUSTER_TEXT = "people: {people}; faces: {clustered} of them, {unclustered} of nobody known"
_PEOPLE_TEXT = "open {index}"


def _run_text(facts: dict[str, Any]) -> str:
    text = "{images} images: {ok} ok, {errors} errors"
    if facts["faces"] is not None:
        text += ", {faces} faces"
    text += "; {processed} now at {images_per_second} images/s"
    if facts["transient"]:
        text += "\n{transient} of the errors may have passed: `muster run --retry-errors` tries them again"
    return text.format_map(facts)


def _config(
    library: str,
    tasks: str,
    model: list[str],
    device: str,
    workers: int | None,
    weights_dir: Path | None,
    address: str | None,
    retry: bool = False,
) -> Any:
    from pipeline.config import RunConfig, parse_models, parse_tasks

    return RunConfig(library, parse_tasks(tasks), parse_models(model), device, workers, weights_dir, address, retry)


def _scan(library: str, sources: list[str]) -> dict[str, Any]:
    from storage import manifest

    opened = open_library(library, create=True)
    with opened.lock():
        result = asdict(manifest.scan(opened, sources))
    for folder in result["unreadable"]:
        _say(f"muster: cannot list {folder}: what is in it was left out")
    return result


def _run(library: str, tasks: str, *rest: Any) -> dict[str, Any]:
    from pipeline.run import run

    config = _config(library, tasks, *rest)
    with _progress() as on_progress, _download_bar() as on_download:
        return asdict(run(config, on_progress, on_download))


def _cluster(library: str, method: str, k: str, same_photo: bool, model: list[str]) -> dict[str, Any]:
    from pipeline.people import cluster_faces

    count, name = _check_cluster(method, k, same_photo, model)
    opened = open_library(library)
    with opened.lock():
        return asdict(cluster_faces(opened, name, method, count, same_photo))


def _check_cluster(method: str, k: str, same_photo: bool, model: list[str]) -> tuple[int | None, str | None]:
    """Number of people and model of faces."""
    from pipeline.config import parse_models
    from pipeline.people import check_method, parse_k

    count = parse_k(k)
    check_method(method, count, same_photo)
    return count, parse_models(model).get("faces")


def _people(library: str, out: Path | None, model: list[str]) -> dict[str, Any]:
    from pipeline.config import parse_models
    from pipeline.people import write_people

    folder = _check_out(library, out)
    opened, name = open_library(library), parse_models(model).get("faces")
    with opened.lock():
        summary = write_people(opened, name, folder)
    return {**asdict(summary), "out": str(folder), "index": (folder / "index.html").absolute().as_uri()}


def _check_out(library: str, out: Path | None) -> Path:
    from storage.errors import InputError

    if out is None and "://" in library:
        raise InputError(f"library {library} is not on this machine: say with --out where the pages go")
    return out.expanduser() if out is not None else Path(library).expanduser() / "people"


@contextmanager
def _progress() -> Iterator[Any]:
    """Rate, time left, faces and errors so far: a bar on a terminal, else a plain line now and then; on stderr."""
    if not sys.stderr.isatty():
        yield _stoppable(_PlainProgress())
        return
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting workers", total=None)

        def show(p: Any) -> None:
            bar.update(task, total=p.total, completed=p.images, description=_line(p))

        yield _stoppable(show)


def _stoppable(show: Callable[[Any], None]) -> Callable[[Any], None]:
    """Raises KeyboardInterrupt once more where Python lost it: while Ray forks, what a signal raises is ignored."""

    def on_progress(p: Any) -> None:
        if _interrupted.is_set():
            raise KeyboardInterrupt
        show(p)

    return on_progress


class _PlainProgress:
    """A line at the start and at the end, and at most every ten seconds between."""

    def __init__(self) -> None:
        self.last = 0.0

    def __call__(self, p: Any) -> None:
        if time.monotonic() - self.last >= 10 or p.images >= p.total:
            self.last = time.monotonic()
            left = f", {(p.total - p.images) / p.rate:.0f} s left" if p.rate else ""
            _say(_line(p) + left)


def _line(p: Any) -> str:
    if not p.images:
        return f"{p.total} images to process, starting workers"
    return f"{p.images}/{p.total} images, {p.rate:.1f}/s, {p.faces} faces, {p.errors} errors"


@contextmanager
def _training_progress() -> Iterator[Any]:
    """Step, images per second, loss and time left: a bar on a terminal, else a plain line now and then; on stderr."""
    if not sys.stderr.isatty():
        yield _stoppable(_PlainTraining())
        return
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading images", total=None)

        def show(r: Any) -> None:
            bar.update(task, total=r.steps, completed=r.step, description=_training_line(r))

        yield _stoppable(show)


class _PlainTraining:
    """A line for the first report and the last, and at most every ten seconds between."""

    def __init__(self) -> None:
        self.first: tuple[float, int] | None = None
        self.last = 0.0

    def __call__(self, r: Any) -> None:
        now = time.monotonic()
        began, step = self.first = self.first or (now, r.step)
        if now - self.last >= 10 or r.step == r.steps:
            self.last = now
            pace = (now - began) / (r.step - step) if r.step > step else None
            _say(_training_line(r) + (f", {(r.steps - r.step) * pace:.0f} s left" if pace else ""))


def _training_line(r: Any) -> str:
    values = ", ".join(f"{name} {value:.4g}" for name, value in r.values.items())
    return f"step {r.step}/{r.steps}, {r.rate:.0f} images/s, {values}"


@contextmanager
def _skipped() -> Iterator[Any]:
    """Names the first images that cannot be used, and counts them all."""
    texts: list[str] = []

    def on_skipped(text: str) -> None:
        texts.append(text)
        if len(texts) <= 5:
            _say(f"left out: {text}")

    yield on_skipped
    if len(texts) > 5:
        _say(f"left out: {len(texts)} images in all")


def _train_text(facts: dict[str, Any]) -> str:
    lines = [f"{what}: {facts[what]}" for what in ("model", "card", "metrics")]
    lines.append(f"curves: {facts['curves'] or 'none, they need matplotlib: pip install muster[train]'}")
    return "\n".join([*lines, *(f"{name}: {value}" for name, value in facts["measured"].items())])


@contextmanager
def _download_bar() -> Iterator[Any]:
    """Bytes of weights fetched so far, in one line that is overwritten on a terminal."""

    def show(done: int, total: int | None) -> None:
        if sys.stderr.isatty():
            of = f" of {total / 1e6:.1f}" if total else ""
            print(f"\rweights: {done / 1e6:.1f}{of} MB ", end="", file=sys.stderr, flush=True)

    yield show


if __name__ == "__main__":
    main()
