import pytest

from storage.errors import InputError
from tasks.models import zoo
from training import recipes


def test_every_recipe_names_known_teachers() -> None:
    for definition in recipes.RECIPES.values():
        assert set(definition.teachers) <= set(zoo.ENTRIES)


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no recipe 'smiles'; known: embedder, .*daynight"):
        recipes.find("smiles")
