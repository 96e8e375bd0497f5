"""Networks of the task `style`: those for ImageNet's categories that are one chain of convolutions, by which pictures
are measured, and one that has learnt a style and paints by itself."""

from muster.tasks.models import style_net
from muster.tasks.models.zoo.entry import Entry

ENTRIES = (  # the others are in classifiers.py
    Entry(
        name="muster-style-net",
        file="style-net.safetensors",
        url="",
        sha256="",
        licence="yours",
        source="trained by `muster train style-net`",
        training_data="your photos and your picture of the style",
        preprocessing="RGB, 0..1",
        build=style_net.from_state,
        outputs=("picture",),
        how="train it with `muster train style-net --images PHOTOS --style PICTURE --out DIR`,"
        " then name its file with --weights style=DIR/style-net.safetensors",
    ),
)

# By entry: the layer of the content, and those of the style, each as much as the others.
_SQUEEZENET = ("features.7", [f"features.{number}" for number in (1, 4, 7, 10, 12)])
LAYERS = {
    "squeezenet": _SQUEEZENET,
    "squeezenet-torchvision": _SQUEEZENET,
    "vgg19": ("features.22", [f"features.{number}" for number in (1, 6, 11, 20, 29)]),  # relu4_2; relu1_1 to relu5_1
}

NET = "net"  # the model that has learnt its style
MODELS = {name: {"network": name} for name in LAYERS} | {NET: {"network": ENTRIES[0].name}}
DEFAULT = "squeezenet"
