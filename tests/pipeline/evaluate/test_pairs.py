import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
from matplotlib.colors import to_rgb
from PIL import Image
from typer.testing import CliRunner

from muster.errors import InputError
from muster.pipeline.cli.main import app
from muster.pipeline.evaluate import pairs
from muster.tasks.models.encoders import Plan, Verifier
from muster.training.recipes import siamese

PLAN = Plan("volume", (8, 8, 8), (4, 6), (2, 2, 2), dimensions=8)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An untrained network of cubes, in a file of the name of its recipe."""
    cubes = replace(siamese.SIGNATURES, name="cubes", plan=PLAN, enrolled=2)
    words = replace(siamese.QUESTIONS, name="words", plan=Plan("text", (6,), (8,), (1,), dimensions=8, buckets=64))
    monkeypatch.setattr(siamese, "DESIGNS", MappingProxyType({"cubes": cubes, "words": words}))
    for name, design in siamese.DESIGNS.items():
        safetensors.torch.save_file(Verifier(design.plan).state_dict(), tmp_path / f"{name}.safetensors")
    return tmp_path / "cubes.safetensors"


def table(path: Path, **columns: list) -> str:
    """Eight people of ten cubes each, as full as the person's number says; the last two of each are forged."""
    random = np.random.default_rng(0)
    made = [(random.random((8, 8, 8)) < (1 + i // 10) / 10).astype(np.uint8) * 255 for i in range(80)]
    known = {
        "volume": [cube.tobytes() for cube in made],
        "shape": [[8, 8, 8]] * 80,
        "who": [f"p{i // 10}" for i in range(80)],
        "genuine": [i % 10 < 8 for i in range(80)],
    }
    pq.write_table(pa.table(known | columns), path)
    return str(path)


def test_claims_of_a_table(model: Path, tmp_path: Path) -> None:
    file = table(tmp_path / "t.parquet")
    done = CliRunner().invoke(app, ["evaluate", "pairs", str(model), "--images", file, "--label", "who", "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["recipe"], set(facts)) == ("cubes", {"recipe", "others", "forged"})
    others, forged = facts["others"], facts["forged"]
    assert (others["genuine"], others["impostors"], forged["impostors"]) == (32, 7 * 32, 16)
    assert others["eer_interval"][0] <= others["eer"] <= others["eer_interval"][1]
    assert others["det"][0] == [1, 0]
    text = CliRunner().invoke(app, ["evaluate", "pairs", str(model), "--images", file, "--label", "who"]).stdout
    assert f"others: EER {others['eer']} (" in text
    assert "TAR" in text


def test_curves_are_drawn(model: Path, tmp_path: Path) -> None:
    file, curve = table(tmp_path / "t.parquet"), tmp_path / "det.png"
    facts = pairs.evaluate(model, [file], "who", print, curve)
    det = np.array(facts["others"]["det"])
    assert (np.diff(det[:, 0]) <= 0).all()
    assert (np.diff(det[:, 1]) >= 0).all()
    with Image.open(curve) as picture:
        pixels = np.asarray(picture.convert("RGB"), float) / 255
    for colour in ("C0", "C1"):  # of others and of forged; the legend's own lines are 28 pixels long
        assert np.ptp(np.isclose(pixels, to_rgb(colour), atol=0.01).all(2).nonzero()[1]) > 60
    with pytest.raises(InputError, match="no folder"):
        pairs.evaluate(model, [file], "who", print, tmp_path / "nowhere/det.png")


def test_what_was_learnt_from_is_left_out(model: Path, tmp_path: Path) -> None:
    file = table(tmp_path / "t.parquet", split=["train" if i < 40 else "test" for i in range(80)])
    facts = pairs.evaluate(model, [file], "who", print)
    assert facts["others"]["people"] == 4


def test_pairs_of_texts(model: Path, tmp_path: Path) -> None:
    texts = [f"words of {i}" for i in range(60)]
    file = tmp_path / "q.parquet"
    pq.write_table(
        pa.table({"question1": texts, "question2": texts[::-1], "is_duplicate": [i % 2 for i in range(60)]}), file
    )
    facts = pairs.evaluate(model.with_name("words.safetensors"), [str(file)], None, print)
    assert facts["pairs"]["genuine"] == 30
    with pytest.raises(InputError, match="compares pairs of texts, whose columns have fixed names"):
        pairs.evaluate(model.with_name("words.safetensors"), [str(file)], "who", print)


def test_what_does_not_do(model: Path, tmp_path: Path) -> None:
    file = table(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="name the column that says who or what an item is with `label`"):
        pairs.evaluate(model, [file], None, print)
    with pytest.raises(InputError, match=r"`label` person: no such column in .*; known: volume"):
        pairs.evaluate(model, [file], "person", print)
    with pytest.raises(InputError, match="there are too few people of enough items"):
        pairs.evaluate(model, [table(tmp_path / "o.parquet", who=["one"] * 80)], "who", print)
    with pytest.raises(InputError, match=r"smiles.safetensors: no file of a siamese recipe.* cubes, words"):
        pairs.evaluate(model.with_name("smiles.safetensors"), [file], "who", print)
    model.write_bytes(b"no weights")
    with pytest.raises(InputError, match="these are no weights of recipe cubes"):
        pairs.evaluate(model, [file], "who", print)
    model.unlink()
    done = CliRunner().invoke(app, ["evaluate", "pairs", str(model), "--images", file, "--label", "who"])
    assert done.exit_code != 0
