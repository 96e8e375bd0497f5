"""`muster scan`, `run`, `cluster`, `people`, `copy`, `photos`, `status` and `demo`: from photos to people pages."""

import shlex
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import muster
from muster.errors import InputError, NotYetError
from muster.pipeline.cli.console import JsonOption, counted, download_bar, progress, report, say
from muster.pipeline.cli.options import (
    LIBRARY,
    TASKS,
    AddressOption,
    AllowPrivateOption,
    ClassesOption,
    ColumnOption,
    DeviceOption,
    ExcludeOption,
    FollowLinksOption,
    FpsOption,
    FramesOption,
    KOption,
    LibraryOption,
    MethodOption,
    MinScoreOption,
    ModelOption,
    RetryOption,
    SamePhotoOption,
    SetOption,
    SharedOption,
    SourcesArgument,
    TasksOption,
    TrustOption,
    VerifyOption,
    WeightsFileOption,
    WeightsOption,
    WorkersOption,
)
from muster.pipeline.cli.tags import tags_text
from muster.storage.photos.left_out import said
from muster.web.words import count

if TYPE_CHECKING:
    from muster import ScanResult

# parse brings torch, which takes seconds to import: commands import it, so that --help answers at once.

PagesOption = Annotated[Path | None, typer.Option(help="Folder for the pages.", show_default="LIBRARY/people")]
REASONS = 5  # that are said of rows which cannot be read: whoever wrote them may have made up a thousand
_PEOPLE_TEXT = "open {index}"


def scan(
    sources: SourcesArgument,
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    follow_links: FollowLinksOption = False,
    exclude: ExcludeOption = [],  # noqa: B006
    fps: FpsOption = 1.0,
    frames: FramesOption = None,
    verify: VerifyOption = False,
    column: ColumnOption = None,
    allow_private: AllowPrivateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find images and note them in the library's manifest; a later scan finds what is new, changed, moved or gone.

    Example: muster scan ~/Pictures 's3://bucket/photos/' -l ./library
    """
    result = muster.scan(
        *sources,
        library=library,
        follow_links=follow_links,
        exclude=exclude,
        fps=fps,
        frames=frames,
        verify=verify,
        column=column,
        allow_private=allow_private,
        trust=trust,
    )
    _say_left_out(result)
    moved = f"{result.moved} moved or with another time, " if result.moved else ""
    report(
        asdict(result),
        as_json,
        f"{count(result.found, 'image')}: {result.new} new, {result.changed} changed, {moved}{result.gone} gone",
    )
    if sum(result.unread.values()) >= result.found:
        raise InputError(f"none of them can be read: {max(result.unread, key=lambda why: result.unread[why])}")


def _say_left_out(result: "ScanResult") -> None:
    texts = said(result.left_out, result.skipped)
    if result.duplicates:
        one, many = (
            "row of a file that another row has, with its columns",
            "rows of files that other rows have, with their",
        )
        texts.append(count(result.duplicates, one, f"{many} columns"))
    if texts:
        say(f"muster: left out: {', '.join(texts)}")
    from muster.storage.photos import video  # which `scan` has brought

    if missing := video.missing(result.skipped):
        say(f"muster: {missing}")
    for folder in result.unreadable:
        say(f"muster: cannot list {folder}: what is in it was left out")
    for folder, links in result.links_out.items():
        say(f"muster: left out of {folder}: {count(links, 'link')} that lead out of it; --follow-links takes them in")
    for reason, rows in sorted(result.unread.items(), key=lambda each: -each[1])[:REASONS]:
        reason = reason.replace("`allow_private`", "--allow-private")
        say(f"muster: {count(rows, 'image')} cannot be read: {reason}")
    if result.missing:
        say(f"muster: {count(result.missing, 'image')} not found: no file is there, or a link leads nowhere")
    for file, rows in result.large_groups.items():
        say(f"muster: {file} holds {rows} images in one row group, which is slow: write it with row_group_size=256")


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
    shared: SharedOption = False,
    classes: ClassesOption = "",
    min_score: MinScoreOption = None,
    settings: SetOption = [],  # noqa: B006
    weights: WeightsFileOption = [],  # noqa: B006
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what the workers did when, for Perfetto to draw.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Process every image that the tasks have not seen yet. Stop it and run it again as often as you like.

    Example: muster run -l ./library --tasks faces --workers 4
    """
    from muster.pipeline.cli.parse import chosen

    machine = muster.Machine(device=device, workers=workers, weights_dir=weights_dir, address=address, shared=shared)
    try:
        opened = muster.open(library, trust=trust)
    except NotYetError:
        chosen(tasks, model, weights, classes, min_score, settings)  # a mistake in what was typed is said first
        raise
    choices = chosen(tasks, model, weights, classes, min_score, settings, opened.model_of)
    with progress() as on_progress, download_bar() as on_download:
        summary = opened.run(
            choices,
            machine=machine,
            retry_errors=retry_errors,
            trace=trace,
            on_progress=on_progress,
            on_download=on_download,
        )
    say_errors(asdict(summary), library)
    report(asdict(summary), as_json, *_run_text(asdict(summary)))


def say_errors(facts: dict[str, Any], library: str) -> None:
    """The first of a run, and where the others are. On stderr, where they are seen with --json too."""
    for row in facts["first_errors"]:
        say(f"muster: {_error_text(row)}")
    if (left := facts["errors"] - len(facts["first_errors"])) > 0:
        say(f"muster: {count(left, 'more error')}: `muster errors -l {shlex.quote(library)}` shows all")


def _error_text(row: dict[str, Any]) -> str:
    task = f"{row['task']}, " if row["task"] else ""
    reason = row["error"].removeprefix(f"{row['uri']}: ")
    return f"{row['uri']}: {task}{row['error_kind']}: {reason}"


def errors(
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    tasks: Annotated[str, typer.Option(help="Of these tasks alone, with commas.", show_default="all")] = "",
    by_shard: Annotated[bool, typer.Option("--by-shard", help="Shards and their number of errors instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Which images could not be read, or were too much for a task, and why.

    Example: muster errors -l ./library
    """
    from muster.pipeline.cli.parse import parse_tasks

    rows = muster.open(library, trust=trust).errors(parse_tasks(tasks)).to_pylist()
    images = {row["image_id"]: row for row in reversed(rows)}
    kinds, shards = (Counter(row[name] for row in images.values()) for name in ("error_kind", "shard"))
    facts = {
        "errors": len(images),
        "kinds": dict(kinds.most_common()),
        "shards": dict(shards.most_common()),
        "rows": rows,
    }
    found = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    lines = [f"{count(len(images), 'image')} with errors" + (f": {found}" if found else "")]
    if by_shard:
        lines += [f"{shard}: {count(number, 'error')}" for shard, number in shards.most_common()]
    else:
        lines += map(_error_text, rows)
    report(facts, as_json, *lines)


def _run_text(facts: dict[str, Any]) -> list[str]:
    images, errors = count(facts["images"], "image"), count(facts["errors"], "error")
    done = ", ".join([f"{facts['ok']} ok", errors, *counted(facts["rows"])])
    lines = [f"{images}: {done}; {facts['processed']} now at {facts['images_per_second']} images/s"]
    if facts["transient"]:
        passed = count(facts["transient"], "error")
        lines.append(f"{passed} may have passed: `muster run --retry-errors` with the same --tasks tries again")
    return lines


def cluster(
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    method: MethodOption = "graph",
    k: KOption = "auto",
    same_photo: SamePhotoOption = False,
    model: ModelOption = [],  # noqa: B006
    address: AddressOption = None,
    shared: SharedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find out which faces are one person. Ids of people stay when photos are added.

    Example: muster cluster -l ./library
    """
    from muster.pipeline.cli.parse import parse_k, parse_model

    number, name = parse_k(k), parse_model(model, "faces")
    machine = muster.Machine(address=address, shared=shared)
    opened = muster.open(library, trust=trust)
    summary = opened.cluster(method, k=number, same_photo=same_photo, model=name, machine=machine)
    report(asdict(summary), as_json, *_clustered(asdict(summary)))


def _clustered(facts: dict[str, Any]) -> list[str]:
    who, faces = count(facts["people"], "person", "people"), count(facts["clustered"], "face")
    lines = [f"{who} in {faces}; {count(facts['unclustered'], 'face')} left over"]
    if facts["held_apart"]:
        held = count(facts["held_apart"], "face")
        lines.append(f"the rule that faces of one photo are different people kept {held} apart; --same-photo lifts it")
    return lines


def people(
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    out: PagesOption = None,
    model: ModelOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Write the people pages: a site that opens from disk, without a server.

    Example: muster people -l ./library --out ~/people
    """
    from muster.pipeline.cli.parse import parse_model

    pages = muster.open(library, trust=trust).people_pages(out, model=parse_model(model, "faces"))
    report(asdict(pages), as_json, _PEOPLE_TEXT.format_map(asdict(pages)))


PersonArgument = Annotated[
    str,
    typer.Argument(metavar="PERSON", help="Name, number on the people pages, id, or the first four letters of one."),
]


def name(
    person: PersonArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help='What they are called; "" for nothing any more.')],
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    merge: Annotated[bool, typer.Option("--merge", help="Whoever has this name already is the same person.")] = False,
    model: ModelOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Say what a person is called. It lasts: through new photos, another model, a folder that moves.

    Example: muster name 7 "Anna Berg" -l ./library
    """
    from muster.pipeline.cli.parse import parse_model

    facts = muster.open(library, trust=trust).name(person, name, merge=merge, model=parse_model(model, "faces"))
    report(facts, as_json, facts["said"])


def copy(
    person: PersonArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="New or empty folder.")],
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    hard_links: Annotated[
        bool, typer.Option("--hard-links", help="Link files on the same disk instead: no more space, and one file.")
    ] = False,
    model: ModelOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Copy the original photos of one person into a folder.

    Example: muster copy 7 --out ./ann -l ./library
    """
    from muster.pipeline.cli.parse import parse_model

    opened = muster.open(library, trust=trust)
    facts = opened.copy(person, out, hard_links=hard_links, model=parse_model(model, "faces"))
    for photo in facts["left_out"]:
        say(f"muster: left out {photo['uri']}: {photo['error']}")
    who = facts["name"] or f"Person {facts['number']}"
    report(facts, as_json, f"{facts['out']}: {count(facts['photos'], 'photo')} of {who}")


def photos(
    sources: SourcesArgument,
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    out: PagesOption = None,
    method: MethodOption = "graph",
    k: KOption = "auto",
    same_photo: SamePhotoOption = False,
    tasks: TasksOption = TASKS,
    model: ModelOption = [],  # noqa: B006
    settings: SetOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    follow_links: FollowLinksOption = False,
    exclude: ExcludeOption = [],  # noqa: B006
    fps: FpsOption = 1.0,
    frames: FramesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Photos in, people pages out: scan, run, cluster and people in one. The JSON has each step's under its name.

    With the tasks objects and scenes too, the pages have filters: with a dog, at night.

    Example: muster photos ~/Pictures
    """
    from muster.pipeline.cli.parse import chosen, parse_k

    with progress() as on_progress, download_bar() as on_download:
        done = muster.photos(
            *sources,
            library=library,
            out=out,
            tasks=chosen(tasks, model, settings=settings),
            method=method,
            k=parse_k(k),
            same_photo=same_photo,
            machine=muster.Machine(device=device, workers=workers, weights_dir=weights_dir),
            follow_links=follow_links,
            exclude=exclude,
            fps=fps,
            frames=frames,
            trust=trust,
            on_scan=_say_found,
            on_progress=on_progress,
            on_download=on_download,
        )
    steps = asdict(done)
    facts = {
        **{name: steps["run"][name] for name in ("images", "ok", "errors", "rows")},
        "people": done.cluster.people,
        "index": done.pages.index,
        **steps,
    }
    say_errors(steps["run"], library)
    texts = [*_run_text(steps["run"]), *tags_text(done.tags), *_clustered(steps["cluster"])]
    report(facts, as_json, *texts, _PEOPLE_TEXT.format_map(steps["pages"]))


def _say_found(result: "ScanResult") -> None:
    _say_left_out(result)
    say(f"{count(result.found, 'image')}, {result.new} new")


def status(library: LibraryOption = LIBRARY, trust: TrustOption = False, as_json: JsonOption = False) -> None:
    """What a library holds, and what is still to be done.

    Example: muster status -l ./library
    """
    facts = muster.open(library, trust=trust).status()
    images, shards, errors = (count(facts[f"{name}s"], name) for name in ("image", "shard", "error"))
    lines = [f"{images} in {shards}: {facts['ok']} ok, {errors}, {facts['pending']} not processed yet"]
    tasks = [table["task"] for table in facts["tables"]]
    lines += [_table_text(table, tasks.count(table["task"]) > 1) for table in facts["tables"]]
    if facts["errors"] or any(table["errors"] for table in facts["tables"]):
        lines.append(f"`muster errors -l {shlex.quote(library)}` shows all errors; the newest:")
        lines += [f"  {_time_text(row['at'])}: {_error_text(row)}" for row in facts["newest_errors"]]
    if facts["slowest"]:
        lines.append("slowest to read and decode:")
        lines += [f"  {row['seconds']:.3f} s  {row['uri']}" for row in facts["slowest"]]
    lines += _said_text(facts["people"])
    if facts["scan_interrupted"]:
        lines.append("a scan was interrupted: scan again, or any other command puts it in order")
    report(facts, as_json, *lines)


def _time_text(at: str | None) -> str:
    return f"{at[:16].replace('T', ' ')} UTC" if at else "time not known"


def _said_text(facts: dict[str, Any]) -> list[str]:
    if not facts["edits"] and not facts["problems"]:
        return []
    named, hidden = count(facts["named"], "person", "people") + " with a name", f"{facts['hidden']} hidden"
    return [f"{named}, {hidden}, by {count(facts['edits'], 'edit')}", *facts["problems"]]


def _table_text(table: dict[str, Any], several: bool) -> str:
    rows, errors, shards = (count(table[f"{name}s"], name) for name in ("row", "error", "shard"))
    missing = "" if table["installed"] else "; this task is not installed here"
    model = table["model"] or "no model"
    used = "; taken where no --model is given" if several and table["used"] else ""
    return f"{table['task']} ({model}, {table['fingerprint']}): {rows}, {errors}, {shards} done{missing}{used}"


def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to fill.")], as_json: JsonOption = False
) -> None:
    """Make an album of public-domain photographs to try Muster on.

    Example: muster demo ./demo
    """
    muster.demo(folder)
    report({"folder": str(folder)}, as_json, f"an album is in {folder}: try `muster photos {folder}`")
