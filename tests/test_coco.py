import json
from pathlib import Path

from tasks.models import coco


def test_the_names_are_those_of_the_annotations(data: Path) -> None:
    categories = json.loads((data / "coco128/instances.json").read_text())["categories"]
    assert [(c["id"], c["name"]) for c in categories] == list(zip(coco.CATEGORY_IDS, coco.NAMES, strict=True))


def test_the_order_is_that_of_the_published_label_file(data: Path) -> None:
    theirs = (data / "coco128/coco.names").read_text().splitlines()
    assert tuple(coco.SPELLINGS.get(name, name) for name in theirs) == coco.NAMES
    assert set(theirs) - set(coco.NAMES) == coco.SPELLINGS.keys()


def test_the_outputs_of_torchvision() -> None:
    from torchvision.models.detection import FCOS_ResNet50_FPN_Weights

    categories = FCOS_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    assert len(categories) == coco.OUTPUTS == len(coco.INDEX)
    for name, index in zip(categories, coco.INDEX, strict=True):
        assert name in ("__background__", "N/A") if index < 0 else name == coco.NAMES[index]
