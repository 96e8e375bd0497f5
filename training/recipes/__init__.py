"""Every recipe by its name: what `muster train NAME` runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from muster.errors import InputError
from muster.training.inputs import Inputs
from muster.training.loop import Recipe
from muster.training.recipes import (
    classifier,
    daynight,
    detector,
    embedder,
    features,
    labels,
    localise,
    objects,
    quality,
    scenes,
    segmenter,
    siamese,
    style_net,
    supervised,
    vqa,
)


@dataclass(frozen=True)
class Definition:
    """`build` reads the images and raises InputError where they do not do. `teachers`: zoo entries it learns from."""

    build: Callable[[Inputs], Recipe]
    teachers: tuple[str, ...] = ()


RECIPES: Mapping[str, Definition] = MappingProxyType(
    {
        "embedder": Definition(embedder.build, ("yunet-n", "mobilefacenet")),
        "embedder-triplet": Definition(supervised.build_triplet, ("yunet-n",)),
        "embedder-margin": Definition(supervised.build_margin, ("yunet-n",)),
        "detector": Definition(detector.build, ("yunet-n",)),
        "features": Definition(features.build, ("squeezenet",)),
        "labels": Definition(labels.build_own, ("muster-features",)),
        "labels-squeezenet": Definition(labels.build_squeezenet, ("squeezenet",)),
        "quality-own": Definition(quality.build_own, ("muster-detector", "muster-embedder")),
        "quality-published": Definition(quality.build_published, ("yunet-n", "mobilefacenet")),
        "daynight": Definition(daynight.build),
        "digits": Definition(classifier.build_digits),
        "cifar": Definition(classifier.build_cifar),
        "cifar-wide": Definition(classifier.build_cifar_wide),
        "localise": Definition(localise.build),
        "objects": Definition(objects.build, ("fastestdet",)),
        "streets": Definition(segmenter.build_streets),
        "person": Definition(segmenter.build_person),
        "style-net": Definition(style_net.build, (style_net.TEACHER,)),
        **{name: Definition(build) for name, build in (scenes.BUILDS | siamese.BUILDS | vqa.BUILDS).items()},
    }
)


def find(name: str) -> Definition:
    """The recipe of this name; InputError lists the known ones."""
    if name not in RECIPES:
        raise InputError(f"no recipe {name!r}; known: {', '.join(RECIPES)}")
    return RECIPES[name]
