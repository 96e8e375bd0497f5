"""Who and what is in a collection of photos, from one laptop to a Ray cluster.

    import muster

    library = muster.open("./library", create=True)
    library.scan("~/Pictures")
    library.run(["faces", "previews"])
    library.cluster()
    library.people_pages("./pages")

Importing this takes milliseconds: each name below is imported when it is first used. docs/api.md describes them all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names for type checkers and editors
    from muster import errors as errors
    from muster import evaluate as evaluate
    from muster import jobs as jobs
    from muster import models as models
    from muster import testing as testing
    from muster.chosen import ChosenTask as ChosenTask
    from muster.chosen import task as task
    from muster.errors import MusterError as MusterError
    from muster.library import Library as Library
    from muster.library import identify as identify
    from muster.library import open as open
    from muster.library import photos as photos
    from muster.library import scan as scan
    from muster.pipeline.duplicates import Duplicates as Duplicates
    from muster.pipeline.forget import Receipt as Receipt
    from muster.pipeline.gallery.enroll import EnrolSummary as EnrolSummary
    from muster.pipeline.gallery.watch import WatchSummary as WatchSummary
    from muster.pipeline.people.grouping import ClusterSummary as ClusterSummary
    from muster.pipeline.run import Progress as Progress
    from muster.pipeline.run import RunSummary as RunSummary
    from muster.pipeline.styles.album import StyleSummary as StyleSummary
    from muster.pipeline.tags import TagsSummary as TagsSummary
    from muster.pipeline.work.machine import Machine as Machine
    from muster.recipes import train as train
    from muster.results import Answers as Answers
    from muster.results import AskResult as AskResult
    from muster.results import Pages as Pages
    from muster.results import PhotosSummary as PhotosSummary
    from muster.results import SearchResult as SearchResult
    from muster.storage.demo import make_album as demo
    from muster.storage.manifest import ScanResult as ScanResult

    __version__: str

__all__ = [
    "Answers",
    "AskResult",
    "ChosenTask",
    "ClusterSummary",
    "Duplicates",
    "EnrolSummary",
    "Library",
    "Machine",
    "MusterError",
    "Pages",
    "PhotosSummary",
    "Progress",
    "Receipt",
    "RunSummary",
    "ScanResult",
    "SearchResult",
    "StyleSummary",
    "TagsSummary",
    "WatchSummary",
    "__version__",
    "demo",
    "errors",
    "evaluate",
    "identify",
    "jobs",
    "models",
    "open",
    "photos",
    "scan",
    "task",
    "testing",
    "train",
]

_PLACES = {  # name → module, and what it is called there
    "Answers": ("muster.results", "Answers"),
    "AskResult": ("muster.results", "AskResult"),
    "ChosenTask": ("muster.chosen", "ChosenTask"),
    "ClusterSummary": ("muster.pipeline.people.grouping", "ClusterSummary"),
    "Duplicates": ("muster.pipeline.duplicates", "Duplicates"),
    "EnrolSummary": ("muster.pipeline.gallery.enroll", "EnrolSummary"),
    "Library": ("muster.library", "Library"),
    "Machine": ("muster.pipeline.work.machine", "Machine"),
    "MusterError": ("muster.errors", "MusterError"),
    "Pages": ("muster.results", "Pages"),
    "PhotosSummary": ("muster.results", "PhotosSummary"),
    "Progress": ("muster.pipeline.run", "Progress"),
    "Receipt": ("muster.pipeline.forget", "Receipt"),
    "RunSummary": ("muster.pipeline.run", "RunSummary"),
    "ScanResult": ("muster.storage.manifest", "ScanResult"),
    "SearchResult": ("muster.results", "SearchResult"),
    "StyleSummary": ("muster.pipeline.styles.album", "StyleSummary"),
    "TagsSummary": ("muster.pipeline.tags", "TagsSummary"),
    "WatchSummary": ("muster.pipeline.gallery.watch", "WatchSummary"),
    "demo": ("muster.storage.demo", "make_album"),
    "identify": ("muster.library", "identify"),
    "open": ("muster.library", "open"),
    "photos": ("muster.library", "photos"),
    "scan": ("muster.library", "scan"),
    "task": ("muster.chosen", "task"),
    "train": ("muster.recipes", "train"),
}
_MODULES = ("errors", "evaluate", "jobs", "models", "testing")


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name == "__version__":
        from muster.distribution import version

        return version()
    if name in _MODULES:
        return import_module(f"muster.{name}")
    if name in _PLACES:
        module, there = _PLACES[name]
        return getattr(import_module(module), there)
    raise AttributeError(f"module 'muster' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
