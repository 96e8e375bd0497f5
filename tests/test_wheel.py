"""What `pip install` puts on a machine: all of Muster, under one name that nothing else harms or is harmed by."""

import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
FOLDERS = ("muster", "pipeline", "storage", "tasks", "training", "web")  # of the repository: all are in the wheel
WHERE = "import muster.web.people as module; print(module.__file__)"
STRANGERS = ("pipeline", "storage", "tasks", "training", "web")  # names that other packages have at their top


def output(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a release is built: a source distribution of the repository, and of that a wheel."""
    out = tmp_path_factory.mktemp("dist")
    output(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, HOME, cwd=out)
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture
def environment(tmp_path: Path) -> Callable[..., str]:
    """environment(program, …): one of an environment that holds nothing but what Muster depends on."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    (packages,) = tmp_path.glob("venv/lib/*/site-packages")
    paths = [path for path in sys.path if path.endswith("-packages")]  # their .pth files, so our folders, are not read
    (packages / "dependencies.pth").write_text("\n".join(paths))
    return lambda program, *args: output(tmp_path / "venv" / "bin" / program, *args, cwd=tmp_path)


def install(environment: Callable[..., str], wheel: Path) -> None:
    environment("python", "-m", "pip", "install", "--no-index", "--no-deps", "--force-reinstall", str(wheel))


def stranger(folder: Path) -> Path:
    """A package that has the names of our folders at its top."""
    path = folder / "stranger-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as out:
        for name in STRANGERS:
            out.writestr(f"{name}/__init__.py", "whose = 'theirs'\n")
        out.writestr("stranger-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
        out.writestr("stranger-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        records = [f"{name}/__init__.py,,\n" for name in STRANGERS]
        records += [f"stranger-1.0.dist-info/{name},,\n" for name in ("METADATA", "WHEEL", "RECORD")]
        out.writestr("stranger-1.0.dist-info/RECORD", "".join(records))
    return path


def test_one_name_and_every_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        (top,) = (content.read(name).decode() for name in names if name.endswith("/top_level.txt"))
    assert top == "muster\n"
    installed = {name for name in names if ".dist-info/" not in name}
    tracked = output("git", "ls-files", *FOLDERS, cwd=HOME).splitlines()
    assert installed == {file if file.startswith("muster/") else f"muster/{file}" for file in tracked}


def test_it_works_outside_of_the_repository(wheel: Path, environment: Callable[..., str], tmp_path: Path) -> None:
    install(environment, wheel)
    assert Path(environment("python", "-c", WHERE)).is_relative_to(tmp_path / "venv")
    assert f"{tmp_path}/venv/lib" in environment("muster", "models", "list", "--json")  # the weights that come with it
    found = environment(
        "python", "-c", f"import pkgutil; print({{m.name for m in pkgutil.iter_modules()}} & {set(STRANGERS)})"
    )
    assert found == "set()"


@pytest.mark.parametrize("first", ["stranger", "muster"])
def test_a_stranger_with_the_names_of_our_folders(
    first: str, wheel: Path, environment: Callable[..., str], tmp_path: Path
) -> None:
    both = [stranger(tmp_path), wheel]
    for each in both if first == "stranger" else reversed(both):
        install(environment, each)
    before = environment("python", "-c", WHERE)
    theirs = f"import {', '.join(STRANGERS)}; print({', '.join(f'{name}.whose' for name in STRANGERS)})"
    assert environment("python", "-c", theirs) == " ".join(["theirs"] * len(STRANGERS))
    environment("python", "-m", "pip", "uninstall", "--yes", "stranger")
    assert environment("python", "-c", WHERE) == before
