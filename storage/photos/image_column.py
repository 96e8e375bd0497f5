"""Which column of a table holds the bytes of image files."""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

BYTES, PATH = "bytes", "path"  # what Hugging Face's `datasets` makes of an image: its bytes, or the path of its file


class ImageColumn(NamedTuple):
    """`name`: of the column; `inner`: of the field of bytes, where it is a struct."""

    name: str
    inner: str = ""

    @property
    def leaf(self) -> str:
        """Its path, as Parquet names what a column is made of."""
        return f"{self.name}.{self.inner}" if self.inner else self.name


def image_column(schema: pa.Schema) -> ImageColumn | None:
    """The column `image`, of bytes or as Hugging Face has it; where there is none, and no `uri`, the only one of
    Hugging Face's, whatever its name. None: there is no such column, or there are several."""
    kinds = {field.name: plain(field.type) for field in schema}
    if kinds.get("image") == pa.binary():
        return ImageColumn("image")
    structs = [name for name, kind in kinds.items() if is_image_struct(kind)]
    if "image" in structs:
        return ImageColumn("image", BYTES)
    if kinds.get("uri") == pa.string() or len(structs) != 1:
        return None
    return ImageColumn(structs[0], BYTES)


def images_of(batch: pa.RecordBatch, image: ImageColumn) -> pa.Array:
    """The bytes of images in these rows."""
    column = batch.column(image.name)
    return pc.struct_field(column, image.inner) if image.inner else column


def is_image_struct(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind) or kind.num_fields != 2:
        return False
    fields = {field.name: plain(field.type) for field in kind}
    return fields.get(BYTES) == pa.binary() and fields.get(PATH) in (pa.string(), pa.null())


def plain(kind: pa.DataType) -> pa.DataType:
    """The type under which a column is kept: pandas and Polars write the same texts as three different ones."""
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name in ("arrow.json", "arrow.uuid"):
        return plain(kind.storage_type)  # as Parquet's own types come, if whoever wrote them said so
    if pa.types.is_large_string(kind):
        return pa.string()
    return pa.binary() if pa.types.is_large_binary(kind) else _without_views(kind)


def _without_views(kind: pa.DataType) -> pa.DataType:
    """Arrow cannot take rows of lists and the like that have views in them."""

    def inner(field: pa.Field) -> pa.Field:
        return field.with_type(_without_views(field.type))

    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return pa.string() if pa.types.is_string_view(kind) else pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([inner(field) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(inner(kind.key_field), inner(kind.item_field), kind.keys_sorted)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(inner(kind.value_field), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return (pa.list_ if pa.types.is_list(kind) else pa.large_list)(inner(kind.value_field))
    return kind
