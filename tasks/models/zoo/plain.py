"""Small classifiers of no task: there to be looked at, stage by stage, and to be written as ONNX for a device."""

from muster.tasks.models import plain
from muster.tasks.models.zoo.entry import Entry

DIGITS = tuple("0123456789")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CLASSES = {"muster-digits": DIGITS, "muster-cifar": CIFAR10}  # in the order of the outputs

ENTRIES = (
    Entry(
        name="muster-digits",
        file="muster-digits.safetensors",
        url="",
        sha256="e8f391defe66046c55aff21d62a5217f7036cdd09b53b3467c9b2981b956fb26",
        licence="Apache-2.0",
        source="trained by `muster train digits`",
        training_data="12,000 handwritten digits of MNIST (MIT, as rasbt/mnist-pngs has them)",
        preprocessing="RGB, the whole image averaged down to 28×28, a bright digit on black, -1..1",
        build=plain.digits_from_state,
        size=(28, 28),
        outputs=("probabilities",),
    ),
    Entry(
        name="muster-cifar",
        file="muster-cifar.safetensors",
        url="",
        sha256="89665b67072f44ac3f96ded7f04801758405603ff986a4ef36f4a3e021987795",
        licence="Apache-2.0",
        source="trained by `muster train cifar`",
        training_data="8,000 photos of CIFAR-10 (no licence stated)",
        preprocessing="RGB, the whole image averaged down to 32×32, -1..1",
        build=plain.cifar_from_state,
        size=(32, 32),
        outputs=("probabilities",),
    ),
)
