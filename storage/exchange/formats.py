"""The formats that other programs read, by name. Photos come one after another and are written as they come.

What is written appears whole or not at all.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from muster.storage.exchange.coco import write_coco
from muster.storage.exchange.csv import write_csv
from muster.storage.exchange.fiftyone import write_fiftyone
from muster.storage.exchange.labelme import write_labelme
from muster.storage.exchange.parquet import write_lance, write_parquet
from muster.storage.exchange.photo import LeftOut, Photos
from muster.storage.exchange.samples import Sample
from muster.storage.exchange.webdataset import write_webdataset
from muster.storage.exchange.yolo import write_yolo
from muster.storage.library import LibraryFiles
from muster.storage.new_files import check_new


@dataclass(frozen=True)
class Format:
    """`mask`: which form of masks it takes, "rle" or "outlines". `folder`: whether it is written into one. `whole`:
    whether it takes what is said of whole photos too.

    `write(photos, out, categories, info)` gives the photos that have no file there. `categories` are name → COCO's id,
    in the order of YOLO's class numbers.
    """

    write: Callable[[Photos, Path, Mapping[str, int], Mapping[str, Any]], list[LeftOut]]
    mask: str
    folder: bool
    whole: bool = False


@dataclass(frozen=True)
class DataSet:
    """Photos with their rows, for training elsewhere, in a folder. `mask`: as of a Format.

    `write(samples, out, schema)`: `schema` as muster.storage.exchange.samples has it.
    """

    write: Callable[[Iterable[Sample], Path, pa.Schema], None]
    mask: str = "rle"
    folder: bool = True
    whole: bool = True


FORMATS: Mapping[str, Format | DataSet] = {
    "coco": Format(write_coco, "rle", folder=False),
    "csv": Format(write_csv, "rle", folder=False, whole=True),
    "yolo": Format(write_yolo, "outlines", folder=True),
    "labelme": Format(write_labelme, "outlines", folder=True),
    "webdataset": DataSet(write_webdataset),
    "parquet": DataSet(write_parquet),
    "lance": DataSet(write_lance),
    "fiftyone": DataSet(write_fiftyone, "outlines"),
}


def check_out(out: Path, library: LibraryFiles, folder: bool) -> None:
    """InputError where nothing new can be written there, or it lies in the library."""
    check_new(out, folder)
    library.check_outside(out)
