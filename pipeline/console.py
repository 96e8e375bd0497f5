"""What every command shares: how it says things, and the options that all have."""

import json
import sys
from typing import Annotated, Any

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]


def report(facts: dict[str, Any], as_json: bool, text: str) -> None:
    """The outcome of a command: as JSON, or as text."""
    print(json.dumps(facts, default=str) if as_json else text)


def say(text: str) -> None:
    """Something for people to know, on stderr."""
    print(text, file=sys.stderr, flush=True)


def pass_on(text: str, as_json: bool) -> None:
    """Text of another program as it comes; where JSON is asked for, stdout is kept for that."""
    print(text, end="", file=sys.stderr if as_json else sys.stdout, flush=True)
