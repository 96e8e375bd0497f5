"""How the command line words an error: parameters as options, steps as commands."""

import re
from collections.abc import Iterator
from typing import Any

from muster.errors import MusterError, NotYetError

STEPS = {
    "scan": "muster scan FOLDER -l {library}",
    "run": "muster run -l {library}{tasks}",
    "cluster": "muster cluster -l {library}",
    "enroll": "muster enroll ROSTER -l {library}",
    "calibrate": "muster calibrate -l {library}",
    "duplicates": "muster duplicates -l {library}",
}


def worded(error: MusterError, command: Any) -> str:
    """The text of an error. `command`: the whole command line, as click has it."""
    text = str(error)
    if isinstance(error, NotYetError):
        tasks = f" --tasks {','.join(error.tasks)}" if error.tasks else ""
        step = STEPS[error.step].format(library=error.library, tasks=tasks)
        text = f"{error.args[0]}: run `{step}` first"  # what else there is, is of Python
    return in_options(text, command)


def in_options(text: str, command: Any) -> str:
    """A text with the names of parameters as options, and of steps as commands."""
    names = dict(_names(command))
    return re.sub(r"`([a-z_ ]+)`", lambda found: names.get(found[1], found[0]), text)


def _names(command: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Parameter → option, and words of a command → the command in backticks; of all commands below this one."""
    if path:
        yield path, f"`muster {path}`"
    for parameter in command.params:
        if parameter.param_type_name == "option":
            yield parameter.name, parameter.opts[0]
    for name, each in getattr(command, "commands", {}).items():
        yield from _names(each, f"{path} {name}".strip())
