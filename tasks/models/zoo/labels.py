"""Networks of the task `labels`, and heads on what they give."""

from muster.tasks.models import head
from muster.tasks.models.zoo import classifiers
from muster.tasks.models.zoo.entry import Entry


def _given(name: str, recipe: str, base: str) -> Entry:
    return Entry(
        name=name,
        file=f"{recipe}.safetensors",
        url="",
        sha256="",
        licence="yours",
        source=f"trained by `muster train {recipe}`",
        training_data="your photos",
        preprocessing=f"what {base} gives for a photo, L2-normalised",
        build=head.from_state,
        outputs=(),  # it takes no image
        how=f"train it with `muster train {recipe} --images PHOTOS --label COLUMN --out DIR`,"
        f" then name its file with --weights labels=DIR/{recipe}.safetensors",
    )


ENTRIES = (
    Entry(
        name="muster-coco",
        file="muster-coco.safetensors",
        url="",
        sha256="e6fedf5201b3f209a040a03c046ffa1f125cfe6fe8db095879a8a59eed1e89af",
        licence="Apache-2.0",
        source="trained by `muster train labels`",
        training_data="333 photos of COCO (annotations CC-BY-4.0; photos under their Flickr terms)",
        preprocessing="what muster-features gives for a photo, L2-normalised",
        build=head.from_state,
        outputs=(),  # it takes no image
    ),
    _given("muster-head", "labels", "muster-features"),
    _given("squeezenet-head", "labels-squeezenet", "squeezenet"),
)

MODELS = {
    "own": {"classifier": "muster-features"},
    "coco": {"classifier": "muster-features", "head": "muster-coco"},
    "head": {"classifier": "muster-features", "head": "muster-head"},
    "head-squeezenet": {"classifier": "squeezenet", "head": "squeezenet-head"},
    **{entry.name: {"classifier": entry.name} for entry in classifiers.PUBLISHED},
}
DEFAULT = "coco"
