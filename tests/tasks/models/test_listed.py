"""Published models that have a name."""

import re

from muster.tasks.hub import kinds
from muster.tasks.models import zoo
from muster.tasks.models.zoo.listed import LISTED, address


def test_their_tasks_take_published_models() -> None:
    assert LISTED.keys() <= kinds.ROLES.keys()
    for task, models in LISTED.items():
        assert not models.keys() & zoo.MODELS.get(task, {}).keys()
        assert set(models) <= set(zoo.names(task))
        for name, each in models.items():
            assert address(task, name) == f"hf:{each.repository}"
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", each.repository)
            assert each.licence == "Apache-2.0", "a new user may do with it what he likes"


def test_any_other_name_is_left() -> None:
    assert [address("objects", name) for name in (None, "own", "hf:/x")] == [None, "own", "hf:/x"]
