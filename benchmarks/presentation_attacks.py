"""Can a small network say of one picture whether a face is a print or a screen, if it learns from simulated ones alone?

    python benchmarks/presentation_attacks.py [--weights-dir FOLDER] [--seed 0] [--pictures FOLDER]

Photos of LFW are photographed again by `recapture.py`: as prints and screens of six kinds (instruments), and as the
faces themselves (live), all by one camera. A network of 0.16 M parameters looks at the face alone, 1.1 times its box:
LFW's photos here end a little beyond the face. It learns from some instruments and is tested on all, and on real
cameras. People who are tested with are those that no training has seen (`PEOPLE_HELD_OUT`); the threshold rejects 5 %
of live faces of other people again. Rates are those of ISO/IEC 30107-3: APCER, the share of an instrument's pictures
that is taken for live; BPCER, the share of live ones that is taken for an attack; and IAPAR, the share of attacks that
Muster's own networks name as the person shown, at the threshold that `muster calibrate` gives for FPIR .01. Intervals
are of 95 %, by person (`muster.tasks.people.calibrate.rate`); where people are not known, by photo.
`--pictures`: a few of each, to look at; they are of photos that are not ours to spread. One thread. The last line is
one JSON object.
"""

import argparse
import csv
import io
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image as PillowImage
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.frontal import loaded, middle_faces
from benchmarks.recapture import INSTRUMENTS, Chance, camera, live
from muster.arrays import F32, Floats, Pixels
from muster.pipeline.people.faces import strangers_of
from muster.storage.photos.decode import decode
from muster.storage.photos.frame import pixels as frame_pixels
from muster.tasks.base import Image
from muster.tasks.faces import Faces
from muster.tasks.people.calibrate import gallery_searches, person_weights, point, rate, threshold_at
from muster.tasks.people.search import search, templates
from muster.training.data.examples import PEOPLE_HELD_OUT, held_out

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
LIVE = "live"
TRAININGS = {
    "laser, lcd": ("print_laser", "screen_lcd"),
    "photo, oled": ("print_photo", "screen_oled"),
    "both prints": ("print_laser", "print_photo"),
    "both screens": ("screen_lcd", "screen_oled"),
    "all four": ("print_laser", "print_photo", "screen_lcd", "screen_oled"),
}
BPCER = 0.05
FPIR = 0.01
SIDES = (56, 72, 88, 104, 120, 136, 152, 168)  # of frames, in pixels: faces are nearly as large
SIDE = 112  # of what the network sees
AROUND = 1.1  # times the box
SMALLEST, SUREST = 48, 0.8  # faces of real photos: box and score. Below are what is no face, and what a door refuses
BATCH = 8  # photos that share a size of frames
TRAINED_PHOTOS, THRESHOLD_PHOTOS = 1200, 800
STEPS, LOT, RATE, FOURIER = 900, 64, 3e-3, 0.5

# People of LFW with two names, found by looking at those who are most alike: who has this one is left out.
TWICE = ("Raul_Ibanez", "Eva_Amurri", "John_Burnett", "Ray_Young")

# Faces in photos here that are prints or on screens, found by looking at all faces of 28 pixels and more: the folder,
# the photo, the middle of the face, what it is.
REAL_ATTACKS = (
    ("photos/formats2", "DSC_3079.jpg", (597, 495), "photo on a package"),
    ("photos/formats2", "DSC_3079.jpg", (356, 477), "photo on a package"),
    ("person_masks/images", "160.jpg", (417, 89), "photo on a poster"),
    ("coco", "172040", (344, 115), "drawing on a poster"),
    ("coco", "204802", (335, 166), "drawing on a television"),
)


@dataclass(frozen=True)
class Seen:
    """Faces as the network sees them: `crops` (N, 112, 112, 3) uint8, `people` (N,) text, `embeddings` (N, D)."""

    crops: torch.Tensor
    people: np.ndarray[Any, Any]
    embeddings: F32

    def __len__(self) -> int:
        return len(self.people)


# ---- pictures ----------------------------------------------------------------------------------------------


def crop(pixels: Pixels, box: F32) -> Pixels:
    """The square around a face, shifted to stay in the photo, as (112, 112, 3) uint8."""
    height, width = pixels.shape[:2]
    half = min(AROUND / 2 * float(max(box[2] - box[0], box[3] - box[1])), width / 2, height / 2)
    x = min(max(float(box[0] + box[2]) / 2, half), width - half)
    y = min(max(float(box[1] + box[3]) / 2, half), height - half)
    square = (x - half, y - half, x + half, y + half)
    return np.asarray(PillowImage.fromarray(pixels).resize((SIDE, SIDE), PillowImage.Resampling.BILINEAR, square))


def opened(data: bytes) -> Pixels:
    return np.array(PillowImage.open(io.BytesIO(data)).convert("RGB"))


def as_planes(pictures: Sequence[Pixels]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


@torch.inference_mode()
def photographed(files: Sequence[bytes], behind: torch.Tensor, instrument: str, seed: int) -> Iterator[Pixels]:
    """Each photo through an instrument and the camera, in frames of different sizes."""
    show = INSTRUMENTS.get(instrument, live)
    for start in range(0, len(files), BATCH):
        photos = as_planes([opened(data) for data in files[start : start + BATCH]])
        chance = Chance(seed * 100_003 + start, len(photos))
        rooms = behind[torch.randint(len(behind), (len(photos),), generator=chance.generator)]
        side = SIDES[int(torch.randint(len(SIDES), (), generator=chance.generator))]
        yield from camera(show(photos, rooms, side, chance), chance)


def looked_at(task: Faces, pictures: Sequence[Pixels], people: Sequence[str]) -> Seen:
    """The face nearest to the middle of each picture, where one is found."""
    crops, owners, vectors = [], [], []
    for start in range(0, len(pictures), 64):
        part = pictures[start : start + 64]
        images = [Image(str(k), each, 1.0, each.shape[1::-1]) for k, each in enumerate(part, start)]
        with torch.inference_mode():
            found = task.find(images)
        for row in middle_faces(found, images):
            crops.append(crop(found.owners[row].pixels, found.faces.boxes[row].numpy()))
            owners.append(people[int(found.owners[row].image_id)])
            vectors.append(found.vectors.embeddings[row].numpy())
    return Seen(torch.from_numpy(np.stack(crops)), np.array(owners), np.stack(vectors))


def backgrounds(count: int = 200) -> torch.Tensor:
    """What stands behind prints and screens, linear light: streets and outdoor cameras, none with a face close by."""
    files = [*sorted((DATA / "camvid/train").glob("*.jpg")), *sorted((DATA / "day_night").rglob("*.jpg"))]
    chosen = [files[i] for i in np.random.default_rng(0).choice(len(files), count, replace=False)]
    return as_planes([np.array(PillowImage.open(f).convert("RGB").resize((160, 160))) for f in chosen]).pow(2.2)


# ---- the network -------------------------------------------------------------------------------------------


class Network(nn.Module):
    """Whether a face is shown by something: a logit. In training also what the spectrum of the picture looks like.

    The spectrum as a second task is from Silent-Face-Anti-Spoofing (Minivision, 2020), whose networks learn from real
    attacks.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 64, 128)
        strides = (2, 2, 2, 1, 2)
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(True))
            for a, b, stride in zip(widths[:-1], widths[1:], strides, strict=True)
        ]
        self.near, self.far = nn.Sequential(*blocks[:4]), blocks[4]
        self.spectrum = nn.Sequential(nn.Conv2d(64, 32, 3, 1, 1), nn.ReLU(True), nn.Conv2d(32, 1, 3, 1, 1))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(128, 1))

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        near = self.near(pictures)
        return self.head(self.far(near).mean((2, 3)))[:, 0], self.spectrum(near)[:, 0]


def spectra(pictures: torch.Tensor) -> torch.Tensor:
    """(N, 14, 14) of (N, 3, 112, 112): the logarithm of Fourier's magnitudes of grey, low frequencies in the middle."""
    grey = pictures.mean(1)
    magnitudes = torch.fft.fftshift(torch.fft.fft2(grey, norm="ortho").abs(), (1, 2))
    return F.adaptive_avg_pool2d((1 + magnitudes).log()[:, None], 14)[:, 0]


def as_input(crops: torch.Tensor) -> torch.Tensor:
    return (crops.permute(0, 3, 1, 2).float() - 127.5) / 64


def train(lives: torch.Tensor, attacks: Sequence[torch.Tensor], seed: int) -> Network:
    """Half of each lot is live, the other half of all instruments alike. Crops (N, 112, 112, 3) uint8."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = Network().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
    said = torch.cat([torch.zeros(LOT // 2), torch.ones(LOT // 2)])
    for _ in range(STEPS):
        parts = [lives[random.integers(0, len(lives), LOT // 2)]]
        for each in np.array_split(np.arange(LOT // 2), len(attacks)):
            of = attacks[len(parts) - 1]
            parts.append(of[random.integers(0, len(of), len(each))])
        pictures = varied(as_input(torch.cat(parts)), random)
        with torch.autocast("cpu", torch.bfloat16):
            logits, spectrum = network(pictures)
        loss = F.binary_cross_entropy_with_logits(logits.float(), said)
        loss = loss + FOURIER * F.mse_loss(spectrum.float(), spectra(pictures))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def varied(pictures: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Mirrored, moved by up to 6 pixels, brighter or darker, in a little other colours."""
    if random.random() < 0.5:
        pictures = pictures.flip(3)
    move = random.integers(-6, 7, 2)
    pictures = pictures.roll(tuple(move.tolist()), (2, 3))
    gain = torch.from_numpy(random.uniform(0.8, 1.2, (len(pictures), 1, 1, 1)).astype(np.float32))
    tint = torch.from_numpy(random.uniform(-0.15, 0.15, (len(pictures), 3, 1, 1)).astype(np.float32))
    return pictures * gain + tint


@torch.inference_mode()
def judged(network: Network, crops: torch.Tensor) -> Floats:
    """(N,): how much each looks like an attack, from a crop and its mirror image."""
    parts = [network(as_input(part))[0] + network(as_input(part.flip(2)))[0] for part in crops.split(128)]
    return np.asarray(torch.cat(parts).double().numpy() if parts else np.empty(0))


# ---- what is measured --------------------------------------------------------------------------------------


def share(hits: Any, people: Any) -> dict[str, Any]:
    """Every person counting the same; with the interval."""
    value, (low, high) = rate(np.asarray(hits), np.asarray(people), person_weights(np.asarray(people)))
    return {"rate": round(value, 3), "interval": [round(low, 3), round(high, 3)], "n": len(people)} | {
        "people": len(np.unique(people))
    }


def real_faces(task: Faces) -> tuple[dict[str, Seen], Seen]:
    """Faces before real cameras, by where they are from, and those of `REAL_ATTACKS`."""
    sets: dict[str, list[tuple[Pixels, str]]] = {}
    attacks: list[tuple[Pixels, str]] = []
    for folder, name, pixels in _photos(task.max_side):
        for box, score in _found(task, pixels):
            middle = (box[:2] + box[2:]) / 2
            shown = [w for f, n, at, w in REAL_ATTACKS if (f, n) == (folder, name) and np.hypot(*(middle - at)) < 12]
            if shown:
                attacks.append((crop(pixels, box), f"{shown[0]}, {folder}/{name}"))
            elif folder != "photos/formats2" and _is_clear(box, score):
                sets.setdefault(folder, []).append((crop(pixels, box), f"{folder}/{name}"))
    for file, person, pixels in _frames():
        kind = "videos from GIF" if file.startswith("headpose") else "videos"
        faces = [crop(pixels, box) for box, score in _found(task, pixels) if _is_clear(box, score)]
        sets.setdefault(kind, []).extend((face, person) for face in faces)
    return {name: _seen(rows) for name, rows in sets.items()}, _seen(attacks)


def _photos(max_side: int) -> Iterator[tuple[str, str, Pixels]]:
    """Folder, name and pixels: of COCO, of the folders with people, and of those that hold `REAL_ATTACKS`."""
    coco = pq.read_table(DATA / "coco_photos/photos.parquet", columns=["image_id", "image"]).to_pydict()
    for name, data in zip(coco["image_id"], coco["image"], strict=True):
        yield "coco", str(name), decode(data, max_side).pixels
    for folder in ("photos/groups", "photos/johns", "photos/formats2", "person_masks/images"):
        for path in sorted((DATA / folder).rglob("*.jpg")):
            if path.name in ("bald_guys.jpg", "dogs.jpg"):  # a collage, and no people
                continue
            if folder != "photos/formats2" or any(path.name == name for _, name, *_ in REAL_ATTACKS):
                yield folder, path.name, decode(path.read_bytes(), max_side).pixels


def _frames() -> Iterator[tuple[str, str, Pixels]]:
    """File, person and pixels of every third frame."""
    for file, person, *_ in csv.reader((DATA / "videos/labels.csv").read_text().splitlines()[1:]):
        with av.open(str(DATA / "videos" / file)) as container:
            for frame in itertools.islice(container.decode(video=0), 0, None, 3):
                yield file, person, np.ascontiguousarray(frame_pixels(frame))


def _is_clear(box: F32, score: float) -> bool:
    return max(box[2:] - box[:2]) >= SMALLEST and score >= SUREST


def _seen(rows: Sequence[tuple[Pixels, str]]) -> Seen:
    crops, people = zip(*rows, strict=True)
    return Seen(torch.from_numpy(np.stack(crops)), np.array(people), np.empty((len(rows), 0), np.float32))


def _found(task: Faces, pixels: Pixels) -> list[tuple[F32, float]]:
    with torch.inference_mode():
        found = task.find([Image("0", pixels, 1.0, pixels.shape[1::-1])]).faces
    return [(box.numpy(), float(score)) for box, score in zip(found.boxes, found.scores, strict=True)]


def named(enrolled: Seen, probes: dict[str, Seen], pictures: int) -> dict[str, Any]:
    """Which share of probes is named as the person shown. `pictures`: of how many each kind of them was looked for."""
    people, owner = np.unique(enrolled.people, return_inverse=True)
    gallery = templates(enrolled.embeddings, owner, len(people), strangers_of("own"))
    threshold = point(gallery_searches(enrolled.embeddings, owner, gallery), FPIR).threshold
    found = {}
    for name, seen in probes.items():
        matches = search(seen.embeddings, gallery)
        hits = (people[matches.best] == seen.people) & (matches.score >= threshold)
        unseen = pictures - len(seen)  # no face is found in them: they name nobody, each a person of its own
        found[name] = share([*hits, *[False] * unseen], [*seen.people, *map(str, range(unseen))])
    return {"enrolled": len(people), "threshold": round(threshold, 4), "named": found}


@dataclass(frozen=True)
class Studio:
    """Photos of people, and what takes them again. `pictures`: where a few of what is taken go, to be looked at."""

    task: Faces
    people: np.ndarray[Any, Any]
    files: Sequence[bytes]
    behind: torch.Tensor
    seed: int
    pictures: Path | None

    def plain(self, rows: Any) -> Seen:
        return looked_at(self.task, [opened(self.files[row]) for row in rows], self.people[rows])

    def shown(self, rows: Any, instrument: str, number: int) -> Seen:
        files = [self.files[row] for row in rows]
        frames = list(photographed(files, self.behind, instrument, self.seed * 1000 + number))
        if self.pictures:
            self.pictures.mkdir(parents=True, exist_ok=True)
            for k, each in enumerate(frames[: 4 * BATCH : BATCH]):
                PillowImage.fromarray(each).save(self.pictures / f"{instrument}-{number}-{k}.png")
        return looked_at(self.task, frames, self.people[rows])


def errors(
    network: Network, threshold: float, test: dict[str, Seen], real: dict[str, Seen], attacks: Seen
) -> dict[str, Any]:
    lives = {"live, simulated": test[LIVE], **real}
    scores = {kind: judged(network, test[kind].crops) for kind in INSTRUMENTS}
    # What is left where the threshold is taken from the very videos that it is to be used on.
    recorded = real["videos"]
    fitted = threshold_at(judged(network, recorded.crops), person_weights(recorded.people), BPCER)
    return {
        "threshold": round(threshold, 3),
        "BPCER": {k: share(judged(network, seen.crops) >= threshold, seen.people) for k, seen in lives.items()},
        "APCER": {k: share(score < threshold, test[k].people) for k, score in scores.items()},
        "APCER at BPCER .05 of the videos": {
            k: share(score < fitted, test[k].people)["rate"] for k, score in scores.items()
        },
        "real attacks taken for live": (judged(network, attacks.crops) < threshold).tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights-dir", type=Path, default=DATA / "weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", file=sys.stderr, flush=True)

    table = pq.read_table(DATA / "lfw/lfw.parquet", columns=["person", "image"]).to_pydict()
    rows = [row for row, name in enumerate(table["person"]) if name not in TWICE]
    people, files = np.array(table["person"])[rows], [table["image"][row] for row in rows]
    studio = Studio(loaded("own", args.weights_dir), people, files, backgrounds(), args.seed, args.pictures)
    tested = np.array([held_out(name, PEOPLE_HELD_OUT) for name in people])
    between = np.array([held_out(f"{name} for the threshold", 0.25) for name in people]) & ~tested
    first = np.zeros(len(people), bool)
    first[np.unique(people, return_index=True)[1]] = True
    random, kinds = np.random.default_rng(args.seed), [LIVE, *INSTRUMENTS]

    learning = np.flatnonzero(~tested & ~between)
    attacked, lives = (random.choice(learning, times * TRAINED_PHOTOS, replace=False) for times in (1, 2))
    learnt_from = [LIVE, *sorted({each for chosen in TRAININGS.values() for each in chosen})]
    training = {k: studio.shown(lives if k == LIVE else attacked, k, 1 + kinds.index(k)).crops for k in learnt_from}
    say("training pictures")
    middle = studio.shown(random.choice(np.flatnonzero(between & first), THRESHOLD_PHOTOS, replace=False), LIVE, 20)
    again = random.permutation(np.flatnonzero(tested & ~first))
    again = again[np.unique(people[again], return_index=True)[1]]  # one photo of each person
    test = {kind: studio.shown(again, kind, 30 + kinds.index(kind)) for kind in kinds}
    say("test pictures")

    probes = {"the photo itself": studio.plain(again), **test}
    same = np.flatnonzero(tested & first & np.isin(people, people[again]))
    for kind in INSTRUMENTS:
        probes[f"{kind} of the enrolled photo"] = studio.shown(same, kind, 50 + kinds.index(kind))
    recognised = named(studio.plain(np.flatnonzero(tested & first)), probes, len(again))
    say(json.dumps(recognised))
    real, attacks = real_faces(studio.task)
    say(f"real faces: { {name: len(seen) for name, seen in real.items()} }, attacks: {len(attacks)}")

    results: dict[str, Any] = {}
    for name, chosen in TRAININGS.items():
        network = train(training[LIVE], [training[kind] for kind in chosen], args.seed)
        scores = judged(network, middle.crops)
        threshold = threshold_at(scores, np.ones(len(scores)), BPCER)
        results[name] = {"learnt from": chosen, **errors(network, threshold, test, real, attacks)}
        say(f"{name}: {json.dumps(results[name])}")
    parameters = sum(each.numel() for each in Network().parameters())
    facts = {"parameters": parameters, "real attacks": attacks.people.tolist(), "trainings": results}
    print(json.dumps({**facts, "IAPAR": recognised, "seconds": round(time.monotonic() - began)}))


if __name__ == "__main__":
    main()
