import json
from pathlib import Path

from muster.tasks.models import coco_labels


def test_the_names_are_those_of_the_annotations(data: Path) -> None:
    categories = json.loads((data / "coco128/instances.json").read_text())["categories"]
    assert [(c["id"], c["name"]) for c in categories] == list(
        zip(coco_labels.CATEGORY_IDS, coco_labels.NAMES, strict=True)
    )


def test_the_order_is_that_of_the_published_label_file(data: Path) -> None:
    theirs = (data / "coco128/coco.names").read_text().splitlines()
    assert tuple(coco_labels.SPELLINGS.get(name, name) for name in theirs) == coco_labels.NAMES
    assert set(theirs) - set(coco_labels.NAMES) == coco_labels.SPELLINGS.keys()


def test_the_outputs_of_torchvision() -> None:
    from torchvision.models.detection import FCOS_ResNet50_FPN_Weights

    categories = FCOS_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    assert len(categories) == coco_labels.OUTPUTS == len(coco_labels.INDEX)
    for name, index in zip(categories, coco_labels.INDEX, strict=True):
        assert name in ("__background__", "N/A") if index < 0 else name == coco_labels.NAMES[index]
