"""`muster submit` and `muster jobs`: runs on a Ray cluster."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import muster
from muster.errors import InputError, JobError
from muster.pipeline.cli.console import JsonOption, pass_on, report, say

if TYPE_CHECKING:
    from muster.pipeline.distributed.jobs import Job, Request

# ray takes a second to import: muster.pipeline.distributed.jobs does when it connects, so that --help answers at once.

jobs_app = typer.Typer(no_args_is_help=True, help="Runs that were submitted to a Ray cluster.")

DashboardOption = Annotated[
    str,
    typer.Option(
        "--address",
        envvar=["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"],
        help="Dashboard of the cluster's head, http://HOST:PORT.",
        show_default="http://127.0.0.1:8265",
    ),
]
_ASIDE = ("library", "trust", "weights_dir", "address", "shared", "as_json")  # of run: no part of a job
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the job, as `muster jobs list` has it.")]


def submit(
    context: typer.Context,
    arguments: Annotated[
        list[str], typer.Argument(metavar="run [OPTIONS]", help="`run` and its options: see `muster run --help`.")
    ],
    address: DashboardOption = "auto",
    shared: Annotated[
        bool, typer.Option("--shared-library", help="The library's folder is one that all nodes of the cluster share.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not follow the job's log to its end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Have a Ray cluster do a `muster run`. Submitted again it is followed while it runs, and else goes on.

    Example: muster submit --address http://127.0.0.1:8265 -- run -l s3://bucket/library --workers 8
    """
    job, started = muster.jobs.submit(_request(context, arguments, shared), address)
    say(f"job {job.name} {'started' if started else 'runs already'}")
    if not no_wait:
        job = _follow(muster.jobs.Cluster(address), job, as_json)
    report({**asdict(job), "new": started}, as_json, _text(job))
    if job.status == "STOPPED":
        raise JobError(f"job {job.name} was stopped: submit it again to go on")
    if job.status == "FAILED":  # the command ends as the job did
        raise JobError(f"job {job.name} failed: {job.message}", max(1, job.exit_code or 1))


@jobs_app.command("list")
def jobs_list(address: DashboardOption = "auto", as_json: JsonOption = False) -> None:
    """The jobs of a cluster, the last attempt at each.

    Example: muster jobs list
    """
    last = {job.name: job for job in muster.jobs.Cluster(address).jobs()}
    report(
        {"jobs": [asdict(job) for job in last.values()]},
        as_json,
        *([_text(job) for job in last.values()] or ["no jobs"]),
    )


@jobs_app.command("status")
def jobs_status(name: NameArgument, address: DashboardOption = "auto", as_json: JsonOption = False) -> None:
    """How a job stands. What its library holds is said by `muster status`.

    Example: muster jobs status muster-0123456789ab
    """
    job = muster.jobs.Cluster(address).find(name)
    report(asdict(job), as_json, _text(job), *([job.message] if job.message else []))


@jobs_app.command("logs")
def jobs_logs(
    name: NameArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the job ends.")] = False,
    address: DashboardOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """What a job has printed. With --json it goes to stderr.

    Example: muster jobs logs -f muster-0123456789ab
    """
    cluster = muster.jobs.Cluster(address)
    job = cluster.find(name)
    if follow:
        job = _follow(cluster, job, as_json)
    else:
        pass_on(cluster.logs(job), as_json)
    if as_json:
        report(asdict(job), as_json)


@jobs_app.command("stop")
def jobs_stop(name: NameArgument, address: DashboardOption = "auto", as_json: JsonOption = False) -> None:
    """Stop a job. What it has done is kept: submit it again to go on.

    Example: muster jobs stop muster-0123456789ab
    """
    cluster = muster.jobs.Cluster(address)
    job = cluster.find(name)
    job = job if job.over else cluster.stop(job)
    report(asdict(job), as_json, _text(job))


def _request(context: typer.Context, arguments: list[str], shared: bool) -> "Request":
    """The arguments read as `muster run` reads them, so that what is wrong with them is said here."""
    from muster.pipeline.cli.parse import parse_weights

    root: Any = context.find_root().command
    if arguments[0] != "run":
        raise InputError(
            f"muster submit {arguments[0]}: only `muster run` can be submitted: muster submit -- run [OPTIONS]"
        )
    command = root.get_command(context, "run")
    given = command.make_context("run", arguments[1:])
    typed = {p.name: given.get_parameter_source(p.name).name == "COMMANDLINE" for p in command.params}
    if typed["address"]:
        raise InputError("muster submit -- run --address: the address belongs before --, to submit")
    if typed["trace"]:
        raise InputError("muster submit -- run --trace: a job keeps no file for you; `muster run --address` writes one")
    values = {p.name: given.params[p.name] if typed[p.name] else p.default for p in command.params}
    folder = _absolute(str(values["weights_dir"])) if values["weights_dir"] else None
    identity = {name: values[name] for name in values.keys() - set(_ASIDE)}
    weights = {task: str(file) for task, file in parse_weights(values["weights"]).items()}
    library = _absolute(given.params["library"])
    shared = shared or bool(values["shared"])
    return muster.jobs.Request(
        library=library,
        options=tuple(arguments[1:]),
        identity={**identity, "weights_dir": folder, "weights": weights},
        weights_dir=folder,
        weights=weights,
        shared_library=shared,
    )


def _absolute(uri: str) -> str:
    from muster.storage.uris import local_path

    path = local_path(uri)
    return uri.rstrip("/") if path is None else str(Path(path).expanduser().absolute())


def _follow(cluster: Any, job: "Job", as_json: bool) -> "Job":
    try:
        return cluster.follow(
            job,
            lambda: say(f"following job {job.name}; Ctrl-C leaves it running"),
            lambda text: pass_on(text, as_json),
        )
    except KeyboardInterrupt:
        raise JobError(
            f"job {job.name} goes on: `muster jobs logs -f {job.name}` follows it,"
            f" `muster jobs stop {job.name}` stops it",
            exit_code=130,
        ) from None


def _text(job: "Job") -> str:
    attempt = f", attempt {job.attempt}" if job.attempt > 1 else ""
    return f"{job.name}: {job.status.lower()}{attempt}, library {job.library}, started {job.started}"
