"""Do edits last, and how many does it take? What users say of people, through all that may happen to a library.

    python benchmarks/edits.py [--edits 300] [--seed 0] [--keep FOLDER] [--without lasting|effort]

Lasting (benchmarks/edits_lasting.py): the photos of the five Johns and some of LFW, of whom so many random edits of all
kinds are made, each with a SIGKILL at some operation on files while it is recorded. Then a fifth more photos come; the
other model; `--method kmeans`; their folder has another name; files have other times; and a library is made from
nothing but the ledger. After each it is looked whether what was said holds:

- violated: faces that are not the person that they were said to be, or are one that they are not; people who were said
  to be one and are two; over all of these looks.
- lost: edits that are not in the ledger any more; names, dates of birth, covers, hidden people, favourites and missed
  faces that are not shown as they were said; people who had faces and have none, though nothing was said of these.
- undo_identical: with all edits taken back, who is who as in a library that went through the same without any, before
  and after it is clustered again.
- kills: processes that were killed while they wrote.

Effort (benchmarks/edits_user.py): LFW's people with three photos or more. A user who knows everybody puts them right
until BCubed F is .999, in edits, each a file of the ledger: through the pages, the largest person first, and with
suggestions, of which so many as a page shows (12) are answered together, as one edit, until they promise too little.
`one_question_an_edit`: the same where each question is an edit of its own. `questions`: how many were answered.
`edits_to_999` are of the default model, those of the published one beside them.

Progress goes to stderr. The last line is one JSON object.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.edits_lasting import lasting
from benchmarks.edits_user import SHEET, WORTH, Desk, by_suggestions, through_the_pages
from muster.arrays import I64, matrix
from muster.pipeline.people.faces import load_faces, read_faces
from muster.pipeline.people.who import readable_images
from muster.storage import clusters, manifest
from muster.storage.library import LibraryFiles, open_library
from muster.storage.people.view import Scene
from muster.tasks.people.suggestions import prepare

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
LEAST = 3  # photos of a person
MODELS = ("own", "published")


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def muster(*arguments: str) -> None:
    command = [sys.executable, "-m", "muster", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}: {done.stderr[-2000:]}")


def processed(library: Path, *models: str) -> None:
    for model in models:
        options = ["--model", f"faces={model}", "--weights-dir", str(DATA / "weights")]
        muster("run", "-l", str(library), "--tasks", "faces", *options)


# ---- effort ----------------------------------------------------------------------------------------------------------


def effort(folder: Path) -> dict[str, Any]:
    table = pq.read_table(DATA / "lfw/lfw.parquet")
    counts = Counter(table["person"].to_pylist())
    several = pa.array([counts[person] >= LEAST for person in table["person"].to_pylist()])
    pq.write_table(table.filter(several), folder / "several.parquet", row_group_size=512)
    library = folder / "several"
    if not library.exists():
        muster("scan", str(folder / "several.parquet"), "-l", str(library))
        processed(library, *MODELS)
        for model in MODELS:
            muster("cluster", "-l", str(library), "--model", f"faces={model}")
    own, published = (_effort_with(folder, open_library(library), model) for model in MODELS)
    return {**own, "published": published}


def _effort_with(folder: Path, library: LibraryFiles, model: str) -> dict[str, Any]:
    def desk(name: str) -> Desk:
        """The same library, with a ledger of its own."""
        copy = folder / f"{model}-{name}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(str(library.uri), copy, copy_function=os.link)
        return Desk(open_library(copy), scene, truth)

    faces = load_faces(library, model)
    found = clusters.read(library, faces.fingerprint)
    boxed = read_faces(library, faces.fingerprint, ["face_id", "image_id", "box_xyxy"])
    scene, truth = Scene(found, boxed, readable_images(library)), truth_of(library, boxed)
    plain, guided, single = (desk(name) for name in ("plain", "guided", "single"))
    through_the_pages(plain)
    say(f"{model}: F {plain.scores[0]:.4f} at first, {plain.edits} edits without suggestions, {plain.scores[-1]:.4f}")
    prepared = prepare(faces.embeddings, guided.labels, faces.photos, faces.strangers)
    facts = by_suggestions(guided, prepared, SHEET, WORTH)
    say(f"{model}: {guided.edits} edits with suggestions, {guided.scores[-1]:.4f}, {facts}")
    by_suggestions(single, prepared, 1, 0.5)
    say(f"{model}: {single.edits} edits, where each question is one")
    return {
        "faces": len(truth),
        "people": len(np.unique(truth[truth >= 0])),
        "f_at_first": round(plain.scores[0], 4),
        "edits_to_999": guided.edits if guided.done else None,
        "edits_to_999_without_suggestions": plain.edits if plain.done else None,
        "one_question_an_edit": single.edits if single.done else None,
        **facts,
    }


def truth_of(library: LibraryFiles, faces: pa.Table) -> I64:
    """(N,): of the face nearest the middle of each photo its person's number; -1 of the others."""
    images = manifest.read_manifest(library)
    person = dict(zip(images["image_id"].to_pylist(), images["person"].to_pylist(), strict=True))
    boxes = matrix(faces["box_xyxy"])
    away = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - 81).sum(1)  # of 162 pixels
    image_ids, nearest = faces["image_id"].to_pylist(), dict[str, int]()
    for row in np.argsort(away, kind="stable").tolist():
        nearest.setdefault(image_ids[row], row)
    names = {name: i for i, name in enumerate(sorted(set(person.values())))}
    truth = np.full(len(boxes), -1)
    for image_id, row in nearest.items():
        truth[row] = names[person[image_id]]
    return truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for libraries, which a later call uses again")
    parser.add_argument("--without", choices=("lasting", "effort"))
    args = parser.parse_args()
    began, result = time.perf_counter(), dict[str, Any]()
    with tempfile.TemporaryDirectory(prefix="muster-") as name:
        folder = args.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        if args.without != "lasting":
            result |= lasting(folder / "lasting", DATA, args.edits, args.seed, say)
        if args.without != "effort":
            result |= effort(folder)
    print(json.dumps({**result, "seconds": round(time.perf_counter() - began)}))


if __name__ == "__main__":
    main()
