"""`muster style`: photos of a library painted in a style, through the same workers and commits as every task.

What is made lies in a folder of the user's: pictures, and in `library/` a library of the photos that were chosen, each
a shard of its own, with the table `style`. So a run that is cut off goes on photo by photo (docs/adr/0039-style.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from muster.colour import in_srgb
from muster.errors import InputError
from muster.pipeline import forget
from muster.pipeline.chosen import found_by
from muster.pipeline.run import OnProgress, Progress, RunSummary, fetch_weights, process
from muster.pipeline.styles.pictures import Pictures, plain, write_curve, write_sheet
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.machine import Machine
from muster.storage import chosen_photos, manifest, tables
from muster.storage.downloads import OnDownload
from muster.storage.library import LibraryFiles, open_library
from muster.storage.new_files import check_local
from muster.storage.photos.picture import read_picture
from muster.storage.uris import local_path
from muster.tasks.models.style_costs import LEAST
from muster.tasks.models.zoo.style import NET
from muster.tasks.style import OPTIONS, encoded

RATIOS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # α/β of a sheet, as in figure 3 of the paper and beyond
TABLES = "library"  # the folder beside the pictures


@dataclass(frozen=True)
class Request:
    """`styles`: picture → weight, greater than 0. `photos`: a query as `search` takes it; "": all. `sheet`: each photo
    is painted with each of RATIOS. `options`: of the task. `weights`: a file of the user's."""

    styles: Mapping[str, float]
    out: Path
    photos: str = ""
    sheet: bool = False
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None


@dataclass(frozen=True)
class StyleSummary:
    """What was made. `pictures`: the folder with a JPEG for each photo; of a sheet, of its first column. `curve`: an
    SVG of the costs, which are not known where a network painted that has learnt its style. `sheet`: the contact sheet,
    if it was asked for. `library`: the one that has the table `style`. `runs`: of each style that was painted, what
    `run` answered. `cost`: the mean of J over the photos."""

    out: Path
    pictures: Path
    curve: Path | None
    sheet: Path | None
    library: str
    photos: int
    painted: int
    cost: float | None
    seconds: float
    runs: tuple[RunSummary, ...]


def paint(
    library: LibraryFiles,
    request: Request,
    machine: Machine,
    retry_errors: bool,
    on_progress: OnProgress,
    on_download: OnDownload | None = None,
) -> StyleSummary:
    """Paint the photos that are not painted yet. The caller holds no lock.

    Raises InputError before anything is written where a picture, option or layer cannot be, or no photo is chosen.
    """
    out = _checked_out(library, request.out)
    choices = _choices(request)
    chosen = found_by(library, request.photos, "photos")
    first = next(iter(choices.values()))
    for choice in choices.values():
        fetch_weights(RunConfig(library=library.uri, choices=(choice,), machine=machine), on_download)
    # A layer that is not there, and a file that has other weights, are said now, and once.
    if first.weights is not None:
        first.try_weights(machine.weights_dir)
    else:
        first.load(torch.device("cpu"), machine.weights_dir)
    out.mkdir(exist_ok=True)
    album = open_library(out / TABLES, create=True)
    title = _title(request)
    with forget.locked(album):
        chosen_photos.choose(album, chosen)
        runs = []
        for choice in choices.values():
            config = RunConfig(library=album.uri, choices=(choice,), machine=machine, retry_errors=retry_errors)
            pictures = Pictures(album, choice.fingerprint, out / f"{title}-{choice.fingerprint[:6]}")
            pictures.write()
            try:
                runs.append(process(album, config, _writing(pictures, on_progress), on_download))
            finally:
                pictures.write()
        return _summary(album, choices, out, title, chosen.num_rows, runs)


def _writing(pictures: Pictures, on_progress: OnProgress) -> OnProgress:
    written = 0

    def told(progress: Progress) -> None:
        nonlocal written
        if progress.images > written:  # it is told more often than a shard is done
            written = progress.images
            pictures.write()
        on_progress(progress)

    return told


def _summary(
    album: LibraryFiles,
    choices: Mapping[str, TaskChoice],
    out: Path,
    title: str,
    photos: int,
    runs: list[RunSummary],
) -> StyleSummary:
    found = {name: _rows(album, choice.fingerprint) for name, choice in choices.items()}
    first, rows = next(iter(choices.values())), next(iter(found.values()))
    pictures = out / f"{title}-{first.fingerprint[:6]}"
    curve, sheet = out / f"{pictures.name}.svg", out / f"{pictures.name}-sheet.jpg"
    known = rows["costs"].drop_null().to_pylist()
    write_curve(known, curve)
    if len(choices) > 1 and rows.num_rows:
        write_sheet(found, sheet)
    costs = [row for table in found.values() for row in table["cost"].drop_null().to_pylist()]
    return StyleSummary(
        out=out,
        pictures=pictures,
        curve=curve if known else None,
        sheet=sheet if len(choices) > 1 and rows.num_rows else None,
        library=album.uri,
        photos=photos,
        painted=rows.num_rows,
        cost=sum(costs) / len(costs) if costs else None,
        seconds=float(sum(second for table in found.values() for second in table["seconds"].to_pylist())),
        runs=tuple(runs),
    )


def _rows(album: LibraryFiles, fingerprint: str) -> pa.Table:
    """Of the photos that are chosen, in the order of their shards."""
    return tables.require(album, "style", fingerprint, shards=manifest.committed(album, fingerprint))


# ---- what was asked for ----------------------------------------------------------------------------------------------


def _checked_out(library: LibraryFiles, out: Path) -> Path:
    """A folder that is not there yet, is empty, or was written by this command before."""
    out = check_local(out)
    library.check_outside(out)
    ours = (out / TABLES / "library.json").is_file()
    if out.is_dir() and not out.is_symlink() and (ours or not any(out.iterdir())):
        return out
    if out.is_symlink() or out.exists():
        raise InputError(f"`out` {out} is there already, and was not made by `style`: give a new name")
    if not out.absolute().parent.is_dir():
        raise InputError(f"`out` {out}: no folder {out.absolute().parent} to write it into")
    return out


def _choices(request: Request) -> dict[str, TaskChoice]:
    """Title → the task; one, or those of a sheet."""
    if not request.styles and request.model != NET:
        raise InputError(f"`styles`: give at least one picture of a style, or the model `{NET}`, which has learnt one")
    if request.styles and request.model == NET:
        raise InputError(f"`styles`: the model `{NET}` has learnt its style, and takes no other")
    if request.sheet and request.model == NET:
        raise InputError(f"a `sheet` shows α/β, and the model `{NET}` was trained with one: give pictures of a style")
    side = _side(request.options)
    styles = [_style(*each, side) for each in request.styles.items()]
    options = dict(request.options) | ({"style": styles} if styles else {})
    made = TaskChoice(name="style", model=request.model, options=options, weights=request.weights)
    if not request.sheet:
        return {"": made}
    beta = made.task.parameters["beta"]
    if not beta:
        raise InputError("`beta` 0 has no α/β: a `sheet` needs a greater one")
    return {f"alpha/beta {ratio:g}": replace(made, options=options | {"alpha": ratio * beta}) for ratio in RATIOS}


def _title(request: Request) -> str:
    """What the pictures are named by: those of the style, or the network and the folder it lies in."""
    if request.weights is not None and not request.styles:
        file = request.weights.expanduser().absolute()
        return plain(f"{file.parent.name}-{file.stem}")
    return plain("+".join(Path(local_path(name) or name).stem for name in request.styles))


def _side(options: Mapping[str, Any]) -> int:
    option = OPTIONS["side"]
    try:
        return int(option.parse(options.get("side", option.default)))
    except ValueError as error:
        raise InputError(f"`side` {options['side']}: {error}") from None


def _style(name: str, weight: float, side: int) -> dict[str, Any]:
    """A picture of a style, no longer than the pictures that are made; InputError where it is none."""
    photo = read_picture("styles", name, side, LEAST)
    return encoded(in_srgb(photo.pixels, photo.profile), photo.sha256, weight)
