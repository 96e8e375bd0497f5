"""An embedder of another width, in a package of its own, from photos to names; and models that cannot be."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import safetensors.torch
import torch

from helpers.fixtures import School
from helpers.packages import installed, write
from helpers.runs import config_of
from muster.errors import TaskError
from muster.pipeline.gallery import enroll
from muster.pipeline.gallery.identify import identify
from muster.pipeline.people.faces import load_faces
from muster.pipeline.people.grouping import cluster_faces
from muster.pipeline.run import pending, record
from muster.pipeline.work import weights
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.worker import ShardWorker
from muster.storage.gallery import gallery
from muster.storage.library import open_library
from muster.storage.manifest import scan
from muster.tasks import registry
from muster.tasks.models import zoo
from muster.tasks.models.face_quality import FaceQuality
from muster.tasks.plugins import PluginWarning
from muster.testing import check_task

WIDTH = 512
WIDE = {"muster.models:faces.wide": "wide:WIDE"}
# An embedder that nobody trained: what lies in each of 14 × 14 fields, less their mean, turned at random.
SOURCE = """
from pathlib import Path
import torch
from torch import nn
from muster.tasks.models.face_quality import from_state
from muster.tasks.models.zoo.entry import Entry


class Turned(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, crops):
        fields = nn.functional.avg_pool2d(crops, 8).flatten(1)
        return (fields - fields.mean(1, keepdim=True)) @ self.weight


def entry(name, sha256, build, **facts):
    return Entry(
        name=name, file=name + ".safetensors", url="", sha256=sha256, licence="none", source="at random",
        training_data="none", preprocessing="as ours", build=build,
        path=str(Path(__file__).parent / (name + ".safetensors")), **facts,
    )


WIDE = {
    "detector": "muster-detector",
    "embedder": entry("wide-embedder", "EMBEDDER", lambda state: Turned(state["weight"]), width=512),
    "quality": entry("wide-quality", "QUALITY", from_state),
}
"""


def saved(file: Path, state: dict[str, torch.Tensor]) -> str:
    """The SHA-256 of the file that has these tensors now."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(safetensors.torch.save({name: value.contiguous() for name, value in state.items()}))
    return sha256(file.read_bytes()).hexdigest()


def package(folder: Path, strangers: int = WIDTH) -> Path:
    """With random weights; its quality takes every face for a good one, and knows strangers of this width."""
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(3 * 14 * 14, WIDTH, generator=random)
    judge = FaceQuality(20, strangers)
    judge.strangers.copy_(torch.nn.functional.normalize(torch.randn(20, strangers, generator=random)))
    torch.nn.init.constant_(judge.head.bias, 20.0)
    digests = {
        "EMBEDDER": saved(folder / "wide-embedder.safetensors", {"weight": weight}),
        "QUALITY": saved(folder / "wide-quality.safetensors", dict(judge.state_dict())),
    }
    source = SOURCE
    for mark, digest in digests.items():
        source = source.replace(mark, digest)
    return write(folder, "wide", WIDE, source)


@pytest.fixture
def wide(tmp_path: Path) -> Iterator[None]:
    with installed(package(tmp_path / "packages")):
        yield


def process(library: object, config: RunConfig, *_: object) -> None:
    """As muster.pipeline.run.process, in this process and without Ray."""
    opened = open_library(config.library)
    record(opened, config)
    worker = ShardWorker(config.library, config.choices, "cpu", None)
    for order in pending(opened, config.choices):
        worker.process(order)


@pytest.mark.usefixtures("wide")
def test_an_embedder_of_a_plugin_from_photos_to_names(
    school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(school.enrolled)[:3]
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in names:
        for number, photo in enumerate(school.enrolled[name]):
            shutil.copy(photo, photos / f"{name} {number}.jpg")
        shutil.copy(school.enrolled[name][0], photos / f"{name} again.jpg")
    config = config_of(tmp_path / "library", "faces", models={"faces": "wide"})
    library = open_library(config.library, create=True)
    scan(library, [str(photos)])
    process(library, config)

    faces = load_faces(library, "wide")
    assert faces.embeddings.shape == (len(faces.table), WIDTH)
    assert len(faces.table) >= 9
    summary = cluster_faces(library, "wide", "graph", None, same_photo=False)
    assert summary.faces == len(faces.table)

    roster = tmp_path / "roster.csv"
    lines = [f'{name},"{school.enrolled[name][0]}",yes' for name in names]
    roster.write_text("\n".join(["person_id,image,consent", *lines]))
    school_library = config_of(tmp_path / "school", "faces", models={"faces": "wide"})
    open_library(school_library.library, create=True)
    monkeypatch.setattr(enroll, "process", process)
    done = enroll.enroll(enroll.Request(str(roster), accept=names), school_library, lambda _: None)
    assert done.people == 3, done.refused
    known = gallery.require(open_library(school_library.library))
    assert (known.model, known.embeddings.shape) == ("wide", (3, WIDTH))

    probes = [str(school.enrolled[name][0]) for name in names]
    answers, _ = identify(probes, config_of(school_library.library, "faces"), 0.3, lambda _: None)
    assert dict(zip(answers["image"].to_pylist(), answers["person_id"].to_pylist(), strict=True)) == dict(
        zip(probes, names, strict=True)
    )


@pytest.mark.usefixtures("wide")
def test_a_model_of_a_plugin_keeps_the_contract() -> None:
    check_task(registry.find("faces"), model="wide")
    assert registry.create("faces", "wide").schema.field("embedding").type.list_size == WIDTH
    assert registry.create("faces").schema.field("embedding").type.list_size == 128


@pytest.mark.usefixtures("wide")
def test_models_of_plugins_are_listed_and_checked() -> None:
    assert zoo.names("faces") == [*zoo.MODELS["faces"], "wide"]
    rows = {(row["task"], row["model"], row["role"]): row for row in weights.describe_all(None)}
    assert rows["faces", "wide", "embedder"]["name"] == "wide-embedder"
    assert rows["faces", "wide", "embedder"]["path"].endswith("packages/wide-embedder.safetensors")
    assert rows["faces", "wide", "detector"]["name"] == "muster-detector"
    assert weights.verify(None)["wide-quality"] == "ok"
    with pytest.raises(
        TaskError, match="task 'faces' has no model 'wid'; known: own, published, own-frontal, published-frontal, wide"
    ):
        TaskChoice(name="faces", model="wid")


def test_a_list_of_models_imports_no_plugin(tmp_path: Path) -> None:
    folder = write(tmp_path, "wide", WIDE, "raise SystemError")
    code = "from muster.tasks.models import zoo; print(zoo.names('faces'))"
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); {code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['own', 'published', 'own-frontal', 'published-frontal', 'wide']\n"


def test_strangers_of_another_width(tmp_path: Path) -> None:
    with installed(package(tmp_path, strangers=128)):
        choice = TaskChoice(name="faces", model="wide")
        with pytest.raises(
            TaskError, match=r"wide-quality knows embeddings of 128 numbers, .* of its embedder have 512"
        ):
            choice.load(torch.device("cpu"), None)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("raise OSError('no')", "cannot be imported: OSError: no"),
        (
            "WIDE = {'detector': 'muster-detector'}",
            "it has no embedder, quality: a model of faces is detector, embedder",
        ),
        ("WIDE = 3", "is not one: AttributeError"),
        (SOURCE.replace('"detector": "muster-detector"', '"detector": "no"'), "its detector is 'no': give an Entry"),
        (
            SOURCE.replace('"wide-embedder"', '"muster-embedder"'),
            "its embedder is called 'muster-embedder', as an entry",
        ),
        (
            f"from muster.tasks import faces\nfaces.Faces.version = 9\n{SOURCE}",
            "is not used: as it is imported, wide 1.0",
        ),
    ],
)
def test_a_broken_model_of_a_plugin_is_named_and_the_rest_works(tmp_path: Path, source: str, text: str) -> None:
    with installed(write(tmp_path, "wide", WIDE, source)):
        with pytest.raises(TaskError) as caught:
            TaskChoice(name="faces", model="wide")
        assert "model faces=wide" in str(caught.value)
        assert "wide 1.0" in str(caught.value)
        assert text in str(caught.value)
        with pytest.warns(PluginWarning, match="model faces=wide"):
            assert "wide" not in zoo.everything()["faces"]
        assert TaskChoice(name="faces").description["model"] == "own"


@pytest.mark.parametrize("name", ["faces", "faces.", "smiles.wide"])
def test_a_model_of_no_task_is_named_and_the_others_are_listed(tmp_path: Path, name: str) -> None:
    with installed(write(tmp_path, "wide", {f"muster.models:{name}": "wide:WIDE"}, SOURCE)):
        with pytest.warns(PluginWarning, match=rf"of wide 1\.0: it is registered as '{name}': write TASK\.NAME"):
            listed = zoo.everything()
        assert zoo.names("faces") == list(zoo.MODELS["faces"])
        assert {task: list(models) for task, models in listed.items()} == {t: list(m) for t, m in zoo.MODELS.items()}


def test_a_network_of_a_plugin_that_cannot_be_built(tmp_path: Path) -> None:
    folder = package(tmp_path)
    module = folder / "wide.py"
    module.write_text(module.read_text().replace('Turned(state["weight"])', 'Turned(state["wait"])'))
    with installed(folder):
        choice = TaskChoice(name="faces", model="wide")
        with pytest.raises(TaskError, match=r"model faces=wide of wide 1\.0 cannot be built: KeyError: 'wait'"):
            choice.load(torch.device("cpu"), None)


def test_a_name_of_ours_stays_ours(tmp_path: Path) -> None:
    with installed(write(tmp_path, "wide", {"muster.models:faces.own": "wide:WIDE"}, "raise SystemError")):
        with pytest.warns(
            PluginWarning, match=r"wide 1\.0 registers 'faces\.own' in muster\.models, which is Muster's own"
        ):
            assert zoo.names("faces") == list(zoo.MODELS["faces"])
        assert zoo.roles("faces", "own")["embedder"] == "muster-embedder"


OBJECTS = """
from torch import nn
from muster.tasks.models.zoo.entry import Entry
from muster.tasks.models.zoo.masks import Semantic
from muster.tasks.objects import Family

TEXTS = dict.fromkeys(("file", "url", "licence", "source", "training_data", "preprocessing"), "")
FACTS = dict(TEXTS, sha256="0" * 64, build=nn.Linear)
CATS = {"detector": Entry(name="cats", run=Family(None, 200, 0.7, 0.4, ("cat", "kitten")), **FACTS)}
SKIES = {"segmenter": Entry(name="skies", run=Semantic(("ground", "sky"), {}, max_side=100), **FACTS)}
SILENT = {"detector": Entry(name="silent", **FACTS)}
MUTE = {"segmenter": Entry(name="mute", **FACTS)}
"""


def test_detectors_and_segmenters_of_a_plugin_say_how_they_are_run(tmp_path: Path) -> None:
    names = {"objects.cats": "CATS", "masks.skies": "SKIES", "objects.silent": "SILENT", "masks.mute": "MUTE"}
    entries = {f"muster.models:{name}": f"others:{what}" for name, what in names.items()}
    with installed(write(tmp_path, "others", entries, OBJECTS)):
        cats = registry.create("objects", "cats", {"classes": "kitten"})
        assert (cats.max_side, cats.classes) == (200, ("cat", "kitten"))
        assert cats.parameters["classes"] == {"kitten": 0.7}
        with pytest.raises(TaskError, match="no class 'dog'; the nearest of the 2 that this model knows: "):
            registry.create("objects", "cats", {"classes": "dog"})
        assert registry.create("masks", "skies").classes == ("sky",)
        with pytest.raises(
            TaskError, match=r"the detector silent must say by `run`, as a muster\.tasks\.objects\.Family"
        ):
            registry.create("objects", "silent")
        with pytest.raises(TaskError, match="the segmenter mute must say by `run`"):
            registry.create("masks", "mute")
