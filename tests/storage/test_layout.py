"""storage/layout.py and docs/data-model.md say the same."""

import inspect
import re
from pathlib import Path

from muster.storage import layout

DOCUMENT = Path(__file__).parents[2] / "docs" / "data-model.md"
FOLDERS = {
    "MANIFEST",
    "COMMITS",
    "PARTS",
    "TASKS",
    "CLUSTERS",
    "FACTS",
    "INDEX",
    "AUDIT",
    "RECEIPTS",
}  # only prefixes of others


def documented() -> set[str]:
    """The paths of the block at the top of the document."""
    block = DOCUMENT.read_text().split("```")[1]
    return {re.split(r"\s{2,}", line)[0].rstrip("/") for line in block.strip().splitlines()}


def laid_out() -> set[str]:
    """Every path of the module, with the names of parameters in the places of their values."""
    functions = [f for _, f in inspect.getmembers(layout, inspect.isfunction) if f.__module__ == layout.__name__]
    made = {function(*(f"<{name}>" for name in inspect.signature(function).parameters)) for function in functions}
    return made | {value for name, value in vars(layout).items() if name.isupper() and name not in FOLDERS}


def test_the_document_names_every_path_and_no_other() -> None:
    assert laid_out() == documented()


def test_folders_begin_the_paths_of_what_is_in_them() -> None:
    for name in FOLDERS:
        assert any(path.startswith(f"{getattr(layout, name)}/") for path in laid_out()), name
