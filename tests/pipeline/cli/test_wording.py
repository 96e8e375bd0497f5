import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from muster.errors import InputError, MusterError, NotYetError
from muster.pipeline.cli.main import app
from muster.pipeline.cli.wording import worded

HOME = Path(__file__).parents[3]
BELOW = [
    file
    for package in ("storage", "tasks", "training", "web", "pipeline")
    for file in sorted((HOME / package).rglob("*.py"))
    if not {"cli", "zoo"} & set(file.parts)  # the zoo says how weights are made: by which command
]
PAGES = sorted((HOME / "web/templates").rglob("*.html"))
MEANT = {
    "pipeline/distributed/jobs.py",  # a command line
    "storage/demo.py",  # one of pip
    "web/live/app.py",  # what a browser shows whoever comes too late: which command opens the page
    "web/live/edits.py",
    "web/live/guard.py",
    "web/live/pages.py",  # CSS properties
    "web/live/photos.py",
    "web/people.py",
    # What a browser shows who has nobody else to ask: which command finds what is missing
    "web/templates/duplicates.html",
    "web/templates/search.html",
}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InputError("`k` 3 needs `method` kmeans"), "--k 3 needs --method kmeans"),
        (InputError("`weights_dir` /none: no such folder"), "--weights-dir /none: no such folder"),
        (
            InputError("a folder that all nodes share, with `shared`"),
            "a folder that all nodes share, with --shared-library",
        ),
        (
            InputError("run `calibrate` again; see `audit verify`"),
            "run `muster calibrate` again; see `muster audit verify`",
        ),
        (MusterError("no column `uri`, nor `name i j`"), "no column `uri`, nor `name i j`"),
        (NotYetError("L has no images yet", "scan", "L"), "L has no images yet: run `muster scan FOLDER -l L` first"),
        (
            NotYetError("L has no masks yet", "run", "L", ("masks", "faces")),
            "L has no masks yet: run `muster run -l L --tasks masks,faces` first",
        ),
    ],
)
def test_the_command_line_words_an_error(error: MusterError, text: str) -> None:
    assert worded(error, typer.main.get_command(app)) == text


def test_from_python_a_step_is_a_verb() -> None:
    assert str(NotYetError("L is not clustered yet", "cluster", "L")) == "L is not clustered yet: `cluster` first"


def literals(file: Path) -> Iterator[str]:
    """The texts of a file that are no docstrings."""
    tree = ast.parse(file.read_text())
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


@pytest.mark.parametrize("file", BELOW, ids=lambda file: str(file.relative_to(HOME)))
def test_below_the_command_line_no_text_speaks_of_options(file: Path) -> None:
    if str(file.relative_to(HOME)) not in MEANT:
        assert [text for text in literals(file) if re.search(r"(?<![\w-])--[a-z]|`muster ", text)] == []


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_pages_that_name_a_command_are_listed(file: Path) -> None:
    """And those alone: whoever moves a sentence takes its page off the list."""
    named = re.search(r"<(kbd|code)>muster ", file.read_text()) is not None
    assert named == (str(file.relative_to(HOME)) in MEANT)
