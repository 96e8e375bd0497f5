"""ImageNet's networks: torchvision's with weights drawn at random, for theirs are not kept beside the tests."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from muster.errors import InputError, TaskError
from muster.pipeline.work.weights import load_weights
from muster.tasks.models import features, zoo
from muster.tasks.models.classifiers import Classifier, Embedder, exported, own_imported

BUILDERS = {
    "squeezenet-torchvision": "squeezenet1_0",
    "vgg19": "vgg19",
    "mobilenet": "mobilenet_v3_large",
    "efficientnet": "efficientnet_b0",
    "convnext": "convnext_tiny",
    "swin": "swin_t",
}
LIGHT = ["squeezenet-torchvision", "mobilenet", "swin"]  # the others are as large as a gigabyte


def published(name: str) -> Any:
    from torchvision.models import get_model_weights

    return next(each for each in get_model_weights(BUILDERS[name]) if each.url == zoo.ENTRIES[name].url)


def noise(*size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)


def scores(network: Classifier, pixels: np.ndarray[Any, Any]) -> torch.Tensor:
    with torch.inference_mode():
        return network(torch.tensor(network.square(pixels)).permute(2, 0, 1)[None].float() / 255)[0]


@pytest.mark.parametrize("name", BUILDERS)
def test_entries_are_torchvisions_own(name: str) -> None:
    entry, transforms = zoo.ENTRIES[name], published(name).transforms()
    assert entry.url.endswith(f"-{entry.sha256}.pth")
    assert f"shorter side {transforms.resize_size[0]}," in entry.preprocessing


@pytest.mark.parametrize("size", [(480, 640), (500, 333), (97, 300), (224, 224), (1, 5)])
@pytest.mark.parametrize("name", LIGHT)
def test_scores_are_those_of_a_plain_loop(name: str, size: tuple[int, int]) -> None:
    from torchvision.models import get_model

    torch.manual_seed(0)
    plain, pixels = get_model(BUILDERS[name], weights=None).eval(), noise(*size)
    ours = zoo.ENTRIES[name].build(plain.state_dict())
    with torch.inference_mode():
        wanted = plain(published(name).transforms()(Image.fromarray(pixels))[None])[0]
    torch.testing.assert_close(scores(ours, pixels), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    assert ours.categories == tuple(published(name).meta["categories"])


@pytest.mark.parametrize(("picture", "category"), [("coffee", "espresso"), ("chelsea", "Egyptian cat")])
def test_squeezenet_as_it_was_published(picture: str, category: str, weights: Path) -> None:
    from skimage import data

    entry = zoo.ENTRIES["squeezenet"]
    network = entry.build(load_weights(entry, weights))
    assert isinstance(network, Classifier)
    found = scores(network, getattr(data, picture)())
    assert network.categories[int(found.argmax())] == category


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(TaskError, match="these are no weights of mobilenet_v3_large: "):
        zoo.ENTRIES["mobilenet"].build({"features.0.weight": torch.zeros(1)})


def test_what_only_a_user_can_have_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"squeezenet1_0_imagenet\.pth is not here: put it into the folder of"):
        load_weights(zoo.ENTRIES["squeezenet"], tmp_path)
    (tmp_path / "squeezenet1_0_imagenet.pth").write_bytes(b"another")
    with pytest.raises(InputError, match=r"is not the file this model needs: .*: put it into the folder of"):
        load_weights(zoo.ENTRIES["squeezenet"], tmp_path)


@pytest.mark.parametrize("name", [*LIGHT, "muster-features"])
def test_embeddings_are_what_the_last_layer_sees(name: str) -> None:
    """As many numbers as the entry says, not the same for other pictures; of Swin and our own network just those."""
    from torchvision.models import get_model

    torch.manual_seed(0)
    own = name not in BUILDERS
    plain = features.Features() if own else get_model(BUILDERS[name], weights=None)
    classifier = zoo.ENTRIES[name].build(plain.eval().state_dict())
    pictures = torch.rand(2, 3, classifier.side, classifier.side)
    with torch.no_grad():
        found, logits = Embedder(classifier)(pictures), classifier(pictures)
    assert found.shape == (2, zoo.ENTRIES[name].width)
    assert (found[0] - found[1]).abs().max() > 1e-4 * found.abs().max()
    if name in ("swin", "muster-features"):
        torch.testing.assert_close(plain.head(found), logits, rtol=1e-3, atol=1e-5)


def test_what_is_exported_is_taken_for_the_classifier_again() -> None:
    entry = zoo.ENTRIES["muster-features"]
    classifier = entry.build(load_weights(entry, None))
    again = own_imported(exported(classifier).eval())
    pictures = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(again(pictures), classifier(pictures))
        assert torch.allclose(Embedder(again)(pictures), Embedder(classifier)(pictures))
    assert (again.side, again.categories) == (classifier.side, classifier.categories)
