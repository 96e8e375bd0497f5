"""Published models that are worth a name: what a new user with a network may take instead of the defaults.

Their files are not known here: `models pin` fetches them, and notes on this machine which revision that was.
`accuracy`: as their publishers state it. docs/models/published.md says how they were chosen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Listed:
    """`repository`: on the hub of models. `licence`: of its weights, as their publisher states it."""

    repository: str
    licence: str
    training_data: str
    accuracy: str


_COCO = "COCO train2017 (annotations CC-BY-4.0; photos under their Flickr terms)"

# Task → name → model
LISTED: Mapping[str, Mapping[str, Listed]] = MappingProxyType(
    {
        "objects": {
            "dfine-n": Listed("ustc-community/dfine-nano-coco", "Apache-2.0", _COCO, "AP .428 on COCO val2017"),
            "rtdetrv2-r18": Listed("PekingU/rtdetr_v2_r18vd", "Apache-2.0", _COCO, "AP .479 on COCO val2017"),
            "rfdetr-n": Listed(
                "Roboflow/rf-detr-nano", "Apache-2.0", f"Objects365; {_COCO}", "AP .484 on COCO val2017"
            ),
        },
        "masks": {
            "sam2.1-tiny": Listed("facebook/sam2.1-hiera-tiny", "Apache-2.0", "SA-V, SA-1B", "J&F .765 on SA-V test"),
        },
        "features": {
            "siglip2-b16": Listed(
                "google/siglip2-base-patch16-224", "Apache-2.0", "WebLI", "78.2 % of ImageNet without training on it"
            ),
        },
    }
)


def address(task: str, model: str | None) -> str | None:
    """Where a listed model lies, as the name of a model; any other name as it is."""
    listed = LISTED.get(task, {}).get(model or "")
    return model if listed is None else f"hf:{listed.repository}"
