import io

import pytest
from PIL import Image

from muster.web.crops import EMPTY, SIDE, face_crop


def preview(size: tuple[int, int], red: tuple[int, int, int, int]) -> bytes:
    picture = Image.new("RGB", size)
    picture.paste((255, 0, 0), red)
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=95)
    return sink.getvalue()


def test_a_face_is_in_the_middle_of_its_picture() -> None:
    data = face_crop(preview((400, 300), (100, 100, 200, 200)), (1000, 1000, 2000, 2000), (4000, 3000))
    with Image.open(io.BytesIO(data)) as crop:
        assert crop.size == (SIDE, SIDE)
        assert crop.getpixel((SIDE // 2, SIDE // 2))[0] > 200
        assert crop.getpixel((5, 5))[0] < 60


@pytest.mark.parametrize(
    "box", [(0, 0, 10, 10), (-50, -50, 20, 20), (3990, 2990, 4100, 3100), (0, 0, 4000, 3000), (5000, 5000, 6000, 6000)]
)
def test_a_face_at_the_edge_has_a_picture_too(box: tuple[float, float, float, float]) -> None:
    with Image.open(io.BytesIO(face_crop(preview((400, 300), (0, 0, 400, 300)), box, (4000, 3000)))) as crop:
        assert crop.size == (SIDE, SIDE)
        assert crop.getpixel((SIDE // 2, SIDE // 2))[0] > 200


def test_without_a_preview_it_is_grey() -> None:
    with Image.open(io.BytesIO(face_crop(None, (0, 0, 9, 9), (40, 30)))) as crop:
        assert crop.getpixel((80, 80)) == pytest.approx(EMPTY, abs=2)
