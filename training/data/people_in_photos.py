"""Where people are in photos, by COCO files: outside their boxes no face is. For the recipes detector and quality."""

from pathlib import Path

import numpy as np

from muster.arrays import F32
from muster.errors import InputError
from muster.storage.exchange.coco import read_coco
from muster.training.inputs import Inputs

PERSON = "person"  # the category of COCO files that has faces
PHOTOS_HELD_OUT = 0.5  # of the photos that the detector's scenes are made of


def read_people(inputs: Inputs) -> dict[str, F32]:
    """Name of a photo → boxes (M, 4) xyxy of the people and crowds in it, in pixels, from COCO files.

    A photo with no box of anything may be one that nobody has looked at, and is left out. InputError where a file has
    no category for people.
    """
    found = {}
    for path in inputs.labels:
        file = read_coco(Path(path), {})
        if PERSON not in file.categories:
            raise InputError(f"{path}: it has no category {PERSON!r}, outside whose boxes no face is")
        for photo, annotations in file.of_photos().items():
            of_people = [each["bbox"] for each in annotations if each["category_id"] == file.categories[PERSON]]
            boxes = np.array(of_people, np.float32).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            if annotations:
                found[photo] = boxes
    return found
