from pathlib import Path

import pytest

from muster.errors import InputError, TaskError
from muster.pipeline.cli.parse import parse_k, parse_models, parse_sources, parse_tasks, parse_weights


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


def test_parse_tasks_among_those_known() -> None:
    assert parse_tasks("masks, objects", ("objects", "masks")) == ("masks", "objects")
    for text in ("", "scenes", "objects,x"):
        with pytest.raises(InputError, match=rf"--tasks {text}: choose among objects, masks"):
            parse_tasks(text, ("objects", "masks"))


def test_parse_sources() -> None:
    assert parse_sources(["masks=sinet"], ("masks",)) == {"masks": "sinet"}
    for text in ("sinet", "masks=", "objects=fcos"):
        with pytest.raises(InputError, match=rf"--model {text}: write TASK=NAME, with a TASK of --tasks masks"):
            parse_sources([text], ("masks",))


def test_parse_k() -> None:
    assert parse_k("auto") is None
    assert parse_k("12") == 12
    for text in ("0", "-1", "1.5", "", "many", "²"):
        with pytest.raises(InputError, match="--k"):
            parse_k(text)
