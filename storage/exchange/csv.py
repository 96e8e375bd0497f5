"""CSV: a row for each finding, for spreadsheets and scripts."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muster.storage.exchange.photo import LeftOut, Photos, public_uri
from muster.storage.new_files import cell, new_text

COLUMNS = (
    *("image_id", "uri", "file_name", "width", "height", "task", "label", "score", "x0", "y0", "x1", "y1"),
    *("area", "rle", "face_id", "person", "person_name", "certainty"),
)


def write_csv(photos: Photos, out: Path, categories: Mapping[str, int], info: Mapping[str, Any]) -> list[LeftOut]:
    """One row per finding. `area`, `rle`: of masks; the last four: of faces; without a box: of whole photos. Formulas
    are disarmed, see `cell`."""
    with new_text(out) as file:
        writer = csv.writer(file)  # lines end in CR LF (RFC 4180); then a lone CR in a name is quoted too
        writer.writerow(COLUMNS)
        for photo in photos:
            image = (photo.image_id, public_uri(photo.uri), photo.name, photo.width, photo.height)
            for finding in photo.findings:
                counts = finding.rle and finding.rle["counts"]
                found = (
                    finding.task,
                    finding.label,
                    finding.score,
                    *(("",) * 4 if finding.whole else finding.box),
                    finding.area,
                    counts,
                    finding.face_id,
                    finding.person,
                    finding.person_name,
                    finding.certainty,
                )
                row = dict(zip(COLUMNS, (*image, *found), strict=True))
                # COCO's letters, such as `=`, make no call and no address; changed they would be no mask.
                writer.writerow([value if name == "rle" else cell(value) for name, value in row.items()])
    return []
