"""What the units of a network see in a library: the shards' best put together, and the pages of it."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import Pixels, matrix
from muster.errors import ImageError, InputError
from muster.pipeline.findings.sources import Source, chosen_source, sources_of
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.machine import Machine
from muster.storage import downloads, manifest, tables
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.photos import decode
from muster.storage.uris import local_uri
from muster.tasks.models.stages import first_filters, stages
from muster.tasks.units import SCHEMA, Units, best
from muster.web import stages as pages
from muster.web.stages import Stage, StagesSource
from muster.web.units import Layer, Patch, Photo, Unit, UnitsSource, UnitsSummary, write_units

SCORES = 10  # that are shown
AT_ONCE = 8  # units whose pictures are made together


def best_of(library: LibraryFiles, model: str | None) -> pa.Table:
    """The best of each unit in all photos of the library, best first, the layers in the order of their names.

    Whatever the number of photos, the rows of one shard are held beside them. NotYetError where there are none.
    """
    source = chosen_source(library, "units", model, dict(manifest.shards(library)))
    rows = SCHEMA.empty_table()
    for shard in manifest.committed(library, source.fingerprint):
        part = tables.read(library, "units", source.fingerprint, None, [shard])
        rows = best(pa.concat_tables([rows, part.cast(SCHEMA)])).combine_chunks() if part is not None else rows
    order = [("layer", "ascending"), ("unit", "ascending"), ("value", "descending"), ("sha256", "ascending")]
    return rows.sort_by(order)


class Network(NamedTuple):
    """Whose units: a model of the task, or weights of the user's for it; None: the library's."""

    model: str | None
    weights: str | Path | None
    machine: Machine
    on_download: downloads.OnDownload | None = None

    def loaded(self) -> Units:
        """Its task, ready. InputError where it has no such weights."""
        choice = self.choice
        for file in choice.files():
            downloads.fetch(file, self.machine.weights_dir, self.on_download)
        if choice.weights is not None:
            choice.try_weights(self.machine.weights_dir)
        task = choice.load(self.machine.torch_device, self.machine.weights_dir)
        assert isinstance(task, Units)
        return task

    @property
    def choice(self) -> TaskChoice:
        return TaskChoice(name="units", model=self.model, weights=Path(self.weights) if self.weights else None)


def write_pages(
    library: LibraryFiles, network: Network, layers: Sequence[str], out: Path, ascent: bool = False
) -> UnitsSummary:
    """The pages of a network's units, in the folder `out`; of these layers alone, where some are named. `ascent`: with
    a picture for each unit that was made to excite it.

    InputError names the nearest where the network has no such layer.
    """
    source = chosen_source(library, "units", network.model, dict(manifest.shards(library)))
    network = network._replace(model=source.model)
    if network.choice.fingerprint != source.fingerprint:
        raise InputError(
            f"library {library.uri} has units of {source.model} by other weights: name them with `weights`"
        )
    task = network.loaded()
    wanted = _wanted(task, layers)
    made = _source(library, source, best_of(library, source.fingerprint), task, wanted)
    return write_units(replace(made, ascents=_ascents(task, made.layers)) if ascent else made, out)


def _ascents(task: Units, layers: Sequence[Layer]) -> Iterator[tuple[str, Pixels]]:
    """Layer by layer, a few units at once."""
    for layer in layers:
        for begin in range(0, len(layer.units), AT_ONCE):
            some = layer.units[begin : begin + AT_ONCE]
            pictures = task.ascended(layer.number, [unit.number for unit in some])
            yield from ((layer.ascent_of(unit), each) for unit, each in zip(some, pictures, strict=True))


def write_stages(picture: Path, network: Network, out: Path) -> int:
    """What a network makes of a photo: a page in the folder `out`. How many stages there are.

    Raises InputError where the photo cannot be read.
    """
    try:
        photo = decode.decode(decode.read(local_uri(str(picture.absolute()))), network.choice.task.max_side)
    except ImageError as error:
        text = str(error).removeprefix(f"{picture.absolute()}: ")
        raise InputError(f"`image` {picture}: {text}") from error
    task = network.loaded()
    view = task.view(photo.pixels)
    found = [Stage(*each) for each in stages(task.network.to(task.device), view.input.to(task.device))]
    scores = task.scores(found[-1].maps) if found[-1].maps.shape[1:] == (1, 1) else []
    model = network.model or network.choice.description["model"]
    source = StagesSource(model, picture.name, view.photo, found, scores[:SCORES], len(scores))
    pages.write_stages(source, out)
    return len(found)


def _wanted(task: Units, names: Sequence[str]) -> list[int]:
    """The numbers of these layers; of all where none is named."""
    known = [layer.name for layer in task.watched.layers]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0)
            raise InputError(f"`layers` {name}: the network has no such layer; the nearest: {', '.join(near)}")
    return [number for number, name in enumerate(known) if not names or name in names]


def _source(library: LibraryFiles, source: Source, rows: pa.Table, task: Units, wanted: Sequence[int]) -> UnitsSource:
    patches: dict[tuple[str, int], list[Patch]] = {}
    columns = (rows[name].to_pylist() for name in ("layer", "unit", "image_id", "value"))
    for layer, unit, image, value, box in zip(*columns, matrix(rows["box_xyxy"]).tolist(), strict=True):
        patches.setdefault((layer, unit), []).append(Patch(image, value, tuple(box)))
    layers = []
    for number in wanted:
        name, count = task.watched.layers[number].name, task.watched.layers[number].units
        units = [Unit(unit, task.label(number, unit), patches.get((name, unit), ())) for unit in range(count)]
        layers.append(Layer(number, name, task.about(number), units))
    shards = dict(manifest.shards(library))
    previews = sources_of(library, "previews", shards)
    photos, looked_at = _photos(library, source.fingerprint, pc.unique(rows["image_id"]))
    return UnitsSource(
        library=library,
        network=source.model,
        layers=layers,
        photos=photos,
        looked_at=looked_at,
        shards=list(shards),
        previews=previews[0].fingerprint if previews else None,
        filters=first_filters(task.network, lambda pixels: task.view(pixels).input) if 0 in wanted else None,
    )


def _photos(library: LibraryFiles, fingerprint: str, images: pa.Array) -> tuple[dict[str, Photo], int]:
    """Where these photos lie and how large they are, and how many the library has rows of."""
    shards, photos, looked_at = manifest.committed(library, fingerprint), {}, 0
    for shard in shards:
        table = manifest.read_shard(library, shard)
        uris = dict(zip(table["image_id"].to_pylist(), table["uri"].to_pylist(), strict=True))
        rows = tables.read(library, "images", IMAGES_FINGERPRINT, ["image_id", "status", "width", "height"], [shard])
        if rows is None:
            continue
        looked_at += pc.sum(pc.equal(rows["status"], "ok")).as_py() or 0
        for row in rows.filter(pc.is_in(rows["image_id"], value_set=images)).to_pylist():
            photos[row["image_id"]] = Photo(uris.get(row["image_id"], row["image_id"]), row["width"], row["height"])
    return photos, looked_at
