import pickle
from pathlib import Path

import pytest

from helpers.packages import TASK, installed, write
from muster.errors import InputError, TaskError
from muster.pipeline.work.choice import TaskChoice, choose
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.tasks.models import zoo

# Where the rows of libraries lie. One that changes has every library computed anew: a task's `version` is raised for
# that, in a change that means it.
FINGERPRINTS = {
    "images": "fcfbb25ce72d37fb",
    "previews": "128b32e9c29ad0b8",
    "faces=own": "8ed690abc7bde016",
    "faces=published": "4f3eea6eb99753ac",
    "faces=own-frontal": "56a6da0be997f87f",
    "faces=published-frontal": "2921d4e570f878b0",
    "features=own": "c50c0258baf3c5b3",
    "features=squeezenet": "741206f3540c7c82",
    "features=squeezenet-torchvision": "0217b6122272c77b",
    "features=vgg19": "280fb769c634ba0c",
    "features=mobilenet": "311fbc744b7e7ff6",
    "features=efficientnet": "529790fccd85ecc8",
    "features=convnext": "84d3c903eae2bdb3",
    "features=swin": "3ba4859d61b5654f",
    "labels=own": "8b492bcd9935c9aa",
    "labels=coco": "36bd22e72efea16c",
    "labels=head": "faf9aff26dff5db4",
    "labels=head-squeezenet": "d16c7444cff6dfec",
    "labels=squeezenet": "5fb7f415b29034dc",
    "labels=squeezenet-torchvision": "97e7d094bba42876",
    "labels=vgg19": "34a14d5350b7a0b4",
    "labels=mobilenet": "8f6237a51de833b4",
    "labels=efficientnet": "7c49ecde836a6523",
    "labels=convnext": "93755057fcbe7a7b",
    "labels=swin": "ca930501bb976de9",
    "masks=person": "5018b100f10cc9bf",
    "masks=streets": "03aea38f6b660b6f",
    "masks=sinet": "3e497710f38a774a",
    "masks=lraspp": "179893b7295340b5",
    "masks=deeplabv3": "474b0b46543ebe66",
    "masks=deeplabv3-resnet50": "b7607287b284ad9d",
    "masks=maskrcnn": "a0295506e9354d9c",
    "masks=maskrcnn-v2": "18d859b68fe4f57e",
    "masks=sam": "4612ef0825c629c6",
    "objects=fastestdet": "c05bb4b101a7e994",
    "objects=ssdlite": "3a8ef75cb006f5c5",
    "objects=fasterrcnn": "386abb309549abaf",
    "objects=fasterrcnn-v2": "cb87cce6345655b4",
    "objects=retinanet": "d474586b7afd3b34",
    "objects=fcos": "110db74fcb1217cd",
    "objects=own": "581b7d74cfc7ae8b",
    "scenes=own": "1aa44dc05d686f71",
    "units=daynight": "e04a2795b3a0c310",
    "units=person": "fe8dc8677ea1e6e7",
    "units=streets": "be3c37fe732b3ea3",
    "units=sinet": "613388b0bd1d9e6d",
    "units=lraspp": "a328ce2f3f46fa52",
    "units=deeplabv3": "78065ea061b7026b",
    "units=deeplabv3-resnet50": "c9a23349cd4baa9c",
    "units=digits": "d2d4267ec9d706d5",
    "units=cifar": "46d3cac6073cdeef",
    "units=features": "5fbcc95459bba349",
    "units=squeezenet": "ef9ce96d922ccb28",
    "units=squeezenet-torchvision": "3df81d9652801785",
    "units=vgg19": "b42b8e54cccdfc05",
    "units=mobilenet": "50628ad73545fb8f",
    "units=efficientnet": "409d3bc4ae61d161",
    "units=convnext": "b997eae74516b895",
    "units=swin": "d8ddae7fdf1c4bff",
}


def test_fingerprints_are_those_of_yesterday() -> None:
    models = [(task, model) for task, models in zoo.MODELS.items() if task != "style" for model in models]  # test_style
    found = {f"{task}={model}": TaskChoice(name=task, model=model).fingerprint for task, model in models}
    found |= {"images": IMAGES_FINGERPRINT, "previews": TaskChoice(name="previews").fingerprint}
    assert found == FINGERPRINTS


def test_fingerprints_with_options_are_those_of_yesterday() -> None:
    classes = TaskChoice(name="objects", options={"classes": {"person": 0.6, "dog": None}})
    least = TaskChoice(name="masks", options={"min_score": 0.5})
    assert (classes.fingerprint, least.fingerprint) == ("abbe3f017921eeab", "7a33b98128ffce6a")


def test_the_usual_model_needs_no_name() -> None:
    for task, model in zoo.DEFAULTS.items():
        if task == "style":  # it needs pictures of one
            continue
        assert TaskChoice(name=task).fingerprint == TaskChoice(name=task, model=model).fingerprint


def test_what_a_worker_gets_is_the_choice(tmp_path: Path) -> None:
    choice = TaskChoice(name="masks", model="sinet", options={"min_score": 0.5})
    sent = pickle.loads(pickle.dumps(choice))
    assert (sent, sent.fingerprint) == (choice, choice.fingerprint)
    assert sent.task.max_side == choice.task.max_side


@pytest.mark.parametrize(
    ("name", "weights", "part"),
    [
        ("objects", "/none", "`weights` objects=/none: no such file"),
        ("objects", "/tmp", "`weights` objects=/tmp: no such file"),
        ("faces", __file__, r"has several networks \(detector, embedder, quality\)"),
        ("previews", __file__, "previews has no network"),
    ],
)
def test_weights_that_cannot_be(name: str, weights: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        TaskChoice(name=name, weights=Path(weights))


def test_weights_that_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    for task, model in (("objects", None), ("objects", "own"), ("masks", "sam"), ("scenes", None)):
        choice = TaskChoice(name=task, model=model, weights=Path(Path(__file__).name))
        assert choice.weights == Path(__file__)
        assert len(choice.files()) == (task == "masks")  # SAM is prompted by a detector


@pytest.mark.parametrize("given", [{"name": "smiles"}, {"name": "faces", "model": "none"}])
def test_an_unknown_task_or_model_lists_those_known(given: dict[str, str]) -> None:
    with pytest.raises(TaskError, match="known: "):
        TaskChoice(**given)


def test_each_task_looks_for_the_classes_that_it_knows() -> None:
    classes = {"person": 0.6, "dog": None}
    objects, masks, faces = choose(["objects", "masks", "faces"], options={"classes": classes, "min_score": None})
    assert objects.options == {"classes": {"person": 0.6, "dog": None}}
    assert masks.options == {"classes": {"person": 0.6}}
    assert faces.options == {}
    with pytest.raises(InputError, match="the model of masks knows none of dog; run it alone"):
        choose(["objects", "masks"], options={"classes": {"dog": None}})
    with pytest.raises(TaskError, match="no class 'persom'; the nearest"):
        choose(["objects", "masks"], options={"classes": {"persom": None, "dog": None}})


def test_what_is_chosen_for_no_task_is_refused() -> None:
    with pytest.raises(InputError, match="'faces' is not among `tasks` previews"):
        choose(["previews"], models={"faces": "published"})
    with pytest.raises(InputError, match="'objects' is not among `tasks` faces"):
        choose(["faces"], weights={"objects": Path(__file__)})
    with pytest.raises(InputError, match="`min_score`: none of `tasks` faces,previews takes it"):
        choose(["faces", "previews"], options={"min_score": 0.5})


def test_a_plugin_whose_models_the_zoo_has_not(tmp_path: Path) -> None:
    source = TASK.replace("    options =", '    models = {"network": "nonesuch"}\n    options =')
    text = r"^task 'means' of means 1\.0: its models name nonesuch, and the zoo has no such entry$"
    write(tmp_path, "means", {"muster.tasks:means": "means:Means"}, source)
    with installed(tmp_path), pytest.raises(TaskError, match=text):
        TaskChoice(name="means")
