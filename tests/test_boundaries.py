"""What may be called where. Who may import whom is in pyproject.toml, and `make check` holds it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
PACKAGES = ("muster", "pipeline", "storage", "tasks", "training", "web")
FOLDERS = {*PACKAGES[1:], "benchmarks", "helpers", "tests"}  # of the repository: none is a name to import
FILES = [file for package in PACKAGES for file in sorted((HOME / package).rglob("*.py"))]


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def calls(file: Path) -> set[str]:
    """The names of the plain functions that a file calls."""
    nodes = ast.walk(ast.parse(file.read_text()))
    return {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HOME)))
def test_one_name_and_no_printing(file: Path) -> None:
    modules = set(imports(file))
    assert not any(module.startswith(".") for module in modules), "imports are absolute"
    assert not {module.partition(".")[0] for module in modules} & FOLDERS, "one name in site-packages: muster.…"
    if file.is_relative_to(HOME / "tasks"):  # pure computation: the contracts forbid the modules, this the function
        assert "open" not in calls(file)
    if file != HOME / "pipeline/cli/console.py":  # which lets no control character of a name reach a terminal
        assert "print" not in calls(file)


def shape(function: ast.FunctionDef) -> str:
    """What a function does, whatever it, its arguments and its variables are called."""
    nodes = list(ast.walk(function))
    arguments = [node for node in nodes if isinstance(node, ast.arg)]
    variables = [node for node in nodes if isinstance(node, ast.Name)]
    own = [node.arg for node in arguments] + [node.id for node in variables if isinstance(node.ctx, ast.Store)]
    names = {name: str(number) for number, name in enumerate(dict.fromkeys(own))}
    for argument in arguments:
        argument.arg, argument.annotation = names[argument.arg], None
    for variable in variables:
        variable.id = names.get(variable.id, variable.id)
    body = function.body[ast.get_docstring(function) is not None :]
    return "; ".join(map(ast.dump, [function.args, *body]))


def test_no_function_is_written_twice() -> None:
    places: dict[str, list[str]] = {}
    for file in FILES:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                places.setdefault(shape(node), []).append(f"{file.relative_to(HOME)}: {node.name}")
    assert [twice for twice in places.values() if len(twice) > 1] == []


def test_the_rules_can_fail(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        "import os.path\ndef f():\n    from ray.util import state\n"
        "    from storage.tables import read\n    from . import near\n    print(open('x'))\n"
    )
    assert set(imports(file)) == {"os.path", "ray.util", "storage.tables", "."}
    assert calls(file) == {"print", "open"}
    source = "def f(a: int): return [x for x in a]\ndef g(b):\n  'b.'\n  return [y for y in b]\ndef h(b): return b"
    one, other, third = [shape(node) for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    assert one == other != third
