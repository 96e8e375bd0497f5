"""What the workers of a run did when, as a file that Perfetto and Chrome's about:tracing draw.

Trace Event Format, "JSON array": https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
It is written as the run goes on. Those programs read one that was cut off, too.
"""

import json
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from muster.errors import InputError
from muster.pipeline.work.spans import Span


class TraceWarning(UserWarning):
    """The rest of a trace could not be written."""


class Trace:
    """A file of events. Where writing fails later on, as on a full disk, it ends there: the run is worth more."""

    def __init__(self, path: Path) -> None:
        """Raises InputError where the file cannot be made."""
        self.path, self.whole = path, True
        self.numbers: dict[tuple[str, ...], int] = {}  # worker → its number; worker and thread → its number
        try:
            self.file: IO[str] = path.open("w")
        except OSError as error:
            raise InputError(f"`trace` {path}: {_reason(error)}: give another place") from error
        self._write("[\n")

    def add(self, worker: str, shard: str, spans: Iterable[Span]) -> None:
        """What a worker did for one shard."""
        for span in spans:
            begin = {"ph": "X", "name": span.name, "ts": round(span.begun * 1e6), "dur": round(span.seconds * 1e6)}
            about = {"shard": shard, **({"images": span.images} if span.images else {})}
            self._event({**begin, **self._place(worker, span.thread), "args": about})

    def _place(self, worker: str, thread: str) -> dict[str, int]:
        """The numbers that stand for a worker and its thread; their names are written once."""
        place = {"pid": self._number("process_name", {}, worker)}
        name = thread.replace("Dummy", "shards")  # Python's name for threads of Ray's, which process shards
        return place | {"tid": self._number("thread_name", place, worker, name)}

    def _number(self, kind: str, place: Mapping[str, int], *names: str) -> int:
        if names not in self.numbers:
            number = self.numbers[names] = len(self.numbers) + 1
            within = place or {"pid": number}
            self._event({"ph": "M", "name": kind, "tid": number, **within, "args": {"name": names[-1]}})
        return self.numbers[names]

    def _event(self, event: Mapping[str, Any]) -> None:
        self._write(json.dumps(event) + ",\n")

    def _write(self, text: str) -> None:
        if not self.whole:
            return
        try:
            self.file.write(text)
            self.file.flush()
        except OSError as error:
            self.whole = False
            warnings.warn(f"`trace` {self.path} ends early: {_reason(error)}", TraceWarning, stacklevel=2)

    def close(self) -> None:
        """The format allows for the last comma, but JSON does not: an event without a meaning ends the list."""
        self._write('{"ph": "M", "name": "end", "pid": 0, "tid": 0}]\n')
        with suppress(OSError):  # it was said: what could not be written is tried again here
            self.file.close()


def _reason(error: OSError) -> str:
    return f"it cannot be written ({error.strerror or error})"
