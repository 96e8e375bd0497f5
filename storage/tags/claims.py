"""What tags claim of faces: the names of regions, for `muster.storage.people.view`."""

import pyarrow as pa

from muster.storage.people.view import Claim

ORIGIN = "xmp"
FACES = ("face", "")  # types of regions that are of a person; others are pets, what was in focus, bar codes


def claims(tags: pa.Table) -> list[Claim]:
    """One for each region with a name that is a face's. `tags`: as muster.storage.tags.table.read gives them.

    Names without a place claim nothing: a photo with one name and one face may be of another, who took it or was left
    out.
    """
    rows = tags.select(["image_id", "regions"]).to_pylist()
    return [
        Claim(row["image_id"], tuple(region["box_xyxy"]), region["name"], ORIGIN)
        for row in rows
        for region in row["regions"]
        if region["name"] and region["type"].casefold() in FACES
    ]
