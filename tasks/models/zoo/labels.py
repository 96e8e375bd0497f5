"""Networks of the tasks `labels` and `features`."""

from muster.tasks.models.zoo import classifiers
from muster.tasks.models.zoo.entry import Entry

ENTRIES: tuple[Entry, ...] = ()
MODELS = {entry.name: {"classifier": entry.name} for entry in classifiers.ENTRIES}
DEFAULT = "squeezenet"
