"""Who is where in which photo, as a CSV."""

import csv
from collections.abc import Iterable
from pathlib import Path

from muster.errors import MusterError
from muster.storage.new_files import PRIVATE, cell, new_text

COLUMNS = ("image_id", "uri", "file_name", "width", "height", "person_id", "name", "x0", "y0", "x1", "y1")


def write_people(rows: Iterable[tuple[object, ...]], out: Path) -> None:
    """`rows`: values of COLUMNS. For the owner's eyes only: they name people. A file that is there gives way. Formulas
    are disarmed, see `cell`."""
    try:
        with new_text(out, PRIVATE) as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows([cell(value) for value in row] for row in rows)
    except OSError as error:
        raise MusterError(f"cannot write {out}: {error.strerror or error}") from error
