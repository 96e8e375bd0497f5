"""Networks of the task `scenes`."""

from muster.tasks.models import daynight
from muster.tasks.models.zoo.entry import Entry

ENTRIES = (
    Entry(
        name="muster-daynight",
        file="muster-daynight.safetensors",
        url="",
        sha256="f765c9843e9dadb846ae94a4a54883595c7687ea989d68b889a89c8837ecff1e",
        licence="Apache-2.0",
        source="trained by `muster train daynight`",
        training_data="156 photos of 10 outdoor webcams (AMOS, as in the Udacity course set; MIT)",
        preprocessing="RGB, the whole image averaged down to 64×64, -1..1",
        build=daynight.from_state,
        size=(64, 64),
        outputs=("logit_of_day",),
    ),
)

MODELS = {"own": {"classifier": "muster-daynight"}}
DEFAULT = "own"
