"""Networks whose units the task `units` looks at: those that take whole photos. They are other tasks' entries."""

from muster.tasks.models.zoo import classifiers, masks, plain, scenes
from muster.tasks.models.zoo.entry import Entry

ENTRIES: tuple[Entry, ...] = ()

MODELS = {
    "daynight": {"network": scenes.MODELS["own"]["classifier"]},
    **{
        model: {"network": roles["segmenter"]}
        for model, roles in masks.MODELS.items()
        if isinstance(masks.FORMS[roles["segmenter"]], masks.Semantic)
    },
    **{entry.name.removeprefix("muster-"): {"network": entry.name} for entry in plain.ENTRIES},
    **{entry.name.removeprefix("muster-"): {"network": entry.name} for entry in classifiers.ENTRIES},
}
DEFAULT = "daynight"
