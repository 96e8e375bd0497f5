import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageFilter
from torchvision.ops import nms

from helpers.precision import NEEDS_BF16
from helpers.profiles import PROPHOTO
from muster.colour import in_srgb
from muster.pipeline.work.weights import load_weights
from muster.tasks import faces
from muster.tasks.base import Image
from muster.tasks.faces import FaceParameters, Faces, thumbnail
from muster.tasks.geometry.align import TEMPLATE
from muster.tasks.models import face_quality, zoo
from muster.tasks.models.fuse import for_inference
from muster.tasks.people.graph import GraphParameters

pytestmark = pytest.mark.precision


def weights(data: Path, model: str = "published") -> dict:
    return {name: load_weights(zoo.ENTRIES[name], data / "weights") for name in Faces(model).models.values()}


@pytest.fixture(scope="module")
def task(data: Path) -> Faces:
    """With the published networks, whose canonical outputs are known."""
    task = Faces("published")
    task.load(torch.device("cpu"), weights(data))
    return task


@pytest.fixture(scope="module")
def lfw(data: Path) -> list[Image]:
    rows = pq.ParquetFile(data / "lfw/lfw.parquet").read_row_group(0, ["image"])["image"].to_pylist()[:24]
    return [_image(str(i), PillowImage.open(io.BytesIO(row))) for i, row in enumerate(rows)]


def _image(name: str, picture: PillowImage.Image, scale: float = 1.0) -> Image:
    pixels = np.array(picture.convert("RGB"))
    return Image(name, pixels, scale, (round(pixels.shape[1] / scale), round(pixels.shape[0] / scale)))


def _astronaut(side: int = 512) -> PillowImage.Image:
    data = pytest.importorskip("skimage.data")
    return PillowImage.fromarray(data.astronaut()).resize((side, side))


def test_a_face_and_its_landmarks_are_where_they_are(task: Faces) -> None:
    row = task([_image("a", _astronaut())]).to_pylist()
    assert len(row) == 1
    x0, y0, x1, y1 = row[0]["box_xyxy"]
    assert (x0, y0, x1, y1) == pytest.approx((176, 66, 272, 184), abs=8)
    left_eye, right_eye, nose, left_mouth, right_mouth = row[0]["landmarks"]
    assert x0 < left_eye[0] < nose[0] < right_eye[0] < x1
    assert y0 < left_eye[1] < nose[1] < left_mouth[1] < y1
    assert left_mouth[0] < right_mouth[0]
    assert row[0]["quality"] > 0.8


def test_coordinates_are_of_the_full_size(task: Faces) -> None:
    full = task([_image("a", _astronaut())]).to_pylist()[0]
    half = task([_image("a", _astronaut(256), scale=0.5)]).to_pylist()[0]
    np.testing.assert_allclose(half["box_xyxy"], full["box_xyxy"], atol=5)
    np.testing.assert_allclose(half["landmarks"], full["landmarks"], atol=4)
    assert np.dot(half["embedding"], full["embedding"]) > 0.9


@pytest.mark.parametrize("side", [200, 700, 1280, 4000])
def test_a_face_is_found_once_at_any_size(task: Faces, side: int) -> None:
    reference = task([_image("a", _astronaut())]).to_pylist()[0]
    rows = task([_image("a", _astronaut(side))]).to_pylist()
    assert len(rows) == 1
    assert np.dot(rows[0]["embedding"], reference["embedding"]) > 0.85
    np.testing.assert_allclose(np.array(rows[0]["box_xyxy"]) * 512 / side, reference["box_xyxy"], atol=12)


def test_a_face_that_fills_a_large_photo_is_found_once(task: Faces) -> None:
    face = _astronaut().crop((150, 40, 300, 200)).resize((1200, 1280))
    assert task([_image("a", face)]).num_rows == 1


def test_what_is_found_does_not_depend_on_the_batch(task: Faces, lfw: list[Image]) -> None:
    together = task([*lfw, _image("astronaut", _astronaut(700))])
    alone = [row for image in lfw for row in task([image]).to_pylist()]
    assert [r["face_id"] for r in alone] == together["face_id"].to_pylist()[: len(alone)]
    for one, many in zip(alone, together.to_pylist(), strict=False):
        assert np.dot(one["embedding"], many["embedding"]) > 0.999
        np.testing.assert_allclose(one["box_xyxy"], many["box_xyxy"], atol=0.5)


@NEEDS_BF16
def test_bf16_and_fp32_agree(data: Path, lfw: list[Image]) -> None:
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        task = Faces("published")
        task.load(torch.device("cpu"), weights(data))
        task.dtype = dtype
        task.detector = for_inference(zoo.ENTRIES["yunet-n"].build(weights(data)["yunet-n"]), task.device, dtype)
        built = zoo.ENTRIES["mobilefacenet"].build(weights(data)["mobilefacenet"])
        task.embedder = for_inference(built, task.device, dtype)
        rows.append(task(lfw).to_pylist())
    assert [r["face_id"] for r in rows[0]] == [r["face_id"] for r in rows[1]]
    cosines = [np.dot(full["embedding"], short["embedding"]) for full, short in zip(*rows, strict=True)]
    assert np.median(cosines) > 0.995
    assert min(cosines) > 0.95  # where two cells see a face equally well, rounding decides whose landmarks count
    for full, short in zip(*rows, strict=True):
        np.testing.assert_allclose(full["box_xyxy"], short["box_xyxy"], atol=4)


def test_landmarks_equal_the_canonical_ones(task: Faces, data: Path) -> None:
    canonical = np.load(data.parent / "reference" / "canonical_faces.npz")
    table = pq.read_table(data / "lfw/lfw.parquet", columns=["file", "image"])
    by_name = dict(zip(table["file"].to_pylist(), table["image"].to_pylist(), strict=True))
    images = [_image(n, PillowImage.open(io.BytesIO(by_name[n]))) for n in canonical["names"].tolist()]
    found: dict = {}
    for row in task(images).to_pylist():
        found.setdefault(row["image_id"], []).append(row)
    distances, cosines = [], []
    for name, landmarks, embedding in zip(
        canonical["names"], canonical["landmarks"], canonical["embedding"], strict=True
    ):
        nearest = min(found[str(name)], key=lambda r: np.abs(np.array(r["landmarks"]) - landmarks).max())
        distances.append(np.abs(np.array(nearest["landmarks"]) - landmarks).max())
        cosines.append(np.dot(nearest["embedding"], embedding))
    assert np.median(distances) < 1  # pixels
    assert max(distances) < 8
    assert np.median(cosines) > 0.97  # alignment is by least squares here, by least median there
    assert min(cosines) > 0.85


def test_an_embedder_with_parameters_alone_is_run() -> None:
    """As our own is on a GPU, where its convolutions are not turned into buffers for oneDNN."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 112 * 112, 128))
    crops = torch.randint(0, 256, (2, 112, 112, 3), dtype=torch.uint8)
    with torch.inference_mode():
        plain = faces.embed(network, crops, torch.float32, mirror=False)
        mirrored = faces.embed(network, crops, torch.float32, mirror=True)
        given, turned = (network(faces.normalised(each).permute(0, 3, 1, 2)) for each in (crops, crops.flip(2)))
    for vectors in (plain, mirrored):
        torch.testing.assert_close(vectors.embeddings.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(plain.lengths, given.norm(dim=1))
    torch.testing.assert_close(mirrored.lengths, (given.norm(dim=1) + turned.norm(dim=1)) / 2)
    torch.testing.assert_close(plain.agreement, torch.ones(2))
    torch.testing.assert_close(mirrored.agreement, torch.cosine_similarity(given, turned))


def test_no_image_and_no_face(task: Faces) -> None:
    assert task([]).equals(task.schema.empty_table())
    blank = Image("a", np.full((300, 200, 3), 128, np.uint8), 1.0, (200, 300))
    tiny = Image("b", np.zeros((1, 1, 3), np.uint8), 1.0, (1, 1))
    assert task([blank, tiny]).num_rows == 0


@given(st.integers(0, 10_000), st.integers(0, 40), st.floats(0.05, 0.9))
def test_suppression_is_torchvisions(seed: int, count: int, overlap: float) -> None:
    g = torch.Generator().manual_seed(seed)
    low, size = torch.rand(count, 2, generator=g) * 50, torch.rand(count, 2, generator=g) * 40 + 1
    found = torch.cat([low, low + size, torch.rand(count, 1, generator=g), torch.rand(count, 10, generator=g)], 1)
    ours = faces._suppress(found, FaceParameters(max_overlap=overlap, max_inside=1.0))
    theirs = found[nms(found[:, :4], found[:, 4], overlap)]
    torch.testing.assert_close(ours.boxes, theirs[:, :4])
    torch.testing.assert_close(ours.landmarks.flatten(1), theirs[:, 5:])


def test_a_find_inside_a_better_one_is_a_part_of_it() -> None:
    face, eye, beside, around = (
        [0, 0, 100, 100, 0.9],
        [20, 20, 40, 40, 0.8],
        [90, 0, 120, 30, 0.7],
        [-60, -60, 200, 200, 0.6],
    )
    found = torch.tensor([[*find, *[0] * 10] for find in (eye, around, face, beside)], dtype=torch.float32)
    kept = faces._suppress(found, FaceParameters())
    assert kept.scores.tolist() == pytest.approx([0.9, 0.7, 0.6])


@given(st.lists(st.floats(-50, 350), min_size=4, max_size=4), st.integers(1, 300), st.integers(1, 300))
def test_a_thumbnail_for_any_box(box: list[float], width: int, height: int) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    corners = np.array([min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])], np.float32)
    jpeg = PillowImage.open(io.BytesIO(thumbnail(picture, corners)))
    assert jpeg.size == (160, 160)


def test_a_thumbnail_has_the_colours_that_the_profile_means() -> None:
    picture = np.full((60, 80, 3), (150, 120, 100), np.uint8)
    corners = np.array([10, 10, 40, 40], np.float32)
    shown = np.asarray(PillowImage.open(io.BytesIO(thumbnail(picture, corners, PROPHOTO))))
    assert np.abs(shown.astype(int) - in_srgb(picture[:1, :1], PROPHOTO)).max() <= 3
    assert np.abs(shown.astype(int) - picture[0, 0]).max() > 10


def test_a_profile_changes_nothing_that_is_computed(task: Faces) -> None:
    plain, wide = (task([replace(_image("a", _astronaut()), profile=each)]) for each in (None, PROPHOTO))
    assert len(plain) == 1
    assert plain["thumbnail"] != wide["thumbnail"]
    assert plain.drop_columns("thumbnail").equals(wide.drop_columns("thumbnail"))


@torch.inference_mode()
def _qualities(task: Faces, picture: PillowImage.Image, min_score: float | None = None) -> list[float]:
    return task.quality(task.find([_image("a", picture)], min_score).signs).sigmoid().tolist()


@pytest.mark.parametrize("model", ["own", "published"])
def test_quality_is_low_of_what_nobody_would_be_recognised_by(data: Path, model: str) -> None:
    pictures = pytest.importorskip("skimage.data")
    task = Faces(model)
    task.load(torch.device("cpu"), weights(data, model))
    [sharp] = _qualities(task, _astronaut())
    assert sharp > 0.5
    [small] = _qualities(task, _astronaut(90))
    blurred = _qualities(task, _astronaut().filter(ImageFilter.GaussianBlur(6)))  # one of them does not find it
    nobody = [_qualities(task, PillowImage.fromarray(each()), 0.1) for each in (pictures.coffee, pictures.chelsea)]
    assert min(map(len, nobody)) > 0
    assert max([small, *blurred, *nobody[0], *nobody[1]]) < GraphParameters().min_quality


def test_yaw() -> None:
    frontal = np.array([[[-20, 0], [20, 0], [0, 20], [-15, 40], [15, 40]]], np.float32)
    turned = frontal + np.array([[[0, 0], [0, 0], [18, 0], [0, 0], [0, 0]]], np.float32)
    assert faces.yaw(frontal)[0] < 0.05
    assert faces.yaw(turned)[0] > 0.8


def test_each_sign_says_what_it_should() -> None:
    """Of a face in a checked shirt: one of it is changed, and its signs move as their names say."""
    y, x = np.mgrid[:112, :112]
    crop = torch.from_numpy(np.where((x // 8 + y // 8) % 2, 160, 90).astype(np.uint8))[None, :, :, None].expand(
        1, 112, 112, 3
    )

    def signs(crop: torch.Tensor = crop, length=10.0, agreement=0.9, score=0.8, side=50.0, nose=0.0, mouth=0.0):
        landmarks = TEMPLATE[None] + torch.tensor([[[0, 0], [0, 0], [nose, 0], [0, mouth], [0, mouth]]])
        found = faces.Detections(torch.tensor([[0, 0, side, side * 2]]), torch.tensor([score]), landmarks)
        vectors = faces.Vectors(torch.empty(1, 128), torch.tensor([length]), torch.tensor([agreement]))
        return faces.signs(crop, found, vectors)[0]

    smooth = torch.from_numpy(np.array(PillowImage.fromarray(crop[0].numpy()).filter(ImageFilter.GaussianBlur(2))))
    fainter = ((crop.float() - 125) / 2 + 125).round().byte()
    usual = signs()
    assert usual.tolist()[:4] == pytest.approx([np.log(10), 0.9, np.log(0.8 / 0.2), np.log(50)])
    for number, (change, sign) in enumerate(
        [
            ({"length": 5.0}, -1),
            ({"agreement": 0.5}, -1),
            ({"score": 0.6}, -1),
            ({"side": 20.0}, -1),
            ({"crop": smooth[None]}, -1),  # sharpness
            ({"nose": 9.0}, 1),  # yaw
            ({"mouth": 15.0}, 1),  # misfit
            ({"crop": fainter}, -1),  # contrast
        ]
    ):
        moved = signs(**change) - usual  # type: ignore[arg-type]
        assert moved[number] * sign > 0.05, number


CORNERS = st.lists(st.floats(-200, 200, width=32), min_size=14, max_size=14)


@given(CORNERS, st.floats(0, 1, width=32), st.floats(0, 1e4, width=32), st.integers(0, 255), st.booleans())
def test_signs_are_numbers_whatever_is_found(
    points: list[float], score: float, length: float, grey: int, one_point: bool
) -> None:
    landmarks = torch.tensor(points[4:]).view(1, 5, 2)
    if one_point:
        landmarks = landmarks[:, :1].expand(1, 5, 2)
    found = faces.Detections(torch.tensor([points[:4]]), torch.tensor([score]), landmarks)
    vectors = faces.Vectors(torch.zeros(1, 128), torch.tensor([length]), torch.tensor([1.0]))
    signs = faces.signs(torch.full((1, 112, 112, 3), grey, dtype=torch.uint8), found, vectors)
    assert signs.shape == (1, face_quality.SIGNS)
    assert signs.dtype == torch.float32
    assert signs.isfinite().all()


def test_rows_are_of_what_is_found(task: Faces, lfw: list[Image]) -> None:
    rows, found, more = task(lfw), task.find(lfw), task.find(lfw, 0.1)
    assert rows["image_id"].to_pylist() == [owner.image_id for owner in found.owners]
    np.testing.assert_array_equal(rows["score"].to_numpy(), found.faces.scores)
    with torch.inference_mode():
        np.testing.assert_allclose(rows["quality"].to_numpy(), task.quality(found.signs).sigmoid(), atol=1e-6)
    assert len(more.owners) > len(found.owners)
    assert 0.1 < more.faces.scores.min() < 0.6 < found.faces.scores.min()


@torch.inference_mode()
def test_small_faces_of_small_images_are_seen_in_double_size() -> None:
    """Our own detector, which fades below 16 pixels; images of other sizes are looked at as ever."""
    own = Faces("own")
    entry = zoo.ENTRIES[own.models["detector"]]
    network = for_inference(entry.build(load_weights(entry, None)), torch.device("cpu"), torch.float32)
    assert own.parameters["double_between"] == (320, 640)
    assert "double_between" not in Faces("published").parameters
    head = _astronaut(512).crop((100, 0, 400, 300)).resize((36, 36), PillowImage.Resampling.LANCZOS)

    def found(side: int, double: tuple[int, int] | None) -> list[list[float]]:
        canvas = PillowImage.new("RGB", (side, side), (120, 130, 140))
        canvas.paste(head, (200, 200))
        parameters = FaceParameters(double_between=double)
        return faces.detect(network, [np.asarray(canvas)], parameters, torch.device("cpu"), torch.float32)[
            0
        ].boxes.tolist()

    assert found(480, None) == []
    [box] = found(480, entry.double_between)
    assert box == pytest.approx((210, 208, 220, 221), abs=4)
    assert found(700, entry.double_between) == found(700, None)


@pytest.fixture(scope="module")
def frontal_task(data: Path) -> Faces:
    task = Faces("published-frontal")
    task.load(torch.device("cpu"), weights(data, "published-frontal"))
    return task


def test_frontal_changes_the_embeddings_of_turned_faces_alone(
    task: Faces, frontal_task: Faces, lfw: list[Image]
) -> None:
    """All else is as ever, bit for bit; embeddings of turned faces are others, and of the same people."""
    plain, turned = task(lfw), frontal_task(lfw)
    assert turned.drop_columns(["embedding", *faces.POSE]).equals(plain.drop_columns("embedding"))
    yaw = np.abs(turned["yaw"].to_numpy())
    assert 0 < (yaw > faces.FRONTAL_FROM).sum() < len(yaw)
    for angle, one, other in zip(yaw, plain["embedding"].to_pylist(), turned["embedding"].to_pylist(), strict=True):
        assert (one == other) == (angle <= faces.FRONTAL_FROM)
        assert np.dot(one, other) > 0.85
        assert np.linalg.norm(other) == pytest.approx(1, abs=1e-5)


def test_pose_is_null_where_it_is_not_known(frontal_task: Faces, lfw: list[Image]) -> None:
    """Landmarks that are none of a face from in front: the embedding is that of five points, and there is no pose."""
    landmarks = torch.stack([torch.ones(5, 2), TEMPLATE[[1, 0, 2, 4, 3]], TEMPLATE + torch.nan])
    found = faces.Detections(torch.tensor([[0.0, 0, 50, 50]] * 3), torch.full((3,), 0.9), landmarks)
    vectors = faces.Vectors(torch.eye(3, 128), torch.ones(3), torch.ones(3))
    with torch.inference_mode():
        after = frontal_task.with_frontal([lfw[0]] * 3, landmarks, vectors)
    assert after.embeddings.equal(vectors.embeddings)
    rows = faces._rows(faces.Found([lfw[0]] * 3, found, after, torch.zeros(3, 8)), np.ones(3), frontal_task.schema)
    assert rows.select(faces.POSE).to_pylist() == [dict.fromkeys(faces.POSE)] * 3


def test_models_from_in_front_are_others() -> None:
    for name in ("own", "published"):
        plain, front = Faces(name), Faces(f"{name}-frontal")
        assert "frontal_from" not in plain.parameters
        assert front.parameters["frontal_from"] == faces.FRONTAL_FROM
        assert front.models == {**plain.models, "landmarks": "landmarks68"}
        assert front.schema.names == [*plain.schema.names, *faces.POSE]
