"""A camera at the door: who of the signers is recognised in clips of another day, how soon, and in how much memory.

    python benchmarks/watch.py [--minutes 10] [--model own] [--weights-dir DIR] [--data DIR] [--keep FOLDER]

Of each signer of the videos (labels.csv) two frames of one clip are enrolled, the best by the quality of the model, and
200 people of LFW, two photos each, so that `muster calibrate` has people to measure on. An RTSP server in a process of
its own plays the other clips of the signers, and clips of people who are not enrolled, at 25 frames a second, each
forwards and backwards for four seconds, with two of an empty picture between; and `muster watch --away 1`, the command
itself, watches it.

- clips: of each, how often it was played and ended as `right` (the signer was named and nobody else), UNKNOWN, UNSURE,
  `nothing` (no event), or `wrong` (somebody else was named; of a stranger anybody).
- latency_ms: from when the frame came to the camera's thread until its line of an enter event was read from stdout.
- rss_mib: resident memory of the process each half minute, and at the end; `frames`: how many came, and were looked at.
- threshold: as it was measured, and for which share of strangers.

The last line is one JSON object.
"""

import argparse
import csv
import itertools
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import muster
from helpers.rtsp import Rtsp, encoded

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
STRANGERS = ("headpose_woman.mp4", "headpose_man.mp4", "headpose_woman_and_man.mp4", "short_hamilton_clip.mp4")
SIZE, FPS = (640, 480), 25
PLAYED, EMPTY, AWAY = 4.0, 2.0, 1.0  # seconds
LATE = 1.5  # seconds after the end of a clip within which its events come
OTHERS = 200  # people of LFW
GOOD = 0.5  # quality that a frame has to have to be enrolled: below, a desk would ask for another photo


def frames_of(path: Path) -> list[np.ndarray]:
    import av

    with av.open(str(path)) as file:
        pictures = [frame.to_image() for frame in file.decode(video=0)]
    canvas = [Image.new("RGB", SIZE) for _ in pictures]
    for whole, picture in zip(canvas, pictures, strict=True):
        whole.paste(picture, ((SIZE[0] - picture.width) // 2, (SIZE[1] - picture.height) // 2))
    return [np.asarray(each) for each in canvas]


# ---- the gallery -----------------------------------------------------------------------------------------------------


def best_frames(path: Path, find: Any) -> list[tuple[float, np.ndarray]]:
    """Two frames with their quality, at least five apart."""
    frames = frames_of(path)
    found = [(i, find([frame])["quality"].to_pylist()) for i, frame in enumerate(frames) if i % 2 == 0]
    order = sorted(((max(q, default=0.0), i) for i, q in found if len(q) == 1), reverse=True)
    [(quality, first), *rest] = order
    second = next((quality, i) for quality, i in rest if abs(i - first) >= 5)
    return [(quality, frames[first]), (second[0], frames[second[1]])]


def roster(folder: Path, signers: dict[str, list[str]], data: Path, find: Any) -> dict[str, str]:
    """A folder with a folder of photos for each person; which clip of each signer was taken."""
    taken = {}
    for signer, clips in signers.items():
        for clip in clips:
            pictures = best_frames(data / "videos" / clip, find)
            if pictures[1][0] >= GOOD or clip == clips[-1]:
                break
        taken[signer] = clip
        (folder / signer).mkdir(parents=True)
        for number, (_, pixels) in enumerate(pictures):
            Image.fromarray(pixels).save(folder / signer / f"{number}.png")
    rows: dict[str, list[bytes]] = defaultdict(list)
    table = pq.read_table(data / "lfw/lfw.parquet", columns=["person", "image"])
    for person, image in zip(table["person"].to_pylist(), table["image"].to_pylist(), strict=True):
        rows[person].append(image)
    for person in [person for person in sorted(rows) if len(rows[person]) >= 2][:OTHERS]:
        (folder / person).mkdir()
        for number, image in enumerate(rows[person][:2]):
            (folder / person / f"{number}.jpg").write_bytes(image)
    return taken


# ---- the camera ------------------------------------------------------------------------------------------------------


def play(videos: Path, clips: list[str], said: Any) -> None:
    """A process: says its URL, and then when each clip begins and ends, by the clock that events have."""
    pause = encoded([np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)] * FPS, FPS)
    units = {}
    for clip in clips:
        frames = frames_of(videos / clip)
        there_and_back = itertools.cycle([*frames, *frames[-2:0:-1]])
        units[clip] = encoded(list(itertools.islice(there_and_back, int(PLAYED * FPS))), FPS)

    def script(_: int) -> Iterator[bytes]:
        for clip in itertools.cycle(clips):
            for _ in range(int(EMPTY)):
                yield from pause
            began = time.time()
            yield from units[clip]
            said.put((clip, began, time.time()))

    with Rtsp(script, FPS) as server:
        said.put(server.url)
        threading.Event().wait()


# ---- the command -----------------------------------------------------------------------------------------------------


def rss(process: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return round(int(found[1]) / 1024, 1) if found else 0.0


def watched(url: str, library: Path, minutes: float, weights: Path | None) -> dict[str, Any]:
    command = [sys.executable, "-m", "muster", "watch", url, "-l", str(library), "--away", str(AWAY), "--device", "cpu"]
    command += ["--weights-dir", str(weights)] if weights else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    events: list[tuple[float, dict[str, Any]]] = []
    said: list[str] = []
    readers = [
        threading.Thread(target=lambda: events.extend((time.time(), json.loads(line)) for line in process.stdout)),
        threading.Thread(target=lambda: said.extend(process.stderr)),
    ]
    for reader in readers:
        reader.start()
    while not any("watching" in line for line in said) and process.poll() is None:
        time.sleep(0.05)
    end, memory = time.monotonic() + 60 * minutes, []
    while process.poll() is None and time.monotonic() < end:
        time.sleep(min(30.0, max(0.0, end - time.monotonic())))
        memory.append(rss(process.pid))
    process.send_signal(signal.SIGINT)
    process.wait(30)
    for reader in readers:
        reader.join()
    print(*said, sep="", file=sys.stderr)
    came = next((line for line in said if "came" in line), "")
    return {"events": events, "rss_mib": memory, "frames": [int(n) for n in re.findall(r"\d+", came)]}


# ---- the figures -----------------------------------------------------------------------------------------------------


def outcome(events: list[dict[str, Any]], signer: str | None) -> str:
    said = [event["person_id"] for event in events if event["event"] == "enter"]
    named = {*said} - {"UNKNOWN", "UNSURE"}
    if named - {signer}:
        return "wrong"
    return "right" if named else "UNSURE" if "UNSURE" in said else "UNKNOWN" if said else "nothing"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--model", default="own")
    parser.add_argument("--weights-dir", type=Path, default=None)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the gallery, which is made once")
    options = parser.parse_args()
    videos = options.data / "videos"
    signers: dict[str, list[str]] = defaultdict(list)
    with (videos / "labels.csv").open() as file:
        for row in csv.DictReader(file):
            if row["people_visible"].startswith("signer"):
                signers[row["people_visible"]].append(row["file"])
    machine = muster.Machine(device="cpu", weights_dir=options.weights_dir)
    place = nullcontext(str(options.keep)) if options.keep else tempfile.TemporaryDirectory()
    with place as folder:
        people, made = Path(folder) / "people", Path(folder) / "made.json"
        library = muster.open(Path(folder) / "library", create=True)
        if not made.exists():
            find = muster.task("faces", model=options.model, machine=machine)
            taken = roster(people, signers, options.data, find)
            enrolled = library.enroll(  # two of the signers look alike to the published networks, and are accepted
                people, consent_given=True, accept=signers, model=options.model, machine=machine
            )
            facts = {"taken": taken, "enrolled": enrolled.people, "refused": len(enrolled.refused)}
            made.write_text(json.dumps(facts | {"threshold": library.calibrate()["identify"]}))
        facts = json.loads(made.read_text())
        taken = facts["taken"]
        owner = {clip: signer for signer, clips in signers.items() for clip in clips if clip != taken[signer]}
        clips = [*owner, *STRANGERS]
        order = [*clips[::2], *clips[1::2]]
        context = multiprocessing.get_context("spawn")
        said = context.Queue()
        server = context.Process(target=play, args=(videos, order, said), daemon=True)
        server.start()
        try:
            found = watched(said.get(), Path(folder) / "library", options.minutes, options.weights_dir)
        finally:
            server.terminate()
            server.join()
        played = []
        while not said.empty():
            played.append(said.get())
        audit = library.audit_check()
    clips_: dict[str, Counter[str]] = defaultdict(Counter)
    latency = []
    for came, event in found["events"]:
        if event["event"] == "enter":
            latency.append(1000 * (came - datetime.fromisoformat(event["at"]).timestamp()))
    for clip, began, ended in played:
        mine = [
            event
            for _, event in found["events"]
            if began <= datetime.fromisoformat(event["at"]).timestamp() < ended + LATE
        ]
        clips_[clip][outcome(mine, owner.get(clip))] += 1
        print(
            clip, owner.get(clip), [(e["event"], e["person_id"], e.get("agreed")) for e in mine if e["event"] != "back"]
        )
    print(
        json.dumps(
            {
                "model": options.model,
                "minutes": options.minutes,
                **facts,
                "clips": clips_,
                "latency_ms": {
                    name: round(float(np.percentile(latency, share)), 1) if latency else None
                    for name, share in (("p50", 50), ("p95", 95), ("max", 100))
                },
                "events": Counter(event["event"] for _, event in found["events"]),
                "rss_mib": found["rss_mib"],
                "frames": found["frames"],
                "audit": audit,
            }
        )
    )


if __name__ == "__main__":
    main()
