import pytest

from muster.errors import InputError
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig


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
        ([], "known: answers, captions, faces, features, labels, masks, objects, previews"),
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
