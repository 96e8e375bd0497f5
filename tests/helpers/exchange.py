"""Findings to export."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from pycocotools import mask

from muster.storage.exchange.photo import AnnotatedPhoto, Finding
from muster.storage.exchange.samples import Sample, Says, schema_of

SQUARE = [(10.0, 20.0), (30.0, 20.0), (30.0, 40.0), (10.0, 40.0)]
CATEGORIES = {"person": 1, "dog": 18, "sky": 91}


def a_mask() -> dict[str, Any]:
    pixels = np.zeros((80, 100), np.uint8, order="F")
    pixels[20:40, 10:30] = 1
    pixels[50, 7] = 1
    coded = mask.encode(pixels)
    return {"size": coded["size"], "counts": coded["counts"].decode()}


DOG = Finding("objects", "dog", 0.5, (10.0, 20.0, 30.0, 40.0))
SKY = Finding("masks", "sky", 0.9, (7.0, 20.0, 30.0, 51.0), a_mask(), [SQUARE, [(7.0, 50.0), (8.0, 50.0), (8.0, 51.0)]])


def photo(name: str, *findings: Finding) -> AnnotatedPhoto:
    return AnnotatedPhoto(f"id of {name}", f"/photos/{name}", name, 100, 80, findings)


SAYS = {"objects": Says(True, False, False, False), "masks": Says(True, True, False, False)}
SCHEMA = schema_of(pa.schema({"person": pa.string(), "width": pa.float64()}), SAYS, crops=False)
SAMPLE = Sample(replace(photo("a.jpg", DOG, SKY), user={"person": "anna", "width": 2.5}), b"\xff\xd8\xff", ".jpg")
