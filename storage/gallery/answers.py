"""Answers of `muster identify` as a file of the user's own."""

import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from muster.errors import InputError, MusterError
from muster.storage.library import LibraryFiles
from muster.storage.new_files import PRIVATE, cell, check_replaced, new_file

SUFFIXES = (".parquet", ".csv")
CANDIDATES = 3  # columns of a CSV for so many
COLUMNS = {"": "person_id", "_name": "name", "_score": "score"}


def check_out(out: Path | None, library: LibraryFiles) -> None:
    """Raises InputError where no answers could be written there, or it lies in the library."""
    if out is None:
        return
    library.check_outside(out)
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"`out` {out}: its name must end in {' or '.join(SUFFIXES)}")
    check_replaced(out)


def write_answers(answers: pa.Table, out: Path | None) -> None:
    """For the owner's eyes only: they name people. In a CSV the box is four columns x0, y0, x1, y1, the candidates are
    candidate1, candidate1_name, candidate1_score, …, and formulas are disarmed, see `muster.storage.new_files.cell`."""
    if out is None:
        return
    try:
        with new_file(out, PRIVATE) as file:
            if out.suffix.lower() == ".parquet":
                pq.write_table(answers, file)
            else:
                pc.write_csv(_flat(answers), file)
    except OSError as error:
        raise MusterError(f"cannot write {out}: {error.strerror or error}") from error


def _flat(answers: pa.Table) -> pa.Table:
    boxes = answers["box_xyxy"].to_pylist()
    for i, name in enumerate(("x0", "y0", "x1", "y1")):
        answers = answers.append_column(name, pa.array([b and b[i] for b in boxes], pa.float32()))
    shown = [row or [] for row in answers["candidates"].to_pylist()]
    for i, (suffix, key) in itertools.product(range(CANDIDATES), COLUMNS.items()):
        values = [row[i][key] if i < len(row) else None for row in shown]
        kind = pa.float32() if key == "score" else pa.string()
        answers = answers.append_column(f"candidate{i + 1}{suffix}", pa.array(values, kind))
    for i, field in enumerate(answers.schema):
        if pa.types.is_string(field.type):
            answers = answers.set_column(i, field.name, pa.array(map(cell, answers[i].to_pylist()), pa.string()))
    return answers.drop_columns(["box_xyxy", "candidates"])
