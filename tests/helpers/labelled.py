"""A library of people with names."""

import numpy as np
import pyarrow as pa

from muster.pipeline.evaluate.faces import Labelled
from muster.pipeline.people.faces import Faces
from muster.tasks.people.graph import Strangers
from muster.tasks.people.search import normalised


def labelled(people: int, photos: int, strangers: int, noise: float) -> Labelled:
    random = np.random.default_rng(0)
    owner = np.concatenate([np.repeat(np.arange(people), photos), people + np.arange(strangers)])
    centres = random.normal(size=(people + strangers, 128))
    vectors = normalised(centres[owner] + noise * random.normal(size=(len(owner), 128)))
    names = [f"n{number:04d}" for number in owner]
    files = [f"{name}/{i}" for i, name in enumerate(names)]
    images = pa.table({"uri": files, "file": files, "person": names})
    faces = Faces("f", pa.table({}), vectors, Strangers(normalised(random.normal(size=(50, 128))), 0.1))
    return Labelled(faces, np.arange(len(owner)), images, np.arange(len(owner)))
