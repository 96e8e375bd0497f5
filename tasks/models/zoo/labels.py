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
    _given("muster-head", "labels", "muster-features"),
    _given("squeezenet-head", "labels-squeezenet", "squeezenet"),
)

MODELS = {
    "own": {"classifier": "muster-features"},
    "head": {"classifier": "muster-features", "head": "muster-head"},
    "head-squeezenet": {"classifier": "squeezenet", "head": "squeezenet-head"},
    **{entry.name: {"classifier": entry.name} for entry in classifiers.PUBLISHED},
}
DEFAULT = "own"
