from pathlib import Path

import pytest

from muster.pipeline.work.addresses import absolute, path_of


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (None, None),
        ("own", None),
        ("hf:org/net", None),
        ("hf:", None),
        ("hf:/models/net", "/models/net"),
        ("hf:./net", "{here}/net"),
        ("hf:there", "{here}/there"),
        ("hf:~/net", "{home}/net"),
        ("s3:net", None),
    ],
)
def test_where_a_model_lies(
    model: str | None, path: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    wanted = None if path is None else Path(path.format(here=tmp_path, home="/home/ann"))
    assert path_of(model) == wanted
    assert absolute("objects", model) == (model if wanted is None else f"hf:{wanted}")


def test_a_listed_name_is_that_of_its_model() -> None:
    assert absolute("objects", "dfine-n") == "hf:ustc-community/dfine-nano-coco"
    assert absolute("masks", "dfine-n") == "dfine-n"
