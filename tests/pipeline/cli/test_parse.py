from datetime import date
from pathlib import Path

import pytest

from muster.errors import InputError, TaskError
from muster.pipeline.cli.parse import (
    chosen,
    parse_day,
    parse_k,
    parse_model,
    parse_models,
    parse_pairs,
    parse_settings,
    parse_sources,
    parse_tasks,
    parse_weights,
)


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


def test_parse_model() -> None:
    assert parse_model([], "faces") is None
    assert parse_model(["faces=published"], "faces") == "published"
    with pytest.raises(InputError, match="--model masks=streets: this command is about faces: write faces=NAME"):
        parse_model(["faces=published", "masks=streets"], "faces")


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


def test_parse_settings() -> None:
    assert parse_settings([]) == {}
    given = ["objects.min_score=0.5", "masks.classes=person=0.5,dog", "objects.classes=dog"]
    assert parse_settings(given) == {
        "objects": {"min_score": "0.5", "classes": "dog"},
        "masks": {"classes": "person=0.5,dog"},
    }
    for option in ("objects", "objects.=1", "objects=1", "min_score=0.5", "objects.min_score"):
        with pytest.raises(InputError, match=rf"--set {option}: write TASK.NAME=VALUE"):
            parse_settings([option])
    with pytest.raises(InputError, match=r"--set smiles\.x=1: no task 'smiles'; known: answers, captions, faces"):
        parse_settings(["smiles.x=1"])


def test_an_option_goes_one_way_whichever_way_it_is_given() -> None:
    by_flag, by_name = (
        chosen("objects", min_score=0.3, classes="dog=0.5"),
        chosen("objects", settings=["objects.min_score=0.3", "objects.classes=dog=0.5"]),
    )
    assert by_flag[0].fingerprint == by_name[0].fingerprint != chosen("objects")[0].fingerprint
    one = chosen("objects,masks", min_score=0.3, settings=["masks.min_score=0.6"])
    assert [choice.task.parameters.get("min_score", choice.task.parameters.get("least")) for choice in one] == [
        0.3,
        0.6,
    ]


def test_a_value_is_refused_in_one_way_whichever_way_it_is_given() -> None:
    for score in ("2", "-0.1", "nan", "much"):
        with pytest.raises(InputError, match=rf"^--classes dog={score}: give a number from 0 to 1$"):
            chosen("objects", classes=f"dog={score}")
        with pytest.raises(TaskError, match=rf"^objects.classes=dog={score}: give a number from 0 to 1$"):
            chosen("objects", settings=[f"objects.classes=dog={score}"])
    with pytest.raises(InputError, match=r"^--min-score 2.0: give a number from 0 to 1$"):
        chosen("objects", min_score=2.0)


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


def test_parse_day() -> None:
    assert parse_day("--until", "31.7.2027") == parse_day("--until", "2027-07-31") == date(2027, 7, 31)
    for text in ("", "soon", "2027-02-30", "1/2/2027"):
        with pytest.raises(InputError, match=f"--until {text}: "):
            parse_day("--until", text)


def test_pairs_of_people() -> None:
    assert parse_pairs(["ann=eve", " S1 = S2"]) == [("ann", "eve"), ("S1", "S2")]
    for wrong in ("ann", "ann=", "=eve"):
        with pytest.raises(InputError, match="write PERSON=PERSON"):
            parse_pairs([wrong])
