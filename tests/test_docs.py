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
REPORT = re.compile(r"^\| (\d+) \|.*\| ([^|]*) \|$", re.MULTILINE)  # of a kind of public reports: number, and its tests
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
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


def test_the_key_that_the_readme_has_for_naming_is_that_of_the_page() -> None:
    said = re.findall(r"press `(\w)` on the page of a person and type a name", (HOME / "README.md").read_text())
    button = r'data-asks="name" aria-keyshortcuts="(\w)"'
    assert said == re.findall(button, (HOME / "web/templates/live/person.html").read_text())


def reports() -> list[tuple[int, str]]:
    return [(int(number), tests) for number, tests in REPORT.findall((HOME / "docs" / "testing.md").read_text())]


def test_every_kind_of_public_reports_has_its_tests() -> None:
    assert [number for number, _ in reports()] == list(range(1, len(reports()) + 1))
    assert len(reports()) >= 80
    tests = {number: TEST.findall(tests) for number, tests in reports()}
    assert [number for number, found in tests.items() if not found] == []
    missing = [
        (number, *test) for number, found in tests.items() for test in found if not is_defined(HOME / test[0], test[1])
    ]
    assert missing == []


def is_defined(file: Path, test: str) -> bool:
    return file.exists() and f"\ndef {test}(" in file.read_text()


def test_the_rules_can_fail() -> None:
    text = "`storage/gone.py`, docs/adr, tasks/NAME.py, tests/*/test_x.py, https://a.b/storage/x, [x](there.md#a)"
    assert paths(text) == {"storage/gone.py", "docs/adr", "tests/*/test_x.py"}
    assert BARE.findall("`old.py` and `storage/new.py`") == ["old.py"]
    assert LINK.findall(text) == ["there.md"]
    row = "| 7 | a kind | somebody | `tests/test_a.py::test_b`, `tests/c/test_d.py::test_e` |"
    assert [(number, TEST.findall(tests)) for number, tests in REPORT.findall(row)] == [
        ("7", [("tests/test_a.py", "test_b"), ("tests/c/test_d.py", "test_e")])
    ]
    assert is_defined(Path(__file__), "test_the_rules_can_fail")
    assert not is_defined(Path(__file__), "test_the_rules")
