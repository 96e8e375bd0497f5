"""Ray jobs: a `muster run` that a cluster does on its own, found again by what it does.

A job's *name* is derived from its library and arguments, so that asking for the same again finds the same job. Ray
takes no id of a job twice, even of one that ended: the second attempt is `NAME-2`, and NAME is always the last one.
"""

import asyncio
import hashlib
import http.client
import io
import json
import logging
import os
import platform
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from muster import distribution
from muster.errors import InputError, MusterError
from muster.pipeline.distributed import shipped
from muster.pipeline.distributed.reach import ANSWER_SECONDS, environment, refuse_local, token_source
from muster.storage.library import dump_json, open_library
from muster.storage.uris import local_path

# Ray takes a second to import: hence the imports inside.

DASHBOARD = "http://127.0.0.1:8265"
PACKAGES = ("pipeline", "storage", "tasks", "training", "web")  # folders of their own in the repository, see pyproject
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Request:
    """What is to be run: the options of `muster run` beside library and address. `library`: absolute, or a URI.

    `identity`: what makes it the same job as another, beside the library; the options where it is empty.
    """

    library: str
    options: tuple[str, ...] = ()
    identity: Mapping[str, Any] = field(default_factory=dict)
    weights_dir: str | None = None  # absolute
    weights: Mapping[str, str] = field(default_factory=dict)  # task → file, absolute
    shared_library: bool = False  # library and weights are in folders that all nodes see

    @property
    def name(self) -> str:
        same = dump_json({"library": self.library, **(self.identity or {"options": self.options})})
        return f"muster-{hashlib.sha256(same).hexdigest()[:12]}"

    @property
    def arguments(self) -> tuple[str, ...]:
        weights = ("--weights-dir", self.weights_dir) if self.weights_dir else ()
        given = [part for task, file in self.weights.items() for part in ("--weights", f"{task}={file}")]
        shared = ("--shared-library",) if self.shared_library else ()
        # Where an option comes twice the last one counts.
        return ("run", *self.options, *weights, *given, *shared, "--library", self.library, "--address", "auto")


@dataclass(frozen=True)
class Job:
    """One attempt at a job. `id`: Ray's; `exit_code`: None until it ended by itself; times in ISO 8601, UTC."""

    name: str
    id: str
    attempt: int
    status: str  # PENDING, RUNNING, or one of ENDED
    library: str
    started: str | None
    ended: str | None
    exit_code: int | None
    message: str

    @property
    def over(self) -> bool:
        return self.status in ENDED


class Cluster:
    """The job server of a Ray cluster. Raises InputError where it or the token is not usable, MusterError where
    nobody answers.
    """

    def __init__(self, address: str) -> None:
        self.url = _url(address)
        token_source()  # refuses a file that others can read
        mode = _authentication_mode(self.url)
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        from ray.job_submission import JobSubmissionClient

        for handler in logging.getLogger("ray").handlers:
            handler.setLevel(logging.WARNING)  # hide Ray's messages about uploads and closed connections
        self.mode = mode
        with (
            self.answers(),
            environment(RAY_API_SERVER_ADDRESS=self.url),
        ):  # Ray prefers RAY_ADDRESS to what it is given
            self.client = JobSubmissionClient(self.url)
        self._check_versions()

    @contextmanager
    def answers(self) -> Iterator[None]:
        """Turn errors of Ray's client into MusterErrors that say what to do."""
        from ray.exceptions import AuthenticationError

        try:
            yield
        except MusterError:  # some are ValueErrors too
            raise
        except AuthenticationError:
            raise InputError(_token_text(self.url, self.mode)) from None
        except (RuntimeError, OSError, ValueError) as error:
            cause = " ".join(str(error).split())[:300]
            raise MusterError(f"the Ray cluster at {self.url} does not answer as it should: {cause}") from error

    def get(self, path: str) -> dict[str, Any]:
        """One of the dashboard's JSON answers for which Ray's client has no call."""
        with self.answers():
            answer = self.client._do_request("GET", path, timeout=30)
            answer.raise_for_status()
            return answer.json()["data"]

    def _check_versions(self) -> None:
        """Another Ray may answer in another way; another Python may not run this code."""
        import ray

        theirs = self.get("/api/v0/cluster_metadata")
        for what, there, here in (
            ("Ray", theirs["rayVersion"], ray.__version__),
            ("Python", _minor(theirs["pythonVersion"]), _minor(platform.python_version())),
        ):
            if there != here:
                raise InputError(
                    f"the Ray cluster at {self.url} runs {what} {there}, Muster here {what} {here}:"
                    f" install Muster here with {what} {there}, or start the cluster with {what} {here}"
                )

    def nodes(self) -> list[str]:
        """Addresses of the nodes that are alive. A cluster knows its first only some time after it answers."""
        for _ in range(20):
            found = self.get("/api/v0/nodes")["result"]["result"]
            alive = [str(node["node_ip"]) for node in found if node["state"] == "ALIVE"]
            if alive:
                return alive
            time.sleep(0.5)
        raise MusterError(f"no node of the Ray cluster at {self.url} is up: look at its head, then try again")

    def jobs(self) -> list[Job]:
        """Every attempt at every job of Muster's, oldest first."""
        with self.answers():
            found = [_job(details) for details in self.client.list_jobs() if "muster" in (details.metadata or {})]
        return sorted(found, key=lambda job: (job.started or "", job.attempt))

    def find(self, name: str) -> Job:
        """The last attempt at the job of this name, or the attempt with this id. Raises InputError."""
        jobs = self.jobs()
        matches = [job for job in jobs if job.name == name] or [job for job in jobs if job.id == name]
        if not matches:
            known = ", ".join(sorted({job.name for job in jobs})) or "none"
            raise InputError(f"no job {name} at {self.url}; known: {known}")
        return max(matches, key=lambda job: job.attempt)

    def submit(self, request: Request) -> tuple[Job, bool]:
        """Start the job, or find it running: the job, and whether it was started now."""
        last = max((job for job in self.jobs() if job.name == request.name), key=lambda job: job.attempt, default=None)
        if last is not None and not last.over:
            return last, False
        started = self._start(request, last.attempt + 1 if last else 1)
        return self.find(request.name), started

    def _start(self, request: Request, attempt: int) -> bool:
        """False where somebody else started this attempt a moment ago."""
        job_id = request.name if attempt == 1 else f"{request.name}-{attempt}"
        metadata = {"muster": request.name, "attempt": str(attempt), "library": request.library}
        code = package()
        entrypoint = shipped.entrypoint(code, request.arguments)
        with self.answers():
            self._upload(shipped.uri(code), code)
            try:
                self.client.submit_job(entrypoint=entrypoint, submission_id=job_id, metadata=metadata)
            except RuntimeError as error:
                if f"{job_id} already exists" not in str(error):
                    raise
                return False
        return True

    def _upload(self, uri: str, data: bytes) -> None:
        """Into the head's memory, where Ray would put a `working_dir`."""
        path = uri.replace("://", "/")
        self.client._do_request("PUT", f"/api/packages/{path}", data=data).raise_for_status()

    def logs(self, job: Job) -> str:
        with self.answers():
            return str(self.client.get_job_logs(job.id))

    def follow(self, job: Job, on_begin: Callable[[], None], on_text: Callable[[str], None]) -> Job:
        """Pass on the job's log, from its beginning until the job ends. A lost connection is taken up again.

        From `on_begin` on Ctrl-C ends it as a KeyboardInterrupt, and nothing else is printed.
        """
        return asyncio.run(self._follow(job, on_begin, on_text))

    async def _follow(self, job: Job, on_begin: Callable[[], None], on_text: Callable[[str], None]) -> Job:
        from aiohttp import ClientError

        tail = _Tail(on_text)
        on_begin()
        while True:
            try:
                await tail.read(self.client, job.id)
            except (RuntimeError, OSError, ClientError):
                await asyncio.sleep(1)  # whether the cluster still answers is asked next
            now = self.find(job.id)
            if now.over:
                return now

    def stop(self, job: Job) -> Job:
        """Stop the job, and return once it has ended."""
        with self.answers():
            self.client.stop_job(job.id)
        deadline = time.monotonic() + STOP_SECONDS
        while not (now := self.find(job.id)).over:
            if time.monotonic() > deadline:
                raise MusterError(f"job {job.name} has not ended {STOP_SECONDS:.0f} s after it was told to: try again")
            time.sleep(0.5)
        return now


class _Tail:
    """The log of a job, each character once, however often it is read from its beginning."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self.on_text = on_text
        self.passed = 0

    async def read(self, client: Any, job_id: str) -> None:
        at = 0
        async for text in client.tail_job_logs(job_id):
            new = text[max(0, self.passed - at) :]
            at += len(text)
            if new:
                self.passed = at
                self.on_text(new)


def check_reach(cluster: Cluster, request: Request) -> None:
    """Raises InputError where library or weights lie on this machine and nodes elsewhere would look for them."""
    paths = {"library": local_path(request.library), "`weights_dir`": request.weights_dir}
    paths |= {f"`weights` {task}": file for task, file in request.weights.items()}
    local = {what: path for what, path in paths.items() if path is not None}
    if local and not request.shared_library:
        refuse_local(local, cluster.nodes())
    if "library" in local and not request.shared_library:
        open_library(request.library)


def package(limit: int | None = None) -> bytes:
    """The code of this Muster as a zip file, the same for the same code: no data, tests, environments or history.

    Raises InputError where it is more than `limit` bytes, by default what Ray takes.
    """
    from ray._private.runtime_env.packaging import GCS_STORAGE_MAX_SIZE

    files = _code()
    sizes = {name: file.stat().st_size for name, file in files.items()}
    total, limit = sum(sizes.values()), limit or GCS_STORAGE_MAX_SIZE
    if total > limit:
        largest = max(sizes, key=lambda name: sizes[name])
        raise InputError(
            f"Muster's code has {total / 2**20:.1f} MiB, and Ray ships at most {limit / 2**20:.1f}: take out"
            f" what is not Muster's; the largest file is {files[largest]}"
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, file in files.items():
            archive.writestr(zipfile.ZipInfo(name), file.read_bytes())
    return buffer.getvalue()


def _code() -> dict[str, Path]:
    """Name in the archive → file. An archive is laid out as site-packages is, wherever the folders lie here."""
    face = Path(distribution.__file__).parent
    found = {f"muster/{file.name}": file for file in sorted(face.iterdir()) if file.is_file()}
    for name in PACKAGES:
        spec = find_spec(f"muster.{name}")
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                found[f"muster/{name}/{file.relative_to(folder).as_posix()}"] = file
    return found


def _job(details: Any) -> Job:
    metadata = details.metadata
    return Job(
        name=metadata["muster"],
        id=details.submission_id,
        attempt=int(metadata.get("attempt", 1)),
        status=details.status.value,
        library=metadata.get("library", ""),
        started=_iso(details.start_time),
        ended=_iso(details.end_time),
        exit_code=details.driver_exit_code,
        message=" ".join((details.message or "").split())[:500],
    )


def _iso(milliseconds: int | None) -> str | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds") if milliseconds else None


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _url(address: str) -> str:
    """`auto`, `host:8265` or `http(s)://host:8265` → the dashboard's URL; InputError for anything else."""
    scheme, separator, _ = address.partition("://")
    if address in ("", "auto"):
        return DASHBOARD
    if separator and scheme not in ("http", "https"):
        raise InputError(f"`address` {address}: name the dashboard of the cluster's head, such as {DASHBOARD}")
    return (address if separator else f"http://{address}").rstrip("/")


def _authentication_mode(url: str) -> str:
    """`token` or `disabled`; a dashboard answers this without a token. Ray's own client would wait for ever."""
    try:
        with urllib.request.urlopen(f"{url}/api/authentication_mode", timeout=ANSWER_SECONDS) as answer:
            return str(json.loads(answer.read(1000))["authentication_mode"])
    except (urllib.error.HTTPError, http.client.HTTPException, ValueError, KeyError, TypeError):
        raise InputError(f"what answers at {url} is not the dashboard of Ray 2.52 or newer: check `address`") from None
    except OSError as error:
        cause = getattr(error, "reason", error)
        raise MusterError(
            f"no Ray cluster answers at {url} ({cause}): check `address`, that the head runs, and that its dashboard"
            " can be reached from here (`ray dashboard cluster.yaml`, `ssh -L`, `kubectl port-forward`)"
        ) from None


def _token_text(url: str, mode: str) -> str:
    if os.environ["RAY_AUTH_MODE"] != mode:
        return f"the Ray cluster at {url} asks for a token, and RAY_AUTH_MODE={os.environ['RAY_AUTH_MODE']}: unset it"
    source = token_source()
    if source is None:
        file = os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"
        return (
            f"no token for the Ray cluster at {url}: put the one its head was started with into {file}, or into the"
            " environment as RAY_AUTH_TOKEN"
        )
    return f"the Ray cluster at {url} refuses the token in {source}: use the one its head was started with"
