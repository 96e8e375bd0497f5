import pyarrow as pa

from muster.storage.people.view import ORIGINS, Claim
from muster.storage.tags import table
from muster.storage.tags.claims import ORIGIN, claims


def test_named_faces_claim_and_nothing_else() -> None:
    box = [1.0, 2.0, 3.0, 4.0]
    said = [("Ann", "Face"), (None, "Face"), ("Rex", "Pet"), ("Bob", ""), ("AF", "Focus")]
    regions = [{"name": name, "type": kind, "box_xyxy": box, "origin": "mp"} for name, kind in said]
    rows = [{"image_id": "a", "regions": regions, "people": ["Cy"]}, {"image_id": "b", "regions": []}]
    found = claims(pa.Table.from_pylist(rows, table.SCHEMA))
    assert found == [Claim("a", (1.0, 2.0, 3.0, 4.0), name, ORIGIN) for name in ("Ann", "Bob")]
    assert ORIGIN in ORIGINS
    assert claims(table.SCHEMA.empty_table()) == []
