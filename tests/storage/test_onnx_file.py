"""storage/onnx_file.py: what is read of an ONNX file before anybody runs it."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from helpers.onnx_files import model, network, save
from muster.errors import InputError
from muster.storage.onnx_file import LARGEST_YAML, read_onnx

ONES = np.ones((1, 5), np.float32)
IMAGES = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 4, 4])
FOUND = helper.make_tensor_value_info("found", TensorProto.FLOAT, None)


def test_what_it_says_and_its_digest(tmp_path: Path) -> None:
    file = save(network({"found": ONES}, metadata={"author": "somebody", "größe": "ü"}), tmp_path / "x.onnx")
    alone = read_onnx(file)
    assert (alone.metadata, alone.beside) == ({"author": "somebody", "größe": "ü"}, None)
    assert alone.data == file.read_bytes()
    assert alone.digest == alone.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert read_onnx(file) is alone  # read once
    file.with_suffix(".yaml").write_text("layout: yolov8")
    beside = read_onnx(file)
    assert beside.beside == (tmp_path / "x.yaml", "layout: yolov8")
    assert beside.sha256 == alone.sha256 != beside.digest
    file.with_suffix(".yaml").write_text("layout: yolov5")
    assert read_onnx(file).digest not in (alone.digest, beside.digest)
    save(network({"found": 2 * ONES}), file)
    assert read_onnx(file).metadata == {}


def test_a_network_within_a_network(tmp_path: Path) -> None:
    branch = helper.make_graph([helper.make_node("Constant", [], ["found"], value_float=1.0)], "branch", [], [FOUND])
    nodes = [helper.make_node("If", ["yes"], ["found"], then_branch=branch, else_branch=branch)]
    made = model(nodes, [IMAGES], [FOUND], [numpy_helper.from_array(np.array(True), "yes")], {"a": "b", "": ""})
    assert read_onnx(save(made, tmp_path / "x.onnx")).metadata == {"a": "b", "": ""}


@pytest.mark.parametrize("where", ["fixed", "constant", "branch", "function", "sparse"])
def test_tensors_in_other_files(tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime would take them from the current folder, where they were not digested."""
    outside = numpy_helper.from_array(ONES, "outside")
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="outside.bin")
    (tmp_path / "outside.bin").write_bytes(ONES.tobytes())
    monkeypatch.chdir(tmp_path)
    constant = helper.make_node("Constant", [], ["found"])
    constant.attribute.append(helper.make_attribute("value", numpy_helper.from_array(ONES)))
    constant.attribute[0].t.CopyFrom(outside)
    made = network({"found": ONES})
    if where == "fixed":
        made.graph.initializer.append(outside)
    elif where == "constant":
        made.graph.node.append(constant)
    elif where == "branch":
        branch = helper.make_graph([constant], "branch", [], [FOUND])
        made.graph.node.append(helper.make_node("If", ["yes"], ["x"], then_branch=branch, else_branch=branch))
    elif where == "function":
        made.functions.append(helper.make_function("here", "F", [], ["found"], [constant], made.opset_import))
    else:
        indices = numpy_helper.from_array(np.array([0]), "indices")
        made.graph.sparse_initializer.append(onnx.SparseTensorProto(values=outside, indices=indices, dims=[5]))
    with pytest.raises(InputError, match=r"x\.onnx has its tensors in another file: save it as one file"):
        read_onnx(save(made, tmp_path / "x.onnx"))


def test_files_that_are_none(tmp_path: Path) -> None:
    whole = network({"found": ONES}, metadata={"a": "b"}).SerializeToString()
    file = tmp_path / "x.onnx"
    (tmp_path / "text.onnx").write_text("This is no network.")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    for name, said in (
        ("none.onnx", "no such file"),
        (".", "is a folder: give the file"),
        ("text.onnx", "is no ONNX file, or is damaged or cut short"),
        ("cut.onnx", "is no ONNX file, or is damaged or cut short"),
        ("empty.onnx", "is no ONNX file: it holds no network"),
    ):
        with pytest.raises(InputError, match=said):
            read_onnx(tmp_path / name)
    for yaml, said in (
        (b"#" * (LARGEST_YAML + 1), r"x\.yaml has more than 1,048,576 bytes"),
        (b"\xff\xfe", r"x\.yaml is not in UTF-8"),
    ):
        save(network({"found": ONES}), file).with_suffix(".yaml").write_bytes(yaml)
        with pytest.raises(InputError, match=said):
            read_onnx(file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@given(st.data())
def test_damage_is_told_of(folder: Path, data: st.DataObject) -> None:
    """Cut, or with some bytes changed: read, or refused with words, and never anything else."""
    whole = bytearray(network({"found": ONES}, metadata={"author": "somebody"}).SerializeToString())
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    file = folder / "x.onnx"
    file.unlink(missing_ok=True)
    file.write_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    try:
        said = str(read_onnx(file).path)
    except InputError as error:
        said = str(error)
    assert str(file) in said


def test_a_file_of_messages_within_messages(tmp_path: Path) -> None:
    """A graph in an attribute of a node of a graph, a thousand times."""
    inner = b""
    for _ in range(400):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # graph of an attribute, attribute of a node, node of a graph
            size, left = b"", len(inner)
            while left >= 0x80:
                size += bytes([left & 0x7F | 0x80])
                left >>= 7
            inner = tag + size + bytes([left]) + inner
    (tmp_path / "x.onnx").write_bytes(b"\x3a" + bytes([len(inner) & 0x7F | 0x80, len(inner) >> 7]) + inner)
    with pytest.raises(InputError, match="damaged or cut short"):
        read_onnx(tmp_path / "x.onnx")
