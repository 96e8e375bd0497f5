"""What every command shares: how it says things, and shows how far it is."""

import io
import json
import os
import sys
import textwrap
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from muster.errors import MusterError
from muster.web.words import count, printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

READER_GONE = 141  # 128 + SIGPIPE, as shells say that whoever read a command's output has left
_results: TextIO | None = None  # where results go once `keep_stdout` has been called

interrupted = threading.Event()  # set by the first Ctrl-C

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]


def report(facts: dict[str, Any], as_json: bool, *lines: str) -> None:
    """The outcome of a command: as JSON, or as lines of text."""
    _give((_json(facts) if as_json else "\n".join(map(printable, lines))) + "\n")


def _json(facts: dict[str, Any]) -> str:
    return json.dumps(facts, default=str).replace("\x7f", "\\u007f")  # the one control that json leaves as it is


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, its columns as wide as what is in them."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in shown]


def wrapped(texts: Iterable[str]) -> list[str]:
    """Lines of at most 100 characters, those that go on indented; words are kept whole."""
    wrapper = textwrap.TextWrapper(100, "  ", "    ", break_long_words=False, break_on_hyphens=False)
    return [line for text in texts for line in wrapper.wrap(printable(text))]


def say(text: str) -> None:
    """Something for people to know, in one line on stderr."""
    _tell(printable(text) + "\n")


def pass_on(text: str, as_json: bool) -> None:
    """Text of another program as it comes, line by line; where JSON is asked for, stdout is kept for that."""
    text = printable(text.replace("\r\n", "\n").replace("\r", "\n"), keep="\n\t")
    (_tell if as_json else _give)(text)


class ReaderGoneError(Exception):
    """Nobody reads stdout any more, as behind `| head -1`."""


def _give(text: str) -> None:
    """Print a result. Whatever was done is done, but it is no success where nobody can be told."""
    if (stdout := _results or sys.stdout) is None:
        raise MusterError("stdout is closed: the result could not be printed")
    try:
        print(text, end="", file=stdout, flush=True)
    except BrokenPipeError:
        raise ReaderGoneError from None
    except OSError as error:
        raise MusterError(f"the result could not be printed: {error.strerror}") from None


def _tell(text: str) -> None:
    """Print to stderr. Where that is closed or full, the work goes on."""
    with suppress(OSError):
        print(text, end="", file=sys.stderr, flush=True)


def say_traceback() -> None:
    """Of the exception that is being handled; its text may quote anything."""
    pass_on(traceback.format_exc(), as_json=True)


def prepare(worded: Callable[[str], str] = str) -> None:
    """What others print of their own accord is shown as ours is: warnings, and text that the terminal cannot encode.

    `worded`: a text of ours, of a warning, in the words of the command line.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed by whoever started us: the next file would take its place, and be printed into
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115  print() takes stdout for None

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        ours = category.__module__.startswith("muster.")
        say(f"muster: {worded(str(message))}" if ours else f"{category.__name__}: {message}")

    warnings.showwarning = show
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def keep_stdout() -> None:
    """From now on stdout is for what this module gives, and whatever else is printed goes to stderr: by libraries in
    Python and in C, and by processes that are started. Ray writes there when a worker dies.

    For the rest of the process: what still runs while it ends may print too. Where Python's stdout is no descriptor, as
    in tests, nothing changes.
    """
    global _results
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError):  # None where it was closed
        return
    sys.stdout.flush()
    own = os.dup(descriptor)
    os.dup2(2, descriptor)
    _results = open(own, "w", encoding=sys.stdout.encoding, errors="backslashreplace")  # noqa: SIM115


@contextmanager
def progress() -> Iterator[Any]:
    """Rate, time left, finds and errors so far: a bar on a terminal, else a plain line now and then; on stderr."""
    if not sys.stderr.isatty():
        yield _stoppable(_PlainProgress())
        return
    with _bar(time_left=False) as bar:
        task = bar.add_task("starting", total=None)

        def show(p: Any) -> None:
            bar.update(task, total=p.total, completed=p.images + p.under_way, description=printable(_line(p)))

        yield _stoppable(show)


def _bar(time_left: bool = True) -> "Bar":
    """`time_left`: by rich, of the last steps; else it is in the description."""
    from rich.console import Console  # it takes a twentieth of a second to import, and most commands draw nothing
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [BarColumn(), TextColumn("{task.description}", markup=False)]
    return Progress(*columns, *[TimeRemainingColumn()] * time_left, console=Console(stderr=True), transient=True)


def _stoppable(show: Callable[[Any], None]) -> Callable[[Any], None]:
    """Raises KeyboardInterrupt once more where Python lost it: while Ray forks, what a signal raises is ignored."""

    def on_progress(p: Any) -> None:
        if interrupted.is_set():
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
            say(_line(p))


def _line(p: Any) -> str:
    if not (done := p.images + p.under_way):
        return f"{count(p.total, 'image')} to process, {p.waiting or ('reading' if p.ready else 'starting workers')}"
    found = ", ".join([*counted(p.rows), count(p.errors, "error")])
    left = "" if p.left is None or done >= p.total else f", {_duration(p.left)} left"
    return f"{done}/{count(p.total, 'image')}, {p.pace or p.rate:.1f}/s, {found}{left}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else str(timedelta(seconds=round(seconds)))


def counted(rows: Mapping[str, int]) -> list[str]:
    """`{"faces": 1, "objects": 2}` → ["1 face", "2 objects"], in the words of the tasks."""
    from muster.tasks import registry

    nouns = {task: registry.find(task).findings.noun for task in rows}
    return [
        count(number, nouns[task] or f"row of {task}", task if nouns[task] else f"rows of {task}")
        for task, number in rows.items()
    ]


@contextmanager
def training_progress() -> Iterator[Any]:
    """Step, images per second, loss and time left: a bar on a terminal, else a plain line now and then; on stderr."""
    if not sys.stderr.isatty():
        yield _stoppable(_PlainTraining())
        return
    with _bar() as bar:
        task = bar.add_task("reading images", total=None)

        def show(r: Any) -> None:
            bar.update(task, total=r.steps, completed=r.step, description=printable(_training_line(r)))

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
            say(_training_line(r) + (f", {(r.steps - r.step) * pace:.0f} s left" if pace else ""))


def _training_line(r: Any) -> str:
    values = ", ".join(f"{name} {value:.4g}" for name, value in r.values.items())
    return f"step {r.step}/{r.steps}, {r.rate:.0f} images/s, {values}"


@contextmanager
def skipped() -> Iterator[Any]:
    """Names the first images, sounds or texts that cannot be used, and counts them all."""
    texts: list[str] = []

    def on_skipped(text: str) -> None:
        texts.append(text)
        if len(texts) <= 5:
            say(f"left out: {text}")

    yield on_skipped
    if len(texts) > 5:
        say(f"left out: {len(texts)} in all")


@contextmanager
def download_bar() -> Iterator[Any]:
    """Bytes of weights fetched so far, in one line that is overwritten on a terminal."""

    def show(done: int, total: int | None) -> None:
        if sys.stderr.isatty():
            of = f" of {total / 1e6:.1f}" if total else ""
            _tell(f"\rweights: {done / 1e6:.1f}{of} MB ")

    yield show
