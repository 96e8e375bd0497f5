"""Which model a library takes where a command names none, by task: the last one that it was run with by name."""

from collections.abc import Mapping

from muster.errors import MusterError
from muster.storage.layout import MODELS
from muster.storage.library import LibraryFiles, dump_json
from muster.storage.tables import read_json


def read_models(library: LibraryFiles) -> dict[str, str]:
    """Task → model; empty where none was ever named. Raises MusterError for a damaged file."""
    if not library.has(MODELS):
        return {}
    models = read_json(library, MODELS)
    if not all(isinstance(model, str) for model in models.values()):
        raise MusterError(f"{library.at(MODELS)} is not as Muster wrote it: delete it, and name the models once more")
    return models


def keep_models(library: LibraryFiles, models: Mapping[str, str]) -> None:
    """Note these, beside what is noted of other tasks. The caller holds the lock."""
    before = read_models(library)
    if (now := before | dict(models)) != before:
        library.write(MODELS, dump_json(now))
