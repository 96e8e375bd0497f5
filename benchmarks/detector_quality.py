"""The face detector of our own beside the published one, through the task's `detect`, on photos kept out of training.

    python benchmarks/detector_quality.py [--own FILE.safetensors] [--min-score 0.6] [--no-speed]

- groups: the XML boxes of photos/groups for truth. These are squares around the inner face; both detectors draw taller
  boxes from forehead to chin, so recall and precision are given at an overlap (IoU) of 0.5 and of 0.4.
- orientations: the same photos stored turned, with each EXIF orientation, decoded again; and the upright and the turned
  portrait of photos/formats and the photos of photos/orientation.
- coco, coco_photos: the halves of the COCO photos that training keeps out. Recall of the faces of which the published
  detector is sure (score 0.8); `outside_people`: finds whose middle is in no box of a person, which are false whoever
  found them, in photos with boxes.
- lfw: photos of people kept out of training: how many have a face found at the middle.
- pasted: scenes with faces of people kept out, pasted into photos kept out: recall of them by their width in pixels,
  and error of landmarks against where they were pasted.
- landmark error: mean over five points, in eye distances, median over faces.
- milliseconds: per image of 192×192 (16 a batch) and 640×480 (2 a batch) of the network alone, one thread, best of 5.

The last line is one JSON object.
"""

import argparse
import io
import json
import os
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from muster.storage.photos import decode
from muster.tasks.base import inference_dtype
from muster.tasks.faces import Detections, FaceParameters, detect
from muster.tasks.models import face_detector, yunet, zoo
from muster.tasks.models.fuse import for_inference
from muster.training.data.examples import find_examples, held_out, person_held_out, read_photos
from muster.training.data.face_cutouts import read_cutouts
from muster.training.data.people_in_photos import PHOTOS_HELD_OUT
from muster.training.data.scenes_of_faces import Backdrop, make_scene
from muster.training.face_maps import overlap, within
from muster.training.inputs import Inputs
from muster.training.recipes.detector import read_scenes

HOME = Path(__file__).parents[1]
DATA = Path(os.environ.get("MUSTER_TEST_DATA", HOME.parent / "shared" / "data"))
CPU = torch.device("cpu")
SURE = 0.8
WIDTHS = (12, 16, 24, 48, 96, 240)  # pixels
# How an upright photo is stored for each orientation: what undoes what EXIF asks for.
STORED = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE"}
STORED[8] = "ROTATE_270"


class Detector:
    def __init__(self, network: torch.nn.Module, min_score: float, double: tuple[int, int] | None = None) -> None:
        self.dtype = inference_dtype(CPU)
        self.network = for_inference(network, CPU, self.dtype)
        self.parameters = FaceParameters(min_score=min_score, double_between=double)

    @torch.inference_mode()
    def __call__(self, photos: Sequence[np.ndarray[Any, Any]]) -> list[Detections]:
        return [detect(self.network, [photo], self.parameters, CPU, self.dtype)[0] for photo in photos]


def matches(truth: torch.Tensor, boxes: torch.Tensor, least: float) -> list[tuple[int, int]]:
    """Pairs (true box, found box) that overlap by at least `least`, best first, each box once."""
    iou = overlap(truth[:, None], boxes[None])[0]
    pairs = []
    while iou.numel() and float(iou.max()) >= least:
        i, j = divmod(int(iou.argmax()), iou.shape[1])
        pairs.append((i, j))
        iou[i], iou[:, j] = -1, -1
    return pairs


def against(truths: Sequence[torch.Tensor], found: Sequence[Detections], least: float) -> dict[str, float]:
    hits = sum(len(matches(truth, each.boxes, least)) for truth, each in zip(truths, found, strict=True))
    faces, finds = sum(map(len, truths)), sum(len(each.boxes) for each in found)
    ratios = {"recall": round(hits / max(1, faces), 4), "precision": round(hits / max(1, finds), 4)}
    return {"faces": faces, "found": finds, "right": hits, "false": finds - hits, **ratios}


def landmark_errors(theirs: Sequence[Detections], mine: Sequence[Detections]) -> list[float]:
    """Of each face that both found, in eye distances of the first."""
    errors = []
    for truth, each in zip(theirs, mine, strict=True):
        for i, j in matches(truth.boxes, each.boxes, 0.5):
            errors.append(landmark_error(truth.landmarks[i], each.landmarks[j]))
    return errors


def landmark_error(truth: torch.Tensor, found: torch.Tensor) -> float:
    return float((found - truth).norm(dim=1).mean() / (truth[1] - truth[0]).norm())


def median(errors: Sequence[float]) -> float:
    return round(float(np.median(errors)), 4)


def decoded(data: bytes) -> np.ndarray[Any, Any]:
    return decode.decode(data, FaceParameters().max_side).pixels


def groups() -> tuple[list[bytes], list[torch.Tensor]]:
    folder = DATA / "photos/groups"
    photos, truths = [], []
    for name in ("training.xml", "testing.xml"):
        for image in ET.parse(folder / name).getroot().iter("image"):
            boxes = [
                [float(box.attrib[key]) for key in ("left", "top", "width", "height")] for box in image.iter("box")
            ]
            truth = torch.tensor(boxes).view(-1, 4)
            photos.append((folder / image.attrib["file"]).read_bytes())
            truths.append(torch.cat([truth[:, :2], truth[:, :2] + truth[:, 2:]], 1))
    return photos, truths


def stored_turned(data: bytes, orientation: int) -> bytes:
    """The same photo as a camera held otherwise stores it: other pixels, and a tag that says how to turn them."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    if orientation in STORED:
        image = image.transpose(Image.Transpose[STORED[orientation]])
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def measure_groups(detectors: dict[str, Detector]) -> dict[str, Any]:
    photos, truths = groups()
    found = {name: detector([decoded(data) for data in photos]) for name, detector in detectors.items()}
    result: dict[str, Any] = {"landmark_error": median(landmark_errors(found["published"], found["own"]))}
    for least in (0.5, 0.4):
        result[f"iou_{least}"] = {name: against(truths, each, least) for name, each in found.items()}
    return result


def measure_orientations(detectors: dict[str, Detector]) -> dict[str, Any]:
    photos, truths = groups()
    result: dict[str, Any] = {}
    for orientation in range(1, 9):
        upright = [decoded(stored_turned(data, orientation)) for data in photos]
        measured = {name: against(truths, detector(upright), 0.5) for name, detector in detectors.items()}
        result[str(orientation)] = {k: {"recall": v["recall"], "false": v["false"]} for k, v in measured.items()}
    files = sorted((DATA / "photos/formats").glob("portrait*.jpg")) + sorted(
        (DATA / "photos/orientation").glob("*.jpg")
    )
    pixels = [decoded(file.read_bytes()) for file in files]
    counts = {name: [len(each.scores) for each in detector(pixels)] for name, detector in detectors.items()}
    result["files"] = {f.stem: {name: counts[name][i] for name in detectors} for i, f in enumerate(files)}
    return result


def measure_coco(detectors: dict[str, Detector], folder: str, photos: str) -> dict[str, Any]:
    labels = str(DATA / folder / "instances.json")
    kept_out = read_scenes(Inputs(images=[], out=Path(), scenes=[str(DATA / folder / photos)], labels=[labels]))[1]
    found = {name: detector([photo.pixels for photo in kept_out]) for name, detector in detectors.items()}
    sure = [each.boxes[each.scores >= SURE] for each in found["published"]]
    result: dict[str, Any] = {"photos": len(kept_out), "landmark_error": median(landmark_errors(*found.values()))}
    result["with_boxes"] = sum(photo.people is not None for photo in kept_out)
    for name, each in found.items():
        outside = sum(
            _outside(faces.boxes, photo.people)
            for faces, photo in zip(each, kept_out, strict=True)
            if photo.people is not None
        )
        result[name] = against(sure, each, 0.5) | {"outside_people": outside}
    return result


def _outside(boxes: torch.Tensor, people: np.ndarray[Any, Any]) -> int:
    return int((~within(boxes[:, None], torch.from_numpy(people), FaceParameters().max_side).any(1)).sum())


def measure_lfw(detectors: dict[str, Detector], limit: int) -> dict[str, Any]:
    examples = find_examples([str(DATA / "lfw/lfw.parquet")], "person")
    chosen = [e for e in examples if person_held_out(e)][:limit]
    photos = [photo.pixels for _, photo in read_photos(chosen, 256, print)]
    found = {name: detector(photos) for name, detector in detectors.items()}
    result: dict[str, Any] = {"photos": len(photos), "landmark_error": median(landmark_errors(*found.values()))}
    for name, each in found.items():
        middles = [
            (f.boxes[:, :2] + f.boxes[:, 2:]) / 2 - torch.tensor(p.shape[1::-1]) / 2
            for f, p in zip(each, photos, strict=True)
        ]
        central = sum(bool((m.norm(dim=1) < p.shape[0] / 4).any()) for m, p in zip(middles, photos, strict=True))
        result[name] = {"found": round(central / len(photos), 4), "finds": sum(len(f.scores) for f in each)}
    return result


def measure_pasted(detectors: dict[str, Detector], teacher: torch.nn.Module, scenes: int) -> dict[str, Any]:
    inputs = Inputs(images=[str(DATA / "lfw/lfw.parquet")], out=Path(), label="person", limit=1000)
    faces = read_cutouts(inputs, teacher)[1]
    files = [f for f in sorted((DATA / "coco128/images").glob("*.jpg")) if held_out(f.name, PHOTOS_HELD_OUT)]
    backgrounds = [Backdrop(file.name, decoded(file.read_bytes())) for file in files]
    made = [make_scene(backgrounds, faces, np.random.default_rng([7, i])) for i in range(scenes)]
    result: dict[str, Any] = {"scenes": scenes}
    for name, detector in detectors.items():
        found, errors = detector([scene.pixels for scene in made]), []
        seen: dict[int, list[bool]] = {width: [] for width in WIDTHS}
        for scene, each in zip(made, found, strict=True):
            truth = torch.from_numpy(scene.boxes)
            paired = dict(matches(truth, each.boxes, 0.4))
            for i, box in enumerate(scene.boxes):
                seen[next((w for w in WIDTHS if box[2] - box[0] <= w), WIDTHS[-1])].append(i in paired)
            errors += [
                landmark_error(torch.from_numpy(scene.landmarks[i]), each.landmarks[j]) for i, j in paired.items()
            ]
        recall = {f"to_{width}": round(float(np.mean(hits)), 3) for width, hits in seen.items()}
        result[name] = {"landmark_error": median(errors), "finds": sum(len(f.scores) for f in found), "recall": recall}
    result["faces"] = {f"to_{width}": len(hits) for width, hits in seen.items()}
    return result


@torch.inference_mode()
def milliseconds(detectors: dict[str, Detector]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for label, shape in (("192x192", (16, 3, 192, 192)), ("640x480", (2, 3, 480, 640))):
        batch = torch.rand(shape).mul(255).contiguous(memory_format=torch.channels_last)
        best = dict.fromkeys(detectors, float("inf"))
        for _ in range(6):
            for name, detector in detectors.items():  # in turn, so that a machine that changes speed changes both
                begun = time.perf_counter()
                detector.network(batch.to(detector.dtype))
                best[name] = min(best[name], (time.perf_counter() - begun) / len(batch) * 1000)
        ratio = best["published"] / best["own"]
        result[label] = {name: round(ms, 2) for name, ms in best.items()} | {"ratio": round(ratio, 2)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--own", type=Path, default=HOME / "tasks/weights/muster-detector.safetensors")
    parser.add_argument("--min-score", type=float, default=FaceParameters().min_score)
    parser.add_argument("--photos", type=int, default=400, help="of LFW, and scenes with pasted faces")
    parser.add_argument("--no-speed", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    state = torch.load(DATA / "weights/yunet_n.pth", map_location="cpu", weights_only=True)
    own = face_detector.from_state(safetensors.torch.load_file(args.own))
    networks = {"published": yunet.from_published(state), "own": own}
    double = zoo.ENTRIES["muster-detector"].double_between
    detectors = {
        "published": Detector(networks["published"], args.min_score),
        "own": Detector(networks["own"], args.min_score, double),
    }
    result: dict[str, Any] = {"min_score": args.min_score}
    steps = {
        "groups": lambda: measure_groups(detectors),
        "orientations": lambda: measure_orientations(detectors),
        "coco": lambda: measure_coco(detectors, "coco128", "images"),
        "coco_photos": lambda: measure_coco(detectors, "coco_photos", "photos.parquet"),
        "lfw": lambda: measure_lfw(detectors, args.photos),
        "pasted": lambda: measure_pasted(detectors, networks["published"], args.photos),
    }
    for name, step in (steps if args.no_speed else steps | {"milliseconds": lambda: milliseconds(detectors)}).items():
        result[name] = step()
        print(f"{name}: {json.dumps(result[name])}", file=sys.stderr)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
