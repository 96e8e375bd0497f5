"""Networks for the 1,000 categories of ImageNet: several tasks take them."""

from muster.tasks.models import classifiers
from muster.tasks.models.zoo.entry import Entry, of_torchvision

_IMAGENET = "ImageNet-1K, ILSVRC 2012 (research; photos under terms of their own)"


def _torchvision(name: str, title: str, builder: str, file: str, resized: int, width: int) -> Entry:
    return of_torchvision(
        name,
        file,
        source=f"{title}, torchvision's ImageNet weights",
        training_data=_IMAGENET,
        preprocessing=f"RGB, 0..1, shorter side {resized}, its middle 224×224, ImageNet mean and standard deviation",
        build=classifiers.torchvision(builder, resized),
        size=(224, 224),
        width=width,
    )


OWN = Entry(
    name="muster-features",
    file="muster-features.safetensors",
    url="",
    sha256="f718fa5311035b8406bab33bfd060c162014e374456fa83d6997693b6a0c558e",
    licence="Apache-2.0",
    source="trained by `muster train features`, taught by squeezenet",
    training_data="three quarters of LFW (research use), photos of COCO, CIFAR-10, CamVid (non-commercial), people"
    " (research use), webcams and others, as squeezenet sees them",
    preprocessing="RGB, -1..1, shorter side 176, its middle 160×160",
    build=classifiers.own,
    size=(160, 160),
    width=320,
    outputs=("logits", "embedding"),
    imported=classifiers.own_imported,
)
PUBLISHED = (
    Entry(
        name="squeezenet",
        file="squeezenet1_0_imagenet.pth",
        url="",
        sha256="e677fb1f9a3f3cdbbeae366b355255e0d5a8aa3f957f45b54574c829556f61a6",
        licence="BSD-2-Clause",
        source="SqueezeNet 1.0, github.com/songhan/SqueezeNet-Deep-Compression, decoded",
        training_data=_IMAGENET,
        preprocessing="BGR, 0..255, shorter side 256, its middle 227×227, less (104, 117, 123)",
        build=classifiers.squeezenet,
        size=(227, 227),
        width=512,
        outputs=(),  # not exported as ONNX
        how="put it into the folder of --weights-dir, or name a file of such weights with --weights TASK=FILE; or take"
        " the model squeezenet-torchvision, which is downloaded",
    ),
    _torchvision("squeezenet-torchvision", "SqueezeNet 1.0", "squeezenet1_0", "squeezenet1_0-b66bff10.pth", 256, 512),
    _torchvision("vgg19", "VGG-19", "vgg19", "vgg19-dcbb9e9d.pth", 256, 512),
    _torchvision("mobilenet", "MobileNetV3-Large", "mobilenet_v3_large", "mobilenet_v3_large-5c1a4163.pth", 232, 960),
    _torchvision(
        "efficientnet", "EfficientNet-B0", "efficientnet_b0", "efficientnet_b0_rwightman-7f5810bc.pth", 256, 1280
    ),
    _torchvision("convnext", "ConvNeXt-Tiny", "convnext_tiny", "convnext_tiny-983f1562.pth", 236, 768),
    _torchvision("swin", "Swin-T", "swin_t", "swin_t-704ceda3.pth", 232, 768),
)
ENTRIES = (OWN, *PUBLISHED)
