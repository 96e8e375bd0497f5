import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from helpers.fixtures import Killed, Outcome, School

hypothesis.settings.register_profile("muster", deadline=None)  # tests must not fail because a machine is slow
hypothesis.settings.load_profile("muster")

if "PYTEST_XDIST_WORKER" in os.environ:  # two processes of two threads each on two cores stand in each other's way
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Ray reads these once, when it is first imported, by whichever test comes first.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", "0" * 64)
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
for name in ("MUSTER_KEY", "MUSTER_KEY_FILE", "MUSTER_NEW_KEY", "MUSTER_NEW_KEY_FILE"):  # of whoever runs the tests
    os.environ.pop(name, None)

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real photos, labels and published weights."""
    if not DATA.is_dir():
        pytest.skip(f"no test data at {DATA} (set MUSTER_TEST_DATA)")
    return DATA


@pytest.fixture(scope="session")
def weights(data: Path) -> Path:
    return data / "weights"


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One Ray for all tests in this process: muster.pipeline.distributed.actors.connected() uses one that runs
    already."""
    import ray

    ray.init(
        "local",
        num_cpus=2,
        object_store_memory=80 << 20,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def make_photos() -> Callable[..., Path]:
    """make_photos(folder, numbers): photos with these numbers; every third shows a face; the same number, the same."""
    import numpy as np
    from PIL import Image
    from skimage import data as pictures

    head = Image.fromarray(pictures.astronaut()).crop((140, 0, 320, 190))

    def make(folder: Path, numbers: range) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            noise = np.random.default_rng(number).integers(0, 255, (6, 8, 3), np.uint8)
            photo = Image.fromarray(noise).resize((400, 300), Image.Resampling.BICUBIC)
            if number % 3 == 0:
                photo.paste(head.resize((120 + number % 60, 126 + number % 60)), (20 + number % 90, 40))
            photo.save(folder / f"{number:04d}.jpg", quality=90)
        return folder

    return make


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory, make_photos: Callable[..., Path]) -> Path:
    """24 photos of which 8 show a face, and two files that are broken: one cut short, one no image at all."""
    folder = make_photos(tmp_path_factory.mktemp("album"), range(24))
    (folder / "cut.jpg").write_bytes((folder / "0000.jpg").read_bytes()[:3000])
    (folder / "text.jpg").write_text("This is not an image.")
    return folder


def work(folder: Path, weights: Path, tasks: tuple[str, ...] = ("faces", "previews")) -> list[dict[str, Any]]:
    """Process what is pending in a library here, in this process, without Ray; the results of its shards."""
    from helpers.runs import config_of
    from muster.pipeline.run import pending, record
    from muster.pipeline.work.worker import ShardWorker
    from muster.storage.library import open_library

    library = open_library(folder)
    config = config_of(folder, *tasks)
    record(library, config)
    worker = ShardWorker(str(folder), config.choices, "cpu", weights)
    return [worker.process(order) for order in pending(library, config.choices)]


@pytest.fixture(scope="session", name="work")
def _work() -> Callable[..., list[dict[str, Any]]]:
    return work


@pytest.fixture(scope="session")
def processed(tmp_path_factory: pytest.TempPathFactory, album: Path, weights: Path) -> Path:
    """A library of the album: scanned and processed. Not to be changed: see `library`."""
    from muster.storage.library import open_library
    from muster.storage.manifest import scan

    folder = tmp_path_factory.mktemp("processed") / "library"
    scan(open_library(folder, create=True), [str(album)])
    work(folder, weights)
    return folder


@pytest.fixture
def library(tmp_path: Path, processed: Path) -> Path:
    """A copy of `processed` that a test may change."""
    return Path(shutil.copytree(processed, tmp_path / "library"))


@pytest.fixture
def muster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., Outcome]]:
    """muster(*arguments): run the command in this process, with the test data's weights and a cache of its own."""
    from muster.pipeline.cli import main

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MUSTER_WEIGHTS", str(DATA / "weights")) if DATA.is_dir() else None
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("MUSTER_LIBRARY", raising=False)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["muster", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main.main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        return Outcome(code, *capsys.readouterr())

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def snapshot() -> Callable[[Path], dict[str, tuple[str, int]]]:
    """snapshot(folder): name → digest and time of every file below it, to see that nothing changed."""

    def take(folder: Path) -> dict[str, tuple[str, int]]:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {
            str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
            for path in files
        }

    return take


@pytest.fixture(scope="session")
def rows_of() -> Callable[[Path], dict[str, Any]]:
    """rows_of(folder): table → all its committed rows, every column, in order of id; to compare two libraries."""
    from muster.storage import tables
    from muster.storage.library import open_library

    def read(folder: Path) -> dict[str, Any]:
        library, found = open_library(folder), {}
        for fingerprint, description in tables.descriptions(library).items():
            for name in (description["task"], "errors"):
                rows = tables.read(library, name, fingerprint)
                if rows is not None:
                    keys = [(key, "ascending") for key in ("image_id", "face_id") if key in rows.column_names]
                    found[f"{name}/{fingerprint}"] = rows.combine_chunks().sort_by(keys)
        return found

    return read


@pytest.fixture(scope="session")
def school(data: Path, tmp_path_factory: pytest.TempPathFactory) -> School:
    """32 people of LFW with three photos or more, and six with one."""
    import pyarrow.parquet as pq

    table = pq.read_table(data / "lfw/lfw.parquet", columns=["person", "file", "image"])
    rows: dict[str, list[tuple[str, int]]] = {}
    for i, (person, file) in enumerate(zip(table["person"].to_pylist(), table["file"].to_pylist(), strict=True)):
        rows.setdefault(person, []).append((file, i))
    folder = tmp_path_factory.mktemp("school")

    def photo(person: str, number: int) -> Path:
        path = folder / f"{person} {number}.jpg"
        path.write_bytes(table["image"][sorted(rows[person])[number][1]].as_py())
        return path

    turned_away = {"Abdoulaye_Wade"}  # in the third photo: of a quality that is never named
    people = [person for person in sorted(rows.keys() - turned_away) if len(rows[person]) >= 3][:32]
    others = [person for person in sorted(rows) if len(rows[person]) == 1][:6]
    return School(
        {person: [photo(person, 0), photo(person, 1)] for person in people},
        {person: photo(person, 2) for person in people},
        [photo(person, 0) for person in others],
    )


@pytest.fixture(scope="session")
def enrolled(tmp_path_factory: pytest.TempPathFactory, school: School, weights: Path) -> Path:
    """A library in whose gallery the school's people are, without Ray. Not to be changed: see `gallery_library`."""
    from helpers.runs import config_of
    from muster.pipeline.gallery import enroll
    from muster.storage.library import open_library

    folder = tmp_path_factory.mktemp("enrolled")
    lines = [f'{name},"{a}","{b}",yes' for name, (a, b) in school.enrolled.items()]
    (folder / "roster.csv").write_text("\n".join(["person_id,image,image2,consent", *lines]))
    config = config_of(folder / "library", "faces")
    open_library(folder / "library", create=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enroll, "process", lambda library, *_: work(library.uri, weights, ("faces",)))
        summary = enroll.enroll(enroll.Request(str(folder / "roster.csv")), config, lambda _: None)
    assert summary.people >= 30
    return folder / "library"


@pytest.fixture
def gallery_library(tmp_path: Path, enrolled: Path) -> Path:
    """A copy of `enrolled` that a test may change."""
    return Path(shutil.copytree(enrolled, tmp_path / "library"))


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """kills(n): from now on the process dies before its n-th change to any library (from 0)."""
    from muster.storage.library import LibraryFiles

    left = [-1]

    def dying(name: str) -> None:
        method = getattr(LibraryFiles, name)

        def change(self: LibraryFiles, *arguments: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return method(self, *arguments)

        monkeypatch.setattr(LibraryFiles, name, change)

    for name in ("write", "create", "remove", "put_aside", "put_in_place"):
        dying(name)

    def arm(count: int) -> None:
        left[0] = count

    return arm


@pytest.fixture(scope="session")
def plugin_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that examples/plugin is installed into, from a copy of its source: a build leaves files beside it."""
    folder = tmp_path_factory.mktemp("plugin")
    example, source = Path(__file__).parents[1] / "examples/plugin", folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "muster_colours.py"):
        (source / name).write_bytes((example / name).read_bytes())
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", folder / "site", source], check=True, cwd=folder
    )
    return folder / "site"
