"""pipeline/styles/pictures.py: names of files, the sheet and the curve."""

import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from muster.pipeline.styles.pictures import CURVES, LABEL, ON_SHEET, TILE, plain, write_curve, write_sheet


@given(st.text(max_size=300))
def test_any_text_is_a_part_of_a_name(text: str) -> None:
    name = plain(text)
    assert 0 < len(name.encode()) <= 160
    assert not set(name) & set("/\\\0\n\x1b\u202e")
    assert name not in (".", "..")
    assert not name.startswith(".")


def jpeg(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 30), colour).save(file, "JPEG")
    return file.getvalue()


def test_a_sheet_has_a_column_for_each_table(tmp_path: Path) -> None:
    ids = [str(number) for number in range(ON_SHEET + 3)]
    red = pa.table({"image_id": ids, "jpeg": [jpeg("red")] * len(ids)})
    blue = pa.table({"image_id": ids[1:], "jpeg": [jpeg("blue")] * (len(ids) - 1)})
    write_sheet({"one": red, "other": blue}, tmp_path / "sheet.jpg")
    page = np.asarray(Image.open(tmp_path / "sheet.jpg"))
    assert page.shape == (LABEL + ON_SHEET * TILE, 2 * TILE, 3)
    middle = LABEL + TILE // 2
    assert page[middle, TILE // 2].argmax() == 0
    assert page[middle, TILE + TILE // 2].max() < 50  # it has no picture of the first photo
    assert page[middle + TILE, TILE + TILE // 2].argmax() == 2


def test_a_curve_goes_down_on_the_page_as_the_cost_does(tmp_path: Path) -> None:
    write_curve([[1.0, 0.1, 0.01], [0.5, 0.5, 0.4]], tmp_path / "a.svg")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    first, _ = (each.get("points", "").split() for each in root.iter("{http://www.w3.org/2000/svg}polyline"))
    heights = [float(point.partition(",")[2]) for point in first]
    assert heights == pytest.approx([20, 170, 320])


@pytest.mark.parametrize("costs", [[], [[1.0]], [[float("nan"), 1.0]]])
def test_no_curve_of_nothing(costs: list[list[float]], tmp_path: Path) -> None:
    write_curve(costs, tmp_path / "a.svg")
    assert list(tmp_path.iterdir()) == []


def test_many_curves_are_some_of_them(tmp_path: Path) -> None:
    write_curve([[1.0, 0.5]] * 80, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text().count("<polyline") == CURVES
