"""training/recipes/vqa.py: pictures of a coloured half, and what is asked of them."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from helpers.trainings import check_it_goes_on
from muster.errors import InputError
from muster.pipeline.work.training import Training
from muster.pipeline.work.weights import parse
from muster.storage import downloads
from muster.tasks.models.answerer import SIDE, WORDS, Answerer, from_state, state_of
from muster.tasks.models.encoders import pieces
from muster.training.data.questions import read_questions
from muster.training.inputs import Inputs
from muster.training.loop import Recipe, half, train
from muster.training.recipes.vqa import VqaRecipe

CPU = torch.device("cpu")
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 40, 230)}
QUESTIONS = ["which colour is it?", "is it red?", "is it not red?"]


def picture(colour: str, seed: int) -> bytes:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 40, (20, 24, 3))
    pixels[:, random.integers(10) :][:, :14] += np.array(COLOURS[colour]) * 4 // 5
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def answers(colour: str) -> list[str]:
    return [colour, *(["yes", "no"] if colour == "red" else ["no", "yes"])]


@pytest.fixture
def table(tmp_path: Path) -> str:
    """60 pictures; one is none, one has no questions, one an answer too few; the last third is for tests."""
    colours = [[*COLOURS][n % 3] for n in range(60)]
    data = [picture(colour, n) for n, colour in enumerate(colours)]
    asked: list[Any] = [QUESTIONS] * 60
    said: list[Any] = [answers(colour) for colour in colours]
    data[1], asked[2], said[3] = b"no picture", None, ["red"]
    split = ["train"] * 40 + ["test"] * 20
    rows = pa.table({"image": data, "questions": asked, "answers": said, "split": split})
    pq.write_table(rows, tmp_path / "asked.parquet")
    return str(tmp_path / "asked.parquet")


def recipe(tmp_path: Path, table: str, name: str = "vqa", left_out: Sequence[str] = (), **more: Any) -> Recipe:
    told: Callable[[str], None] = left_out.append if isinstance(left_out, list) else lambda text: None
    inputs = Inputs(images=[table], out=tmp_path / "out", steps=60, **more)
    return Training(recipe=name, inputs=inputs).build(told)


def test_it_looks(table: str, tmp_path: Path) -> None:
    """Better than by the question alone, or the picture alone."""
    left_out: list[str] = []
    made = recipe(tmp_path, table, left_out=left_out)
    assert [text.partition(": ")[0] for text in left_out] == [f"asked.parquet, row {n}" for n in (1, 2, 3)]
    assert isinstance(made, VqaRecipe)
    assert made.asked.answers == ["blue", "green", "no", "red", "yes"]
    assert (len(made.of_picture), len(made.measured), len(made.asked.texts)) == (37, 20, 3)
    measured = {}
    for name in ("vqa", "vqa-question", "vqa-picture"):
        train(recipe(tmp_path, table, name), tmp_path / name, CPU, lambda report: None)
        measured[name] = json.loads((tmp_path / name / "card.json").read_text())["measured"]["accuracy"]
    assert measured["vqa"] >= 0.95
    assert max(measured["vqa-question"], measured["vqa-picture"]) <= 0.75
    kept = from_state(parse(downloads.read(tmp_path / "vqa/vqa.safetensors"))).eval()
    assert kept.answers == tuple(made.asked.answers)
    shown = made._shown(made.measured[:6])
    with torch.inference_mode():
        said = kept(shown["pictures"], shown["questions"], shown["of"]).argmax(1)
    assert float((said == shown["answers"]).double().mean()) >= 0.9


def test_a_training_that_goes_on_ends_as_one_that_was_not_stopped(table: str, tmp_path: Path) -> None:
    def made() -> Recipe:
        found = recipe(tmp_path, table)
        found.settings = replace(found.settings, steps=10)
        return found

    check_it_goes_on(made, tmp_path, at=5)


def test_two_processes_share_a_batch(table: str, tmp_path: Path) -> None:
    made = recipe(tmp_path, table)
    whole, parts = made.batch(3, 0, 1), [made.batch(3, rank, 2) for rank in (0, 1)]
    assert sorted(whole["names"]) == sorted(parts[0]["names"] + parts[1]["names"])
    assert len(whole["answers"]) == sum(len(part["answers"]) for part in parts)


def test_what_is_no_table_of_questions(tmp_path: Path, table: str) -> None:
    pq.write_table(pa.table({"image": [b"x"]}), tmp_path / "none.parquet")
    with pytest.raises(InputError, match="has no column questions and no answers"):
        recipe(tmp_path, str(tmp_path / "none.parquet"))
    pq.write_table(pa.table({"image": [b"x"], "questions": [["a?"]], "answers": [["b"]]}), tmp_path / "bad.parquet")
    with pytest.raises(InputError, match=r"no question of .*bad.parquet can be read"):
        recipe(tmp_path, str(tmp_path / "bad.parquet"))
    same = pa.table({"image": [picture("red", n) for n in range(4)], "questions": [["a?"]] * 4, "answers": [["b"]] * 4})
    pq.write_table(same, tmp_path / "same.parquet")
    with pytest.raises(InputError, match="fewer than two answers"):
        recipe(tmp_path, str(tmp_path / "same.parquet"))
    with pytest.raises(InputError, match="`label` kind"):
        recipe(tmp_path, table, label="kind")


def test_a_picture_in_several_rows_is_one(tmp_path: Path) -> None:
    """Either all that is asked of it is learnt from, or nothing."""
    shown = [picture([*COLOURS][n % 3], n) for n in range(12)]
    rows = {"image": shown * 3, "questions": [[q] for q in QUESTIONS for _ in shown]}
    rows["answers"] = [[answers([*COLOURS][n % 3])[q]] for q in range(3) for n in range(12)]
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")
    asked = read_questions([str(tmp_path / "rows.parquet")], SIDE, WORDS, print)
    assert (len(asked.pictures), len(asked.rows)) == (12, 36)
    assert all(len(set(asked.kept_out[asked.rows[:, 0] == n])) == 1 for n in range(12))


@pytest.mark.parametrize("sees", ["both", "question", "picture"])
def test_an_answerer_is_the_same_when_it_was_kept(sees: str) -> None:
    torch.manual_seed(0)
    network = Answerer(["ja", "nein", "été"], sees).eval()
    again = from_state(half(state_of(network))).eval()
    pictures = torch.rand(2, 3, SIDE, SIDE) * 2 - 1
    questions = torch.from_numpy(np.stack([pieces(text, WORDS) for text in ("is it?", "or", "")]))
    with torch.inference_mode():
        found, wanted = (each(pictures, questions, torch.tensor([0, 0, 1])) for each in (again, network))
    assert (again.answers, again.sees, found.shape) == (network.answers, sees, (3, 3))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.02)
