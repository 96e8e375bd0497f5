"""Siamese networks: signatures, voices and questions by each loss; words and volumes by the same encoders.

    python benchmarks/siamese.py --trained DIR [--data DIR] [--curves FILE.png]

DIR has a folder for each recipe that was trained (`muster train NAME … --out DIR/NAME`); those that are not there are
left out. `speech` is trained on `DIR/speech.parquet`, which the first call writes: spoken digits, of which a column
`split` says what is learnt: the official split's, of speakers whom the hash of their name does not keep out.

- signatures, voice: `others`, `forged`: as `muster evaluate pairs`, of people kept out of training.
- questions: the same of the pairs kept out; `words` beside them: the cosine of bags of words, weighted by how rare they
  are in the pairs learnt from (Salton, Buckley, Information Processing & Management 24, 1988).
- speech: the share of digits that is right, of speakers it knows and of others, and how many.
- volumes: area under ROC of those kept out; `volume`: by the number of voxels alone.

- curves: equal error rates over the steps of these trainings, a panel for each kind of claims.

The last line is one JSON object.
"""

import argparse
import json
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from muster.arrays import F64, Bools
from muster.tasks.metrics import people as metrics
from muster.tasks.models import encoders
from muster.tasks.models.encoders import Verifier
from muster.training import trials
from muster.training.data.examples import PEOPLE_HELD_OUT, held_out
from muster.training.data.items import Pairs
from muster.training.inputs import Inputs
from muster.training.recipes import siamese
from muster.training.recipes.siamese_pairs import PairsRecipe
from muster.training.record import METRICS, read_metrics

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
TABLES = {
    "signatures": ("signatures", "person"),
    "voice": ("voice", "speaker"),
    "questions": ("question_pairs", None),
    "volumes": ("volumes_adrenal", "label"),
}
RESAMPLES = 500
LOSSES = ("margin", "triplet", "hard", "contrastive", "logistic")  # each of a colour


def digits(data: Path, file: Path) -> None:
    """Write the table of spoken digits."""
    table = pq.read_table(data / "lectures/voice.parquet")
    table = table.filter(pc.equal(table["source"], "fsdd"))
    pairs = zip(table["speaker"].to_pylist(), table["official_split"].to_pylist(), strict=True)
    split = ["unknown" if held_out(speaker, PEOPLE_HELD_OUT) else said for speaker, said in pairs]
    pq.write_table(table.append_column("split", pa.array(split)), file)


def trained(name: str, folder: Path, source: str, label: str | None) -> tuple[Any, Verifier, dict[str, Any]]:
    """The recipe with its items read, the network, and what its card says of the training."""
    design, card = siamese.DESIGNS[name], json.loads((folder / name / "card.json").read_text())
    recipe = siamese.build(Inputs(images=[source], out=folder / name, label=label), design)
    network = encoders.from_state(load_file(folder / name / f"{name}.safetensors"), design.plan).eval()
    facts = {"steps": card["settings"]["steps"], "seconds": card["seconds"], "parameters": card["parameters"]}
    return recipe, network, facts


def compared(name: str, folder: Path, source: str, label: str | None) -> dict[str, Any]:
    recipe, network, facts = trained(name, folder, source, label)
    return facts | {kind: trials.summary(some) for kind, some in recipe.claims(network).items()}


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))


def bags(pairs: Pairs, learnt: Sequence[int], measured: Sequence[int]) -> F64:
    """The cosine of each measured pair."""
    texts = [words(text) for text in pairs.items.facts["text"].to_pylist()]
    seen = {int(row) for row in pairs.rows[learnt].ravel()}
    holds = Counter(word for row in seen for word in texts[row])
    rare = {word: np.log(len(seen) / (1 + holds[word])) for text in texts for word in text}
    vectors = [{word: count * rare[word] for word, count in text.items()} for text in texts]
    sizes = [max(1e-9, np.sqrt(sum(value * value for value in vector.values()))) for vector in vectors]
    return np.array(
        [
            sum(value * vectors[other].get(word, 0) for word, value in vectors[one].items()) / sizes[one] / sizes[other]
            for one, other in pairs.rows[measured].tolist()
        ]
    )


def questions(folder: Path, source: str, names: Sequence[str]) -> dict[str, Any]:
    """By each loss, and by words alone."""
    recipe = siamese.build(Inputs(images=[source], out=folder), siamese.QUESTIONS)
    assert isinstance(recipe, PairsRecipe)
    said = [str(recipe.pairs.said("source")[row]) for row in recipe.measured]
    alone = trials.of_sources(
        bags(recipe.pairs, recipe.learnt, recipe.measured), recipe.pairs.same[recipe.measured], said
    )
    found = {"words": {kind: trials.summary(some) for kind, some in alone.items()}}
    return found | {name: compared(name, folder, source, None) for name in names}


def speech(folder: Path) -> dict[str, Any]:
    recipe, network, facts = trained("speech", folder, str(folder / "speech.parquet"), "text")
    logits = recipe.logits(network, recipe.measured)
    truth = torch.tensor([recipe.people.index(recipe.labels[row]) for row in recipe.measured])
    right = (logits.argmax(1) == truth).numpy()
    unknown = np.array([recipe.items.said("split")[row] == "unknown" for row in recipe.measured])
    groups = {"known": right[~unknown], "unknown": right[unknown]}
    return facts | {f"{name}_speakers": _share(values) for name, values in groups.items()}


def _share(right: Bools) -> dict[str, Any]:
    return {"accuracy": round(float(right.mean()), 4), "digits": len(right)}


def volumes(folder: Path, source: str) -> dict[str, Any]:
    recipe, network, facts = trained("volumes", folder, source, "label")
    logits = recipe.logits(network, recipe.measured)
    sick = np.array([recipe.labels[row] == "1" for row in recipe.measured])
    scores = {
        "network": (logits[:, 1] - logits[:, 0]).numpy(),
        "volume": recipe.items.values[recipe.measured].float().mean((1, 2, 3)).numpy(),
    }
    return facts | {name: _area(score, sick) for name, score in scores.items()} | {"items": len(sick)}


def _area(scores: F64, sick: Bools) -> dict[str, Any]:
    random, rows = np.random.default_rng(0), np.arange(len(sick))
    drawn = [random.choice(rows, len(rows)) for _ in range(RESAMPLES)]
    values = [metrics.area_under_roc(scores[some], sick[some]) for some in drawn if 0 < sick[some].sum() < len(some)]
    return {
        "auc": round(metrics.area_under_roc(scores, sick), 4),
        "interval": [round(float(bound), 4) for bound in np.quantile(values, [0.025, 0.975])],
    }


def curves(folder: Path, names: Sequence[str]) -> Figure:
    """Error rates as trainings noted them, and that of their end."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(dict)
    for name in names:
        card = json.loads((folder / name / "card.json").read_text())
        last = {"step": card["settings"]["steps"], **card["measured"]}
        for line in [*read_metrics(folder / name / METRICS), last]:
            for figure, value in line.items():
                if figure.startswith("eer_"):
                    panel = f"{name.split('-')[0]}, {figure.removeprefix('eer_')}"
                    found[panel].setdefault(card["loss"], []).append((line["step"], 100 * value))
    drawn = Figure(figsize=(3.2 * len(found), 3), layout="constrained")
    for axes, (panel, lines) in zip(drawn.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        for loss, points in lines.items():
            axes.plot(*zip(*points, strict=True), f"C{LOSSES.index(loss)}", linewidth=1, marker=".", label=loss)
        axes.set(title=panel, xlabel="step", ylabel="EER, %", ylim=(0, None))
        axes.legend(fontsize=7)
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trained", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--curves", type=Path)
    given = parser.parse_args()
    folder, found = given.trained, {}
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "speech.parquet").exists():
        digits(given.data, folder / "speech.parquet")
    there = [name for name in siamese.DESIGNS if (folder / name / f"{name}.safetensors").exists()]
    if given.curves is not None:
        curves(folder, [name for name in there if "eer_" in (folder / name / "card.json").read_text()]).savefig(
            given.curves, dpi=80
        )
    for kind in ("signatures", "voice", "questions", "speech", "volumes"):
        names = [name for name in there if name.split("-")[0] == kind]
        table, label = TABLES.get(kind, ("", None))
        source = str(given.data / f"lectures/{table}.parquet")
        if kind == "questions":
            found[kind] = questions(folder, source, names)
        elif kind in ("speech", "volumes") and names:
            found[kind] = speech(folder) if kind == "speech" else volumes(folder, source)
        elif names:
            found[kind] = {name: compared(name, folder, source, label) for name in names}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
