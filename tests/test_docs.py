"""What documents name is there: files of this repository, and what links lead to."""

import re
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
PAGES = sorted([*HOME.glob("*.md"), *(HOME / "docs").rglob("*.md")])
FOLDERS = "benchmarks|docs|muster|pipeline|requirements|storage|tasks|tests|training|web"
NAMES = {path.name for folder in FOLDERS.split("|") for path in (HOME / folder).rglob("*.py")}
PATH = re.compile(rf"(?<![\w/.:~-])((?:{FOLDERS})/[\w./*-]*\w(?:\.\w+)?/?)")
BARE = re.compile(r"`(\w+\.py)\b")  # a file without its folder
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PLACEHOLDER = re.compile(r"NAME|FOLDER|\.\.\.")  # of a file that is to be made


def paths(text: str) -> set[str]:
    """What looks like a file or folder of this repository."""
    return {path for path in PATH.findall(text) if not PLACEHOLDER.search(path)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HOME)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    missing = [path for path in sorted(paths(text)) if not any(HOME.glob(path.rstrip("/")))]
    missing += [file for file in BARE.findall(text) if file not in NAMES]
    missing += [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert not missing


def test_the_rules_can_fail() -> None:
    text = "`storage/gone.py`, docs/adr, tasks/NAME.py, tests/*/test_x.py, https://a.b/storage/x, [x](there.md#a)"
    assert paths(text) == {"storage/gone.py", "docs/adr", "tests/*/test_x.py"}
    assert BARE.findall("`old.py` and `storage/new.py`") == ["old.py"]
    assert LINK.findall(text) == ["there.md"]
