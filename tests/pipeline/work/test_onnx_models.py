"""pipeline/work/onnx_models.py: `onnx:FILE`, of what Muster wrote and of detectors that others did."""

import hashlib
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
import safetensors.torch
import torch
from PIL import Image as PillowImage
from torch import nn

from helpers.fixtures import Outcome
from helpers.onnx_files import mean, network, save
from muster.arrays import matrix
from muster.errors import InputError, TaskError
from muster.pipeline import onnx as exporter
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.onnx_models import FACTS, PROVIDERS
from muster.pipeline.work.weights import load_weights
from muster.pipeline.work.worker import ShardWorker
from muster.storage import tables
from muster.storage.library import open_library
from muster.tasks import faces, features
from muster.tasks.base import Image, shrink
from muster.tasks.models import coco_labels, fastestdet, yolo, zoo
from muster.tasks.models.classifiers import Classifier
from muster.tasks.objects import Objects
from muster.training.loop import half

CPU = torch.device("cpu")
YAML = "layout: yolov8\nclasses: [cat, dog]\n"
# What a network with two classes says of any photo: a dog in the middle
DOG = {"output0": np.array([[[48.0], [32.0], [24.0], [16.0], [0.1], [0.9]]], np.float32)}
# Task, model that it stands in, entry, and how near the numbers of the two are
OWN = [
    ("faces", "published", "mobilefacenet", "embedding"),
    ("faces", "own", "muster-embedder", "embedding"),
    ("faces", "published", "yunet-n", "embedding"),
    ("faces", "own-frontal", "landmarks68", "embedding"),
    ("features", "own", "muster-features", "embedding"),
    ("labels", "coco", "muster-features", "score"),
    ("masks", "person", "muster-person", "score"),
    ("masks", "streets", "muster-streets", "score"),
    ("masks", "sinet", "sinet-portrait", "score"),
    ("scenes", "own", "muster-daynight", "p_day"),
    ("objects", "fastestdet", "fastestdet", "score"),
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("exported")

    def path_of(name: str) -> Path:
        path = folder / f"{name}.onnx"
        if not path.exists():
            exporter.export(name, path, weights)
        return path

    return path_of


@pytest.fixture(scope="module")
def photos(data: Path) -> list[Image]:
    files = sorted((data / "coco128").rglob("*.jpg"))[:8] + sorted((data / "photos").rglob("*.jpg"))[:4]
    return [_image(file, PillowImage.open(file).convert("RGB")) for file in files]


def _image(file: Path, picture: Any) -> Image:
    picture.thumbnail((960, 960))
    pixels = np.asarray(picture)
    return Image(file.stem, pixels, 1.0, (pixels.shape[1], pixels.shape[0]))


def _rows(task: str, model: str, weights: Path, photos: Sequence[Image], **options: Any) -> pa.Table:
    return TaskChoice(name=task, model=model, options=options).load(CPU, weights)(photos)


# ---- that Muster wrote -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "model", "entry", "column"), OWN)
def test_rows_are_those_of_the_network_in_torch(
    task: str,
    model: str,
    entry: str,
    column: str,
    exported: Callable[[str], Path],
    photos: list[Image],
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With torch in single precision, as onnxruntime is."""
    for module in (faces, features):
        monkeypatch.setattr(module, "inference_dtype", lambda device: torch.float32)
    torchs = _rows(task, model, weights, photos)
    choice = TaskChoice(name=task, model=f"onnx:{exported(entry)}")
    ours = choice.load(CPU, weights)(photos)
    assert set(choice.task.models.values()) == (set(zoo.roles(task, model).values()) - {entry}) | {choice.model}
    assert ours.num_rows == torchs.num_rows > 0
    assert ours.schema == torchs.schema
    assert ours["image_id"].equals(torchs["image_id"])
    if "label" in ours.column_names:
        assert ours["label"].equals(torchs["label"])
    if column == "embedding":
        mine, its = (matrix(table["embedding"]) for table in (ours, torchs))
        assert (mine * its).sum(1).min() > 0.9999  # both are of length 1
    else:
        assert np.abs(ours[column].to_numpy() - torchs[column].to_numpy()).max() < 1e-4
    if "rle" in ours.column_names:
        assert np.abs(ours["area"].to_numpy() / torchs["area"].to_numpy() - 1).max() < 0.01


def test_an_image_has_the_same_rows_in_any_company(
    exported: Callable[[str], Path], photos: list[Image], weights: Path
) -> None:
    for task, entry in (("objects", "fastestdet"), ("features", "muster-features"), ("masks", "muster-person")):
        loaded = TaskChoice(name=task, model=f"onnx:{exported(entry)}").load(CPU, weights)
        assert loaded(photos).equals(pa.concat_tables([loaded([photo]) for photo in photos])), task


def test_which_model_it_is_a_part_of(exported: Callable[[str], Path]) -> None:
    """The task's default, else the first that has it."""
    address = f"onnx:{exported('mobilefacenet')}"
    assert zoo.roles("faces", address) == {**zoo.MODELS["faces"]["published"], "embedder": address}
    address = f"onnx:{exported('muster-features')}"
    assert zoo.roles("labels", address) == {"classifier": address, "head": "muster-coco"}
    assert zoo.roles("features", address) == {"classifier": address}
    entry = zoo.ENTRIES[address]
    assert entry.licence == "Apache-2.0"
    assert entry.sha256 == hashlib.sha256(exported("muster-features").read_bytes()).hexdigest()


def test_of_a_training_of_yours(tmp_path: Path, photos: list[Image], weights: Path) -> None:
    """muster-yolo, of which there are no weights but a user's."""
    torch.manual_seed(1)
    network_ = yolo.Yolo(80)
    file, path = tmp_path / "objects.safetensors", tmp_path / "x.onnx"
    file.write_bytes(safetensors.torch.save(half(network_.state_dict())))
    exporter.export("muster-yolo", path, None, weights=file)
    torchs = TaskChoice(name="objects", model="own", weights=file).load(CPU, weights)
    ours = TaskChoice(name="objects", model=f"onnx:{path}").load(CPU, weights)
    assert isinstance(torchs, Objects)
    assert isinstance(ours, Objects)
    small = [shrink(photo, ours.max_side).pixels for photo in photos[:4]]
    for mine, its in zip(ours.detector(small), torchs.detector(small), strict=True):  # of every cell, sure or not
        assert torch.allclose(mine.boxes, its.boxes, atol=1e-4)
        assert torch.allclose(mine.scores, its.scores, atol=1e-5)
    assert zoo.ENTRIES[f"onnx:{path}"].training_data == "yours"


def test_what_it_does_not_fit(exported: Callable[[str], Path], tmp_path: Path, weights: Path) -> None:
    face, scene = exported("mobilefacenet"), exported("muster-daynight")
    for task, file, said in (
        ("objects", face, rf"`model` objects=onnx:{face}: it is mobilefacenet, which does faces"),
        ("faces", exported("muster-features"), "it is muster-features, which does labels and features"),
        ("units", scene, "no ONNX file does this; they do faces, objects, masks, labels, features, scenes"),
    ):
        with pytest.raises(InputError, match=said):
            zoo.roles(task, f"onnx:{file}")
    exporter.export("muster-digits", tmp_path / "digits.onnx", None)
    with pytest.raises(InputError, match="it is muster-digits, which does none of faces, objects"):
        zoo.roles("scenes", f"onnx:{tmp_path / 'digits.onnx'}")


def test_files_that_were_changed_since(exported: Callable[[str], Path], tmp_path: Path) -> None:
    made = onnx.load(exported("muster-daynight"))
    facts = {entry.key: entry.value for entry in made.metadata_props}
    assert facts.keys() == set(FACTS)
    made.graph.output[0].name = "y"
    for node in made.graph.node:
        node.output[:] = ["y" if name == "logit_of_day" else name for name in node.output]
    with pytest.raises(
        InputError, match="it has the outputs y, and muster-daynight has logit_of_day: `export` it anew"
    ):
        zoo.roles("scenes", f"onnx:{save(made, tmp_path / 'outputs.onnx')}")
    wide = network({"embedding": np.ones((1, 64), np.float32)}, ("n", 3, 112, 112), {**facts, "name": "mobilefacenet"})
    with pytest.raises(InputError, match=r"it gives \(64,\) numbers, and mobilefacenet gives 128"):
        zoo.roles("faces", f"onnx:{save(wide, tmp_path / 'wide.onnx')}")
    small = network({"embedding": np.ones((1, 128), np.float32)}, ("n", 3, 96, 96), {**facts, "name": "mobilefacenet"})
    with pytest.raises(InputError, match="it is not mobilefacenet as Muster writes it: onnxruntime cannot run it on 1"):
        zoo.roles("faces", f"onnx:{save(small, tmp_path / 'small.onnx')}")


def test_a_file_of_weights_beside_it_is_refused(exported: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`weights` scenes=.*x\.safetensors: the model onnx:.* has its own weights"):
        TaskChoice(name="scenes", model=f"onnx:{exported('muster-daynight')}", weights=tmp_path / "x.safetensors")


def test_a_yaml_file_beside_what_muster_wrote_says_nothing(exported: Callable[[str], Path], tmp_path: Path) -> None:
    path = Path(shutil.copy(exported("muster-daynight"), tmp_path / "x.onnx"))
    before = TaskChoice(name="scenes", model=f"onnx:{path}").fingerprint
    path.with_suffix(".yaml").write_text("of another program")
    assert TaskChoice(name="scenes", model=f"onnx:{path}").fingerprint == before


# ---- that others wrote -----------------------------------------------------------------------------------------------


class AsOthers(nn.Module):
    """FastestDet, with its finds as other layouts have them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        cells = self.network(images)
        boxes, scores, labels = fastestdet.decode(cells)
        each = cells[:, :1].pow(0.6) * cells[:, 5:].pow(0.4)
        chances = each.flatten(2).transpose(1, 2)
        pixels = fastestdet.SIDE * boxes
        middle, size = (pixels[..., :2] + pixels[..., 2:]) / 2, pixels[..., 2:] - pixels[..., :2]
        there = torch.ones_like(scores)[..., None]
        return (
            torch.cat([middle, size, chances], -1).transpose(1, 2),
            torch.cat([middle, size, there, chances], -1),
            torch.cat([pixels, scores[..., None], labels[..., None].float()], -1),
            cells,
            chances.clamp(1e-6, 1 - 1e-6).logit(),
            torch.cat([middle, size], -1) / fastestdet.SIDE,
            boxes,
            scores,
            labels,
        )


NAMES = ("yolov8", "yolov5", "yolov10", "fastestdet", "logits", "pred_boxes", "boxes", "scores", "labels")
_INPUT = "input: {resize: stretch, colour: bgr, scale: 255}"
LAYOUTS = {
    **{name: f"outputs: {{found: {name}}}" for name in NAMES[:4]},
    "detr": "scores: sigmoid",
    "boxes": "units: sides\nfirst_label: 0",
}


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    entry = zoo.ENTRIES["fastestdet"]
    program = torch.onnx.export(
        AsOthers(entry.build(load_weights(entry, weights))).eval(),
        (torch.rand(1, 3, fastestdet.SIDE, fastestdet.SIDE),),
        dynamo=True,
        input_names=["images"],
        output_names=list(NAMES),
        opset_version=exporter.OPSET,
        verbose=False,
    )
    assert program is not None
    path = tmp_path_factory.mktemp("others") / "others.onnx"
    path.write_bytes(program.model_proto.SerializeToString())
    return path


@pytest.fixture(scope="module")
def squares(photos: list[Image]) -> list[Image]:
    """As FastestDet is shown photos, so that nothing is resampled."""
    side = fastestdet.SIDE
    small = [PillowImage.fromarray(photo.pixels).resize((side, side)) for photo in photos]
    return [Image(photo.image_id, np.asarray(s), 1.0, (side, side)) for photo, s in zip(photos, small, strict=True)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_detector_in_many_layouts(layout: str, others: Path, squares: list[Image], weights: Path) -> None:
    """The published FastestDet finds the same things in real photos, whatever form its outputs are given."""
    names = ", ".join(f'"{name}"' for name in coco_labels.NAMES)
    said = f"layout: {layout}\nclasses: [{names}]\n{_INPUT}\nmin_score: 0.65\nmax_overlap: 0.45\n{LAYOUTS[layout]}\n"
    others.with_suffix(".yaml").write_text(said)
    torchs = _rows("objects", "fastestdet", weights, squares)
    ours = _rows("objects", f"onnx:{others}", weights, squares)
    assert ours.num_rows == torchs.num_rows > 10
    assert ours["image_id"].equals(torchs["image_id"])
    assert ours["label"].equals(torchs["label"])
    assert np.abs(ours["score"].to_numpy() - torchs["score"].to_numpy()).max() < 1e-4
    assert np.abs(matrix(ours["box_xyxy"]) - matrix(torchs["box_xyxy"])).max() < 0.02


def test_a_run(tmp_path: Path, make_photos: Callable[..., Path], muster: Callable[..., Outcome]) -> None:
    """By the command, in a worker."""
    file, library = save(network(DOG), tmp_path / "dog.onnx", YAML), tmp_path / "library"
    assert muster("scan", make_photos(tmp_path / "photos", range(3)), "--library", library).code == 0
    run = ("run", "--tasks", "objects", "--model", f"objects=onnx:{file}", "--library", library, "--workers", 1)
    outcome = muster(*run, "--json")
    assert (outcome.code, outcome.facts["processed"]) == (0, 3)
    fingerprint = TaskChoice(name="objects", model=f"onnx:{file}").fingerprint
    described = tables.descriptions(open_library(library))[fingerprint]
    assert (described["classes"], described["model"]) == (["cat", "dog"], f"onnx:{file}")
    rows = tables.read(open_library(library), "objects", fingerprint)
    assert rows is not None
    assert rows["label"].to_pylist() == ["dog"] * 3
    # 36 to 60 and 24 to 40 of 96 × 64, in which 400 × 300 is 85 × 64 from 5 on
    scale = 400 / 85
    wanted = [31 * scale, 24 * 300 / 64, 55 * scale, 40 * 300 / 64]
    assert matrix(rows["box_xyxy"])[0].tolist() == pytest.approx(wanted, abs=0.01)
    file.with_suffix(".yaml").write_text(f"{YAML}min_score: 0.95")
    assert TaskChoice(name="objects", model=f"onnx:{file}").fingerprint != fingerprint


def test_a_file_that_changes_while_it_is_run(tmp_path: Path, album: Path) -> None:
    file = save(network(DOG), tmp_path / "dog.onnx", YAML)
    choice = TaskChoice(name="objects", model=f"onnx:{file}")
    assert choice.fingerprint
    file.with_suffix(".yaml").write_text(f"{YAML}min_score: 0.95")
    with pytest.raises(InputError, match="is no longer what it was when the run began: run again"):
        choice.load(CPU, None)
    open_library(tmp_path / "library", create=True)
    with pytest.raises(InputError, match="is no longer what it was when the run began: run again"):
        ShardWorker(str(tmp_path / "library"), (choice,), "cpu", None)


def test_by_what_ultralytics_writes(tmp_path: Path, photos: list[Image]) -> None:
    said = {"author": "Ultralytics", "task": "detect", "imgsz": "[64, 96]", "names": "{0: 'cat', 1: 'dog'}"}
    licence = "AGPL-3.0 License (https://ultralytics.com/license)"
    made = network(DOG, ("n", 3, "height", "width"), {**said, "license": licence})
    file = save(made, tmp_path / "x.onnx")
    assert set(_rows("objects", f"onnx:{file}", tmp_path, photos)["label"].to_pylist()) == {"dog"}
    assert zoo.ENTRIES[f"onnx:{file}"].licence == licence
    save(made, file, f"{YAML}licence: CC-BY-NC-4.0")  # which says the same once more, and of the licence something else
    assert TaskChoice(name="objects", model=f"onnx:{file}").task.classes == ("cat", "dog")
    assert not zoo.ENTRIES[f"onnx:{file}"].commercial
    save(made, file, "layout: yolov5")
    with pytest.raises(InputError, match=r"`layout` is one thing in its metadata and another in .*x\.yaml"):
        zoo.roles("objects", f"onnx:{file}")


def _broken(folder: Path) -> Mapping[str, tuple[Path, str]]:
    """What a user may give → file, and what is to be said of it."""
    whole = network(DOG).SerializeToString()
    cut = folder / "cut.onnx"
    cut.write_bytes(whole[: len(whole) // 2])
    outside = network(DOG)
    outside.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    outside.graph.initializer[0].external_data.add(key="location", value="gone.bin")
    other = {"output0": np.zeros((1, 300, 7), np.float32)}
    saved = {
        "eight": (network(DOG, (8, 3, 64, 96)), YAML, "it takes 8 images at once"),
        "last": (network(DOG, ("n", 64, 96, 3)), YAML, "with the channels before rows and columns"),
        "size": (network(DOG), YAML + "input: {size: [64, 64]}", "the file takes images of 64 × 96 alone"),
        "two": (network(DOG, inputs=("a", "b")), YAML, "it takes 2 inputs (a, b)"),
        "custom": (network(DOG, domain="com.example"), YAML, "com.example:Unknown"),
        "outputs": (network(other), YAML, "has an output of 1 × 6 × any numbers, and its 'output0' has 1 × 300 × 7"),
        "outside": (outside, YAML, "has its tensors in another file: save it as one file"),
        "nothing": (network(DOG), None, "it does not say how its outputs are laid out: write a YAML file"),
        "mistake": (network(DOG), "layuot: yolov8", "mistake.yaml: there is no `layuot`; known: layout, classes"),
        "any": (network(DOG, ("n", 3, "h", "w")), YAML, "say by `input.size: [height, width]`"),
    }
    files = {name: (save(made, folder / f"{name}.onnx", beside), said) for name, (made, beside, said) in saved.items()}
    return files | {
        "none": (folder / "none.onnx", "none.onnx: no such file"),
        "folder": (folder, "is a folder: give the file"),
        "cut": (cut, "cut.onnx is no ONNX file, or is damaged or cut short"),
    }


def test_bad_input_is_told_of(tmp_path: Path, muster: Callable[..., Outcome]) -> None:
    """By the command: code 2, one line, with the file and what to do."""
    for name, (file, said) in _broken(tmp_path).items():
        outcome = muster(
            "run", "--library", tmp_path / "library", "--tasks", "objects", "--model", f"objects=onnx:{file}"
        )
        assert (outcome.code, outcome.out) == (2, ""), name
        assert f"objects=onnx:{file}: " in outcome.error, name
        assert said in outcome.error, (name, outcome.error)


def test_other_tasks_take_no_file_of_others(tmp_path: Path) -> None:
    file = save(mean(), tmp_path / "x.onnx")
    with pytest.raises(InputError, match="Muster did not write it by `export`: what others wrote does objects alone"):
        zoo.roles("features", f"onnx:{file}")
    with pytest.raises(TaskError, match=r"`model` style=onnx:.*: no ONNX file does this"):
        zoo.roles("style", f"onnx:{file}")


def test_what_must_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(network(DOG), tmp_path / "x.onnx", YAML)
    for module, package in (("onnxruntime", "onnxruntime"), ("yaml", "pyyaml")):
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, module, None)
            with pytest.raises(InputError, match=f"ONNX files need the package {package}: pip install {package}"):
                zoo.roles("objects", f"onnx:{file}")


def test_providers_that_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(network(DOG), tmp_path / "x.onnx", YAML)
    before = TaskChoice(name="objects", model=f"onnx:{file}").fingerprint
    monkeypatch.setenv(PROVIDERS, " CPUExecutionProvider, ")
    assert TaskChoice(name="objects", model=f"onnx:{file}").fingerprint == before
    monkeypatch.setenv(PROVIDERS, "DmlExecutionProvider,CPUExecutionProvider")
    with pytest.raises(InputError, match=r"onnx:.*x\.onnx: this onnxruntime has no DmlExecutionProvider: it has"):
        zoo.roles("objects", f"onnx:{file}")


def test_a_classifier_is_one_still(exported: Callable[[str], Path]) -> None:
    """What `labels` and `features` ask of a network: categories, the square that it is shown."""
    built = zoo.ENTRIES[zoo.roles("features", f"onnx:{exported('muster-features')}")["classifier"]].build({})
    assert isinstance(built, Classifier)
    assert (len(built.categories), built.side) == (1000, 160)
    assert built.square(np.zeros((300, 200, 3), np.uint8)).shape == (160, 160, 3)


def test_tensors_of_the_folder_that_a_command_runs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime would take them: a model would be another in another folder."""
    made = network(DOG)
    onnx.save(made, tmp_path / "x.onnx", save_as_external_data=True, location="x.bin", size_threshold=0)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="has its tensors in another file"):
        zoo.roles("objects", "onnx:x.onnx")


def test_a_file_named_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(network(DOG), tmp_path / "x.onnx", YAML)
    monkeypatch.chdir(tmp_path)
    assert TaskChoice(name="objects", model="onnx:x.onnx").model == f"onnx:{tmp_path / 'x.onnx'}"
