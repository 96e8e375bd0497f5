"""`muster ask`: a question about the photos, answered from the library's tables."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

import muster
from muster.errors import InputError
from muster.pipeline.cli.console import JsonOption, pass_on, report, say
from muster.pipeline.cli.options import LIBRARY, LibraryOption, ModelOption, TrustOption
from muster.pipeline.cli.search import photo_line
from muster.web.words import printable

if TYPE_CHECKING:
    from muster.results import AskResult


def ask(
    question: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUESTION", help='In quotes: "how many photos with Anna and a dog in 2019?"'),
    ] = None,
    library: LibraryOption = LIBRARY,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what each word was taken for, and the SQL that answers it.")
    ] = False,
    trust: TrustOption = False,
    model: ModelOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Answer a question about who and what is on the photos, when and where; exit code 1 where it is not understood.

    Numbers (how many photos, people, days, places), who, when, where, which photos, with and without, most and fewest,
    per year: docs/ask.md has the grammar. Every word has to be understood, and every name to mean one thing: else it is
    said what is not, and which questions near it are. Nothing is guessed.

    --explain: on stderr, what each word was taken for, and the SQL over the library's tables.

    Example: muster ask "who is most often with Anna?" -l ./library
    """
    from muster.pipeline.cli.parse import parse_model

    if not question:
        raise InputError('say what to ask: QUESTION, such as "how many photos are there?"')
    found = muster.open(library, trust=trust).ask(" ".join(question), model=parse_model(model, "faces"))
    if found.table is None:
        say(f"muster: not understood: {found.problem}")
        for near in found.nearest:
            say(f"muster: you can ask: {near}")
    for note in found.notes:
        say(f"muster: {note}")
    if found.table is not None:
        _explain(found, explain)
    if as_json:
        report(_facts(found), True)
    elif found.table is not None:
        pass_on("".join(f"{line}\n" for line in _lines(found, found.table.to_pylist())), as_json=False)
    if found.table is None:
        raise typer.Exit(1)


def _explain(found: "AskResult", in_full: bool) -> None:
    if not in_full:
        say(f"muster: {'; '.join(each.meaning for each in found.understood)}")
        return
    for each in found.understood:
        say(f"muster: `{each.words}`: {each.meaning}")
    pass_on(f"{found.sql}\n", as_json=True)


def _lines(found: "AskResult", rows: list[dict[str, Any]]) -> list[str]:
    """A line for each photo or group, with tabs; else the answer."""
    if rows and "uri" in rows[0]:
        return [photo_line(row) for row in rows]
    if rows and "photos" in rows[0] and len(rows[0]) == 2 and "yes" not in rows[0]:
        return ["\t".join(printable(str(value)) for value in row.values()) for row in rows]
    return [found.answer]


def _facts(found: "AskResult") -> dict[str, Any]:
    return {
        "question": found.question,
        "answer": found.answer,
        "results": None if found.table is None else found.table.to_pylist(),
        "understood": [asdict(each) for each in found.understood],
        "sql": found.sql,
        "problem": found.problem,
        "nearest": list(found.nearest),
        "notes": list(found.notes),
    }
