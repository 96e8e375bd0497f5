"""Does `muster run` lose rows when workers, a node and the driver itself are killed? Real processes, real SIGKILLs.

    python benchmarks/chaos.py [--seeds 3] [--images 2000] [--first-seed 0] [--tasks faces,previews] [--short]
        [--sources folder,tar,http]

- The photos are faces of LFW, as files, in a tar or on a web server of this machine (`--sources`); among them lie one
  that crashes its decoder (a read of address 0) and one that hangs it (a native call that never returns and keeps the
  interpreter's lock): `inject` puts both into the worker processes.
- The undisturbed run is `muster run` on this machine. Its rows for these two are errors, `crash` and `timeout`.
  `--short` has their rows from one worker in this process instead, which is told to leave the two out, and puts them
  into a shard of their own, so that they are found in fewer steps.
- Each seed is `muster run` on a two-node Ray cluster with token authentication, into a library of its own. At random
  points of its progress worker processes are killed, the second node is removed and another joins, and the driver is
  killed and started again. At the end all rows of all tables are compared with those of the undisturbed run.

Only the driver's deadlines are shorter than a user's, so that the hang is found in seconds (see `drive`).
Progress goes to stderr. The last line is one JSON object; exit code 1 where a row is lost, extra or different.
"""

import argparse
import inspect
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

HOME = Path(__file__).parents[1]
DATA = Path(os.environ.get("MUSTER_TEST_DATA", HOME.parent / "shared" / "data"))
MARKS = {"crash": b"muster:crash", "timeout": b"muster:hang"}  # error kind of the row → mark in the photo's bytes
GRACE, PER_IMAGE = 5.0, 0.05  # seconds: see muster.pipeline.work.dispatch.Policy
SECONDS = {False: 0.02, True: 0.15}  # that each photo takes at least, in the long form and in the short one
SECONDS_LATER = {False: 1.0, True: 0.2}  # after a commit that something goes wrong, at most
LIMIT = 900.0  # seconds that one run may take, kills and all
STOPS = 5  # times that a driver may give up by itself and be started again, as its message says


def inject() -> None:
    """The source of this function runs as `sitecustomize` in every worker: photos with a mark crash or hang it, and all
    take some time, so that the run lasts until everything has gone wrong on a fast machine as well."""
    import ctypes
    import os
    import time
    from typing import Any

    import simplejpeg

    decode_jpeg = simplejpeg.decode_jpeg

    def decode(data: bytes, *arguments: Any, **options: Any) -> Any:
        if b"muster:crash" in data[:64]:
            ctypes.string_at(0)
        while b"muster:hang" in data[:64]:
            ctypes.PyDLL(None).pause()  # unlike CDLL it does not release the interpreter's lock
        time.sleep(float(os.environ.get("CHAOS_SECONDS", "0")))
        return decode_jpeg(data, *arguments, **options)

    simplejpeg.decode_jpeg = decode


def drive(arguments: Sequence[str]) -> None:
    """`muster` with these arguments, and deadlines that a test can wait for."""
    from muster.pipeline.cli import main as cli
    from muster.pipeline.work import dispatch

    dispatch.Policy = partial(dispatch.Policy, grace=GRACE, per_image=PER_IMAGE)  # type: ignore[misc, assignment]
    sys.argv = ["muster", *arguments]
    cli.main()


# ---- what is processed -----------------------------------------------------------------------------------------------


def make_photos(folder: Path, number: int, apart: bool, kinds: Sequence[str]) -> list[Path]:
    """Folders, each called what it is to become: the first faces of LFW; the two that kill are among them, or apart."""
    photos = pq.read_table(DATA / "lfw/lfw.parquet", columns=["image"]).slice(0, number)["image"].to_pylist()
    folders = [folder / kind for kind in (*kinds, *(["apart"] if apart else []))]
    for each in folders:
        each.mkdir(parents=True)
    for i, photo in enumerate(photos):
        mark = {number // 3: MARKS["crash"], 2 * number // 3: MARKS["timeout"]}.get(i)
        where = folders[-1] if apart and mark else folders[i % len(kinds)]
        (where / f"{i:05d}.jpg").write_bytes(marked(photo, mark) if mark else photo)
    return folders


@contextmanager
def sources_of(folders: Sequence[Path]) -> Iterator[list[Path]]:
    """What to scan in turn: folders, a tar, a Parquet file with URLs of a server that runs meanwhile."""
    made = {"tar": tarred, "http": partial(listed, stack := ExitStack())}
    with stack:
        yield [made[each.name](each) if each.name in made else each for each in folders]


def listed(stack: ExitStack, folder: Path) -> Path:
    command = [sys.executable, str(HOME / "benchmarks/objects_server.py"), str(folder.parent), "--latency", "0"]
    server = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    stack.callback(server.communicate)
    assert server.stdout
    home = f"http://127.0.0.1:{int(server.stdout.readline())}/{folder.name}"
    urls = [f"{home}/{path.name}" for path in sorted(folder.iterdir())]
    pq.write_table(pa.table({"url": urls}), folder.with_suffix(".parquet"))
    return folder.with_suffix(".parquet")


def tarred(folder: Path) -> Path:
    with tarfile.open(folder.with_suffix(".tar"), "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name)
    return folder.with_suffix(".tar")


def marked(jpeg: bytes, mark: bytes) -> bytes:
    """The same picture with a comment."""
    return jpeg[:2] + b"\xff\xfe" + (len(mark) + 2).to_bytes(2, "big") + mark + jpeg[2:]


def scanned(library: Path, folders: Sequence[Path]) -> Path:
    from muster.storage.library import open_library
    from muster.storage.manifest import scan
    from muster.storage.photos.wishes import Wishes

    for folder in folders:
        scan(open_library(library, create=True), [str(folder)], Wishes(allow_private=True))
    return library


Rows = dict[tuple[str, str], list[dict[str, Any]]]  # (table, id of image or face) → rows


def rows_of(folder: Path) -> Rows:
    """All committed rows of a library, every column."""
    from muster.storage import tables
    from muster.storage.library import open_library

    library, found = open_library(folder), Rows()
    for fingerprint, description in tables.descriptions(library).items():
        for name in (description["task"], "errors"):
            table = tables.read(library, name, fingerprint)
            for row in table.to_pylist() if table is not None else ():
                found.setdefault((f"{name}/{fingerprint}", row.get("face_id", row["image_id"])), []).append(row)
    return found


def compare(expected: Rows, found: Rows) -> Counter[str]:
    """How many rows are lost, are extra (unknown, or there twice), and differ."""
    count = Counter(lost=0, extra=0, differing=0)
    for key in expected.keys() | found.keys():
        left, right = expected.get(key, []), found.get(key, [])
        count["lost"] += max(0, len(left) - len(right))
        count["extra"] += max(0, len(right) - len(left))
        count["differing"] += sum(a != b for a, b in zip(left, right, strict=False))
    return count


# ---- what goes wrong -------------------------------------------------------------------------------------------------


@dataclass
class World:
    """A run in progress, and what can be done to it: a driver on a cluster of two nodes with one CPU each."""

    cluster: Any  # ray.cluster_utils.Cluster: its head stays, its second node goes and comes
    library: Path
    choose: random.Random
    driver: subprocess.Popen[str]
    short: bool
    tasks: str
    kills: Counter[str] = field(default_factory=Counter)
    stops: list[str] = field(default_factory=list)  # what drivers said that gave up by themselves

    def start_driver(self) -> None:
        self.driver = start(self.library, self.tasks, "--address", self.cluster.address)

    def kill_driver(self) -> bool:
        if self.driver.poll() is not None:
            return False
        end(self.driver)
        self.kills["drivers"] += 1
        self.start_driver()
        return True

    def remove_node(self) -> bool:
        self.cluster.remove_node(next(iter(self.cluster.worker_nodes)), allow_graceful=False)
        self.kills["nodes"] += 1
        return True

    def add_node(self) -> bool:
        """A node takes seconds to start; the driver is held for so long, or the run would be over by then."""
        os.kill(self.driver.pid, signal.SIGSTOP)
        try:
            add_node(self.cluster)
        finally:
            os.kill(self.driver.pid, signal.SIGCONT)
        return True

    def kill_worker(self) -> bool:
        """SIGKILL for one of the workers, whatever it does; False where all are only being started."""
        workers = actors(os.getpid())
        if workers:
            os.kill(self.choose.choice(workers), signal.SIGKILL)
            self.kills["workers"] += 1
        return bool(workers)


def disturb(world: World, workers: int) -> dict[str, Any]:
    """Let the run come to its end through all that the plan holds; what its last driver reported."""
    shards, committed = progress_of(world.library)
    actions = plan(world.choose, shards, workers)
    limit = time.monotonic() + LIMIT
    while (code := wait(world.driver, 0.2)) != 0:
        if time.monotonic() > limit:
            raise TimeoutError(f"no end after {LIMIT:.0f} s: {committed()} of {shards} shards, {world.kills}")
        if code is not None:
            world.stops.append(world.driver.communicate()[1][-2000:])
            say(f"  the driver gave up: {world.stops[-1]}")
            if len(world.stops) > STOPS:
                raise RuntimeError(f"the driver gave up {len(world.stops)} times; the last time: {world.stops[-1]}")
            world.start_driver()
        elif actions and committed() >= actions[0][0]:
            time.sleep(world.choose.random() * SECONDS_LATER[world.short])  # not just after a commit, every time
            if actions[0][1](world):
                say(f"  {committed()} of {shards} shards: {actions.pop(0)[1].__name__}")
    if actions:
        raise RuntimeError(f"the run ended before {[action.__name__ for _, action in actions]}: take more images")
    return dict(json.loads(world.driver.communicate()[0].splitlines()[-1]))


def plan(choose: random.Random, shards: int, workers: int) -> list[tuple[int, Callable[[World], bool]]]:
    """What goes wrong once so many shards are committed: in random order, but the node goes before another comes."""
    actions = [World.remove_node, World.kill_driver, *[World.kill_worker] * workers]
    choose.shuffle(actions)
    actions.insert(choose.randint(actions.index(World.remove_node) + 1, len(actions)), World.add_node)
    points = sorted(choose.randrange(shards * 3 // 4) for _ in actions)
    return list(zip(points, actions, strict=True))


def progress_of(library: Path) -> tuple[int, Callable[[], int]]:
    """The number of shards, and a function that says how many of them have all their rows of `images`."""
    from muster.storage import manifest, tables
    from muster.storage.library import open_library
    from muster.storage.outcomes import IMAGES_FINGERPRINT

    opened = open_library(library)
    return len(manifest.shards(opened)), lambda: len(tables.committed(opened, IMAGES_FINGERPRINT))


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A Ray cluster whose nodes inherit the environment of this process: token and faults."""
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        head = {"include_dashboard": False, "temp_dir": folder}
        cluster = Cluster()
        try:
            add_node(cluster, **head)
            add_node(cluster)
            yield cluster
        finally:
            cluster.shutdown()


def add_node(cluster: Any, **options: Any) -> None:
    """Ray gives a node 30 seconds to start, which on a busy machine may be too few: the first is the head."""
    for attempt in range(3):
        try:
            cluster.add_node(num_cpus=1, object_store_memory=80 << 20, **options)
            return
        except Exception as error:  # a bare one is what Ray raises
            if attempt == 2 or "timed out" not in str(error):
                raise
            say(f"  a node did not start: {error}")


# ---- processes -------------------------------------------------------------------------------------------------------


def start(library: Path, tasks: str, *options: str) -> subprocess.Popen[str]:
    """`muster run`, by way of `drive`."""
    command = [
        sys.executable,
        __file__,
        "drive",
        "run",
        "-l",
        str(library),
        "--tasks",
        tasks,
        "--device",
        "cpu",
        "--json",
    ]
    command += options
    return subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait(process: subprocess.Popen[str], seconds: float) -> int | None:
    """Its exit code as soon as there is one; None where it still runs after so many seconds."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def actors(parent: int) -> list[int]:
    """The worker processes of Muster below another process, in order of their ids."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
    family, generation = set[int](), {parent}
    while generation := {process for process, above in parents.items() if above in generation}:
        family |= generation
    return sorted(process for process in family if _command(process).startswith(b"ray::_Actor"))


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ---- the whole -------------------------------------------------------------------------------------------------------


def undisturbed(library: Path, tasks: str) -> Rows:
    """The rows of a run on this machine that nothing but the two photos disturbs."""
    process = start(library, tasks, "--workers", "2")
    try:
        out, err = process.communicate(timeout=LIMIT)
    finally:
        end(process)
    if process.returncode:
        raise RuntimeError(f"the undisturbed run failed: {err}")
    kinds = json.loads(out.splitlines()[-1])["error_kinds"]
    if kinds != dict.fromkeys(MARKS, 1):
        raise RuntimeError(f"the undisturbed run should find one crash and one hang, not {kinds}")
    return rows_of(library)


def told(library: Path, tasks: str) -> Rows:
    """The rows that one worker in this process makes, told which photos it has to leave out, and why."""
    from muster.pipeline.run import pending, record
    from muster.pipeline.work.choice import choose
    from muster.pipeline.work.config import RunConfig
    from muster.pipeline.work.worker import ShardWorker
    from muster.storage import manifest
    from muster.storage.library import open_library
    from muster.storage.photos.reader import Reader

    opened = open_library(library)
    rows, reader = manifest.read_manifest(opened).to_pylist(), Reader()
    heads = {row["image_id"]: reader.read(row["uri"], row["source"])[:64] for row in rows}
    skip = tuple((i, kind) for i, head in heads.items() for kind, mark in MARKS.items() if mark in head)
    config = RunConfig(library=str(library), choices=choose(tasks.split(",")))
    record(opened, config)
    worker = ShardWorker(str(library), config.choices, "cpu", None)
    for order in pending(opened, config.choices):
        worker.process(replace(order, skip=skip))
    return rows_of(library)


def one_seed(seed: int, library: Path, workers: int, short: bool, tasks: str) -> World:
    """A run through all its kills; the world it leaves behind."""
    with two_nodes() as cluster:
        driver = start(library, tasks, "--address", cluster.address)
        world = World(cluster, library, random.Random(seed), driver, short, tasks)
        try:
            disturb(world, workers)
        finally:
            end(world.driver)
    return world


def chaos(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All seeds over the same photos; the figures."""
    photos = make_photos(folder / "photos", args.images, args.short, args.sources.split(","))
    with sources_of(photos) as sources:
        return all_seeds(args, folder, sources)


def all_seeds(args: argparse.Namespace, folder: Path, photos: Sequence[Path]) -> dict[str, Any]:
    started, seeds = time.monotonic(), range(args.first_seed, args.first_seed + args.seeds)
    images, workers, short, tasks = args.images, args.workers, args.short, args.tasks
    expected = (told if short else undisturbed)(scanned(folder / "undisturbed", photos), tasks)
    say(f"undisturbed: {len(expected)} rows in {time.monotonic() - started:.0f} s")
    kills, wrong, stops = Counter[str](), Counter[str](), list[str]()
    for seed in seeds:
        began = time.monotonic()
        world = one_seed(seed, scanned(folder / f"seed-{seed}", photos), workers, short, tasks)
        found = compare(expected, rows_of(world.library))
        say(f"seed {seed}: killed {dict(world.kills)}, rows {dict(found)}, {time.monotonic() - began:.0f} s")
        kills, wrong, stops = kills + world.kills, wrong + found, stops + world.stops
    return {
        "runs": len(seeds),
        "kills": kills.total(),
        **{f"{name}_rows": wrong[name] for name in ("lost", "extra", "differing")},
        "killed": dict(kills),
        "seeds": list(seeds),
        "images": images,
        "rows": len(expected),
        "stops": len(stops),
        "seconds": round(time.monotonic() - started, 1),
    }


def environment(folder: Path) -> dict[str, str]:
    """What Ray's processes are to inherit: authentication by a token of this run, and the faults."""
    (folder / "sitecustomize.py").write_text(f"{inspect.getsource(inject)}\n\ninject()\n")
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many disturbed runs")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=8, help="how many worker processes are killed in each run")
    parser.add_argument("--tasks", default="faces,previews")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--sources", default="folder", help="of folder, tar, http: the photos are shared among them")
    args = parser.parse_args()
    os.environ.pop("RAY_ADDRESS", None)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as faults:
        os.environ |= environment(Path(faults)) | {"CHAOS_SECONDS": str(SECONDS[args.short])}
        facts = chaos(args, Path(folder))
    print(json.dumps(facts))
    return int(any(facts[f"{name}_rows"] for name in ("lost", "extra", "differing")))


if __name__ == "__main__":
    if sys.argv[1:2] == ["drive"]:
        drive(sys.argv[2:])
    else:
        sys.exit(main())
