"""The code of Muster that comes with a job: it lies in the memory of the cluster's head, and in folders of its own.

Ray's own way (`working_dir`) unpacks code on every node into a folder that any user of the node may write, and imports
from it. Here the job's command, which Ray keeps in memory, has the SHA-256 of the package. The driver and each worker
fetch the package from the head, compare, and only then write it, where nobody else can (`private.run_from`).
"""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from muster.errors import MusterError

REFUSED = "the code of this job is not what was submitted: its SHA-256 differs, or it is gone; submit the job again"
KEEP_SECONDS = 10 * 365 * 86400  # while the cluster lives: Ray keeps ten minutes what it does not ship itself

# Of `address`, `uri`, `digest`, `refuse`. One line, because Ray writes the command of a job into its log.
_FETCH = (
    "import hashlib,io,zipfile;from ray._raylet import GcsClient;"
    'package=GcsClient(address=address).internal_kv_get(uri.encode()) or b"";'
    f'hashlib.sha256(package).hexdigest()==digest or refuse("muster: {REFUSED}");'
    'code={"__name__":"private"};exec(zipfile.ZipFile(io.BytesIO(package)).read("muster/pipeline/distributed/private.py"),code);'
    'code["run_from"](package)'
)
_DRIVE = (  # with -P, so that nothing is imported from where the head was started
    'import os,sys;address=os.environ["RAY_ADDRESS"];_,uri,digest,*given=sys.argv;refuse=sys.exit;'
    f"{_FETCH};from muster.pipeline.distributed import shipped;shipped.prepare(address,uri,digest,given);"
    "from muster.pipeline.cli.main import main;main()"
)

_hook: Callable[[], None] | None = None  # of this process' job, where its code was shipped


def uri(package: bytes) -> str:
    """The name of a package (a zip file) in the head's memory."""
    return f"gcs://muster-{sha256(package).hexdigest()}.zip"


def entrypoint(package: bytes, arguments: Sequence[str]) -> str:
    """What a cluster is to run: `muster` with these arguments, by the code of this package."""
    return shlex.join(["python", "-P", "-c", _DRIVE, uri(package), sha256(package).hexdigest(), *arguments])


def prepare(address: str, uri: str, digest: str, arguments: Sequence[str]) -> None:
    """Make this process, whose code was shipped, one that runs the command; its workers will fetch the same."""
    from ray import _raylet

    global _hook
    raylet: Any = _raylet  # without types
    raylet.GcsClient(address=address).pin_runtime_env_uri(uri, KEEP_SECONDS)
    _hook = _worker_hook(_FETCH, address, uri, digest)
    sys.argv = ["muster", *arguments]
    os.chdir("/")


def runtime_env() -> dict[str, Any]:
    """What `ray.init` is to be told, so that workers run the code that this process does."""
    return {} if _hook is None else {"runtime_env": {"worker_process_setup_hook": _hook}}


def check(text: str) -> None:
    """Raises MusterError where Ray says of a worker's end that the code was refused."""
    if REFUSED in text:
        raise MusterError(f"a worker could not start: {REFUSED}")


def _worker_hook(fetch: str, address: str, uri: str, digest: str) -> Callable[[], None]:
    """Runs in a worker before anything of Muster's is imported, and so uses nothing of this module: it goes there by
    value."""

    def hook() -> None:
        def refuse(text: str) -> None:
            raise RuntimeError(text)

        exec(fetch, {"address": address, "uri": uri, "digest": digest, "refuse": refuse})

    return hook
