"""`muster search`: which photos show this, and where they lie."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

import muster
from muster.errors import InputError
from muster.pipeline.cli.console import JsonOption, download_bar, pass_on, report, say
from muster.pipeline.cli.options import LIBRARY, DeviceOption, LibraryOption, ModelOption, TrustOption, WeightsOption
from muster.pipeline.cli.wording import in_options
from muster.web.words import count, printable

if TYPE_CHECKING:
    from muster.results import SearchResult
    from muster.storage.search.search import Understood


def search(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUERY", help='What to look for, in quotes: "anna -bob dog night 2019".'),
    ] = None,
    library: LibraryOption = LIBRARY,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="PHOTO", help="Those that look like this photo: of the library, or a file.", show_default="any"
        ),
    ] = None,
    most: Annotated[int, typer.Option(help="Photos at most, of those like another, or like words.")] = 50,
    trust: TrustOption = False,
    model: ModelOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find photos by who and what is on them, when, where, and in which folder; exit code 1 where there are none.

    A line for each photo, oldest first: its path, date and place, with tabs between. All words have to hold: people by
    their names, things ("dog"), day and night, dates (2019, 2019-05..2020-02, "may 2019", summer), places in any
    spelling, cameras, folders, names of files, keywords, albums, favourites. -word: photos without it. "two words": one
    name. person: place: date: object: scene: camera: in: file: tag: album: where a word means several things.
    similar:PHOTO: photos that look like it, or show all the people on it. A query that begins with - comes after --.

    Words that name nothing ("children in the snow") rank the photos that all others leave, the likest first, where
    `muster run --tasks features --model features=siglip2-b16` (or hf:FOLDER) took a model of pictures and words;
    looks:"…" always does.

    --like: the nearest first, by what a network sees on the photo as a whole; it needs `muster run --tasks features`.

    Places are those of GeoNames (geonames.org, CC BY 4.0), as of July 2026; nothing is asked of the network.

    Example: muster search "anna -bob dog night 2019 lisbon" -l ./library
    """
    from muster.pipeline.cli.parse import parse_model

    if not words and like is None:
        raise InputError("say what to look for: QUERY, or --like PHOTO")
    machine = muster.Machine(device=device, weights_dir=weights_dir)
    with download_bar() as on_download:
        found = muster.open(library, trust=trust).search(
            " ".join(words or ()),
            like=like,
            most=most,
            model=parse_model(model, "faces"),
            machine=machine,
            on_download=on_download,
        )
    for line in _remarks(found, context.find_root().command):
        say(f"muster: {line}")
    rows = found.table.to_pylist()
    if as_json:
        report(_facts(found, rows), True)
    elif rows:
        pass_on("".join(f"{photo_line(row)}\n" for row in rows), as_json=False)
    if not rows:
        raise typer.Exit(1)


def photo_line(row: dict[str, Any]) -> str:
    """Of a photo that was found: path, date and place, with tabs between."""
    when = row["taken_at"].strftime("%Y-%m-%d %H:%M") if row["taken_at"] else ""
    place = ", ".join(filter(None, (row["city"] or row["place"], row["country"])))
    like = f"{row['similarity']:.3f}\t" if "similarity" in row else ""
    return like + "\t".join(map(printable, (row["uri"], when, place))).rstrip("\t")


def _remarks(found: "SearchResult", root: Any) -> Iterator[str]:
    for each in found.unknown:
        near = " or ".join(f"`{text}`" for text in each.suggestions)
        yield f"no `{each.text}` here" + (f"; did you mean {near}?" if near else "")
    yield from (in_options(note, root) for note in found.notes)
    understood = ", ".join(map(_meaning, found.understood))
    yield count(found.table.num_rows, "photo") + (f": {understood}" if understood else "")


def _meaning(each: "Understood") -> str:
    named = " or ".join(f"{field}{' like' * (field == 'looks')} {text}" for field, text in each.meanings)
    return f"{'not ' * each.negated}{named}"


def _facts(found: "SearchResult", rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "query": found.query,
        "photos": len(rows),
        "understood": [{**asdict(each), "meanings": _named(each)} for each in found.understood],
        "unknown": [asdict(each) for each in found.unknown],
        "notes": list(found.notes),
        "results": rows,
    }


def _named(each: "Understood") -> list[dict[str, str]]:
    return [{"field": field, "text": text} for field, text in each.meanings]
