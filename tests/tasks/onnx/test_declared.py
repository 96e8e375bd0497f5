"""tasks/onnx/declared.py: what is declared of a detector, and what is wrong with a declaration."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import TaskError
from muster.tasks.onnx import declared
from muster.tasks.onnx.declared import LAYOUTS, complete, of_metadata, read_yaml, together

YOLO = {"layout": "yolov8", "classes": ("cat", "dog")}
SHOWN = {"input.resize": "stretch", "input.colour": "rgb", "input.scale": 1.0}
ULTRALYTICS = {  # of its exporter, of version 8.3
    "author": "Ultralytics",
    "task": "detect",
    "stride": "32",
    "batch": "1",
    "imgsz": "[480, 640]",
    "names": "{0: 'person', 1: \"dog's bowl\"}",
    "args": "{'batch': 1, 'half': False, 'dynamic': False, 'simplify': True, 'nms': False}",
    "end2end": "False",
}


def test_a_whole_declaration() -> None:
    text = """
        layout: yolov8
        classes: [person, motorbike, "no"]
        input: {size: [480, 640], resize: stretch, colour: bgr, scale: 1, mean: [1, 2, 3], std: [4, 5, 6], padding: 0}
        outputs: {found: output0}
        min_score: 0.3
        max_overlap: 1
        licence: MIT
    """
    about = complete(read_yaml(text, "x.yaml"), (None, 640))
    assert (about.layout, about.size, about.classes) == ("yolov8", (480, 640), ("person", "motorcycle", "no"))
    assert dict(about.facts) == {
        "layout": "yolov8",
        "classes": ("person", "motorcycle", "no"),
        "input.size": (480, 640),
        "input.resize": "stretch",
        "input.colour": "bgr",
        "input.scale": 1.0,
        "input.mean": (1.0, 2.0, 3.0),
        "input.std": (4.0, 5.0, 6.0),
        "input.padding": 0.0,
        "outputs.found": "output0",
        "min_score": 0.3,
        "max_overlap": 1.0,
        "licence": "MIT",
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_has_all_its_facts(layout: str) -> None:
    needed = {"units": "pixels", "first_label": 0, "scores": "sigmoid", **SHOWN}
    said = {**YOLO, "layout": layout, **{key: needed[key] for key in LAYOUTS[layout].needs}}
    about = complete(said, (64, 96))
    assert about.size == (64, 96)
    everywhere = {key for key in declared._COMMON if key != "input.size"}
    named = {key for key in LAYOUTS[layout].keys if key != "outputs.found"}
    assert everywhere | named <= about.facts.keys()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("layout: [", r"x\.yaml is no YAML \(line 1\)"),
        ("[" * 5000, r"x\.yaml is no YAML: it cannot be read"),
        ("a: 2001-99-99", r"x\.yaml is no YAML"),
        ("!!python/object/apply:os.system [ls]", r"x\.yaml is no YAML \(line 1\)"),
        ("", r"x\.yaml declares nothing"),
        ("yolov8", r"x\.yaml declares nothing"),
        ("layuot: yolov8", r"x\.yaml: there is no `layuot`; known: layout, classes, input\.size"),
        ("input: {sizes: [1, 2]}", r"x\.yaml: there is no `input\.sizes`"),
        ("input: 640", r"x\.yaml: there is no `input`"),
        ("1: 2", r"x\.yaml: there is no `1`"),
        ("layout: yolo", r"`layout`: give yolov5 or yolov8"),
        ("layout: [yolov8]", r"`layout`: give yolov5 or yolov8"),
        ("classes: person", r"`classes`: give the names of all classes"),
        ("classes: []", r"`classes`: give the names of all classes"),
        ("classes: {0: cat, 2: dog}", r"`classes`: give the names of all classes"),
        ("classes: [yes, no]", r"`classes`: number 0 is no text: write it in quotes"),
        ("input: {size: 640}", r"`input\.size`: give \[height, width\]"),
        ("input: {size: [640, 0]}", r"`input\.size`: give \[height, width\]"),
        ("input: {size: [640, 99999]}", r"`input\.size`: give \[height, width\]"),
        ("input: {size: [true, 640]}", r"`input\.size`: give \[height, width\]"),
        ("input: {resize: crop}", r"`input\.resize`: give stretch or letterbox or corner"),
        ("input: {colour: RGB}", r"`input\.colour`: give rgb or bgr"),
        ("input: {scale: 0}", r"`input\.scale`: give a number from 1e-06"),
        ("input: {scale: .nan}", r"`input\.scale`: give a number"),
        ("input: {scale: '255'}", r"`input\.scale`: give a number"),
        ("input: {mean: 0.5}", r"`input\.mean`: give three numbers"),
        ("input: {std: [1, 1, 0]}", r"`input\.std`: give three numbers greater than 0"),
        ("outputs: {found: 3}", r"`outputs\.found`: give a text"),
        ("min_score: 50", r"`min_score`: give a number from 0 to 1"),
        ("first_label: true", r"`first_label`: give 0, or 1"),
        ("licence: ''", r"`licence`: give a text"),
    ],
)
def test_what_is_wrong_with_a_file(text: str, said: str) -> None:
    with pytest.raises(TaskError, match=said) as found:
        read_yaml(text, "x.yaml")
    assert "x.yaml" in str(found.value)


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_NAMES = st.sampled_from(["layout", "classes", "input", "size", "mean", "outputs"]) | st.text()
_VALUES = st.recursive(
    _LEAVES, lambda each: st.lists(each, max_size=3) | st.dictionaries(_NAMES, each, max_size=4), max_leaves=12
)


@given(_VALUES)
def test_whatever_a_file_holds_it_is_read_or_refused_with_words(value: Any) -> None:
    try:
        said = "x.yaml" if read_yaml(yaml.safe_dump(value), "x.yaml").keys() <= declared._KEYS.keys() else "more"
    except TaskError as error:
        said = str(error)
    assert said.startswith("x.yaml")


def test_a_file_that_unfolds_to_billions() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join(f'*{old}' for _ in range(9))}]" for old, new in zip("abcdefgh", "bcdefghi")]  # noqa: B905
    lines += ["classes: *i"]
    with pytest.raises(TaskError, match=r"x\.yaml: there is no `a`"):
        read_yaml("\n".join(lines), "x.yaml")
    with pytest.raises(TaskError, match="`classes`: number 0 is no text"):
        read_yaml("classes: &a [*a]", "x.yaml")


@pytest.mark.parametrize(
    ("more", "size", "said"),
    [
        (
            {"layout": None},
            (64, 64),
            "it does not say how its outputs are laid out: write a YAML file of the same name",
        ),
        ({"classes": None}, (64, 64), "the layout yolov8 needs `classes` too"),
        ({"layout": "detr"}, (64, 64), "detr needs `input.resize`, `input.colour`, `input.scale`, `scores` too"),
        ({"layout": "boxes", **SHOWN}, (64, 64), "the layout boxes needs `units`, `first_label` too"),
        ({"first_label": 1}, (64, 64), "`first_label` says nothing of the layout yolov8: take it out"),
        ({}, (None, None), r"it takes images of any size: say by `input\.size: \[height, width\]`"),
        ({}, (640, None), r"it takes images of any size"),
        (
            {"input.size": (64, 64)},
            (64, 96),
            r"`input\.size` is \[64, 64\], and the file takes images of 64 × 96 alone",
        ),
        ({"input.size": (64, 64)}, (None, 96), r"and the file takes images of any × 96 alone"),
        ({}, (64, 5000), r"it takes images of 64 × 5000 pixels: at most 4096"),
    ],
)
def test_what_does_not_go_together(more: dict[str, Any], size: Any, said: str) -> None:
    facts = {key: value for key, value in {**YOLO, **more}.items() if value is not None}
    with pytest.raises(TaskError, match=said):
        complete(facts, size)


def test_two_that_say_the_same_and_two_that_do_not() -> None:
    said = [
        ("its metadata", {"layout": "yolov8", "min_score": 0.5}),
        ("x.yaml", {"layout": "yolov8", "licence": "MIT"}),
    ]
    assert together(said) == {"layout": "yolov8", "min_score": 0.5, "licence": "MIT"}
    with pytest.raises(TaskError, match=r"`layout` is one thing in its metadata and another in x\.yaml: take it out"):
        together([*said[:1], ("x.yaml", {"layout": "yolov5"})])


def test_metadata() -> None:
    assert of_metadata({}) == {}
    assert of_metadata({"muster": "layout: yolox\nclasses: [cat]", "x": "y"}) == {
        "layout": "yolox",
        "classes": ("cat",),
    }
    with pytest.raises(TaskError, match="`muster` in its metadata: there is no `x`"):
        of_metadata({"muster": "x: 1"})


def test_metadata_of_ultralytics() -> None:
    known = {"classes": ("person", "dog's bowl"), "input.size": (480, 640)}
    assert of_metadata(ULTRALYTICS) == {"layout": "yolov8", **known}
    assert of_metadata({**ULTRALYTICS, "end2end": "True"}) == {"layout": "yolov10", **known}
    suppressed = ULTRALYTICS["args"].replace("'nms': False", "'nms': True")
    assert of_metadata({**ULTRALYTICS, "args": suppressed}) == {"layout": "yolov10", **known}
    # Of YOLOv5's own exporter: no author, hence no layout
    assert of_metadata({"stride": "32", "names": ULTRALYTICS["names"]}) == {"classes": known["classes"]}
    with pytest.raises(
        TaskError, match="it is for the task 'segment' of Ultralytics: a detector is of the task 'detect'"
    ):
        of_metadata({**ULTRALYTICS, "task": "segment"})
    for names in ("__import__('os').system('ls')", "", "((" * 9999, "{0: 1}", "{'a': 'b'}"):
        with pytest.raises(TaskError, match="its metadata: `classes`: "):
            of_metadata({**ULTRALYTICS, "names": names})
