"""Networks of the task `features`."""

from muster.tasks.models.zoo import classifiers
from muster.tasks.models.zoo.entry import Entry

ENTRIES: tuple[Entry, ...] = ()  # they are in classifiers.py

MODELS = {
    "own": {"classifier": "muster-features"},
    **{entry.name: {"classifier": entry.name} for entry in classifiers.PUBLISHED},
}
DEFAULT = "own"
