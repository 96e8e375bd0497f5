"""Who may import whom, and who may touch what: the architecture, enforced."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
MAY_IMPORT = {
    "tasks": {"distribution", "errors", "tasks"},
    "storage": {"distribution", "errors", "storage"},
    "web": {"distribution", "errors", "web", "storage"},
    "training": {"distribution", "errors", "training", "tasks", "storage"},
    "pipeline": {"distribution", "errors", "pipeline", "training", "tasks", "storage", "web", "muster"},
}
# tasks are pure computation: no files, no network, no Ray. storage leaves tensors alone.
NEVER = {
    "tasks": {"ray", "os", "pathlib", "io", "shutil", "tempfile", "glob", "urllib", "http", "socket", "requests"},
    "storage": {"ray", "torch", "torchvision"},
    "web": {"ray", "torch", "torchvision"},
    "training": {"ray"},
    "pipeline": set(),
}
FOLDERS = {*MAY_IMPORT, "benchmarks", "helpers", "tests"}  # of the repository: none is a name to import
FILES = [file for package in MAY_IMPORT for file in sorted((HOME / package).rglob("*.py"))]


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            assert node.module is not None
            yield node.module


def calls(file: Path) -> set[str]:
    """The names of the plain functions that a file calls."""
    nodes = ast.walk(ast.parse(file.read_text()))
    return {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def rooms(file: Path) -> set[str]:
    """The packages of ours that a file imports; `muster` where it takes the face itself."""
    return {
        module.split(".")[1] if "." in module else module
        for module in imports(file)
        if module.partition(".")[0] == "muster"
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HOME)))
def test_imports(file: Path) -> None:
    package = file.relative_to(HOME).parts[0]
    roots = {module.partition(".")[0] for module in imports(file)}
    assert not roots & FOLDERS, "one name in site-packages: import muster.…"
    assert rooms(file) <= MAY_IMPORT[package]
    assert not roots & NEVER[package]
    if package == "tasks":
        assert "open" not in calls(file)
    if file != HOME / "pipeline/cli/console.py":  # which lets no control character of a name reach a terminal
        assert "print" not in calls(file)


def test_the_dispatcher_does_not_know_ray() -> None:
    """So that it is tested with fakes, and simulated at a size no test machine has."""
    files = [file for file in FILES if any(module.partition(".")[0] == "ray" for module in imports(file))]
    assert HOME / "pipeline/distributed/actors.py" in files
    assert HOME / "pipeline/work/dispatch.py" not in files


def test_the_rules_can_fail(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        "import os.path\ndef f():\n    from ray.util import state\n"
        "    from muster.storage.tables import read\n    print(open('x'))\n"
    )
    assert set(imports(file)) == {"os.path", "ray.util", "muster.storage.tables"}
    assert rooms(file) == {"storage"}
    assert calls(file) == {"print", "open"}
