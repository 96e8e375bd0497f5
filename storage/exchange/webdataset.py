"""WebDataset's shards: tars of `<key>.jpg`, as the photo lies, and `<key>.json`, its row."""

import io
import json
import tarfile
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path

import pyarrow as pa

from muster.storage.exchange.samples import Sample, plain, row_of
from muster.storage.new_files import new_folder

SHARD_BYTES, SHARD_SAMPLES = 1 << 30, 10_000  # from which on another tar begins


def write_webdataset(samples: Iterable[Sample], out: Path, schema: pa.Schema) -> None:
    """`00000.tar`, …; the key is the number of the sample, nine digits. Equal samples make equal bytes."""
    numbered = enumerate(samples)
    with new_folder(out) as folder:
        for shard in count():
            if (first := next(numbered, None)) is None:
                break
            with tarfile.open(folder / f"{shard:05d}.tar", "x") as tar:
                _fill(tar, chain([first], numbered), schema)


def _fill(tar: tarfile.TarFile, numbered: Iterable[tuple[int, Sample]], schema: pa.Schema) -> None:
    """With as many of them as belong into one."""
    written = 0
    for samples, (number, sample) in enumerate(numbered, 1):
        row = json.dumps(plain(row_of(sample, schema)), ensure_ascii=False).encode()
        _add(tar, f"{number:09d}{sample.suffix}", sample.data)
        _add(tar, f"{number:09d}.json", row)
        written += len(sample.data) + len(row)
        if written >= SHARD_BYTES or samples >= SHARD_SAMPLES:
            return


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    about = tarfile.TarInfo(name)  # without an owner, of 1970
    about.size = len(data)
    tar.addfile(about, io.BytesIO(data))
