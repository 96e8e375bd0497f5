"""The objective that `muster style` reaches, and how soon, beside a plain implementation; an album, killed twice.

    python benchmarks/style.py [--evaluations 60] [--weights-dir ../shared/data/weights] [--keep FOLDER] [--net FILE]

- objective_to_reference: J of Muster's picture ÷ J of the plain one's, after as many evaluations of J and its gradient,
  those of coarse pictures counted like all others; the largest of all pairs of a photo and a style. Both pictures are
  eight-bit pixels, and the plain implementation measures both. It starts from the photo too, at full size, with torch's
  L-BFGS as it comes, network and pictures in torch's usual layout, in the same process. Both have one thread, as a
  worker has. As in tutorials its colours are cut at black and white in the end; `to_uncut`: the same to J of its
  picture before that.
- seconds_per_photo: side → of Muster, the Gram matrices of the style included; plain_seconds_per_photo: of the other.
- album: 12 photos in 2 styles by 2 workers, undisturbed; and with SIGKILL to the command and all it started, twice,
  each time after some photos. `same`: rows, but for their seconds, and pictures are equal, bit for bit.
- net_ratio: seconds of Muster's descent ÷ those of a network that has learnt its style, for the same photos in this
  very run; the least of all pairs. Seconds of processor time, both with one thread, as milliseconds on a machine that
  does other work say little. net_seconds_per_photo: side → of the network, the mean of REPEATS. `--net`: the weights of
  a training; without them it has learnt nothing, which takes as long.
- net_strips: of a photo of LARGE pixels that the network is shown whole, and in strips: seconds; MiB that a process
  holds beside the program; `apart`: how many levels of 255 the two pictures differ, the mean and the most; `seam`: how
  much more a row at the edge of a strip differs from the next one than in the picture of the whole, the mean over rows,
  as a share.

Photos are those of `muster demo`, styles are drawn here. The last line is one JSON object.
"""

import argparse
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import nn
from torchvision.models import squeezenet1_0

import muster
from muster.arrays import Pixels
from muster.pipeline.work.weights import parse_given
from muster.storage import downloads, manifest, tables
from muster.storage.library import open_library
from muster.tasks.models import zoo
from muster.tasks.models.style_costs import Recipe
from muster.tasks.models.style_net import AT_ONCE, STEP, Painter, StyleNet, from_state
from muster.tasks.models.style_transfer import Transfer

WEIGHTS = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "weights"
FILE = "squeezenet1_0_imagenet.pth"
ALPHA, CONTENT, LAYERS = 0.02, 7, (1, 4, 7, 10, 12)
PAIRS = {256: (("collins", "waves"), ("coffee", "mosaic")), 512: (("coffee", "waves"),)}
PHOTOS = 12
REPEATS = 5
LARGE = (2048, 3072)


# ---- pictures of style -----------------------------------------------------------------------------------------------


def waves(side: int = 512, seed: int = 0) -> Pixels:
    """Strokes along the flow of some whirls, in blue and gold."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    angle = sum(
        weight * np.arctan2(y - b, x - a) * np.exp(-((x - a) ** 2 + (y - b) ** 2) * 8)
        for a, b, weight in zip(*random.random((2, 6)), random.choice([-2.0, 2.0], 6), strict=True)
    )
    noise = np.asarray(Image.fromarray(random.random((side, side)).astype(np.float32)))
    flow = np.zeros_like(noise)
    for step in range(-12, 13):  # line integral convolution
        at = [
            np.clip((each * side + step * move).astype(int), 0, side - 1)
            for each, move in ((y, np.sin(angle)), (x, np.cos(angle)))
        ]
        flow += noise[at[0], at[1]]
    flow = (flow - flow.mean()) / flow.std()
    gold = np.clip(np.sin(3 * angle + 4 * x) + 0.6 * flow, -1, 1)[..., None] / 2 + 0.5
    colour = (1 - gold) * [18, 40, 110] + gold * [235, 190, 70] + 22 * flow[..., None]
    return np.clip(colour, 0, 255).astype(np.uint8)


def mosaic(side: int = 512, seed: int = 1) -> Pixels:
    """Cells of bright colours, with dark joints."""
    random = np.random.default_rng(seed)
    centres, palette = random.random((160, 2)) * side, random.integers(30, 255, (160, 3))
    y, x = np.mgrid[:side, :side]
    apart = np.sort(
        distances := np.stack([(y - a) ** 2 + (x - b) ** 2 for a, b in centres]).astype(np.float32), axis=0
    )[:2]
    joint = np.sqrt(apart[1]) - np.sqrt(apart[0]) < 3
    return np.where(joint[..., None], 20, palette[distances.argmin(0)]).astype(np.uint8)


STYLES = {"waves": waves, "mosaic": mosaic}


# ---- the plain implementation ----------------------------------------------------------------------------------------


class Plain:
    """Style transfer as a tutorial has it: nothing of Muster is in it but the formula."""

    def __init__(self, weights: Path, photo: Pixels, style: Pixels) -> None:
        network = squeezenet1_0(weights=None)
        network.classifier[1] = nn.Conv2d(512, 1000, 1, padding=1)
        network.load_state_dict(torch.load(weights, weights_only=True))
        self.layers = network.features[: max(LAYERS) + 1].eval().requires_grad_(False)
        for module in self.layers.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
        self.photo = self.tensor(photo)
        with torch.no_grad():
            self.content = self.maps(self.photo)[CONTENT]
            self.aims = [self.gram(self.maps(self.tensor(style))[each]) for each in LAYERS]

    @staticmethod
    def tensor(pixels: Pixels) -> torch.Tensor:
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float().contiguous() / 255

    def maps(self, picture: torch.Tensor) -> dict[int, torch.Tensor]:
        shown = nn.functional.pad(picture, (8, 8, 8, 8), mode="reflect").flip(1) * 255
        value = shown - torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
        found = {}
        for number, layer in enumerate(self.layers):
            value = layer(value)
            found[number] = value
        return found

    @staticmethod
    def gram(map_: torch.Tensor) -> torch.Tensor:
        flat = map_.flatten(2)
        return torch.bmm(flat, flat.transpose(1, 2)) / flat.shape[2]

    def objective(self, picture: torch.Tensor) -> torch.Tensor:
        maps = self.maps(picture)
        content = ((maps[CONTENT] - self.content) ** 2).sum() / (self.content**2).sum()
        grams = [self.gram(maps[each]) for each in LAYERS]
        parts = [((g - a) ** 2).sum() / (a**2).sum() for g, a in zip(grams, self.aims, strict=True)]
        return ALPHA * content + sum(parts) / len(parts)

    def paint(self, evaluations: int) -> tuple[Pixels, float]:
        """The picture, and the least J on the way, of colours that were not cut."""
        picture, met = self.photo.clone().requires_grad_(), list[float]()
        optimiser = torch.optim.LBFGS(
            [picture], max_iter=evaluations, max_eval=evaluations, tolerance_grad=0, tolerance_change=0
        )

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            cost = self.objective(picture)
            cost.backward()
            met.append(float(cost.detach()))
            return cost

        optimiser.step(closure)
        return (picture.detach()[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy(), min(met)

    def measure(self, pixels: Pixels) -> float:
        with torch.no_grad():
            return float(self.objective(self.tensor(pixels)))


def compare(weights: Path, photo: Pixels, style: Pixels, evaluations: int) -> dict[str, float]:
    """Both, on one photo."""
    begun = time.monotonic()
    plain = Plain(weights, photo, style)
    theirs, uncut = plain.paint(evaluations)
    between, processed = time.monotonic(), time.process_time()
    state = torch.load(weights, weights_only=True)
    layers = {f"features.{each}": 1.0 for each in LAYERS}
    recipe = Recipe(ALPHA, 1.0, f"features.{CONTENT}", layers, max(photo.shape), evaluations)
    painted = Transfer(zoo.ENTRIES["squeezenet"].build(state), recipe, [(style, 1.0)])(photo)
    ended, processed = time.monotonic(), time.process_time() - processed
    assert len(painted.curve) <= evaluations
    start, cost, reference = (plain.measure(each) for each in (photo, painted.pixels, theirs))
    return {
        "start": start,
        "objective": cost,
        "reference": reference,
        "uncut": uncut,
        "ratio": cost / reference,
        "seconds": ended - between,
        "processor_seconds": processed,
        "plain_seconds": between - begun,
    }


# ---- a network -------------------------------------------------------------------------------------------------------


def network(file: Path | None) -> StyleNet:
    torch.manual_seed(0)
    return StyleNet() if file is None else from_state(parse_given(downloads.read(file)))


def of_network(file: Path | None, photo: Pixels) -> float:
    """Seconds of processor time for a photo."""
    painter = Painter(network(file), torch.device("cpu"))
    painter(photo)
    begun = time.process_time()
    for _ in range(REPEATS):
        painter(photo)
    return (time.process_time() - begun) / REPEATS


def large(file: Path | None, at_once: int) -> tuple[Pixels, float, float]:
    """The picture of a large photo, seconds, and MiB that were taken beside the program."""
    torch.set_num_threads(1)
    picture = Image.fromarray(shown(Path(), "coffee", 600)).resize(LARGE[::-1], Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).integers(-12, 13, (*LARGE, 3))  # what is enlarged has no details
    photo = np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
    painter = Painter(network(file), torch.device("cpu"), at_once=at_once)
    painter(photo[:256, :256])
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    found = painter(photo)
    seconds = time.monotonic() - begun
    return found, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def strips(file: Path | None) -> dict[str, Any]:
    pictures, facts = [], dict[str, Any]()
    for name, at_once in (("whole", LARGE[0] * LARGE[1]), ("strips", AT_ONCE)):
        with multiprocessing.get_context("spawn").Pool(1) as process:  # its own peak of memory
            picture, seconds, mib = process.apply(large, (file, at_once))
        pictures.append(picture.astype(np.float32))
        facts[name] = {"seconds": round(seconds, 1), "mib": round(mib)}
    whole, cut = pictures
    rows = AT_ONCE // LARGE[1] // STEP * STEP
    edges = [np.abs(each[rows::rows] - each[rows - 1 : -1 : rows]).mean() for each in (cut, whole)]
    apart = np.abs(whole - cut)
    return {
        **facts,
        "apart": [round(float(apart.mean()), 4), int(apart.max())],
        "seam": round(float(edges[0] / edges[1] - 1), 5),
    }


# ---- an album that is killed -----------------------------------------------------------------------------------------


def command(folder: Path, style: Path, out: Path, weights_dir: Path, side: int) -> list[str]:
    options = ["--side", str(side), "--steps", "30", "--workers", "2", "--weights-dir", str(weights_dir), "--json"]
    names = ["style", "--style", str(style), "-l", str(folder / "library"), "--out", str(out)]
    return [sys.executable, "-m", "muster", *names, *options]


def killed(arguments: Sequence[str], out: Path, photos: int) -> None:
    """Start it, and kill it and all it started once so many photos more are committed."""
    commits = out / "library" / "_commits"
    before = len(list(commits.glob("*/*.json")))
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and len(list(commits.glob("*/*.json"))) < before + 2 * photos:
        time.sleep(0.02)
    assert process.poll() is None, "it was through before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def finished(arguments: Sequence[str]) -> dict[str, Any]:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def rows(out: Path) -> dict[str, pa.Table]:
    """Fingerprint → all rows of `style`, without their seconds."""
    library = open_library(out / "library")
    prints = [name for name, what in tables.descriptions(library).items() if what["task"] == "style"]
    shards = [shard for shard, _ in manifest.shards(library)]
    return {name: tables.require(library, "style", name, shards=shards).drop_columns("seconds") for name in prints}


def album(folder: Path, weights_dir: Path, side: int = 128) -> dict[str, Any]:
    muster.demo(folder / "demo")
    photos = folder / "photos"
    photos.mkdir()
    for file in sorted((folder / "demo").glob("*.jpg"))[:PHOTOS]:
        (photos / file.name).write_bytes(file.read_bytes())
    muster.scan(photos, library=folder / "library")
    styles = [folder / f"{name}.png" for name in STYLES]
    for file, draw in zip(styles, STYLES.values(), strict=True):
        Image.fromarray(draw()).save(file)
    calm, disturbed = folder / "calm", folder / "disturbed"
    runs = [finished(command(folder, style, calm, weights_dir, side)) for style in styles]
    left = []
    for style in styles:
        arguments = command(folder, style, disturbed, weights_dir, side)
        killed(arguments, disturbed, 4)
        left.append(finished(arguments)["runs"][0]["processed"])
    ours, theirs = rows(calm), rows(disturbed)
    pictures = [{str(f.relative_to(out)): f.read_bytes() for f in out.glob("*/*.jpg")} for out in (calm, disturbed)]
    return {
        "photos": PHOTOS,
        "styles": len(styles),
        "rows": sum(table.num_rows for table in theirs.values()),
        "left_after_each_kill": left,
        "same": ours.keys() == theirs.keys()
        and all(ours[name].equals(theirs[name]) for name in ours)
        and pictures[0] == pictures[1]
        and len(pictures[0]) == PHOTOS * len(styles),
        "seconds_of_a_style": [round(run["runs"][0]["seconds"], 1) for run in runs],
    }


def shown(folder: Path, name: str, side: int) -> Pixels:
    """A photo of scikit-image, no longer than that."""
    from skimage import data

    picture = Image.fromarray({"collins": data.astronaut, "coffee": data.coffee}[name]())
    picture.thumbnail((side, side))
    return np.asarray(picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=60)
    parser.add_argument("--weights-dir", type=Path, default=WEIGHTS)
    parser.add_argument("--net", type=Path, help="weights of `muster train style-net`")
    parser.add_argument("--keep", type=Path, help="an empty folder for the album, which stays")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[int, list[dict[str, float]]] = {}
    for side, pairs in PAIRS.items():
        for photo, style in pairs:
            pixels = shown(Path(), photo, side)
            each = compare(options.weights_dir / FILE, pixels, STYLES[style](side), options.evaluations)
            each["net_seconds"] = of_network(options.net, pixels)
            found.setdefault(side, []).append(each)
            print(f"{side} {photo} {style}: {each}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        survived = album(options.keep or Path(temporary), options.weights_dir)
    facts = {
        "objective_to_reference": round(max(each["ratio"] for pairs in found.values() for each in pairs), 4),
        "to_uncut": round(max(each["objective"] / each["uncut"] for pairs in found.values() for each in pairs), 4),
        "seconds_per_photo": _means(found, "seconds"),
        "plain_seconds_per_photo": _means(found, "plain_seconds"),
        "net_seconds_per_photo": _means(found, "net_seconds"),
        "net_ratio": round(min(e["processor_seconds"] / e["net_seconds"] for es in found.values() for e in es), 1),
        "net_strips": strips(options.net),
        "album": survived,
        "evaluations": options.evaluations,
        "pairs": {
            side: [{name: round(value, 5) for name, value in each.items()} for each in pairs]
            for side, pairs in found.items()
        },
    }
    print(json.dumps(facts))
    if not survived["same"]:
        raise SystemExit("the album that was killed is another one")


def _means(found: dict[int, list[dict[str, float]]], name: str) -> dict[int, float]:
    return {side: round(float(np.mean([each[name] for each in pairs])), 3) for side, pairs in found.items()}


if __name__ == "__main__":
    main()
