"""Libraries whose photos a model of pictures and words has seen."""

from pathlib import Path

from muster.pipeline.run import pending
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.worker import ShardWorker
from muster.storage import tables
from muster.storage.library import LibraryFiles


def seen_by(library: LibraryFiles, model: Path) -> str:
    """The fingerprint of the features that the model in a folder makes of all photos."""
    choice = TaskChoice(name="features", model=f"hf:{model}")
    fingerprint = tables.describe(library, choice.description)
    worker = ShardWorker(library.uri, [choice], "cpu", None)
    for order in pending(library, [choice]):
        worker.process(order)
    return fingerprint
