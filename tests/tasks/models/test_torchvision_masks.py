from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import detection, get_model, segmentation

from muster.errors import TaskError
from muster.tasks.models import coco_labels, torchvision_masks, zoo
from muster.tasks.models.fuse import for_inference
from muster.tasks.models.zoo import masks

Build = Callable[..., nn.Module]
CPU = torch.device("cpu")
SEMANTIC: list[tuple[str, Build, dict[str, bool]]] = [
    ("lraspp_mobilenet_v3_large", torchvision_masks.lraspp, {}),
    ("deeplabv3_mobilenet_v3_large", torchvision_masks.deeplabv3, {"aux_loss": True}),
    ("deeplabv3_resnet50", torchvision_masks.deeplabv3_resnet50, {"aux_loss": True}),
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As in a worker; on busy cores several wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_network(name: str, classes: int, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return get_model(name, weights=None, weights_backbone=None, num_classes=classes, **options).eval()


@pytest.mark.parametrize(("name", "build", "options"), SEMANTIC)
def test_semantic_networks_give_torchvisions_numbers(name: str, build: Build, options: dict[str, bool]) -> None:
    theirs = random_network(name, 21, **options)
    ours = for_inference(build(theirs.state_dict()), CPU, torch.float32)
    images = torch.randn(1, 3, 97, 130)
    with torch.inference_mode():
        logits = nn.functional.interpolate(ours(images), (97, 130), mode="bilinear", align_corners=False)
        torch.testing.assert_close(logits, theirs(images)["out"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "build", "known", "options"),
    [
        *((name, build, 21, options) for name, build, options in SEMANTIC[:2]),
        ("maskrcnn_resnet50_fpn", torchvision_masks.maskrcnn, 91, {}),
    ],
)
def test_weights_of_another_number_of_classes(name: str, build: Build, known: int, options: dict[str, bool]) -> None:
    with pytest.raises(TaskError, match=f"know 7 classes, not the {known}"):
        build(random_network(name, 7, **options).state_dict())


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("maskrcnn_resnet50_fpn", torchvision_masks.maskrcnn),
        ("maskrcnn_resnet50_fpn_v2", torchvision_masks.maskrcnn_v2),
    ],
)
def test_mask_r_cnn_takes_weights_as_published(name: str, build: Build) -> None:
    """With and without the counters of batch norm, which frozen layers do not have; the first with their epsilon."""
    state = random_network(name, 91).state_dict()
    network = build({key: value for key, value in state.items() if "num_batches" not in key})
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    frozen = {m.eps for m in network.backbone.modules() if isinstance(m, nn.BatchNorm2d)}
    assert frozen == ({0.0} if name == "maskrcnn_resnet50_fpn" else {1e-5})


METADATA = {
    "lraspp-mobilenet-v3-large": segmentation.LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1,
    "deeplabv3-mobilenet-v3-large": segmentation.DeepLabV3_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1,
    "deeplabv3-resnet50": segmentation.DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1,
    "maskrcnn-resnet50-fpn": detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1,
    "maskrcnn-resnet50-fpn-v2": detection.MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1,
}


@pytest.mark.parametrize("name", METADATA)
def test_the_zoo_says_what_torchvision_says(name: str) -> None:
    entry, published, form = zoo.ENTRIES[name], METADATA[name], masks.FORMS[name]
    assert entry.url == published.url
    assert entry.file == published.url.rpartition("/")[2]
    assert entry.file.endswith(f"-{entry.sha256}.pth")
    assert str(published) in entry.source
    categories = published.meta["categories"]
    if isinstance(form, masks.Semantic):
        transform = published.transforms()
        assert list(form.classes[1:]) == categories[1:]
        assert (form.background, categories[0]) == (0, "__background__")
        assert (list(form.mean), list(form.std)) == (transform.mean, transform.std)
        assert [form.short_side] == transform.resize_size
    else:
        named = [form.classes[i] if i >= 0 else None for i in form.class_of]
        assert named[1:] == [name if name != "N/A" else None for name in categories[1:]]
        assert form.classes == coco_labels.NAMES
