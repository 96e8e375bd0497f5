"""Models that are named by where they lie: `hf:FOLDER`, a published model of the `transformers` library, and
`onnx:FILE`, a network as ONNX."""

from pathlib import Path

from muster.pipeline.work import onnx_models, published
from muster.tasks.models import zoo

zoo.ADDRESSES["hf"] = published.parts
zoo.ADDRESSES["onnx"] = onnx_models.parts


def absolute(model: str | None) -> str | None:
    """The same model, named so that it is found from every folder."""
    if model is None or not zoo.is_address(model):
        return model
    kind, _, place = model.partition(":")
    if kind == "hf" and not published.is_folder(place):
        return model
    return f"{kind}:{Path(place).expanduser().absolute()}"
