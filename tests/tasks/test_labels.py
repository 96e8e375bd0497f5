"""tasks/labels.py: what a photo shows, by the published SqueezeNet, and by heads."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from muster.errors import InputError, TaskError
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.weights import load_weights
from muster.tasks.base import Image, StateDict
from muster.tasks.features import PhotoEmbedder
from muster.tasks.labels import Labels, best
from muster.tasks.models import zoo
from muster.tasks.models.head import Head, state_of


def image(name: str) -> Image:
    from skimage import data

    pixels = getattr(data, name)()
    return Image(name, pixels, 1.0, (pixels.shape[1], pixels.shape[0]))


@pytest.fixture(scope="module")
def task(weights: Path) -> Labels:
    found = TaskChoice(name="labels", model="squeezenet").load(torch.device("cpu"), weights)
    assert isinstance(found, Labels)
    return found


def test_a_cup_of_coffee_and_a_cat(task: Labels) -> None:
    rows = task([image("coffee"), image("chelsea")]).to_pylist()
    assert [(row["image_id"], row["label"]) for row in rows] == [("coffee", "espresso"), ("chelsea", "Egyptian cat")]
    assert all(0.6 < row["score"] < 0.8 for row in rows)
    assert task.categories[rows[0]["label_id"]] == "espresso"


def test_scores_are_those_of_a_plain_loop_to_five_digits(task: Labels, weights: Path, data: Path) -> None:
    """torchvision's network, Caffe's preprocessing, on photos as they are stored."""
    from torchvision.models import squeezenet1_0
    from torchvision.transforms import functional

    plain = squeezenet1_0().eval()
    plain.classifier[1] = torch.nn.Conv2d(512, 1000, 1, padding=1)
    plain.load_state_dict(torch.load(weights / "squeezenet1_0_imagenet.pth", weights_only=True))
    for file in sorted((data / "coco128/images").glob("*.jpg"))[:6]:
        photo = PillowImage.open(file).convert("RGB")
        square = functional.center_crop(functional.resize(photo, [256]), [227])
        values = functional.pil_to_tensor(square).float()[[2, 1, 0]] - torch.tensor([104, 117, 123]).view(3, 1, 1)
        with torch.inference_mode():
            wanted = plain(values[None]).softmax(1)[0].numpy()
        pixels = np.asarray(photo)
        [found] = task.chances([Image("a", pixels, 1.0, photo.size)])
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=5e-6)
        assert found.argmax() == wanted.argmax()


def test_nothing_is_said_below_the_least_score(weights: Path) -> None:
    state = {"squeezenet": load_weights(zoo.ENTRIES["squeezenet"], weights)}
    photos = [image("coffee"), image("astronaut")]
    strict, frank = Labels("squeezenet", min_score=0.7), Labels("squeezenet", min_score=0.0, most=5)
    for each in (strict, frank):
        each.load(torch.device("cpu"), state)
    assert strict(photos)["label"].to_pylist() == ["espresso"]
    assert frank(photos)["image_id"].to_pylist() == ["coffee"] * 5 + ["astronaut"] * 5
    assert pc.max(frank(photos)["score"]).as_py() <= 1


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30), st.floats(0, 1), st.integers(1, 30))
def test_the_best_come_first(chances: list[float], least: float, most: int) -> None:
    found = best(np.array(chances, np.float32), least, most)
    assert [score for _, score in found] == sorted((c for c in chances if c >= least), reverse=True)[:most]
    assert all(chances[i] == score for i, score in found)


def test_what_is_on_them_by_networks_of_our_own() -> None:
    """Of COCO's categories, the default."""
    task = TaskChoice(name="labels", options={"min_score": 0.0, "most": 2}).load(torch.device("cpu"), None)
    rows = task([image("coffee"), image("chelsea"), image("astronaut")]).to_pylist()
    assert {row["image_id"]: row["label"] for row in reversed(rows)} == {
        "coffee": "cup",
        "chelsea": "cat",
        "astronaut": "person",
    }


# ---- heads -----------------------------------------------------------------------------------------------------------


def of_two(weights: Path, model: str, several: bool) -> tuple[Labels, dict[str, StateDict]]:
    """A head that knows two photos by their embeddings; it is as sure as they are apart."""
    task = Labels(model, min_score=0.5)
    base = task.models["classifier"]
    state = load_weights(zoo.ENTRIES[base], weights)
    embed = PhotoEmbedder(zoo.ENTRIES[base].build(state), torch.device("cpu"))
    first, second = torch.from_numpy(embed([image("coffee"), image("astronaut")]))
    apart = 100 * (first - second)
    weight, bias = torch.stack([apart, -apart]), torch.zeros(2)
    bias -= weight @ (first + second) / 2
    head = Head(weight, bias, ["cup", "person"], base, several)
    return task, {base: state, task.models["head"]: state_of(head)}


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("model", ["head", "head-squeezenet"])
def test_a_head_says_its_own_classes(weights: Path, model: str, several: bool) -> None:
    task, states = of_two(weights, model, several)
    task.load(torch.device("cpu"), states)
    rows = task([image("astronaut"), image("coffee")]).to_pylist()
    assert [(row["label"], row["label_id"]) for row in rows] == [("person", 1), ("cup", 0)]


def test_a_head_of_another_network_is_refused(weights: Path, tmp_path: Path) -> None:
    """The file, and what to do, are named."""
    _, states = of_two(weights, "head-squeezenet", True)
    safetensors.torch.save_file(dict(states["squeezenet-head"]), tmp_path / "head.safetensors")
    choice = TaskChoice(name="labels", model="head", weights=tmp_path / "head.safetensors")
    with pytest.raises(InputError, match=r"head.safetensors.*learnt on what squeezenet gives.*muster-features"):
        choice.try_weights(weights)
    fitting = TaskChoice(name="labels", model="head-squeezenet", weights=tmp_path / "head.safetensors")
    fitting.try_weights(weights)


@pytest.mark.parametrize("value", [0, 1.5, "many", 100_001])
def test_most_is_a_whole_number(value: object) -> None:
    with pytest.raises(TaskError, match=r"whole number|number from"):
        TaskChoice(name="labels", options={"most": value})
