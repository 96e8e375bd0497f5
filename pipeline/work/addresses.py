"""Models that are named by where they lie: `hf:FOLDER`, a published model of the `transformers` library, and
`onnx:FILE`, a network as ONNX."""

from pathlib import Path

from muster.pipeline.work import onnx_models, published
from muster.tasks.models import zoo
from muster.tasks.models.zoo import listed

zoo.ADDRESSES["hf"] = published.parts
zoo.ADDRESSES["onnx"] = onnx_models.parts


def absolute(task: str, model: str | None) -> str | None:
    """The same model, named so that it is found from every folder."""
    model = listed.address(task, model)
    if (path := path_of(model)) is None:
        return model
    assert model is not None
    return f"{model.partition(':')[0]}:{path}"


def path_of(model: str | None) -> Path | None:
    """The file or folder that a model lies in; None for one that is found by its name."""
    if model is None or not zoo.is_address(model):
        return None
    kind, _, place = model.partition(":")
    if not place or (kind == "hf" and not published.is_folder(place)):
        return None
    return published.folder_of(place).absolute()
