"""Siamese networks of any kind, by their names: `signatures` (pictures; people never seen, and skilled forgeries),
`voice` (sounds; speakers never seen) and `questions` (pairs of texts) say whether two items are of one; `speech` and
`volumes` tell what an item is by the same encoders. Each takes Parquet tables; see muster.training.data.items.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from muster.tasks.models import encoders
from muster.tasks.models.encoders import Plan
from muster.training.inputs import Inputs
from muster.training.loop import Recipe, Settings
from muster.training.recipes.siamese_items import ItemsRecipe, KindsRecipe
from muster.training.recipes.siamese_pairs import PairsRecipe
from muster.training.siamese import Design

PICTURE = Plan("picture", (96, 160), (16, 32, 64, 96), (3, 5), dimensions=64)
SOUND = Plan("sound", (encoders.RATE,), (64, 96, 128), (1,), dimensions=64)
TEXT = Plan("text", (40,), (48, 64), (1,), dimensions=64)
SPOKEN = Plan("sound", (encoders.RATE,), (64, 96, 128), (4,), dimensions=64)
VOLUME = Plan("volume", (28, 28, 28), (8, 16, 32, 48), (2, 2, 2), dimensions=32)

SIGNATURES = Design(
    name="signatures",
    plan=PICTURE,
    loss="margin",
    settings=Settings(steps=300, batch=64, learning_rate=2e-3, average=0.99, measure_every=60),
    each=5,
    forged=3,
    enrolled=5,
)
VOICE = Design(
    name="voice",
    plan=SOUND,
    loss="triplet",
    settings=Settings(steps=400, batch=64, learning_rate=2e-3, average=0.99, measure_every=100),
    beside_cohort=True,
)
QUESTIONS = Design(
    name="questions",
    plan=TEXT,
    loss="contrastive",
    settings=Settings(steps=300, batch=128, learning_rate=1e-3, average=0.99, measure_every=60),
)
SPEECH = Design(
    name="speech",
    plan=SPOKEN,
    loss="classes",
    settings=Settings(steps=400, batch=64, learning_rate=2e-3, average=0.99),
    speed=0.15,
)
VOLUMES = Design(
    name="volumes",
    plan=VOLUME,
    loss="classes",
    settings=Settings(steps=700, batch=16, learning_rate=2e-3, average=0.99),
)


def _others(design: Design, *names: str) -> Iterator[Design]:
    """The same with other losses, to be compared: `signatures-triplet`, `voice-margin`."""
    yield design
    yield from (replace(design, name=f"{design.name}-{loss}", loss=loss) for loss in names)


DESIGNS: Mapping[str, Design] = {
    design.name: design
    for design in (
        *_others(SIGNATURES, "triplet", "contrastive", "logistic"),
        *_others(VOICE, "margin", "hard", "contrastive", "logistic"),
        *_others(QUESTIONS, "triplet", "logistic"),
        SPEECH,
        VOLUMES,
    )
}


def build(inputs: Inputs, design: Design) -> Recipe:
    """The recipe of a design: of pairs of texts, of classes to tell apart, or of people."""
    if design.plan.kind == "text":
        return PairsRecipe(inputs, design)
    return (KindsRecipe if design.loss == "classes" else ItemsRecipe)(inputs, design)


BUILDS = {name: partial(build, design=design) for name, design in DESIGNS.items()}
