from pathlib import Path

import pyarrow as pa

from muster.storage.library import open_library
from muster.storage.people.claims import ORIGINS, Claim
from muster.storage.tables import ROW_GROUP_ROWS
from muster.storage.tags import table
from muster.storage.tags.claims import ORIGIN, claims


def test_named_faces_claim_and_nothing_else(tmp_path: Path) -> None:
    box = [1.0, 2.0, 3.0, 4.0]
    said = [("Ann", "Face"), (None, "Face"), ("Rex", "Pet"), ("Bob", ""), ("AF", "Focus")]
    regions = [{"name": name, "type": kind, "box_xyxy": box, "origin": "mp"} for name, kind in said]
    others = [{"image_id": f"b{i}", "regions": []} for i in range(ROW_GROUP_ROWS)]
    rows = [{"image_id": "a", "regions": regions, "people": ["Cy"]}, *others, {"image_id": "c", "regions": regions[:1]}]
    library = open_library(tmp_path / "L", create=True)
    assert claims(library) == []
    table.write(library, pa.Table.from_pylist(rows, table.SCHEMA), table.READ.empty_table())
    found = claims(library)
    claimed = [("a", "Ann"), ("a", "Bob"), ("c", "Ann")]
    assert found == [Claim(image, (1.0, 2.0, 3.0, 4.0), name, ORIGIN) for image, name in claimed]
    assert ORIGIN in ORIGINS
