"""`hf:FOLDER`: what is loaded is what was digested, and what cannot be loaded is said as one sentence."""

import json
import pickle
import shutil
import socket
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from helpers.fixtures import Outcome
from helpers.hub_server import COMMIT, serving
from helpers.published import NAMES, loaded, save
from helpers.runs import config_of
from muster.errors import InputError, TaskError
from muster.pipeline.run import LicenceWarning, pending, record
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.worker import ShardWorker
from muster.storage import hub, hub_names
from muster.storage.hub_names import Published
from muster.storage.library import open_library
from muster.storage.manifest import scan
from muster.tasks.base import Image
from muster.tasks.hub import kinds
from muster.tasks.models import zoo

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("vit", tmp_path_factory.mktemp("models") / "vit")


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """Of a classifier; a test may spoil it."""
    return Path(shutil.copytree(model, tmp_path / "copy"))


def choice(task: str, folder: Path | str, **options: Any) -> TaskChoice:
    return TaskChoice(name=task, model=f"hf:{folder}", options=options)


def image() -> Image:
    return Image("a", np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8), 1.0, (80, 60))


def test_the_fingerprint_is_of_all_files_that_are_loaded(copy: Path) -> None:
    before = choice("labels", copy)
    assert before.description["model"] == f"hf:{copy}"
    assert before.description["weights"]["classifier"]["sha256"] == hub.read_model(copy).digest
    assert choice("labels", copy).fingerprint == before.fingerprint
    settings = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps(settings | {"do_normalize": False}))
    assert choice("labels", copy).fingerprint != before.fingerprint


def test_what_a_worker_takes_for_it(copy: Path) -> None:
    size = (copy / "model.safetensors").stat().st_size
    assert [each.memory for each in choice("labels", copy).entries] == [2 * size]
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    assert [each.memory for each in choice("labels", copy).entries] == [4 * size]


def test_its_classes_are_noted(tmp_path: Path) -> None:
    assert choice("objects", save("d_fine", tmp_path / "d")).description["classes"] == list(NAMES)


def test_a_worker_loads_what_the_run_began_with(copy: Path) -> None:
    sent = pickle.dumps(choice("labels", copy, min_score=0))
    rows = pickle.loads(sent).load(CPU, None)([image()])
    assert len(rows) == len(NAMES)
    state = load_file(copy / "model.safetensors")
    save_file({name: value * 2 for name, value in state.items()}, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"is no longer what it was when the run began: run again"):
        pickle.loads(sent).load(CPU, None)


def test_a_folder_named_from_where_one_is(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy.parent)
    for name in ("copy", "./copy", str(copy)):
        assert TaskChoice(name="labels", model=f"hf:{name}").model == f"hf:{copy}"


def test_weights_in_half_precision_are_made_single(copy: Path) -> None:
    full = loaded("labels", copy, min_score=0)([image()])["score"].to_numpy()
    state = {name: value.astype(np.float16) for name, value in load_file(copy / "model.safetensors").items()}
    save_file(state, copy / "model.safetensors", {"format": "pt"})
    half = loaded("labels", copy, min_score=0)([image()])["score"].to_numpy()
    assert 0 < np.abs(full - half).max() < 0.01


# ---- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["faces", "scenes", "previews"])
def test_tasks_that_no_published_model_does(task: str, model: Path) -> None:
    with pytest.raises(TaskError, match=rf"`model` {task}=hf:|has no models|`model`"):
        zoo.roles(task, f"hf:{model}")


@pytest.mark.parametrize(
    ("kind", "task", "text"),
    [
        ("vit", "objects", "it is ViTForImageClassification, and none of the networks that do objects; it does labels"),
        ("d_fine", "labels", "it is DFineForObjectDetection, and none of the networks that do labels; it does objects"),
        ("segformer", "labels", "it is SegformerForSemanticSegmentation, and .* do labels; it does masks"),
        ("clip", "masks", "it is CLIPModel, and none of the networks that do masks; it does features"),
        (
            "vit",
            "features",
            "it is ViTForImageClassification, and none of the networks that do features; it does labels",
        ),
    ],
)
def test_an_architecture_for_another_task(kind: str, task: str, text: str, tmp_path: Path) -> None:
    folder = save(kind, tmp_path / kind)
    with pytest.raises(TaskError, match=rf"`model` {task}=hf:{folder}: {text}"):
        choice(task, folder)


def test_an_architecture_that_the_library_does_not_know(copy: Path) -> None:
    (copy / "config.json").write_text('{"model_type": "nonsense", "architectures": ["NonsenseModel"]}')
    with pytest.raises(InputError, match=r"labels=hf:.*nonsense"):
        choice("labels", copy)


def test_without_its_processor(copy: Path) -> None:
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"lacks its processor, or has a damaged one: take .*preprocessor_config.json"):
        choice("labels", copy)


def test_without_its_tokenizer(tmp_path: Path) -> None:
    folder = save("owlv2", tmp_path / "owlv2")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="and its tokenizer where it has one"):
        choice("objects", folder, classes="cat")


@pytest.mark.parametrize("kind", ["owlv2", "grounding_dino"])
def test_a_tokenizer_that_is_missing_is_not_made_up(kind: str, tmp_path: Path) -> None:
    folder = save(kind, tmp_path / kind)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(InputError, match=r"it has no words: take its tokenizer too|and its tokenizer where it has one"):
        choice("objects", folder, classes="cat")


def test_features_of_a_model_of_words_need_its_tokenizer(tmp_path: Path) -> None:
    folder = save("clip", tmp_path / "clip")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(InputError, match=r"it has no words: take its tokenizer too|and its tokenizer where it has one"):
        choice("features", folder)


def test_nothing_is_asked_of_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where settings name a part that lies elsewhere, and the library may ask."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    asked: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: asked.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *where, **_: asked.append(where) or [])
    folder = save("detr", tmp_path / "detr")
    change(folder / "config.json", backbone="evil-org/evil-model", backbone_config=None)
    with pytest.raises(InputError, match=r"lies elsewhere|offline|Offline|detr"):
        choice("objects", folder)
    assert asked == []


@pytest.mark.parametrize(
    ("kind", "task", "file", "settings"),
    [
        ("vit", "labels", "config.json", {"num_attention_heads": 0}),
        ("vit", "labels", "preprocessor_config.json", {"size": {"height": 0, "width": 0}}),
        ("vit", "labels", "preprocessor_config.json", {"size": {"height": -3, "width": 5}}),
        ("vit", "labels", "preprocessor_config.json", {"image_mean": "a"}),
        ("vit", "labels", "preprocessor_config.json", {"resample": 99}),
        ("dinov2", "features", "config.json", {"hidden_act": "foo"}),
        ("dinov2", "features", "config.json", {"hidden_size": 0}),
        ("dinov2", "features", "config.json", {"patch_size": 0}),
        ("d_fine", "objects", "config.json", {"id2label": {"1": "a", "2": "b"}}),
        ("segformer", "masks", "config.json", {"id2label": {"0": "a", "2": "b"}}),
        ("detr", "objects", "preprocessor_config.json", {"image_processor_type": "ViTImageProcessor"}),
        ("mask2former", "masks", "preprocessor_config.json", {"image_processor_type": "ViTImageProcessor"}),
        ("mask2former", "masks", "preprocessor_config.json", {"image_processor_type": "SegformerImageProcessor"}),
    ],
)
def test_settings_that_cannot_be(kind: str, task: str, file: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """Each is said before any photo is looked at."""
    folder = save(kind, tmp_path / kind)
    change(folder / file, **settings)
    with pytest.raises(InputError) as raised:
        choice(task, folder).try_weights(None)
    assert "/tmp/tmp" not in str(raised.value), "the folder of the library's own"


def change(file: Path, **settings: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def test_a_user_who_is_not_there() -> None:
    for model in ("hf:~nobody-here/x", "onnx:~nobody-here/x"):
        with pytest.raises(InputError, match="there is no such user"):
            TaskChoice(name="objects", model=model)
    with pytest.raises(InputError, match="give a file, onnx:FILE"):
        TaskChoice(name="objects", model="onnx:")


def test_a_pinned_name_goes_before_a_folder(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(model, tmp_path / "org" / "net")
    monkeypatch.chdir(tmp_path)
    assert choice("labels", "org/net").model == f"hf:{tmp_path}/org/net"
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path / "cache"))
    with serving({file.name: file.read_bytes() for file in model.iterdir()}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        hub_names.pin(hub_names.look_up("org/net"))
    assert choice("labels", "org/net").model == "hf:org/net"


def test_weights_cut_short(copy: Path) -> None:
    data = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"model.safetensors is damaged, or cut short"):
        choice("labels", copy).load(CPU, None)


def test_weights_of_another_model(copy: Path) -> None:
    state = load_file(copy / "model.safetensors")
    some = dict(list(state.items())[3:])
    save_file(some, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"weights are not those of ViTForImageClassification: 3 are missing"):
        choice("labels", copy).load(CPU, None)
    name = next(iter(state))
    save_file(state | {name: np.zeros((7, 7), np.float32)}, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"not those of ViTForImageClassification: .*(1 of another shape|mismatch)"):
        choice("labels", copy).load(CPU, None)


def test_code_beside_it_is_not_run(copy: Path) -> None:
    (copy / "modeling_own.py").write_text("raise SystemExit(9)")
    (copy / "processing_own.py").write_text("raise SystemExit(9)")
    assert choice("labels", copy).load(CPU, None)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling_own.Own"}}))
    with pytest.raises(InputError, match="Muster runs no such code"):
        choice("labels", copy)


def test_a_name_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"`model` objects=hf:org/net: org/net is not here: `models pin` hf:org/net"):
        choice("objects", "org/net")
    with pytest.raises(InputError, match="ustc-community/dfine-nano-coco is not here"):
        TaskChoice(name="objects", model="dfine-n")
    for name in ("/nowhere/at/all", "", "a b/c"):
        with pytest.raises(InputError, match=r"no such folder|give"):
            choice("objects", name)


def test_every_kind_has_a_role() -> None:
    assert kinds.ROLES.keys() == kinds.LISTS.keys()


# ---- commands --------------------------------------------------------------------------------------------------------


def test_a_licence_that_forbids_commercial_use_is_said_once(copy: Path, tmp_path: Path) -> None:
    (copy / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    library, config = (
        open_library(tmp_path / "L", create=True),
        config_of(tmp_path / "L", "labels", models={"labels": f"hf:{copy}"}),
    )
    with pytest.warns(LicenceWarning, match=rf"hf:{copy} is under the licence cc-by-nc-4.0, which forbids commercial"):
        record(library, config)
    with warnings.catch_warnings(record=True) as said:
        record(library, config)
        (copy / "README.md").write_text("---\nlicense: mit\n---\n")
        record(
            library, config_of(tmp_path / "L", "labels", models={"labels": f"hf:{copy}"}, options={"min_score": 0.1})
        )
    assert said == []


def test_rows_are_read_where_the_model_is_no_more(tmp_path: Path, album: Path, muster: Any) -> None:
    folder, library = save("d_fine", tmp_path / "d"), open_library(tmp_path / "L", create=True)
    scan(library, [str(album)])
    config = config_of(tmp_path / "L", "objects", models={"objects": f"hf:{folder}"}, options={"min_score": 0.2})
    record(library, config)
    worker = ShardWorker(str(tmp_path / "L"), config.choices, "cpu", None)
    for order in pending(library, config.choices):
        worker.process(order)
    shutil.rmtree(folder)
    done = muster(
        "export", "-l", tmp_path / "L", "--tasks", "objects", "--format", "coco", "--out", tmp_path / "c.json"
    )
    assert done.code == 0, done.err
    coco = json.loads((tmp_path / "c.json").read_text())
    assert {each["name"] for each in coco["categories"]} == set(NAMES)
    assert coco["annotations"]
    assert muster("status", "-l", tmp_path / "L").code == 0
    again = muster("run", "-l", tmp_path / "L", "--tasks", "objects", "--model", f"objects=hf:{folder}")
    assert (again.code, "no such folder" in again.error) == (2, True)


def test_a_model_by_its_name_from_the_server_to_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, muster: Any
) -> None:
    folder = save("vit", tmp_path / "vit")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    wanted = loaded("labels", folder, min_score=0)([image()])
    with serving({file.name: file.read_bytes() for file in folder.iterdir()}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        done: Outcome = muster("models", "pin", "hf:org/net")
    assert done.code == 0, done.err
    size = sum(map(len, server.files.values())) / 1e6
    assert done.err == f"org/net at {COMMIT[:12]}: licence apache-2.0, {size:.1f} MB\n"
    made = choice("labels", "org/net", min_score=0)
    assert made.description["model"] == "hf:org/net"
    assert made.load(CPU, None)([image()]).equals(wanted), "without the server, which is gone"


def test_what_is_pinned_is_shown(monkeypatch: pytest.MonkeyPatch, muster: Any, model: Path) -> None:
    from muster.pipeline.work import weights

    found = Published("org/net", "0" * 40, "apache-2.0", {"config.json": (1_000_000, "", "")})

    def pin(name: str, on_download: Any, on_found: Any) -> hub.Model:
        on_found(found)
        return hub.read_model(model)

    monkeypatch.setattr(weights, "pin", pin)
    done: Outcome = muster("models", "pin", "hf:org/net")
    assert (done.code, done.out) == (0, f"hf:org/net: {model}\n")
    assert done.err == "org/net at 000000000000: licence apache-2.0, 1.0 MB\n"
    facts = muster("models", "pin", "hf:org/net", "--json").facts
    assert facts["models"] == [
        {
            "name": "hf:org/net",
            "revision": "0" * 40,
            "licence": "apache-2.0",
            "sha256": hub.read_model(model).digest,
            "path": str(model),
        }
    ]


def test_names_to_pin(muster: Any) -> None:
    done: Outcome = muster("models", "pin", "nonsense")
    assert (done.code, "no published model 'nonsense'; known: dfine-n" in done.error) == (2, True)
