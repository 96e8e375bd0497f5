from pathlib import Path

import pytest

from muster.errors import InputError
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig, parse_models, parse_tasks, parse_weights
from muster.tasks.base import TaskError


def test_defaults() -> None:
    config = RunConfig(library="L")
    assert [choice.name for choice in config.choices] == ["faces", "previews"]
    assert (config.machine.device, config.retry_errors) == ("auto", False)


def test_a_task_that_was_not_chosen_is_the_usual_one() -> None:
    mine = TaskChoice(name="faces", model="published")
    config = RunConfig(library="L", choices=(mine,))
    assert config.choice("faces") is mine
    assert config.choice("objects") == TaskChoice(name="objects")


@pytest.mark.parametrize(
    ("choices", "part"),
    [
        ([], "known: faces, masks, objects, previews"),
        ([("faces", None), ("faces", "published")], "task faces is chosen 2 times"),
        (
            [("objects", "own")],
            "train it with `muster train objects .*`, then name its file with --weights objects=DIR/objects.safe",
        ),
        ([("masks", "sam")], r"sam_vit_b_01ec64\.pth, then name it with --weights masks="),
    ],
)
def test_choices_that_cannot_be(choices: list[tuple[str, str | None]], part: str) -> None:
    with pytest.raises(InputError, match=part):
        RunConfig(library="L", choices=tuple(TaskChoice(name=name, model=model) for name, model in choices))


def test_parse_tasks() -> None:
    assert parse_tasks(" faces, previews ,faces,") == ("faces", "previews")
    assert parse_tasks("") == ()


def test_parse_models() -> None:
    assert parse_models([]) == {}
    assert parse_models(["faces=published"]) == {"faces": "published"}
    for option in ("faces", "faces=", "smiles=published"):
        with pytest.raises(InputError, match=f"--model {option}"):
            parse_models([option])
    with pytest.raises(TaskError, match="'none'; known: own, published"):
        parse_models(["faces=none"])


def test_parse_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As workers, which have another working directory, find them."""
    monkeypatch.chdir(tmp_path)
    assert parse_weights([]) == {}
    assert parse_weights(["objects=a/mine.pth", "masks=/x=y.pth"]) == {
        "objects": tmp_path / "a/mine.pth",
        "masks": Path("/x=y.pth"),
    }
    for option in ("objects", "objects=", "smiles=x.pth"):
        with pytest.raises(InputError, match=f"--weights {option}"):
            parse_weights([option])
