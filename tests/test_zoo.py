import re

import pytest

from tasks import base
from tasks.base import TaskError
from tasks.models import zoo


def test_every_entry_says_where_it_comes_from() -> None:
    for name, entry in zoo.ENTRIES.items():
        assert entry.name == name
        assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
        assert entry.url.startswith("https://")
        assert entry.url.endswith(entry.file)
        assert entry.licence
        assert entry.training_data
        assert entry.source


def test_models_name_known_entries_and_tasks() -> None:
    for task, models in zoo.MODELS.items():
        assert task in base.names()
        assert zoo.DEFAULTS[task] in models
        assert all(name in zoo.ENTRIES for roles in models.values() for name in roles.values())


def test_an_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(TaskError, match="known: published"):
        zoo.roles("faces", "nonsense")
