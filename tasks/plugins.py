"""What other packages add to Muster: entry points, known by name from their metadata, imported when they are asked for.

A package that does it wrong is named, with what is wrong, and changes nothing for the others.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from muster.errors import TaskError

TASKS, MODELS = "muster.tasks", "muster.models"  # groups of entry points
Entries = tuple[EntryPoint, ...]  # of one name; more than one where several packages claim it

# Distribution → why: what was imported once would not be seen to change anything again
_refused: dict[str, str] = {}


class PluginWarning(UserWarning):
    """A package adds something that cannot be, and that is left out."""


@cache
def found(group: str, own: frozenset[str]) -> Mapping[str, Entries]:
    """Name → its entry points, of what other packages add to a group; nothing is imported.

    A name of `own`, Muster's, stays Muster's: whoever else claims it is warned of, once in a process.
    """
    names: dict[str, Entries] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: (entry.name, origin(entry))):
        if entry.name in own:
            text = f"{origin(entry)} registers {entry.name!r} in {group}, which is Muster's own, and is left out"
            warnings.warn(f"{text}: uninstall it", PluginWarning, stacklevel=2)
        else:
            names[entry.name] = (*names.get(entry.name, ()), entry)
    return names


def origin(entry: EntryPoint) -> str:
    """The distribution that it comes from, as `pip list` has it."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package without metadata"


def load(what: str, entries: Entries, guarded: Iterable[Any]) -> Any:
    """Import what an entry point names. `what`: "task 'smiles'", for messages. `guarded`: classes and modules of ours.

    TaskError names the distribution where it cannot be imported, changes one of these, or another claims the name.
    """
    if len(entries) > 1:
        raise TaskError(f"{what} is registered by {' and by '.join(map(origin, entries))}: uninstall one of them")
    [entry] = entries
    if origin(entry) in _refused:
        raise TaskError(f"{what} is not used: {_refused[origin(entry)]}")
    before = [(owner, dict(vars(owner))) for owner in guarded]
    try:
        with blaming(what, entry, "cannot be imported"):
            return entry.load()
    finally:
        changed = [name for owner, attributes in before for name in _restored(owner, attributes)]
        if changed:
            reason = f"as it is imported, {origin(entry)} changes {', '.join(changed)}: uninstall it"
            _refused[origin(entry)] = reason
            raise TaskError(f"{what} is not used: {reason}")


def _restored(owner: Any, before: Mapping[str, Any]) -> Iterator[str]:
    """Put a class or module back as it was; the names of what had been changed, added or taken away."""
    now = dict(vars(owner))
    for name in sorted(now.keys() | before.keys()):
        if name == "__warningregistry__" or (name in now and name in before and now[name] is before[name]):
            continue
        yield f"{getattr(owner, '__qualname__', owner.__name__)}.{name}"
        if name in before:
            setattr(owner, name, before[name])
        else:
            delattr(owner, name)


@contextmanager
def blaming(what: str, entry: EntryPoint | None, trouble: str) -> Iterator[None]:
    """Whatever goes wrong in code of another package is a TaskError that names it. `entry`: None for Muster's own."""
    try:
        yield
    except TaskError as error:
        if entry is None:
            raise
        raise TaskError(f"{what} of {origin(entry)}: {error}") from error
    except (Exception, SystemExit) as error:  # a module may end the program as it is imported
        if entry is None:
            raise
        raise TaskError(f"{what} of {origin(entry)} {trouble}: {type(error).__name__}: {error}") from error
