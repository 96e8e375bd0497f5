"""What is installed and loaded is what was meant: packages by lock files with hashes, weights by their bytes."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from muster.errors import InputError, MusterError
from muster.pipeline.work import weights as models
from muster.pipeline.work.choice import TaskChoice
from muster.storage import downloads
from muster.tasks.models import zoo
from muster.tasks.models.yolo import Yolo
from muster.tasks.models.zoo.entry import Entry

HOME = Path(__file__).parents[2]

# ---- 22: weights -----------------------------------------------------------------------------------------------------

Change = Callable[[Path, bytes], None]


@pytest.fixture(scope="module")
def _watched() -> dict[str, list[bytes]]:
    """Path → what it is to hold from each of its next openings on. Python's audit hooks cannot be taken off again."""
    watched: dict[str, list[bytes]] = {}

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and watched and (coming := watched.get(str(args[0]))):
            path, content = str(args[0]), coming.pop(0)
            Path(path + ".new").write_bytes(content)
            os.replace(path + ".new", path)

    sys.addaudithook(hook)
    return watched


@pytest.fixture
def at_each_opening(_watched: dict[str, list[bytes]]) -> Iterator[Callable[[Path, list[bytes]], None]]:
    """A file that is another one each time it is opened: by somebody who may write its folder, and is very fast."""
    yield lambda path, contents: _watched.update({str(path): list(contents)})
    _watched.clear()


def written(path: Path, state: dict[str, torch.Tensor]) -> bytes:
    torch.save(state, path)
    return path.read_bytes()


@pytest.mark.parametrize("place", ["--weights-dir", "cache"])
def test_22_weights_swapped_after_the_check(
    tmp_path: Path, place: str, at_each_opening: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path))
    monkeypatch.delenv("MUSTER_WEIGHTS", raising=False)
    (tmp_path / "weights").mkdir()
    file = tmp_path / "weights" / "net.pth"
    theirs, ours = written(file, {"weight": torch.zeros(3)}), written(file, {"weight": torch.ones(3)})
    digest = hashlib.sha256(ours).hexdigest()
    entry = Entry("net", "net.pth", "http://127.0.0.1:9/", digest, "Apache-2.0", "ours", "photos", "RGB", dict)
    at_each_opening(file, [ours, theirs])
    state = models.load_weights(entry, file.parent if place == "--weights-dir" else None)
    assert state["weight"].tolist() == [1, 1, 1]


def test_22_a_given_file_swapped_while_it_is_checked(tmp_path: Path, at_each_opening: Callable[..., None]) -> None:
    file = tmp_path / "objects.pth"
    theirs, ours = written(file, Yolo(80).state_dict()), written(file, Yolo(80).state_dict())
    choice = TaskChoice(name="objects", model="own", weights=file)
    assert choice.fingerprint
    at_each_opening(file, [theirs, ours])
    with pytest.raises(InputError, match=r"objects\.pth is no longer the file that it was"):
        choice.load(torch.device("cpu"), None)


@pytest.mark.parametrize("suffix", [".lock", ".12345678.part"])
def test_22_nothing_is_written_through_a_link_in_the_cache(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path))
    monkeypatch.setattr(downloads, "PAUSES", (0.0,))
    (tmp_path / "weights").mkdir()
    precious, server = tmp_path / "precious", tmp_path / "published"
    precious.write_bytes(b"thesis")
    server.write_bytes(b"weights")
    (tmp_path / "weights" / f"net.pth{suffix}").symlink_to(precious)
    with pytest.raises(MusterError, match="cannot write"):
        downloads.fetch(downloads.WeightsFile("net.pth", server.as_uri(), "12345678"))
    assert precious.read_bytes() == b"thesis"


# ---- 24: packages ----------------------------------------------------------------------------------------------------

PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
MACHINES = [
    {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine}
    | {"sys_platform": "linux", "implementation_name": "cpython", "platform_python_implementation": "CPython"}
    for python in ("3.11", "3.12", "3.13", "3.14")
    for machine in ("x86_64", "aarch64")
]


@dataclass(frozen=True)
class Pin:
    requirement: Requirement
    hashes: list[str]

    @property
    def version(self) -> str:
        return str(self.requirement.specifier).removeprefix("==")


def pins(name: str) -> list[Pin]:
    """The requirements of a lock file; an error at any other kind of line."""
    text = re.sub(r"^ *#.*\n", "", (HOME / "requirements" / f"{name}.txt").read_text(), flags=re.MULTILINE)
    found = []
    for line in text.replace("\\\n", "").splitlines():
        requirement, *hashes = re.split(r"\s+--hash=sha256:", line.strip())
        assert not line.startswith("-"), line
        found.append(Pin(Requirement(requirement), hashes))
    return found


def direct(*extras: str) -> dict[str, Requirement]:
    """What pyproject.toml asks for: to run and to build Muster, and these extras."""
    project = PROJECT["project"]
    named = [*project["dependencies"], *PROJECT["build-system"]["requires"], *(r for e in extras for r in EXTRAS[e])]
    return {canonicalize_name(r.name): r for r in map(Requirement, named) if r.name != project["name"]}


@pytest.mark.parametrize("name", ["run", "test"])
def test_24_every_package_is_pinned_and_hashed(name: str) -> None:
    for pin in pins(name):
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.requirement.specifier)), pin  # no 2.15.0+cpu of elsewhere
        assert pin.requirement.url is None
        assert pin.hashes, pin
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in pin.hashes), pin
        assert canonicalize_name(pin.requirement.name) != "muster"  # on PyPI that is somebody else's


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m['python_version']}-{m['platform_machine']}")
@pytest.mark.parametrize(("name", "extras"), [("run", ["demo"]), ("test", EXTRAS)])
def test_24_all_that_is_asked_for_is_locked(name: str, extras: list[str], machine: dict[str, str]) -> None:
    here = [pin for pin in pins(name) if pin.requirement.marker is None or pin.requirement.marker.evaluate(machine)]
    versions = {canonicalize_name(pin.requirement.name): pin.version for pin in here}
    assert len(versions) == len(here)  # one version of each
    for package, wanted in direct(*extras).items():
        assert wanted.specifier.contains(versions[package]), f"{package}: make lock"


def test_24_what_tests_need_is_not_what_users_install() -> None:
    run, everything = ({(pin.requirement.name, pin.version) for pin in pins(name)} for name in ("run", "test"))
    assert run <= everything  # `make test` after `make run` only adds
    only_tests = direct(*EXTRAS).keys() - direct("demo").keys()
    assert {"moto", "onnxruntime", "playwright", "pytest"} <= only_tests
    only_tests -= {"pyyaml"}  # which users have because of Ray
    assert not only_tests & {canonicalize_name(pin.requirement.name) for pin in pins("run")}


def made(folder: Path, target: str) -> list[str]:
    """The commands that make would run in a fresh checkout."""
    command = ["make", "-n", target, f"VENV={folder}/none"]
    return subprocess.run(command, cwd=HOME, check=True, capture_output=True, text=True).stdout.splitlines()


def test_24_what_users_install_is_used() -> None:
    """What tests and benchmarks alone import is no dependency."""
    modules = {"faiss-cpu": "faiss", "pillow": "PIL"}
    folders = ("muster", "pipeline", "storage", "tasks", "training", "web")
    code = "\n".join(file.read_text() for folder in folders for file in (HOME / folder).rglob("*.py"))
    for asked in PROJECT["project"]["dependencies"]:
        name = canonicalize_name(Requirement(asked).name)
        assert re.search(rf"^ *(import|from) {modules.get(name, name.replace('-', '_'))}\b", code, re.MULTILINE), name


@pytest.mark.parametrize("target", ["run", "test", "check", "build", "bench", "chaos"])
def test_24_make_installs_nothing_unhashed(target: str, tmp_path: Path) -> None:
    packages, ours = (line for line in made(tmp_path, target) if "pip install" in line)
    assert {"--require-hashes", "--only-binary"} < set(packages.split())
    assert packages.endswith("requirements/run.txt" if target == "run" else "requirements/test.txt")
    assert {"--no-deps", "--no-build-isolation"} < set(ours.split())


def wheel(folder: Path, content: str) -> Path:
    path = folder / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("toy.py", content)
        out.writestr("toy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        out.writestr("toy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        out.writestr("toy-1.0.dist-info/RECORD", "")
    return path


def test_24_a_package_that_was_replaced_is_not_installed(tmp_path: Path) -> None:
    """By the Makefile itself, in a folder with a lock file of one package, whose index has another file for it."""
    meant = hashlib.sha256(wheel(tmp_path, "x = 1").read_bytes()).hexdigest()
    wheel(tmp_path, "x = 2")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "run.txt").write_text(f"toy==1.0 --hash=sha256:{meant}\n")
    for file in ("Makefile", "pyproject.toml"):
        shutil.copy(HOME / file, tmp_path)
    index = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    command = ["make", ".venv/run.installed", f"PYTHON={sys.executable}"]
    outcome = subprocess.run(command, cwd=tmp_path, env=os.environ | index, capture_output=True, text=True)
    assert outcome.returncode != 0
    assert "DO NOT MATCH THE HASHES" in outcome.stderr
    assert not [*tmp_path.glob(".venv/lib/*/site-packages/toy*"), *tmp_path.glob(".venv/*.installed")]


def test_24_nobody_is_told_to_install_a_stranger() -> None:
    """`muster` on PyPI is somebody else's. What a message says to install is one of our own requirements."""
    known = direct(*EXTRAS).keys()
    for package in ("muster", "pipeline", "storage", "tasks", "training", "web", "docs", "benchmarks"):
        for file in sorted([*(HOME / package).rglob("*.py"), *(HOME / package).rglob("*.md")]):
            text = file.read_text()
            assert not re.search(r"pip install [^\n/]*\bmuster\b(?!/)", text), file
            for names in re.findall(r"pip install (?:--upgrade )?([a-z][a-z \n-]+)", text):
                assert set(names.split()) <= known, f"{file}: pip install {names}"


def test_the_weights_of_the_zoo_have_whole_digests() -> None:
    """But for torchvision's, whose publisher gives eight digits: docs/security.md says what that is worth."""
    short = {name for name, entry in zoo.ENTRIES.items() if entry.sha256 and len(entry.sha256) < 64}
    assert all(zoo.ENTRIES[name].url.startswith("https://download.pytorch.org/") for name in short)


# ---- the table of docs/security.md -----------------------------------------------------------------------------------

ROWS = re.findall(r"^\| (\d+)\. .+ \| `(\w+\.py)::test_(\d\d)_\*` \|", (HOME / "docs/security.md").read_text(), re.M)


def test_the_table_has_every_finding() -> None:
    assert [int(number) for number, _, _ in ROWS] == list(range(1, 32))


@pytest.mark.parametrize(("number", "file", "test"), ROWS)
def test_every_finding_has_its_test(number: str, file: str, test: str) -> None:
    assert int(number) == int(test)
    assert f"\ndef test_{test}_" in (HOME / "tests" / "security" / file).read_text()
