"""What tags claim of faces: the names of regions, for `muster.storage.people.view`."""

import pyarrow as pa
import pyarrow.compute as pc

from muster.storage.library import LibraryFiles
from muster.storage.people.claims import Claim
from muster.storage.tags import table
from muster.storage.tags.mwg import FACES

ORIGIN = "xmp"


def claims(library: LibraryFiles) -> list[Claim]:
    """One for each region with a name that is a face's. Raises MusterError where the table is damaged.

    Names without a place claim nothing: a photo with one name and one face may be of another, who took it or was left
    out.
    """
    rows = table.read(library, ["image_id", "regions"])
    regions = pc.list_flatten(rows["regions"])
    images = rows["image_id"].take(pc.list_parent_indices(rows["regions"]))
    kinds = pc.utf8_lower(pc.fill_null(pc.struct_field(regions, "type"), ""))
    named = pc.and_(pc.is_valid(pc.struct_field(regions, "name")), pc.is_in(kinds, pa.array(FACES)))
    some, where = regions.filter(named), images.filter(named).to_pylist()
    columns = (pc.struct_field(some, name).to_pylist() for name in ("box_xyxy", "name"))
    return [Claim(image, tuple(box), name, ORIGIN) for image, box, name in zip(where, *columns, strict=True)]
