"""Tasks by name: ours without an import, those of other packages, and packages that do it wrong."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from helpers.packages import TASK, installed, write
from muster.errors import TaskError
from muster.storage import layout
from muster.tasks import faces, registry
from muster.tasks.base import Image
from muster.tasks.plugins import PluginWarning

MEANS = {"muster.tasks:means": "means:Means"}


def test_a_list_of_names_imports_no_task_and_no_torch() -> None:
    code = (
        "import sys; from muster.tasks import registry; print(*registry.names());"
        "print(*(m for m in ('torch', 'muster.tasks.faces', 'muster.tasks.models') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "answers captions faces features labels masks objects previews scenes style units",
        "",
    ]


def test_an_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(
        TaskError, match="no task 'nonsense'; known: answers, captions, faces, features, labels, masks, objects"
    ):
        registry.create("nonsense")


def test_a_plugin_is_a_task_like_any_other(tmp_path: Path) -> None:
    with installed(write(tmp_path, "means", MEANS)):
        assert registry.names() == [
            "answers",
            "captions",
            "faces",
            "features",
            "labels",
            "masks",
            "means",
            "objects",
            "previews",
            "scenes",
            "style",
            "units",
        ]
        assert "means" not in sys.modules, "it is imported when it is asked for"
        task = registry.create("means", None, {"least": "20"})
        images = [Image(name, np.full((8, 8, 3), grey, np.uint8), 1.0, (8, 8)) for name, grey in (("a", 10), ("b", 30))]
        assert task(images).to_pylist() == [{"image_id": "b", "label": "an image", "mean": 30.0}]
        assert task.parameters == {"least": 20.0}
    assert "means" not in registry.names()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"leas": 1}, "task 'means' has no option 'leas'; the nearest it has: least"),
        ({"least": "300"}, "means.least=300: give a number from 0 to 255"),
        ({"least": "much"}, "means.least=much: give a number from 0 to 255"),
    ],
)
def test_options_of_a_plugin(tmp_path: Path, options: dict[str, str], text: str) -> None:
    with installed(write(tmp_path, "means", MEANS)), pytest.raises(TaskError, match=text):
        registry.create("means", None, options)


def test_a_task_without_options_says_so() -> None:
    with pytest.raises(TaskError, match="task 'previews' has no option 'side'; it has none"):
        registry.create("previews", None, {"side": 100})


def changed(*pairs: str) -> str:
    source = TASK
    for before, after in zip(pairs[::2], pairs[1::2], strict=True):
        assert before in source
        source = source.replace(before, after)
    return source


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import no_such_module", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)", "cannot be imported: SystemExit: 3"),
        (
            f"from muster.tasks import registry\nregistry.OWN['faces'] = 'means:Means'\n{TASK}",
            "cannot be imported: TypeError: 'mappingproxy' object does not support item assignment",
        ),
        ("x = 1", "cannot be imported: AttributeError: module 'means' has no attribute 'Means'"),
        (
            "Means = 7",
            "it has no name, version, schema, options, findings: make it a subclass of muster.tasks.base.Task",
        ),
        (changed('name = "means"', 'name = "mean"'), "it calls itself 'mean', and is registered as 'means'"),
        (changed("version = 1", 'version = "1"'), "its version is '1', and must be a whole number from 1 on"),
        (changed("pa.schema([IMAGE_ID, ", "pa.schema(["), "must be a pyarrow.Schema that begins with image_id"),
        (
            changed("pa.schema([IMAGE_ID", 'pa.schema([pa.field("image_id", pa.int64())'),
            "begins with image_id, a string",
        ),
        (changed('label="label"', 'label="labl"'), "name a column 'labl', and its schema has image_id, label, mean"),
        (changed('label="label"', 'box="mean"'), "'mean' is float, and its findings need a fixed-size list of four"),
        (changed('Option(number(0, 255), "darker images have no row", 0)', "3"), "options must be of the class Option"),
        (changed('self.parameters = {"least": least}', "{}['x']"), "cannot be made: KeyError: 'x'"),
        (
            changed('self.parameters = {"least": least}', 'self.parameters = {"least": self}'),
            "its parameters must be what JSON can hold",
        ),
        (changed('self.parameters = {"least": least}', "self.schema = None"), "begins with image_id, a string"),
    ],
)
def test_a_broken_plugin_is_named_and_the_rest_works(tmp_path: Path, source: str, text: str) -> None:
    with installed(write(tmp_path, "means", MEANS, source)):
        assert "means" in registry.names()
        with pytest.raises(TaskError) as caught:
            registry.create("means")
        assert str(caught.value).startswith("task 'means' of means 1.0")
        assert text in str(caught.value)
        assert registry.create("previews").version == 1


def test_an_option_of_a_plugin_that_raises_is_named(tmp_path: Path) -> None:
    source = changed("Option(number(0, 255)", "Option(lambda value: 1 / 0")
    text = r"^means\.least=3: ZeroDivisionError: division by zero$"
    with installed(write(tmp_path, "means", MEANS, source)), pytest.raises(TaskError, match=text):
        registry.create("means", None, {"least": 3})


def test_names_that_a_library_has_for_something_else(tmp_path: Path) -> None:
    places = {place.partition("/")[0] for name, place in vars(layout).items() if name.isupper()}
    assert {place for place in places if place.isalpha()} | {"images", "errors"} == registry.TAKEN
    text = r"^task 'manifest' of means 1\.0: 'manifest' has another meaning in a library: give it another name$"
    write(tmp_path, "means", {"muster.tasks:manifest": "means:Means"}, changed('"means"', '"manifest"'))
    with installed(tmp_path), pytest.raises(TaskError, match=text):
        registry.create("manifest")


def test_a_plugin_that_fails_as_it_is_loaded_is_named(tmp_path: Path) -> None:
    import torch

    source = changed("        pass\n", "        raise OSError('no such file')\n")
    with installed(write(tmp_path, "means", MEANS, source)):
        with pytest.raises(TaskError, match=r"task 'means' of means 1\.0 cannot be loaded: OSError: no such file"):
            registry.load(registry.create("means"), torch.device("cpu"), {})
        registry.load(registry.create("previews"), torch.device("cpu"), {})


def test_the_name_of_a_task_of_ours_stays_ours(tmp_path: Path) -> None:
    with installed(write(tmp_path, "impostor", {"muster.tasks:faces": "impostor:Means"})):
        with pytest.warns(
            PluginWarning, match=r"impostor 1\.0 registers 'faces' in muster\.tasks, which is Muster's own"
        ):
            assert registry.names() == [
                "answers",
                "captions",
                "faces",
                "features",
                "labels",
                "masks",
                "objects",
                "previews",
                "scenes",
                "style",
                "units",
            ]
        with warnings.catch_warnings(action="error"):  # once in a process is enough
            assert registry.find("faces") is faces.Faces
        assert "impostor" not in sys.modules


def test_two_plugins_of_one_name_are_neither(tmp_path: Path) -> None:
    write(tmp_path, "means", MEANS)
    with installed(write(tmp_path, "others", {"muster.tasks:means": "others:Means"})):
        with pytest.raises(
            TaskError, match=r"task 'means' is registered by means 1\.0 and by others 1\.0: uninstall one"
        ):
            registry.create("means")
        assert registry.create("previews")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("faces.Faces.version = 99", "Faces.version"),
        ("faces.Faces.__call__ = lambda self, images: None", "Faces.__call__"),
        ("faces.detect = None", "muster.tasks.faces.detect"),
        ("faces.Faces.extra = 1", "Faces.extra"),
        ("del faces.Faces.load", "Faces.load"),
    ],
)
def test_a_plugin_that_changes_a_task_of_ours_is_refused_and_undone(tmp_path: Path, change: str, what: str) -> None:
    before = {owner: dict(vars(owner)) for owner in (faces, faces.Faces)}
    source = f"from muster.tasks import faces\n{change}\n{TASK}"
    text = rf"'means' is not used: as it is imported, means 1\.0 changes {what}: uninstall it"
    with installed(write(tmp_path, "means", MEANS, source)):
        for _ in range(2):  # the second time it is not imported, and changes nothing, again
            with pytest.raises(TaskError, match=text):
                registry.create("means")
    assert {owner: dict(vars(owner)) for owner in before} == before
