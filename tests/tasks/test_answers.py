"""tasks/answers.py: questions as they are given, the contract of a task, and its rows."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import muster as api
from helpers.fixtures import Outcome
from helpers.published_words import ANSWERS, save
from muster.errors import TaskError
from muster.pipeline.work.choice import TaskChoice
from muster.tasks import registry
from muster.tasks.answers import MOST, Answers, questions_of
from muster.tasks.base import Image, Option
from muster.tasks.models import zoo
from muster.testing import check_task

pytest.importorskip("transformers")

Muster = Callable[..., Outcome]
ASKED = ["what colour is the car?", "how many dogs"]


class Asked(Answers):
    """With questions, so that it can be made without options."""

    options: Mapping[str, Option] = {
        **Answers.options,
        "questions": Option(questions_of, "As Answers.", ASKED),
        "max_tokens": Option(Answers.options["max_tokens"].parse, "As Answers.", 4),
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"hf:{save('blip_vqa', tmp_path_factory.mktemp('vqa'))}"


def test_the_contract(model: str) -> None:
    entry = zoo.ENTRIES[registry.create("answers", model, {"questions": ASKED}).models["writer"]]
    assert entry.load is not None
    check_task(Asked, model=model, options={"questions": "who is it?"}, weights={entry.name: entry.load()})


def test_a_row_for_each_photo_and_question(tmp_path: Path) -> None:
    folder = save("vilt", tmp_path / "vilt")
    task = TaskChoice(name="answers", model=f"hf:{folder}", options={"questions": ASKED}).load(
        torch.device("cpu"), None
    )
    random = np.random.default_rng(0)
    photos = [Image(name, random.integers(0, 255, (70, 90, 3), np.uint8), 1.0, (90, 70)) for name in "ab"]
    rows = task(photos).to_pylist()
    assert [(row["image_id"], row["question"]) for row in rows] == [(name, q) for name in "ab" for q in ASKED]
    assert all(row["answer"] in ANSWERS.values() and 0 <= row["score"] <= 1 for row in rows)


@pytest.mark.usefixtures("ray_cluster")
def test_a_library_of_answers(muster: Muster, tmp_path: Path, make_photos: Callable[..., Path]) -> None:
    """Asked, asked something else, gone on with, without those who were taken out; read, exported and searched."""
    photos, library, folder = (
        make_photos(tmp_path / "photos", range(3)),
        tmp_path / "L",
        save("vilt", tmp_path / "vilt"),
    )
    assert muster("scan", photos, "-l", library).code == 0
    run = ("run", "-l", library, "--tasks", "answers", "--workers", "1", "--json")
    first = muster(*run, "--model", f"answers=hf:{folder}", "--set", "answers.questions=who is it?|how many dogs?")
    assert first.code == 0, first.err
    assert first.facts["rows"] == {"answers": 6}
    other = muster(*run, "--set", "answers.questions=من هذا؟")
    assert (other.code, other.facts["rows"], other.facts["processed"]) == (0, {"answers": 3}, 3)
    again = muster(*run, "--set", "answers.questions=who is it? | how many dogs?")
    assert (again.facts["rows"], again.facts["processed"]) == ({"answers": 6}, 0)
    asked = api.task("answers", model=f"hf:{folder}", questions="من هذا؟").choice.fingerprint
    rows = api.open(library).table("answers", model=asked)
    assert set(rows["question"].to_pylist()) == {"من هذا؟"}
    assert muster("forget", photos / "0000.jpg", "-l", library).code == 0
    left = [table["rows"] for table in api.open(library).status()["tables"] if table["task"] == "answers"]
    assert sorted(left) == [2, 4]
    assert muster("search", "0001.jpg", "-l", library).code == 0
    assert muster("errors", "-l", library).out == "0 images with errors\n"
    export = muster("export", "--format", "csv", "--tasks", "answers", "--out", tmp_path / "x.csv", "-l", library)
    assert export.code == 2
    assert "choose among" in export.err


def test_what_is_lacking_is_said(model: str) -> None:
    with pytest.raises(TaskError, match="'answers' has no model of its own: name a published one, `model` answers=hf:"):
        TaskChoice(name="answers", options={"questions": ASKED})
    with pytest.raises(TaskError, match="'answers' needs `questions`"):
        TaskChoice(name="answers", model=model)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("what colour?", ["what colour?"]),
        (" what colour? | how many? |what colour?", ["what colour?", "how many?"]),
        (["who|what?", "من هذا؟"], ["who|what?", "من هذا؟"]),
        (("이 사진에 몇 명이 있나요?",), ["이 사진에 몇 명이 있나요?"]),
    ],
)
def test_questions(asked: object, found: list[str]) -> None:
    assert questions_of(asked) == found
    assert questions_of(found) == found


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=MOST))
def test_questions_from_python_may_hold_anything(asked: list[str]) -> None:
    assert questions_of(asked) == list(dict.fromkeys(text.strip() for text in asked))


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("", "give a text that is not empty"),
        ("who?||what?", "give a text that is not empty"),
        ([], "give 1 to 20 questions, not 0"),
        ([f"{i}?" for i in range(21)], "give 1 to 20 questions, not 21"),
        ("a" * 10_000, "give a text of at most 1000 letters; this has 10000"),
        (7, "give a question, or several with | between them"),
        ([None], "give a text that is not empty"),
    ],
)
def test_questions_that_cannot_be(asked: object, text: str) -> None:
    with pytest.raises(TaskError, match=text.replace("|", r"\|")):
        registry.parsed(Answers, {"questions": asked})
