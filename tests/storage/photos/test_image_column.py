"""Which column holds the bytes of images."""

import pyarrow as pa
import pytest

from muster.storage.photos.image_column import image_column

HF = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LARGE = pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())])


@pytest.mark.parametrize(
    ("columns", "leaf"),
    [
        ({"image": pa.binary(), "uri": pa.string()}, "image"),
        ({"image": pa.dictionary(pa.int32(), pa.large_binary())}, "image"),
        ({"image": HF, "label": pa.int64()}, "image.bytes"),
        ({"image": LARGE, "mask": HF, "uri": pa.string()}, "image.bytes"),
        ({"img": HF, "label": pa.int64()}, "img.bytes"),
        ({"a.b": HF}, "a.b.bytes"),
        ({"img": HF, "uri": pa.string()}, None),  # then `uri` names the images
        ({"a": HF, "b": HF}, None),
        ({"img": pa.binary()}, None),  # may be anything
        ({"image": pa.string()}, None),
        ({"image": pa.list_(HF)}, None),
        ({"image": pa.struct([("bytes", pa.string()), ("path", pa.string())])}, None),
        ({"image": pa.struct([("path", pa.string())])}, None),
    ],
)
def test_the_column(columns: dict[str, pa.DataType], leaf: str | None) -> None:
    column = image_column(pa.schema(columns))
    assert (column and column.leaf) == leaf
