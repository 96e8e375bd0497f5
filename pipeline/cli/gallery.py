"""`muster enroll`, `calibrate`, `verify`, `identify`, `forget`, `decrypt` and `audit`: a gallery of known people."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

import muster
from muster.errors import NotYetError
from muster.pipeline.cli.console import JsonOption, download_bar, progress, report, say
from muster.pipeline.cli.options import (
    LIBRARY,
    DeviceOption,
    LibraryOption,
    ModelOption,
    TrustOption,
    WeightsOption,
    WorkersOption,
)
from muster.web.words import count

audit_app = typer.Typer(no_args_is_help=True, help="Who was enrolled, asked for and forgotten, when and by whom.")
SHOWN = ("answer", "refused", "asked", "from", "count", "key")  # of what a line of the audit log says besides
ThresholdOption = Annotated[
    float | None, typer.Option(help="Least score of a match.", show_default="as `muster calibrate` measured it")
]


def enroll(
    roster: Annotated[str, typer.Argument(metavar="ROSTER", help="CSV, folder of a folder per person, or Parquet.")],
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    consent_given: Annotated[
        bool, typer.Option("--consent-given", help="I hold the consent of everybody in a roster that does not say.")
    ] = False,
    accept: Annotated[
        list[str],
        typer.Option(metavar="PERSON", help="Enrol this person in spite of what is to be reviewed, or was forgotten."),
    ] = [],  # noqa: B006
    columns: Annotated[
        list[str],
        typer.Option("--column", metavar="NAME=COLUMN", help="The roster calls NAME so, as in person_id='Student ID'."),
    ] = [],  # noqa: B006
    model: ModelOption = [],  # noqa: B006
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enrol people, or update them. Without consent nobody's photos are looked at. Refused photos are listed.

    A CSV has columns person_id, name, image, image2, …, and any of group, born, consent, valid_until; --column says
    what they are called otherwise, and then others are left out.

    Example: muster enroll students.csv -l ./school
    """
    from muster.pipeline.cli.parse import parse_columns, parse_model
    from muster.pipeline.gallery.enroll import Request, read

    machine = muster.Machine(device=device, workers=workers, weights_dir=weights_dir)
    name, mapped = parse_model(model, "faces"), parse_columns(columns)
    try:
        opened = muster.open(library, trust=trust)
    except NotYetError:  # it is made for a roster that can be used
        read(Request(roster, consent_given, accept, mapped), None)
        opened = muster.open(library, create=True, trust=trust)
    with progress() as on_progress, download_bar() as on_download:
        summary = opened.enroll(
            roster,
            consent_given=consent_given,
            accept=accept,
            columns=mapped,
            model=name,
            machine=machine,
            on_progress=on_progress,
            on_download=on_download,
        )
    for remark in summary.remarks:
        _say_remark(remark)
    report(asdict(summary), as_json, *_enrolled(asdict(summary)))


def _enrolled(facts: dict[str, Any]) -> list[str]:
    photos, everybody = count(facts["photos"], "photo"), count(facts["people"], "person", "people")
    lines = [f"{facts['enrolled']} enrolled, {facts['updated']} updated, with {photos}; {everybody} in the gallery"]
    lines += [f"forgotten, because consent is withdrawn: {person}" for person in facts["forgotten"]]
    lines += [
        f"not enrolled: {each['person_id']}{', ' + each['image'] if each['image'] else ''}: "
        + each["reason"].removeprefix(f"{each['image']}: ")
        + (f" (look, then --accept {each['person_id']})" if each["review"] else "")
        for each in facts["refused"]
    ]
    return lines + [
        f"look-alikes: {pair['person_id']} and {pair['other']}, similarity {pair['similarity']}"
        for pair in facts["lookalikes"]
    ]


def open_gallery(library: str, trust: bool) -> "muster.Library":  # evaluated, it would import all of it
    """Of a command that asks the gallery: where there is no library, nobody is enrolled."""
    try:
        return muster.open(library, trust=trust)
    except NotYetError as error:
        raise NotYetError(error.args[0], "enroll", error.library) from None


def calibrate(
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    fpir: Annotated[
        float | None,
        typer.Option(
            help="Share of strangers that may be given a name.",
            show_default="0.001 or 0.01, or the least that the people support",
        ),
    ] = None,
    miss: Annotated[
        float | None,
        typer.Option(
            help="Share of enrolled people who may be missed: neither named nor, where it is unsure, shown.",
            show_default="what is missed where 0.1 of strangers are left to a human, or named",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP",
            help="Errors of each `group` of the roster, `age`, or `time` between photos.",
            show_default="group",
        ),
    ] = None,
    each_group: Annotated[
        bool, typer.Option("--each-group", help="Keep --fpir for the strangers of each of them, or refuse.")
    ] = False,
    alike: Annotated[
        list[str],
        typer.Option(metavar="PERSON=PERSON", help="They look alike: one is named only if far enough ahead."),
    ] = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Measure the thresholds on the gallery itself, and keep them there. They promise no more than the people support.

    From the upper one on, people are named; from the lower one on, answers are UNSURE and for a human to judge.

    Example: muster calibrate -l ./school --fpir 0.01
    """
    from muster.pipeline.cli.parse import parse_pairs
    from muster.pipeline.gallery.calibrate import sentences

    pairs = parse_pairs(alike)
    opened = open_gallery(library, trust)
    facts = opened.calibrate(fpir, miss, by=by, each_group=each_group, alike=pairs)
    encrypted = ", encrypted: `muster decrypt` writes a copy to look at" if opened.encrypted else ""
    report(facts, as_json, *sentences(facts), f"report: {facts['report']}{encrypted}")


def verify(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A photo of who claims to be this person.")],
    person: Annotated[str, typer.Option(metavar="ID", help="person_id, as it was enrolled.")],
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    threshold: ThresholdOption = None,
    device: DeviceOption = "auto",
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is this the person? (1:1) Match, no match, or unsure: then look yourself.

    Example: muster verify --person S0042 card.jpg -l ./school
    """
    machine = muster.Machine(device=device, weights_dir=weights_dir)
    opened = open_gallery(library, trust)
    with download_bar() as on_download:
        facts = opened.verify(image, person, threshold=threshold, machine=machine, on_download=on_download)
    _say_remark(facts["remark"])
    text = f"{facts['answer']}: {facts['name']}, score {facts['score']:.3f}, {_limits(facts)}"
    report(facts, as_json, text + (f"; {facts['reason']}" if facts["reason"] else ""))


def identify(
    sources: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Photos, folders, or any other source.")],
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    threshold: ThresholdOption = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the answers as .parquet or .csv too.")] = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    weights_dir: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who is this? (1:N) An answer for every face: a person, UNKNOWN, or UNSURE with up to three candidates.

    UNSURE is for a human to judge: compare the face with the candidates, who need not be it.

    Example: muster identify door.jpg -l ./school
    """
    from muster.storage.gallery.roster import UNKNOWN, UNSURE

    machine = muster.Machine(device=device, workers=workers, weights_dir=weights_dir)
    opened = open_gallery(library, trust)
    with progress() as on_progress, download_bar() as on_download:
        answers = opened.identify(
            sources, threshold=threshold, out=out, machine=machine, on_progress=on_progress, on_download=on_download
        )
    _say_remark(answers.remark)
    rows = answers.table.to_pylist()
    facts = {
        "images": len({row["image"] for row in rows}),
        "faces": sum(row["face"] is not None for row in rows),
        "named": sum(row["person_id"] not in (None, UNKNOWN, UNSURE) for row in rows),
        "unsure": sum(row["person_id"] == UNSURE for row in rows),
        "answers": rows,
        "out": str(answers.out) if answers.out else None,
        "remark": answers.remark,
    }
    report(facts, as_json, *map(_answer, rows))


def _answer(row: dict[str, Any]) -> str:
    if row["face"] is None:
        return f"{row['image']}: {row['reason']}"
    score = f"score {row['score']:.3f}, {_limits(row)}, margin {row['margin']:.3f}"
    return f"{row['image']} face {row['face']}: {_who(row)}; {score}"


def _who(row: dict[str, Any]) -> str:
    if row["name"]:
        return f"{row['person_id']}, {row['name']}"
    alike = " or ".join(f"{each['person_id']}, {each['name']} ({each['score']:.3f})" for each in row["candidates"])
    return f"{row['person_id']}, is it {alike}? {row['reason']}" if alike else f"{row['person_id']} ({row['reason']})"


def _say_remark(remark: str) -> None:
    if remark:
        say(f"muster: {remark}")


def _limits(facts: dict[str, Any]) -> str:
    doubt = f", unsure from {facts['unsure_from']:.3f}" if facts["unsure_from"] < facts["threshold"] else ""
    return f"threshold {facts['threshold']:.3f}{doubt}"


def forget(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="PERSON|IMAGE", help="person_id, name on the pages, image_id, or images as scanned."),
    ] = None,
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    expired: Annotated[bool, typer.Option("--expired", help="Everybody whose consent has ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove people or images from every table, index, page and the gallery, and prove it by searching all files.

    Of a person on the pages all images go that show them, and all that was said of them. Of a folder, glob or Parquet
    file, all images that the library knows; exact copies go too, and are named. Originals
    are never touched: a later scan that still finds them takes them for new.

    Example: muster forget S0042 -l ./school
    """
    opened = muster.open(library, trust=trust)
    receipts = opened.forget(*(names or ()), expired=expired)
    if not receipts:
        report({"people": [], "images": []}, as_json, "nobody's consent has ended")
        return
    facts = _united({each.receipt: asdict(each) for each in receipts})
    report(facts, as_json, *(line for each in facts["receipts"] for line in _forgotten(each, opened)))
    if facts["found_afterwards"]:
        say(f"muster: something is left: {facts['found_afterwards'][0]}; see the receipt")
        raise typer.Exit(1)


def _united(receipts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The last receipt with what all of them name, and each of them whole."""
    each = list(receipts.values())
    lists = ("people", "images", "originals", "copies", "named", "found_afterwards")
    sums = {name: list(dict.fromkeys(item for one in each for item in one[name])) for name in lists}
    return {**each[-1], **sums, "faces": sum(one["faces"] for one in each), "receipts": each}


def _forgotten(receipt: dict[str, Any], library: "muster.Library") -> list[str]:
    people, images = count(len(receipt["people"]), "person", "people"), count(len(receipt["images"]), "image")
    return [
        f"forgotten at {receipt['at']} ({receipt['reason']}): {people}, {images}, {count(receipt['faces'], 'face')}",
        *(f"with it, because it is the same picture: {uri}" for uri in receipt["copies"]),
        *([f"nothing is said of {', '.join(receipt['named'])} any more"] if receipt["named"] else []),
        *(
            ["originals are left where they are: delete them, or a later scan finds them again"]
            if receipt["images"]
            else []
        ),
        f"receipt: {library.at(receipt['receipt'])}",
    ]


def decrypt(
    out: Annotated[str, typer.Argument(metavar="OUT", help="An empty or new folder, or bucket URI.")],
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a copy of an encrypted library that every program can read. The key is in MUSTER_KEY_FILE or MUSTER_KEY.

    Example: muster decrypt plain -l ./school
    """
    copy = muster.open(library, trust=trust).decrypt(out)
    report({"library": copy.uri}, as_json, f"{copy.uri} is not encrypted; unset MUSTER_KEY_FILE to open it")


def rekey(library: LibraryOption = LIBRARY, trust: TrustOption = False, as_json: JsonOption = False) -> None:
    """Encrypt a library with another key, in place, or one that is not encrypted. Stop it and run it again as you like.

    The key that it has is in MUSTER_KEY_FILE or MUSTER_KEY, the new one in MUSTER_NEW_KEY_FILE or MUSTER_NEW_KEY.

    Example: muster rekey -l ./school
    """
    opened = muster.open(library, trust=trust)
    files = opened.rekey()
    done = f"{count(files, 'file')} encrypted with the new key" if files else "it has the new key already"
    text = "set MUSTER_KEY_FILE to it from now on, and unset MUSTER_NEW_KEY_FILE; older backups have what it had before"
    report({"library": opened.uri, "files": files}, as_json, f"{opened.uri}: {done}", text)


@audit_app.command("verify")
def audit_verify(
    head: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="A head that was printed before and kept elsewhere.")
    ] = None,
    library: LibraryOption = LIBRARY,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Follow the chain of the audit log; exit code 1 where a line was changed, taken out or put in.

    Also where the gallery is not the one of its last line. Keep the head that this prints elsewhere, and give it the
    next time: a log that was written anew has it not.

    Example: muster audit verify -l ./school
    """
    facts = open_gallery(library, trust).audit_check(head)
    text = facts["problem"] or f"{count(facts['lines'], 'line')}, all as they were written; head {facts['head']}"
    report(facts, as_json, text)
    if facts["problem"]:
        raise typer.Exit(1)


@audit_app.command("show")
def audit_show(library: LibraryOption = LIBRARY, trust: TrustOption = False, as_json: JsonOption = False) -> None:
    """What the audit log says, with the names of those who are still enrolled.

    Example: muster audit show -l ./school
    """
    entries = open_gallery(library, trust).audit_log()
    report({"entries": entries}, as_json, *(map(_entry, entries) if entries else ["nothing was done yet"]))


def _entry(entry: dict[str, Any]) -> str:
    said = f"{entry['at']} {entry['by']} {entry['action']} {', '.join(entry['people'])}".strip()
    facts = {"candidates": ", ".join(entry["candidates"]), **{name: entry.get(name) for name in SHOWN}}
    return "; ".join([said, *(f"{name}: {value}" for name, value in facts.items() if value)])
