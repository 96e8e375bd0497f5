"""What others on the machine and on the network can do with the Ray of a command, and with a cluster of the user's."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from helpers.fixtures import Outcome
from helpers.head import Head, head, until
from muster.pipeline.distributed.jobs import Cluster, package
from muster.storage.library import open_library
from muster.storage.manifest import scan, shards

__all__ = ["head"]  # a fixture

Muster = Callable[..., Outcome]
HOME = Path(__file__).parents[2]
COMMAND = [sys.executable, "-P", "-c", "from muster.pipeline.cli.main import main; main()"]
PLANTED = """
open(__file__ + ".imported", "w").close()
import sys
del sys.modules["pyarrow"]
sys.path = [path for path in sys.path if not __file__.startswith(path)]
import pyarrow
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def parents() -> dict[int, int]:
    """Process → its parent."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            found[int(file.parent.name)] = int(file.read_text().rpartition(")")[2].split()[1])
    return found


def open_files(pid: int) -> list[str]:
    found = []
    with suppress(OSError):
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.append(os.readlink(file))
    return found


@dataclass(frozen=True)
class Run:
    """A `muster run`, its worker held in the midst of its work. `folder`: where it was started. `ray`: Ray's folder.
    `processes`: it and its children, by name."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    ray: Path
    processes: dict[int, str]

    def listening(self) -> set[tuple[str, str, int]]:
        """(process, address, port), addresses as the kernel writes them: 0100007F is 127.0.0.1."""
        sockets = {file: name for pid, name in self.processes.items() for file in open_files(pid)}
        found = set()
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                address, port = local.split(":")
                if state == "0A" and f"socket:[{rest[5]}]" in sockets:
                    found.add((sockets[f"socket:[{rest[5]}]"], address[-8:], int(port, 16)))
        return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, make_photos: Callable[..., Path]) -> Iterator[Run]:
    """In an environment that asks for no token and for reports, and a folder in which others have put a file."""
    folder = tmp_path_factory.mktemp("running")
    scan(open_library(folder / "L", create=True), [str(make_photos(folder / "photos", range(4)))])
    (folder / "pyarrow.py").write_text(PLANTED)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "RAY_AUTH_MODE": "disabled",
        "RAY_AUTH_TOKEN": "1" * 64,
        "PYTHONPATH": str(HOME),
    }
    run = [*COMMAND, "run", "-l", "L", "--tasks", "previews", "--workers", "1"]
    process = subprocess.Popen(run, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield until(lambda: held(process, folder), 180)
    finally:
        process.kill()
        process.wait()


def held(process: "subprocess.Popen[bytes]", folder: Path) -> Run | None:
    """The run once its worker is there, stopped in the midst of its work, however fast this machine is."""
    assert process.poll() is None
    above, processes = parents(), {process.pid: "driver"}
    for _ in range(4):
        processes |= {pid: name(pid) for pid, parent in above.items() if parent in processes}
    workers = [pid for pid, called in processes.items() if called.startswith("ray::_Actor")]
    if not workers:
        return None
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    files = {file for pid in processes for file in open_files(pid)}
    [session] = {match[1] for file in files if (match := re.match(rf"(.*/session_[^/]*_{process.pid})/", file))}
    return Run(process, folder, Path(session).parent, processes)


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@as_root
def test_01_nobody_else_reads_or_writes_what_ray_keeps_on_disk(running: Run) -> None:
    allowed = ["(", "-readable", "-o", "-writable", "-o", "-executable", ")"]
    found = subprocess.run([*NOBODY, "find", running.ray, *allowed], capture_output=True, text=True)
    assert (found.stdout, "Permission denied" in found.stderr) == ("", True)
    inside = next(file for file in running.ray.rglob("*") if file.is_file())
    for command in (["cat", inside], ["ls", running.ray], ["touch", running.ray / "planted"], ["mv", inside, "/tmp"]):
        assert subprocess.run([*NOBODY, *command], capture_output=True).returncode != 0, command


@as_root
def test_01_no_open_file_of_ray_is_there_for_others(running: Run) -> None:
    files = {Path(file) for pid in running.processes for file in open_files(pid) if file.startswith("/")}
    written = [file for file in files if file.is_file() and str(file).startswith(("/tmp/", "/dev/shm/", "/run/"))]
    assert any(running.ray in file.parents for file in written)
    for file in written:
        if not {running.folder, Path(sys.prefix)} & {*file.parents}:  # what is installed may lie in /tmp too
            assert subprocess.run([*NOBODY, "test", "-r", file, "-o", "-w", file]).returncode == 1, file


def test_01_workers_import_nothing_from_where_the_command_is_typed(running: Run) -> None:
    assert not list(running.folder.glob("*.imported"))


def test_03_ray_listens_on_loopback_alone(running: Run) -> None:
    listening = running.listening()
    assert {"gcs_server", "raylet"} <= {name for name, _, _ in listening}
    assert {(name, address) for name, address, _ in listening if address != "0100007F"} == set()


@pytest.mark.parametrize("token", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "1" * 64}], ids=["none", "known"])
def test_03_ray_answers_nobody_without_its_token(running: Run, token: dict[str, str]) -> None:
    [port] = {port for name, _, port in running.listening() if name == "gcs_server"}
    ask = "import sys; from ray._raylet import GcsClient; print(GcsClient(sys.argv[1]).internal_kv_keys(b''))"
    client = [sys.executable, "-c", ask, f"127.0.0.1:{port}"]
    answer = subprocess.run(client, env={**os.environ, "RAY_AUTH_MODE": "token", **token}, capture_output=True)
    assert answer.returncode != 0
    assert b"AuthenticationError" in answer.stderr


def test_29_nothing_is_left_of_a_command_that_is_killed(running: Run) -> None:
    """The last test of this run."""
    running.process.kill()
    running.process.wait()
    until(lambda: not running.ray.exists())
    until(lambda: not [pid for pid, name in running.processes.items() if name.startswith("ray::") and alive(pid)])


def alive(pid: int) -> bool:
    with suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


# Clusters of the user's.

LINE = "\nimport pathlib\npathlib.Path({marker!r}).open('a').write(__file__ + '\\n')\n"


@pytest.fixture
def photos(tmp_path: Path, make_photos: Callable[..., Path]) -> Path:
    """A library of four photos, not processed."""
    scan(open_library(tmp_path / "L", create=True), [str(make_photos(tmp_path / "photos", range(4)))])
    return tmp_path / "L"


@pytest.mark.filterwarnings("ignore:ssl=None is deprecated")  # Ray's way to call aiohttp
def test_02_code_of_a_job_is_run_from_where_nobody_else_can_write(
    muster: Muster, head: Head, photos: Path, tmp_path: Path
) -> None:
    """Whatever Ray keeps on disk of a package is changed, then the same package is run again."""
    marker = tmp_path / "changed"
    submit = ["submit", "--address", head.url, "--", "run", "-l", photos, "--workers", 1, "--tasks"]
    assert muster(*submit, "previews").code == 0
    kept = [file for file in head.folder.rglob("*.py") if "pipeline" in file.parts]
    for file in kept:
        file.write_text(file.read_text() + LINE.format(marker=str(marker)))
    assert muster(*submit, "scenes").code == 0
    assert not marker.exists()
    assert not kept


@pytest.mark.filterwarnings("ignore:ssl=None is deprecated")
def test_02_code_that_is_not_what_was_submitted_does_not_run(head: Head, photos: Path, tmp_path: Path) -> None:
    """Neither in the driver nor in a worker, where somebody changes it in the head's memory."""
    from muster.pipeline.distributed import shipped

    cluster, code, marker = Cluster(head.url), package(), tmp_path / "changed"
    changed = tmp_path / "changed.zip"
    changed.write_bytes(code)
    with zipfile.ZipFile(changed, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("muster/pipeline/distributed/private.py", f"open({str(marker)!r}, 'w').close()")
    run = ["run", "-l", str(photos), "--tasks", "previews", "--workers", "1", "--address", "auto"]
    cluster._upload(shipped.uri(code), changed.read_bytes())
    job = cluster.client.submit_job(entrypoint=shipped.entrypoint(code, run))
    ended = until(lambda: (info := cluster.client.get_job_info(job)).status.is_terminal() and info)
    assert (ended.status.value, ended.driver_exit_code) == ("FAILED", 1)
    assert cluster.client.get_job_logs(job).splitlines()[-1] == f"muster: {shipped.REFUSED}"

    worker = f"""
from muster.pipeline.distributed import actors, shipped
from muster.pipeline.work.choice import choose
from muster.pipeline.work.machine import Machine
shipped._hook = shipped._worker_hook(shipped._FETCH, {head.address!r}, {shipped.uri(code)!r}, "{"0" * 64}")
with actors.connected({head.address!r}):
    actors.RayWorkers({str(photos)!r}, choose(["previews"]), Machine(address={head.address!r})).prepare(1)
"""
    environment = {**head.environment, "PYTHONPATH": str(HOME)}
    outcome = subprocess.run([sys.executable, "-c", worker], env=environment, capture_output=True, text=True)
    assert outcome.returncode == 1
    assert outcome.stderr.splitlines()[-1].endswith(f"MusterError: a worker could not start: {shipped.REFUSED}")
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore:ssl=None is deprecated")
def test_02_driver_and_workers_run_the_code_that_was_submitted(head: Head, photos: Path, tmp_path: Path) -> None:
    """And no other Muster, such as one that is installed there."""
    from muster.pipeline.distributed import shipped

    cluster, marker, edited = Cluster(head.url), tmp_path / "ran", io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(package())) as code, zipfile.ZipFile(edited, "w") as archive:
        for entry in code.infolist():
            line = (
                LINE.format(marker=str(marker)).encode()
                if entry.filename == "muster/pipeline/distributed/actors.py"
                else b""
            )
            archive.writestr(entry, code.read(entry) + line)
    cluster._upload(shipped.uri(edited.getvalue()), edited.getvalue())
    run = ["run", "-l", str(photos), "--tasks", "previews", "--workers", "1", "--address", "auto"]
    job = cluster.client.submit_job(entrypoint=shipped.entrypoint(edited.getvalue(), run))
    ended = until(lambda: (info := cluster.client.get_job_info(job)).status.is_terminal() and info)
    assert ended.status.value == "SUCCEEDED", cluster.client.get_job_logs(job)
    places = {Path(line).parents[3] for line in marker.read_text().splitlines()}
    assert len(places) == 2
    assert {(place.parent, place.name.startswith("ray-muster-")) for place in places} == {(Path("/tmp"), True)}


def test_02_a_token_file_that_others_can_read_is_refused(
    muster: Muster, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("0" * 64)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # a process that has a Ray already takes that
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        for mode in (0o644, 0o640, 0o602):
            token.chmod(mode)
            for command in (["jobs", "list"], ["submit", "--", "run", "-l", photos], ["run", "-l", photos]):
                at = command.index("--") if "--" in command else len(command)
                outcome = muster(*command[:at], "--address", address, *command[at:])
                assert (outcome.code, outcome.out) == (2, ""), outcome.err
                assert f"chmod 600 {token}" in outcome.error


@as_root
def test_02_a_token_file_of_another_user_is_refused(
    muster: Muster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("0" * 64)
    token.chmod(0o600)
    os.chown(token, 65534, 65534)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    outcome = muster("jobs", "list", "--address", "127.0.0.1:1")
    assert (outcome.code, f"the token in {token} is a file of another user" in outcome.error) == (2, True)


def starts() -> list[str]:
    """Every command that we tell people to start Ray with, each with all that is said of its environment."""
    docs = (HOME / "docs" / "operations.md").read_text()
    [snippet] = re.findall(r"^    cluster_name: muster\n(?:    .*\n)+", docs, re.MULTILINE)
    files = [yaml.safe_load((HOME / "cluster.yaml").read_text()), yaml.safe_load(textwrap.dedent(snippet))]
    found = [line for file in files for kind in ("head", "worker") for line in file[f"{kind}_start_ray_commands"]]
    [shell] = re.findall(r"^    (umask 077; mkdir .*)\n    (export .*)$", docs, re.MULTILINE)
    found += [" ".join([*shell, line]) for line in re.findall(r"^    (?!    ).*ray start .*$", docs, re.MULTILINE)]
    return [line for line in found if "ray start" in line]


def test_02_clusters_are_started_where_nobody_else_can_write() -> None:
    assert len(starts()) == 7
    for line in starts():
        assert re.search(r"umask 077;.* RAY_TMPDIR=\S+/.ray/run .*ray start ", line), line
    setup = yaml.safe_load((HOME / "cluster.yaml").read_text())["setup_commands"]
    assert "mkdir -p -m 700 /home/ray/.ray/run && chmod 600 /home/ray/.ray/auth_token" in setup


def test_23_clusters_are_started_without_reports_of_use() -> None:
    for line in starts():
        assert "RAY_USAGE_STATS_ENABLED=0" in line, line
    [job, _] = yaml.safe_load_all((HOME / "docs" / "kuberay-rayjob.yaml").read_text())
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        for container in group["template"]["spec"]["containers"]:
            assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]


# ---- 31: a worker that was stopped -----------------------------------------------------------------------------------


def test_31_a_worker_that_was_stopped_gives_its_shards_back(
    tmp_path: Path, make_photos: Callable[..., Path], ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from muster.pipeline.distributed import actors
    from muster.pipeline.work.dispatch import Died, Done, Event, Order
    from muster.pipeline.work.machine import Machine

    library = open_library(tmp_path / "library", create=True)
    scan(library, [str(make_photos(tmp_path / "photos", range(8)))])
    [(shard, images), *_] = shards(library)
    monkeypatch.setattr(actors, "SILENT_SECONDS", 3.0)
    pool = actors.RayWorkers(library.uri, (), Machine(device="cpu", workers=1))
    pool.prepare(1)
    worker, order = pool.start(), Order(shard, (), images)

    def next_event() -> Event:
        while not (events := pool.wait(1)):
            pass
        return events[0]

    pool.submit(worker, order)
    assert isinstance(next_event(), Done)
    process = ray.get(pool.actors[worker].__ray_call__.remote(lambda self: os.getpid()))
    for _ in range(5):  # one that works, or waits for work, is left alone
        pool.submit(worker, order)
        assert isinstance(next_event(), Done)
        time.sleep(1)
    os.kill(process, signal.SIGSTOP)
    pool.submit(worker, order)
    event = next_event()
    assert isinstance(event, Died)
    assert (event.worker, event.silent) == (worker, True)
    assert not pool.actors
