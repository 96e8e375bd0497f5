"""`muster keys`: who may ask the service about a gallery, enrol people and administer it."""

from datetime import date
from typing import Annotated, Any

import typer

from muster.pipeline.cli.console import JsonOption, columns, report, say
from muster.pipeline.cli.gallery import open_gallery
from muster.pipeline.cli.options import LIBRARY, LibraryOption, TrustOption

keys_app = typer.Typer(no_args_is_help=True, help="Keys of the service: who may ask, enrol people and administer.")


@keys_app.command("make")
def make_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what has it, such as 'door east'.")],
    role: Annotated[str, typer.Option(metavar="asks|enrols|administers", help="Each may do what those before may.")],
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Last day that it is valid.", show_default="no end")
    ] = None,
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a key. It is printed once, alone on stdout, and kept nowhere: the library has its digest.

    The service takes it at once, also while it runs.

    Example: muster keys make "door east" --role asks --until 2027-07-31 -l ./school
    """
    from muster.pipeline.cli.parse import parse_day

    day = None if until is None else parse_day("--until", until)
    facts = open_gallery(library, trust).make_key(name, role, until=day)
    say(f"muster: key {facts['id']}, {facts['name']}: {_state(facts)}. Keep it now: it is never shown again")
    report(facts, as_json, facts["key"])


@keys_app.command("list")
def list_keys(library: LibraryOption = LIBRARY, trust: TrustOption = False, as_json: JsonOption = False) -> None:
    """All keys that were ever made, with those that were revoked. What they open with is known to who has them alone.

    Example: muster keys list -l ./school
    """
    keys = open_gallery(library, trust).keys()
    rows = [(key["id"], f"{key['made']:%Y-%m-%d}", _state(key), key["name"]) for key in keys]
    report({"keys": keys}, as_json, *(columns([("id", "made", "what it may", "name"), *rows]) if rows else ["no keys"]))


@keys_app.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(metavar="ID", help="As `muster keys list` shows it.")],
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Nobody is answered by this key from now on, also where the service runs. It stays in the list.

    Example: muster keys revoke 1f0c22ab -l ./school
    """
    facts = open_gallery(library, trust).revoke_key(key)
    report(facts, as_json, f"key {facts['id']}, {facts['name']}: {_state(facts)}")


def _state(key: dict[str, Any]) -> str:
    if key["revoked"]:
        return f"revoked on {key['revoked']:%Y-%m-%d}"
    if key["ends"]:
        return f"{key['role']}, {'ended on' if key['ends'] < date.today() else 'until'} {key['ends']}"
    return str(key["role"])
