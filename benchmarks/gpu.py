"""`muster run` on a GPU: whether its rows are those of the CPU, photos/s, and the share of the network's own rate.

    python benchmarks/gpu.py [--photos N] [--compared N] [--workers 1 4] [--data DIR]

Photos are JPEGs of 500×375: parts of COCO128 and of phone photos, each another one. Tasks are `faces` and `objects` by
their published models, and `resnet18`: torchvision's ResNet-18 as a plug-in, with weights drawn by a seed, in the
precision that is fastest on the device. Of each task:

- agree: of the rows of the first `--compared` photos, the share that the other device has one for: on the same photo,
  of the same label, with a box that overlaps it by 0.9 or more (intersection over union), a score within 0.05 and an
  embedding with a cosine of 0.99 or more, as far as the task has these. The lesser of both ways round. `same`: whether
  that is at least 0.98: in bf16 a score moves by a few thousandths, and some cross their threshold.
- images_per_second: of `muster run` over all photos, for each number of workers; they share the GPU. Without start-up.
- own_rate: photos/s of the networks alone, on the inputs that the first 32 photos gave them, which stay on the device,
  in this process. `share`: the best of images_per_second over it.

Where there is no GPU all of it runs on the CPU, smaller: it shows that the script runs, and `gpu` is "unproven". The
last line is one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image as PillowImage
from torchvision.ops import box_iou

import muster
from muster.arrays import matrix
from muster.tasks.base import Image, StateDict, inference_dtype
from muster.tasks.features import shown
from muster.tasks.labels import Labels, best
from muster.tasks.models import classifiers
from muster.tasks.models.fuse import for_inference

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
CORES = len(os.sched_getaffinity(0))
TASKS = {"faces": "published", "objects": "fastestdet", "resnet18": None}  # and their models
WIDTH, HEIGHT = 500, 375
AT_ONCE = 32  # photos that a worker hands to a task
SAME = 0.98
Calls = list[tuple[torch.nn.Module, tuple[Any, ...]]]


class ResNet18(Labels):
    """The likeliest of ImageNet's categories, or what random weights make of them."""

    name = "resnet18"
    options: Mapping[str, Any] = {}

    def __init__(self, model: str | None = None) -> None:
        self.models, self.parameters = {}, {}

    def load(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        from torchvision.models import resnet18

        torch.manual_seed(0)
        self.classifier = classifiers.torchvision("resnet18", 256)(resnet18().state_dict())
        self.device, self.dtype = device, inference_dtype(device)
        self.network = for_inference(self.classifier, device, self.dtype)

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image]) -> pa.Table:
        logits = self.network(shown(self.classifier, images, self.device).to(self.dtype))
        rows = []
        for image, chances in zip(images, logits.float().softmax(1).cpu().numpy(), strict=True):
            [(label, score)] = best(chances, 0, 1)
            label_of = {"label": self.classifier.categories[label], "label_id": label}
            rows.append({"image_id": image.image_id, **label_of, "score": score})
        return pa.Table.from_pylist(rows, self.schema)


# ---- photos and runs -------------------------------------------------------------------------------------------------


def make_photos(sources: Sequence[Path], folder: Path, numbers: range) -> None:
    """A JPEG for each number: a part of one of the sources, at least four fifths of its sides."""
    folder.mkdir()

    def make(number: int) -> None:
        random = np.random.default_rng(number)
        with PillowImage.open(sources[number % len(sources)]) as source:
            source.draft("RGB", (2 * WIDTH, 2 * HEIGHT))
            width, height = source.size
            side = random.uniform(0.8, 1) * min(width / WIDTH, height / HEIGHT)
            left, top = random.uniform(0, (width - side * WIDTH, height - side * HEIGHT))
            box = (left, top, left + side * WIDTH, top + side * HEIGHT)
            photo = source.convert("RGB").resize((WIDTH, HEIGHT), PillowImage.Resampling.BILINEAR, box, reducing_gap=2)
        photo.save(folder / f"{number:06}.jpg", quality=90)

    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(make, numbers))


@contextmanager
def plugged_in(folder: Path) -> Iterator[None]:
    """With the task of this file among those that are installed, here and in what is started from here."""
    info = folder / "muster_resnet18-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: muster-resnet18\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[muster.tasks]\nresnet18 = {Path(__file__).stem}:ResNet18\n")
    here = [str(folder), str(Path(__file__).parent)]
    os.environ["PYTHONPATH"] = os.pathsep.join([*here, *filter(None, [os.environ.get("PYTHONPATH")])])
    sys.path[:0] = here
    yield


def run(task: str, photos: Sequence[Path], library: Path, weights: Path, *options: object) -> dict[str, Any]:
    """What `muster run` says of itself."""
    muster.open(library, create=True).scan(photos)
    model = [] if TASKS[task] is None else ["--model", f"{task}={TASKS[task]}"]
    command = ["run", "-l", library, "--tasks", task, *model, "--weights-dir", weights, "--json", *options]
    done = subprocess.run([sys.executable, "-m", "muster", *map(str, command)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{task}: `muster run` failed")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{task} {' '.join(map(str, options))}: {facts}", file=sys.stderr, flush=True)
    return facts


# ---- whether the rows are the same -----------------------------------------------------------------------------------


def agreement(task: str, one: pa.Table, other: pa.Table, images: Sequence[str]) -> float:
    """The share of the rows of these images that the other table has too; the lesser of both ways round."""
    parts = [_by_image(table, images) for table in (one, other)]
    pairs = [(parts[0][name], parts[1][name]) for name in images]
    found = [_alike(task, *pair) for pair in pairs]
    ways = [np.concatenate([each.any(axis) for each in found]) for axis in (1, 0)]
    return min(float(way.mean()) if len(way) else 1.0 for way in ways)


def _by_image(table: pa.Table, images: Sequence[str]) -> dict[str, pa.Table]:
    where: dict[str, list[int]] = {name: [] for name in images}
    for row, name in enumerate(table["image_id"].to_pylist()):
        if name in where:
            where[name].append(row)
    return {name: table.take(pa.array(rows, pa.int64())) for name, rows in where.items()}


def _alike(task: str, one: pa.Table, other: pa.Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(N, M): which rows of an image are alike."""
    says = muster.task(task).choice.task.findings
    alike = np.ones((len(one), len(other)), bool)
    if not alike.size:
        return alike
    if says.label:
        alike &= np.equal.outer(*(np.array(each[says.label].to_pylist()) for each in (one, other)))
    if says.score:
        alike &= np.abs(np.subtract.outer(*(each[says.score].to_numpy() for each in (one, other)))) <= 0.05
    if says.box:
        alike &= box_iou(*(torch.tensor(matrix(each[says.box])) for each in (one, other))).numpy() >= 0.9
    if says.embedding:
        alike &= matrix(one[says.embedding]) @ matrix(other[says.embedding]).T >= 0.99
    return alike


# ---- the networks alone ----------------------------------------------------------------------------------------------


def own_rate(task: str, photos: Sequence[Path], device: str, weights: Path) -> float:
    """Photos/s of the networks that a task calls, on what it gave them for these photos; nothing else is done."""
    machine = muster.Machine(device=device, weights_dir=weights)
    chosen = muster.task(task, model=TASKS[task], machine=machine)
    chosen(photos)  # loads it
    with recorded() as calls:
        chosen(photos)
    wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
    times = []
    with torch.inference_mode():
        for turn in count():
            wait()
            begun = time.perf_counter()
            for network, inputs in calls:
                network(*inputs)
            wait()
            times.append(time.perf_counter() - begun)
            if turn >= 5 and sum(times) > 3:
                return len(photos) / float(np.median(times[1:]))
    raise AssertionError


@contextmanager
def recorded() -> Iterator[Calls]:
    """The outermost calls of networks, with what they were given."""
    calls: Calls = []
    depth = 0

    def before(network: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal depth
        if depth == 0:
            calls.append((network, inputs))
        depth += 1

    def after(*_: object) -> None:
        nonlocal depth
        depth -= 1

    hooks = torch.nn.modules.module
    handles = [hooks.register_module_forward_pre_hook(before), hooks.register_module_forward_hook(after)]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


# ---- all of it -------------------------------------------------------------------------------------------------------


def measure(task: str, folder: Path, device: str, args: argparse.Namespace) -> dict[str, Any]:
    weights = args.data / "weights"
    on_cpu, compared, both = folder / f"{task}-cpu", folder / "compared", [folder / "compared", folder / "others"]
    run(task, [compared], on_cpu, weights, "--device", "cpu")
    rates = {}
    for workers in args.workers:
        library = folder / f"{task}-{workers}"
        facts = run(task, both, library, weights, "--device", device, "--workers", workers)
        rates[workers] = facts["images_per_second"]
    images = muster.open(on_cpu).table("images")["image_id"].to_pylist()
    tables = [muster.open(each).table(task) for each in (on_cpu, library)]
    agree = agreement(task, *tables, images)
    rate = own_rate(task, sorted(compared.iterdir())[:AT_ONCE], device, weights)
    return {
        "agree": round(agree, 4),
        "same": agree >= SAME,
        "rows": [len(table) for table in tables],
        "images_per_second": rates,
        "own_rate": round(rate, 1),
        "share": round(max(rates.values()) / rate, 3),
    }


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    large = device == "cuda"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=8192 if large else 48)
    parser.add_argument("--compared", type=int, default=256 if large else 32)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4] if large else [1])
    parser.add_argument("--data", type=Path, default=DATA)
    args = parser.parse_args()
    sources = [*sorted((args.data / "coco128/images").iterdir()), *sorted((args.data / "photos/phone").glob("*.jpg"))]
    with tempfile.TemporaryDirectory() as scratch, plugged_in(Path(scratch) / "site"):
        folder = Path(scratch)
        make_photos(sources, folder / "compared", range(args.compared))
        make_photos(sources, folder / "others", range(args.compared, args.photos))
        found = {task: measure(task, folder, device, args) for task in TASKS}
    name = torch.cuda.get_device_name() if large else "unproven"
    print(json.dumps({"device": device, "gpu": name, "cores": CORES, "photos": args.photos, "tasks": found}))


if __name__ == "__main__":
    main()
