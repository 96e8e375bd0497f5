"""A published model by `muster run`, against the pipeline of the `transformers` library, on the same two cores.

    python benchmarks/hub.py [--photos N] [--rounds N] [--workers N]

Two models with random weights, as large as the published ones: D-FINE-N (3.8 million parameters, photos of 640×640), a
detector, and ViT-S/16 (22 million, 224×224), a classifier. What a network takes does not depend on its weights. The
photos are those of COCO in the test data, as files, 480 pixels long.

- pipeline: `pipeline(…, model=FOLDER)` over the paths, torch on all cores, in a process of its own. First it is tried
  with batches of 1, 2, 4 and 8 on some photos, and what was fastest is taken; a size that it fails with is left out.
- muster: `muster run --model TASK=hf:FOLDER`, one worker per core, into a fresh library, with scan and tables.

In turn, `--rounds` times; the rates are medians, and start-up (processes, Ray, loading) is in neither. `agree`: the
share of finds of the one for which the other has one with the same label, a score within 1e-4 and every side within a
pixel; of 64 photos, with a threshold below which half of the finds lie. The last line is one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
CORES = len(os.sched_getaffinity(0))
BATCHES = (1, 2, 4, 8)
TRIED = 24  # photos for each size of a batch
PIPELINES = {"objects": "object-detection", "labels": "image-classification"}
os.environ["HF_HUB_OFFLINE"] = "1"


def d_fine_n() -> tuple[Any, Any]:
    """The settings of ustc-community/dfine-nano-coco, after D-FINE's dfine_hgnetv2_n_coco.yml."""
    import transformers as hf

    backbone = hf.HGNetV2Config(
        stem_channels=[3, 16, 16],
        stage_in_channels=[16, 64, 256, 512],
        stage_mid_channels=[16, 32, 64, 128],
        stage_out_channels=[64, 256, 512, 1024],
        stage_num_blocks=[1, 1, 2, 1],
        stage_downsample=[False, True, True, True],
        stage_light_block=[False, False, True, True],
        stage_kernel_size=[3, 3, 5, 5],
        stage_numb_of_layers=[3, 3, 3, 3],
        embedding_size=16,
        hidden_sizes=[64, 256, 512, 1024],
        depths=[1, 1, 2, 1],
        use_learnable_affine_block=True,
        out_features=["stage3", "stage4"],
    )
    config = hf.DFineConfig(
        backbone_config=backbone,
        encoder_in_channels=[512, 1024],
        encoder_hidden_dim=128,
        d_model=128,
        feat_strides=[16, 32],
        num_feature_levels=2,
        encode_proj_layers=[1],
        encoder_ffn_dim=512,
        decoder_ffn_dim=512,
        hidden_expansion=0.34,
        depth_mult=0.5,
        decoder_in_channels=[128, 128],
        decoder_layers=3,
        decoder_n_points=[6, 6],
        num_denoising=0,
        num_labels=80,
    )
    return hf.DFineForObjectDetection(config), hf.RTDetrImageProcessor()


def vit_s() -> tuple[Any, Any]:
    import transformers as hf

    config = hf.ViTConfig(hidden_size=384, num_attention_heads=6, intermediate_size=1536, num_labels=1000)
    return hf.ViTForImageClassification(config), hf.ViTImageProcessor()


def save(folder: Path, made: tuple[Any, Any]) -> None:
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in made[0].named_parameters():  # as it is initialised, all scores are alike
            if value.dim() > 1:
                value.normal_(0, 1.4 / value[0].numel() ** 0.5)
            elif not name.endswith("weight") and value.dim():
                value.normal_(0, 0.3)
    for each in made:
        each.save_pretrained(folder)


def pipeline(task: str, model: str, photos: str, batch: int, count: int) -> None:
    """In a process of its own; prints the rate and what it found on the first 64 photos."""
    import torch
    import transformers as hf

    torch.set_num_threads(CORES)
    files = [str(file) for file in sorted(Path(photos).iterdir())][:count]
    run = hf.pipeline(PIPELINES[task], model=model, device="cpu")
    options = {"threshold": 0.01} if task == "objects" else {"top_k": 5}
    list(run(files[:batch], batch_size=batch, **options))
    begun = time.perf_counter()
    found = list(run(files, batch_size=batch, **options))
    took = time.perf_counter() - begun
    print(json.dumps({"rate": len(files) / took, "found": found[:64]}))


def muster(task: str, model: str, photos: Path, workers: int) -> tuple[float, list[list[dict[str, Any]]]]:
    command = [sys.executable, "-m", "muster"]
    with tempfile.TemporaryDirectory() as folder:
        library = ["-l", folder + "/l"]
        answer([*command, "scan", str(photos), *library, "--json"])
        options = (
            ["--min-score", "0.01"] if task == "objects" else ["--set", "labels.min_score=0", "--set", "labels.most=5"]
        )
        options += ["--device", "cpu", "--workers", str(workers), "--json"]
        facts = answer([*command, "run", *library, "--tasks", task, "--model", f"{task}=hf:{model}", *options])
        import muster as face

        rows = face.open(folder + "/l").table(task).to_pylist()
        names = face.open(folder + "/l").table("manifest").to_pylist()
    of = {row["image_id"]: [] for row in names}  # type: dict[str, list[dict[str, Any]]]
    for row in rows:
        of[row["image_id"]].append(row)
    by_name = {row["uri"]: of[row["image_id"]] for row in names}
    return facts["images_per_second"], [by_name[uri] for uri in sorted(by_name)][:64]


def agreement(
    ours: list[list[dict[str, Any]]], theirs: list[list[dict[str, Any]]], shapes: list[tuple[int, int]]
) -> float:
    """The share of finds that both have, of the surer half."""
    scores = sorted(each["score"] for found in theirs for each in found)
    least = scores[len(scores) // 2]
    same = wanted = 0
    for mine, other, (width, height) in zip(ours, theirs, shapes, strict=True):
        for one in (each for each in other if each["score"] > least):
            wanted += 1
            same += any(_alike(one, each, width, height) for each in mine)
    return same / wanted


def _alike(theirs: dict[str, Any], ours: dict[str, Any], width: int, height: int) -> bool:
    if theirs["label"] != ours["label"] or abs(theirs["score"] - ours["score"]) > 1e-4:
        return False
    if "box" not in theirs:
        return True
    sides = (width, height, width, height)
    box = [
        min(max(theirs["box"][name], 0), side)
        for name, side in zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True)
    ]
    return all(abs(a - b) <= 1.001 for a, b in zip(box, ours["box_xyxy"], strict=True))


def answer(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def by_pipeline(task: str, model: str, photos: Path, batch: int, count: int) -> dict[str, Any]:
    return answer([sys.executable, __file__, "--pipeline", task, model, str(photos), str(batch), str(count)])


def compared(
    task: str, model: str, photos: Path, shapes: list[tuple[int, int]], rounds: int, workers: int
) -> dict[str, Any]:
    tried = {}
    for batch in BATCHES:
        try:
            tried[batch] = by_pipeline(task, model, photos, batch, TRIED)["rate"]
        except RuntimeError as error:
            print(f"{task}: the pipeline fails with batches of {batch}: {str(error).splitlines()[-1]}", file=sys.stderr)
    best = max(tried, key=lambda batch: tried[batch])
    ours, theirs = [], []
    for _ in range(rounds):
        rate, mine = muster(task, model, photos, workers)
        other = by_pipeline(task, model, photos, best, len(shapes))
        ours.append(rate)
        theirs.append(other["rate"])
        print(f"{task}: muster {rate:.2f}/s, pipeline {other['rate']:.2f}/s", file=sys.stderr)
    return {
        "muster": round(statistics.median(ours), 2),
        "pipeline": round(statistics.median(theirs), 2),
        "batch": best,
        "ratio": round(statistics.median(ours) / statistics.median(theirs), 3),
        "agree": round(agreement(mine, other["found"], shapes[:64]), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=CORES)
    options = parser.parse_args()
    table = pq.read_table(DATA / "coco_photos" / "photos.parquet", columns=["image", "width", "height"])
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        photos.mkdir()
        rows = table.slice(0, options.photos).to_pylist()
        for number, row in enumerate(rows):
            (photos / f"{number:05}.jpg").write_bytes(row["image"])
        shapes = [(row["width"], row["height"]) for row in rows]
        found = {}
        for task, made in (("objects", d_fine_n), ("labels", vit_s)):
            save(Path(folder, made.__name__), made())
            found[made.__name__] = compared(
                task, f"{folder}/{made.__name__}", photos, shapes, options.rounds, options.workers
            )
    facts = {"photos": len(rows), "workers": options.workers, "ratio_to_pipeline": found["d_fine_n"]["ratio"], **found}
    print(json.dumps(facts))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--pipeline"]:
        pipeline(*sys.argv[2:5], int(sys.argv[5]), int(sys.argv[6]))
    else:
        main()
