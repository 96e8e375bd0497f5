"""Networks of the task `style`: those for ImageNet's categories that are one chain of convolutions."""

from muster.tasks.models.zoo.entry import Entry

ENTRIES: tuple[Entry, ...] = ()  # they are in classifiers.py

MODELS = {name: {"network": name} for name in ("squeezenet", "squeezenet-torchvision", "vgg19")}
DEFAULT = "squeezenet"
