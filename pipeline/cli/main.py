"""The `muster` command."""

import os
import platform
import re
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

import muster
from muster.distribution import DISTRIBUTION
from muster.errors import MusterError
from muster.pipeline.cli import export, gallery, library, tags
from muster.pipeline.cli.ask import ask
from muster.pipeline.cli.choose import choose
from muster.pipeline.cli.console import (
    READER_GONE,
    ReaderGoneError,
    interrupted,
    keep_stdout,
    prepare,
    report,
    say,
    say_traceback,
)
from muster.pipeline.cli.duplicates import duplicates
from muster.pipeline.cli.evaluate import evaluate_app
from muster.pipeline.cli.jobs import jobs_app, submit
from muster.pipeline.cli.keys import keys_app
from muster.pipeline.cli.models import models_app
from muster.pipeline.cli.search import search
from muster.pipeline.cli.serve import serve
from muster.pipeline.cli.style import style
from muster.pipeline.cli.train import train
from muster.pipeline.cli.units import units
from muster.pipeline.cli.watch import watch
from muster.pipeline.cli.wording import in_options, worded
from muster.storage.files import FULL

# torch, ray and faiss take seconds to import: the face does where a command needs them, so that --help answers at once.


def _interrupt(number: int, frame: object) -> None:
    interrupted.set()
    signal.signal(number, signal.SIG_DFL)  # a second one ends at once
    raise KeyboardInterrupt  # anything else that is raised inside Ray's compiled code becomes a SystemError


def main() -> None:
    """Run the command; what a user can cause ends as one line and an exit code: 2 for bad input, 130 for Ctrl-C."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    root = typer.main.get_command(app)
    prepare(lambda text: in_options(text, root))
    _keep_stdout(root)
    _unfold(root)
    try:
        code = root(standalone_mode=False)  # else typer prints what a command line holds, and Ctrl-C, in its own way
        if code == 130:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except KeyboardInterrupt:
        say("muster: stopped. What was done is kept: run the same command again to go on")
        os._exit(130)  # by the door: after an interrupted wait Ray crashed 2 of 30 times as the interpreter ended
    except MusterError as error:
        _fail(worded(error, root), error.exit_code)
    except ReaderGoneError:
        sys.exit(READER_GONE)
    except TyperException as error:
        _misused(error)
    except OSError as error:  # of the disk or the network, where nobody nearer knew what to say
        room = ": make room there, and run the same command again" if error.errno in FULL else ""
        _fail(f"{error.filename or ''}: {error.strerror or error}{room}".removeprefix(": "), 1)
    except UnicodeEncodeError as error:  # of a path, where a library takes no bytes that are not UTF-8
        _fail(f"{error.object[:200]} is not UTF-8: give another name", 2)
    except Exception:
        say_traceback()
        sys.exit(1)


def _keep_stdout(command: Any) -> None:
    """Of this command (as click has it), or of those below it: not before one is called, because help is a result."""
    for each in (below := getattr(command, "commands", {})).values():
        _keep_stdout(each)
    if not below:
        action = command.callback

        def called(**options: Any) -> Any:
            keep_stdout()
            return action(**options)

        command.callback = called


def _unfold(command: Any) -> None:
    """Paragraphs of a help on one line each, which a terminal folds: typer keeps the line ends of all but the first."""
    command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", command.help or "")
    for each in getattr(command, "commands", {}).values():
        _unfold(each)


def _misused(error: Any) -> NoReturn:
    """What typer says of a command line; no text where it has shown the help."""
    command = error.ctx.command_path if error.ctx else "muster"
    if text := error.format_message().rstrip("."):
        if text.startswith("Got unexpected extra argument") and "library" in error.ctx.params:
            text += ". The library is named with -l, and photos are taken in by `muster scan`"
        say(f"muster: {text}{' See' if text.endswith('?') else ': see'} `{command} --help`")
    sys.exit(error.exit_code)


def _fail(text: str, code: int) -> NoReturn:
    say(f"muster: {text}")
    sys.exit(code)


app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Who and what is in a collection of photos.",
)


def _version(asked: bool) -> None:
    """What there is to know of an installation where something does not work. Nothing large is imported for it."""
    if not asked:
        return
    from importlib.metadata import PackageNotFoundError, version

    lines = []
    for package in (DISTRIBUTION, "torch", "ray", "pyarrow", "faiss-cpu"):
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package} is not installed")
    lines.append(f"python {platform.python_version()} on {platform.platform()}")
    report({}, False, *lines, f"in {Path(muster.__file__).parent}")
    raise typer.Exit


@app.callback()
def _of_all(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Versions, and where Muster is installed."),
    ] = False,
) -> None:
    """Who and what is in a collection of photos."""


app.add_typer(models_app, name="models")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(jobs_app, name="jobs")
app.add_typer(gallery.audit_app, name="audit")
app.add_typer(keys_app, name="keys")
for command in (
    *(library.scan, library.run, library.cluster, library.people, library.name, library.copy, library.photos),
    *(library.status, library.errors, library.demo),
    *(ask, choose, duplicates, search, serve, style, train, units),
    *(gallery.enroll, gallery.calibrate, gallery.verify, gallery.identify, watch, gallery.forget, gallery.decrypt),
    gallery.rekey,
    *(export.export, export.overlay),
    tags.tags,
):
    app.command()(command)
app.command("submit", context_settings={"allow_interspersed_args": False})(submit)


if __name__ == "__main__":
    main()
