"""The gallery, served: the door with its network at an address."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from muster.errors import InputError
from muster.pipeline.gallery.door import Door
from muster.pipeline.work.config import RunConfig
from muster.storage.certificates import Served
from muster.storage.downloads import OnDownload
from muster.storage.gallery import keys
from muster.storage.library import LibraryFiles

PER_MINUTE = 600  # images that a key may ask about


@dataclass(frozen=True)
class At:
    """Where it is served. `certificate`, `certificate_key`: PEM files, without which nobody but this machine asks."""

    host: str = "127.0.0.1"
    port: int | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    per_minute: float = PER_MINUTE


def serve_gallery(
    library: LibraryFiles,
    config: RunConfig,
    at: At,
    threshold: float | None,
    on_ready: Callable[[str], None],
    on_remark: Callable[[str], None],
    on_download: OnDownload | None = None,
) -> None:
    """Until KeyboardInterrupt. `on_ready`: called with the address; `on_remark`: with what its owner is to know.

    Raises InputError for an address that others reach without a certificate, and for one that cannot be served.
    """
    from muster.web.door.app import app
    from muster.web.door.serving import answer
    from muster.web.live.guard import is_loopback
    from muster.web.live.serving import listening

    served = _served(at)
    if served is None and not is_loopback(at.host):
        raise InputError(
            f"`host` {at.host} can be reached by others, who would send keys and faces for all to read: give"
            " `certificate` and `certificate_key`, or put a server with one before it, on this machine"
        )
    if not at.per_minute > 0:
        raise InputError(f"`rate` {at.per_minute:g}: give the images a minute that a key may ask about, above 0")
    bound = listening(at.host, at.port)
    door = Door(library, config, threshold, on_download)
    remarks = [served.certificate.remark(datetime.now(UTC)) if served else "", door.problem(), _keys(library)]
    for remark in filter(None, remarks):
        on_remark(remark)
    name = f"[{at.host}]" if ":" in at.host else at.host
    url = f"http{'s' if served else ''}://{name}:{bound.getsockname()[1]}"
    try:
        answer(app(library, door, at.per_minute), bound, lambda: on_ready(url), served, on_remark)
    finally:
        door.close()


def _served(at: At) -> Served | None:
    if (at.certificate is None) != (at.certificate_key is None):
        raise InputError("`certificate` and `certificate_key` go together: give both")
    if at.certificate is None or at.certificate_key is None:
        return None
    return Served(at.certificate, at.certificate_key, datetime.now(UTC))


def _keys(library: LibraryFiles) -> str:
    if problem := keys.problem(library):
        return problem
    valid = any(key.revoked is None for key in keys.listed(library))
    return "" if valid else "nobody has a key yet: `keys make` makes one, also while this runs"
