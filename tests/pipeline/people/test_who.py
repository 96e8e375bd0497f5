from pathlib import Path

import pyarrow as pa

from muster.pipeline.people.faces import faces_fingerprint, read_faces
from muster.pipeline.people.grouping import cluster_faces
from muster.pipeline.people.served import live_source
from muster.pipeline.people.who import people_now
from muster.storage.library import open_library
from muster.storage.tags import table


def test_names_of_tags_are_of_the_faces_that_they_overlap(library: Path) -> None:
    """A region where no face was found is one of its own; a name without a place is nobody's face."""
    opened = open_library(library)
    cluster_faces(opened, None, "graph", None, False)
    faces = read_faces(opened, faces_fingerprint(opened, None), ["face_id", "image_id", "box_xyxy"])
    first = faces.slice(0, 1).to_pylist()[0]
    x0, y0, x1, y1 = first["box_xyxy"]
    around, corner = [x0 - 9, y0 - 12, x1 + 9, y1 + 5], [0.0, 0.0, 12.0, 12.0]
    regions = [
        {"name": name, "type": "Face", "box_xyxy": box, "origin": "mwg-rs"}
        for name, box in (("Ann", around), ("Bob", corner))
    ]
    row = {"image_id": first["image_id"], "regions": regions, "people": ["Cy"]}
    table.write(opened, pa.Table.from_pylist([row], table.SCHEMA), table.READ.empty_table())

    now = people_now(opened, None)
    rows = {each["face_id"]: each for each in now.faces.to_pylist()}
    ann = now.people[rows[first["face_id"]]["person_id"]]
    assert (ann.name, ann.origin) == ("Ann", "xmp")
    [bob] = [each for each in rows.values() if each["origin"] == "xmp"]
    assert (now.people[bob["person_id"]].name, bob["box_xyxy"]) == ("Bob", corner)
    assert {person.name for person in now.people.values() if person.name} == {"Ann", "Bob"}
    assert [claim.name for claim in live_source(opened, None).claims(faces)] == ["Ann", "Bob"]
