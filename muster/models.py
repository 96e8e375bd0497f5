"""The networks Muster knows, and their weights: what `muster models` does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from muster.pipeline import onnx
from muster.pipeline.work import weights
from muster.pipeline.work.machine import Machine
from muster.storage.downloads import OnDownload
from muster.storage.hub_names import Published
from muster.storage.new_files import check_local


def entries(weights_dir: str | Path | None = None) -> list[dict[str, Any]]:
    """A row for each task, model and role: name, licence, training data, and `path`, None where it is not here yet."""
    return weights.describe_all(_path(weights_dir))


def pull(*names: str, weights_dir: str | Path | None = None, on_download: OnDownload | None = None) -> dict[str, str]:
    """Download these weights (all, where none is named), verified by their SHA-256; name → file."""
    return weights.pull(names, _path(weights_dir), on_download)


def pin(
    name: str,
    *,
    on_found: Callable[[Published], None] = lambda found: None,
    on_download: OnDownload | None = None,
) -> dict[str, Any]:
    """Download a published model, each file compared with what its server says it is; `name`, `revision`, `licence`,
    `sha256` and `path`. From then on that is the model of this name.

    `name`: of the list, such as "dfine-n", or "hf:ORG/NAME", also with "@REVISION". `on_found`: told what the server
    has, with the licence, before it is downloaded.
    """
    found: list[Published] = []

    def tell(each: Published) -> None:
        found.append(each)
        on_found(each)

    model = weights.pin(name, on_download, tell)
    facts = {"licence": model.licence or found[0].licence, "sha256": model.digest, "path": str(model.folder)}
    return {"name": f"hf:{found[0].name}", "revision": found[0].revision, **facts}


def verify(weights_dir: str | Path | None = None) -> dict[str, str]:
    """The state of all weights that Muster knows: "ok", "wrong" (another SHA-256) or "missing"."""
    return weights.verify(_path(weights_dir))


def export(
    name: str,
    out: str | Path | None = None,
    *,
    weights: str | Path | None = None,
    weights_dir: str | Path | None = None,
    on_download: OnDownload | None = None,
) -> dict[str, Any]:
    """Write a network as ONNX, float32, to a new file (NAME.onnx where None); `path`, `input`, `outputs`.

    `weights`: what a training of yours wrote for it, in place of its own.
    """
    return onnx.export(name, _path(out), _path(weights_dir), on_download, _path(weights))


def stages(
    image: str | Path,
    out: str | Path,
    *,
    model: str | None = None,
    weights: str | Path | None = None,
    machine: Machine | None = None,
    on_download: OnDownload | None = None,
) -> dict[str, Any]:
    """Write a page of what a network makes of a photo, stage by stage, into the folder `out`; how many `stages`, and
    `index`, the file:// URI to open.

    `model`: of the task "units". `weights`: a file of your own in place of its weights.
    """
    from muster.pipeline.units import Network, write_stages

    folder = check_local(out)
    network = Network(model, weights, machine or Machine(), on_download)
    count = write_stages(check_local(image, "image"), network, folder)
    return {"stages": count, "out": folder, "index": (folder / "index.html").absolute().as_uri()}


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given).expanduser()
