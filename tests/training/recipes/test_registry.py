from pathlib import Path

import pytest
from skimage import data as pictures
from skimage import io

from muster.errors import InputError
from muster.pipeline.work.weights import load_weights
from muster.tasks.models import zoo
from muster.training import recipes
from muster.training.data import examples as training_data
from muster.training.data.crops import Crops
from muster.training.data.examples import find_examples, held_out
from muster.training.inputs import Inputs

LOOKS_FOR_FACES = "yunet-n"  # the teacher of every recipe that learns from photos of named people
NAMES = [
    name
    for name, definition in recipes.RECIPES.items()
    if LOOKS_FOR_FACES in definition.teachers and not name.startswith("quality")  # see test_quality.py
]


def test_every_recipe_names_known_teachers() -> None:
    for definition in recipes.RECIPES.values():
        assert set(definition.teachers) <= set(zoo.ENTRIES)


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no recipe 'smiles'; known: embedder, .*daynight"):
        recipes.find("smiles")


def named(part: object) -> set[str]:
    """Photos that a recipe learns from or measures with: crops, or faces to paste."""
    return set(part.names if isinstance(part, Crops) else [face.name for face in part])  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NAMES)
def test_all_recipes_keep_out_the_same_people(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = 0.5
    monkeypatch.setattr(training_data, "PEOPLE_HELD_OUT", share)  # a recipe with a share of its own would differ
    definition = recipes.find(name)
    weights = {entry: load_weights(zoo.ENTRIES[entry], data / "weights") for entry in definition.teachers}
    io.imsave(tmp_path / "cup.png", pictures.coffee())
    images, scenes = [str(data / "lfw/lfw.parquet")], [str(tmp_path / "cup.png")]
    recipe = definition.build(
        Inputs(images=images, out=tmp_path, label="person", scenes=scenes, weights=weights, limit=60)
    )
    person = {example.name: str(example.label) for example in find_examples(images, "person", 60)}
    learnt, kept_out = (
        {person[photo] for photo in named(getattr(recipe, detector_part, None) or getattr(recipe, part))}
        for part, detector_part in (("crops", "faces"), ("measured", "measured_faces"))
    )
    assert kept_out == {who for who in person.values() if held_out(who, share)}
    assert learnt == set(person.values()) - kept_out
