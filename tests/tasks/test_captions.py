"""tasks/captions.py: options, the contract of a task, and text as a table holds it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.published_words import save
from muster.errors import InputError, TaskError
from muster.pipeline.work.choice import TaskChoice
from muster.tasks import registry
from muster.tasks.base import Image
from muster.tasks.captions import LONGEST, Captions, table_of, text_of
from muster.tasks.models import zoo
from muster.testing import check_task

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"hf:{save('blip', tmp_path_factory.mktemp('blip'))}"


def test_the_contract(model: str) -> None:
    entry = zoo.ENTRIES[registry.create("captions", model).models["writer"]]
    assert entry.load is not None
    check_task(Captions, model=model, options={"max_tokens": 5}, weights={entry.name: entry.load()})
    check_task(Captions, model=model, options={"prompt": "a photo of"}, weights={entry.name: entry.load()})


def test_without_a_model_it_says_to_name_one() -> None:
    with pytest.raises(
        TaskError, match="'captions' has no model of its own: name a published one, `model` captions=hf:"
    ):
        TaskChoice(name="captions")
    with pytest.raises(TaskError, match="task 'captions' has no model 'blip'; known: none"):
        TaskChoice(name="captions", model="blip")


def test_what_changes_rows_changes_the_fingerprint_and_nothing_else(model: str) -> None:
    made = [
        TaskChoice(name="captions", model=model, options=options).fingerprint
        for options in ({}, {"max_tokens": "40"}, {"max_tokens": 41}, {"prompt": "a"}, {"prompt": " a "})
    ]
    assert made[0] == made[1]
    assert made[3] == made[4]
    assert len(set(made)) == 3


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_tokens": 0}, "captions.max_tokens=0: give a number from 1 to 1000"),
        ({"prompt": "  "}, "captions.prompt=  : give a text that is not empty"),
        ({"prompt": 7}, "captions.prompt=7: give a text that is not empty"),
        ({"prompt": "a" * (LONGEST + 1)}, "give a text of at most 1000 letters; this has 1001"),
        ({"prompt": "\ud83d"}, "give a text that is Unicode"),
        ({"promt": "a"}, "has no option 'promt'; the nearest it has: prompt"),
    ],
)
def test_options_that_cannot_be(model: str, options: dict[str, object], text: str) -> None:
    with pytest.raises(TaskError, match=text):
        TaskChoice(name="captions", model=model, options=options)


@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_every_text_can_be_stored_and_only_halves_of_characters_change(text: str) -> None:
    [row] = table_of([{"image_id": "a", "caption": text, "score": 0.5}], Captions.schema).to_pylist()
    assert row["caption"] == "".join("?" if "\ud800" <= letter <= "\udfff" else letter for letter in text)


@given(st.text(min_size=1, max_size=LONGEST))
def test_a_prompt_may_be_of_any_script(text: str) -> None:
    if text.strip():
        assert text_of(text) == text.strip()


def test_half_a_character_that_a_model_writes_ends_no_run(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TaskChoice(name="captions", model=model).load(torch.device("cpu"), None)
    assert isinstance(task, Captions)
    monkeypatch.setattr(task.writer, "caption", lambda *_: ("a \ud83d\n\x1b[31m cat", 0.5))
    rows = task([Image("a", np.zeros((8, 8, 3), np.uint8), 1.0, (8, 8))])
    assert rows["caption"].to_pylist() == ["a ?\n\x1b[31m cat"]
    rows.validate(full=True)


def test_a_model_without_its_words(tmp_path: Path) -> None:
    folder = save("blip", tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(TaskError, match="it has no words: take its tokenizer too"):
        TaskChoice(name="captions", model=f"hf:{folder}")
    folder = save("vit_gpt2", tmp_path / "pair")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="lacks its processor, or has a damaged one"):
        TaskChoice(name="captions", model=f"hf:{folder}")


def test_a_model_for_another_task(tmp_path: Path) -> None:
    from helpers import published

    folder = published.save("detr", tmp_path / "model")
    with pytest.raises(
        TaskError, match="it is DetrForObjectDetection, and none of the networks that do captions; it does"
    ):
        TaskChoice(name="captions", model=f"hf:{folder}")
