"""A network that stays loaded sees what a run sees."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.fixtures import School
from muster.errors import ImageError
from muster.pipeline.gallery import resident as residents
from muster.pipeline.gallery.resident import BusyError, Resident, probes_of
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.machine import Machine
from muster.pipeline.work.worker import image_of
from muster.storage.photos import decode


@pytest.fixture(scope="module")
def resident() -> Resident:
    return Resident(TaskChoice(name="faces", model="own"), Machine(device="cpu"), 40_000_000)


def jpeg(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "grey").save(file, "JPEG")
    return file.getvalue()


def test_photos_together_are_seen_as_each_alone(resident: Resident, school: School) -> None:
    files = [*school.probes.values(), *school.strangers][:24]
    futures = [resident.submit(file.read_bytes()) for file in files]
    for file, future in zip(files, futures, strict=True):
        seen, photo = future.result(60), decode.decode(file.read_bytes(), resident.task.max_side)
        alone = resident.task([image_of("x", photo)])
        assert len(seen.faces) == len(seen.embeddings) == alone.num_rows > 0
        vectors = np.array(alone["embedding"].to_pylist())
        assert ((seen.embeddings * vectors).sum(1) > 0.999).all()
        assert [face["box_xyxy"] for face in seen.faces] == [
            pytest.approx(box, abs=0.5) for box in alone["box_xyxy"].to_pylist()
        ]
        assert (seen.size, seen.sha256) == (photo.size, photo.sha256)
        assert seen.faces[0]["thumbnail"][:2] == b"\xff\xd8"


def test_what_is_no_photo_fails_alone(resident: Resident, school: School) -> None:
    good = next(iter(school.probes.values())).read_bytes()
    files = [good, b"", b"hello", good[:800], jpeg(8000, 5200), jpeg(300, 200), good]
    futures = [resident.submit(data) for data in files]
    found = [future.exception(60) for future in futures]
    kinds = [error.kind if isinstance(error, ImageError) else error for error in found]
    assert kinds == [None, "empty", "not_an_image", "truncated", "too_large", None, None]
    assert "8000×5200 pixels are too many (limit 40 million)" in str(found[4])
    grey, first, last = (futures[i].result() for i in (5, 0, 6))
    assert (len(grey.faces), grey.embeddings.shape) == (0, (0, resident.task.width))
    probes = probes_of([("0", first), ("1", grey), ("2", last)])
    assert {row["image"] for row in probes.rows} == {"0", "2"}
    assert len(probes.embeddings) == len(probes.rows)
    assert probes.errors == [{"image": "1", "reason": "no face"}]


def test_too_many_at_once_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(residents, "WAITING", 3)
    monkeypatch.setattr(Resident, "_look", lambda self, taken: held.append(taken) or gate.wait(60))
    import threading

    held: list[object] = []
    gate = threading.Event()
    resident = Resident(TaskChoice(name="faces", model="own"), Machine(device="cpu"), 1)

    def ask_many() -> None:
        for _ in range(200):
            resident.submit(b"x")

    with pytest.raises(BusyError, match="ask again"):
        ask_many()
    assert resident.depth <= 3
    gate.set()
    resident.close()
