import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from muster.errors import InputError
from muster.tasks import faces
from muster.tasks.faces import Detections
from muster.tasks.models import face_detector
from muster.training import face_maps, loop
from muster.training.data import scenes_of_faces
from muster.training.data.examples import PEOPLE_HELD_OUT, held_out
from muster.training.data.face_cutouts import Cutout, read_cutouts
from muster.training.data.scenes_of_faces import Backdrop
from muster.training.face_maps import Cells
from muster.training.inputs import Inputs
from muster.training.recipes import detector

pytestmark = pytest.mark.precision

SIDE = 64
GRID = face_maps.grid_of(SIDE, SIDE, torch.device("cpu"))


def random_maps(seed: int = 0) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 16, SIDE // s, SIDE // s, generator=random) for s in (8, 16, 32)]


def no_faces() -> Cells:
    return face_maps.decoded(face_maps.flat([m * 0 - 6 for m in random_maps()]), *GRID)


# ---- what a cell says ------------------------------------------------------------------------------------


def test_cells_are_decoded_as_in_detection() -> None:
    maps = random_maps()
    theirs, mine = faces._decode(maps, scale=1), face_maps.decoded(face_maps.flat(maps), *GRID)
    torch.testing.assert_close(torch.cat([mine.boxes, mine.score[..., None], mine.landmarks], -1), theirs)


def test_overlap_of_known_boxes() -> None:
    one = torch.tensor([0.0, 0, 2, 2])
    others = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2], [4, 0, 6, 2]])
    iou, giou = face_maps.overlap(one, others)
    assert iou.tolist() == pytest.approx([1, 1 / 3, 0])
    assert giou.tolist() == pytest.approx([1, 1 / 3, -1 / 3])


def test_mirrored_cells_say_where_faces_are_in_the_mirror_image() -> None:
    cells = face_maps.decoded(face_maps.flat(random_maps()), *GRID)
    order = face_maps.mirror_order(SIDE, SIDE)
    mirrored = face_maps.mirrored(cells, order, GRID[0], SIDE)
    column, row = 3, 2  # of level 8; a face there has its corner at x = 24, in the mirror image at 40: column 5
    old, new = row * 8 + column, row * 8 + 5
    assert torch.equal(mirrored.score[:, new], cells.score[:, old])
    assert torch.equal(mirrored.boxes[:, new, 0], SIDE - cells.boxes[:, old, 2])
    eyes, eyes_mirrored = cells.landmarks[:, old, :4], mirrored.landmarks[:, new, :4]
    assert torch.equal(eyes_mirrored[:, 0], SIDE - eyes[:, 2])
    assert torch.equal(eyes_mirrored[:, 1], eyes[:, 3])
    again = face_maps.mirrored(mirrored, order, GRID[0], SIDE)
    inner = GRID[0][:, 0] > 0
    for mine, other in zip(again.parts(), cells.parts(), strict=True):
        torch.testing.assert_close(mine[:, inner], other[:, inner])
    assert not mirrored.score[:, ~inner].any()


def face_at(x: float, y: float, size: float) -> tuple[torch.Tensor, torch.Tensor]:
    box = torch.tensor([x - size / 2, y - size / 2, x + size / 2, y + size / 2])
    return box, torch.tensor(
        [[x - 4, y - 4], [x + 4, y - 4], [x, y], [x - 4, y + 4], [x + 4, y + 4]], dtype=torch.float32
    )


@pytest.mark.parametrize(("size", "level"), [(40.0, 8), (64.0, 16), (110.0, 32)])
def test_a_pasted_face_that_the_teacher_misses_is_asked_for(size: float, level: int) -> None:
    targets = no_faces()
    box, landmarks = face_at(33, 31, size)
    missed = face_maps.add_known(targets, torch.tensor([1]), box[None], landmarks[None], GRID)
    assert missed.tolist() == [True]
    asked = targets.score[1] == face_maps.KNOWN_SCORE
    assert set(GRID[1][asked, 0].tolist()) == {level}
    assert float((GRID[0][asked] - torch.tensor([33.0, 31])).abs().max()) < level
    assert torch.equal(targets.boxes[1, asked][0], box)
    assert torch.equal(targets.landmarks[1, asked][0], landmarks.reshape(-1))
    assert float(targets.score[0].max()) < 0.01


def test_a_pasted_face_that_the_teacher_sees_or_that_is_tiny_changes_nothing() -> None:
    targets = no_faces()
    seen, tiny = face_at(33, 31, 20), face_at(10, 10, 9)
    targets.boxes[0, 20], targets.score[0, 20] = seen[0], 0.9
    before = targets.score.clone()
    boxes, landmarks = map(torch.stack, zip(seen, tiny, strict=True))
    assert not face_maps.add_known(targets, torch.tensor([0, 0]), boxes, landmarks, GRID).any()
    assert torch.equal(targets.score, before)


def test_a_cell_that_two_missed_faces_claim_is_asked_for_one_of_them() -> None:
    targets = no_faces()
    boxes, landmarks = map(torch.stack, zip(face_at(33, 31, 40), face_at(37, 31, 41), strict=True))
    assert face_maps.add_known(targets, torch.tensor([0, 0]), boxes, landmarks, GRID).all()
    asked = targets.score[0] == face_maps.KNOWN_SCORE
    for box, points in zip(targets.boxes[0, asked], targets.landmarks[0, asked], strict=True):
        which = int((boxes == box).all(1).nonzero())
        assert torch.equal(points, landmarks[which].reshape(-1))
    assert (targets.boxes[0, asked] == boxes[1]).all(1).any()


def test_a_find_is_taken_back_outside_every_place_where_a_face_may_be() -> None:
    targets = no_faces()
    inside, outside, other_scene = face_at(20, 20, 12), face_at(50, 20, 12), face_at(50, 20, 12)
    for scene, cell, (box, _) in ((0, 5, inside), (0, 6, outside), (1, 6, other_scene)):
        targets.boxes[scene, cell], targets.score[scene, cell] = box, 0.9
    places = torch.tensor([[10.0, 10, 30, 60], [0, 40, 8, 60], [0, 0, SIDE, SIDE]])
    face_maps.deny(targets, torch.tensor([0, 0, 1]), places, SIDE)
    assert [float(targets.score[s, c]) for s, c in ((0, 5), (0, 6), (1, 6))] == pytest.approx([0.9, 0, 0.9])
    assert float(targets.score[0].sum()) < 1  # whatever is outside
    face_maps.deny(targets, torch.empty(0, dtype=torch.int64), torch.empty(0, 4), SIDE)
    assert not targets.score.any()  # where nobody is, nothing is a face


def test_losses_are_nothing_where_the_target_is_met_and_grow_with_the_error() -> None:
    maps = random_maps()
    cells = face_maps.flat(maps)
    cells[..., 1] = cells[..., 0]  # √(class × object) is then the sigmoid of either
    targets = face_maps.decoded(cells, *GRID)
    assert all(float(value) == pytest.approx(0, abs=1e-4) for value in face_maps.losses(cells, targets, GRID).values())
    worse = cells.clone()
    worse[..., :2] += 0.5
    worse[..., 2:] += 0.3
    off = face_maps.losses(worse, targets, GRID)
    worse[..., 2:] += 0.3
    further = face_maps.losses(worse, targets, GRID)
    assert float(off["score"]) > 0.01
    assert 0.01 < float(off["box"]) < float(further["box"])
    assert 0.01 < float(off["landmarks"]) < float(further["landmarks"])


# ---- scenes ----------------------------------------------------------------------------------------------

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))


def dotted() -> Cutout:
    """A grey photo with a dot of another colour at each landmark."""
    points = np.array([[60, 60], [100, 60], [80, 80], [64, 104], [96, 104]], np.float32)
    pixels = np.full((160, 160, 3), 128, np.uint8)
    for (x, y), colour in zip(points.astype(int), COLOURS, strict=True):
        pixels[y - 5 : y + 6, x - 5 : x + 6] = colour
    return Cutout("dots", pixels, np.array([40, 30, 120, 130], np.float32), points)


@pytest.mark.parametrize("whole", [False, True])
def test_landmarks_follow_a_pasted_face(whole: bool) -> None:
    plain, swapped = range(5), (1, 0, 2, 4, 3)
    orders = []
    for seed in range(40):
        canvas = Image.new("RGB", (256, 256))
        box, landmarks, _ = scenes_of_faces.paste(canvas, dotted(), np.random.default_rng(seed), whole)
        if box[2] - box[0] > 40 and landmarks.min() > 2 and landmarks.max() < 253:
            seen = [np.array(canvas.getpixel((int(x), int(y)))) > 128 for x, y in landmarks]
            hits = [
                sum(np.array_equal(s, np.array(COLOURS[i]) > 128) for s, i in zip(seen, order, strict=True))
                for order in (plain, swapped)
            ]
            assert max(hits) >= 4, (seed, seen)  # light may take one over the bound
            orders.append(hits.index(max(hits)))
    assert set(orders) == {0, 1}  # some are mirror images, in which left and right change places


def test_the_same_random_state_gives_the_same_scene() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    one, same, other = (
        scenes_of_faces.make_scene([Backdrop("noise", photo)], [dotted()], np.random.default_rng(seed))
        for seed in (5, 5, 6)
    )
    assert np.array_equal(one.pixels, same.pixels)
    assert np.array_equal(one.boxes, same.boxes)
    assert not np.array_equal(one.pixels, other.pixels)
    assert one.pixels.shape == (256, 256, 3)
    assert one.pixels.dtype == np.uint8


def test_faces_of_a_scene_are_in_it_and_apart() -> None:
    photo = np.zeros((300, 200, 3), np.uint8)
    scenes = [
        scenes_of_faces.make_scene([Backdrop("black", photo)], [dotted()], np.random.default_rng(seed))
        for seed in range(60)
    ]
    assert 0 < sum(len(scene.boxes) == 0 for scene in scenes) < 40
    for scene in scenes:
        assert scene.landmarks.size == 0 or 0 < scene.landmarks.min() <= scene.landmarks.max() < 256
        boxes = torch.from_numpy(scene.boxes)
        iou = face_maps.overlap(boxes[:, None], boxes[None])[0].fill_diagonal_(0)
        assert not len(iou) or float(iou.max()) < 0.3


def spotted(places: list[list[float]]) -> Backdrop:
    """A black photo of 300×200 that is white in the middle of each box of a person."""
    pixels = np.zeros((200, 300, 3), np.uint8)
    for left, top, right, bottom in np.array(places).astype(int):
        pixels[(top + bottom) // 2 - 3 : (top + bottom) // 2 + 4, (left + right) // 2 - 3 : (left + right) // 2 + 4] = (
            255
        )
    return Backdrop("spots", pixels, np.array(places, np.float32).reshape(-1, 4))


def bright(canvas: Image.Image) -> np.ndarray:
    return np.argwhere(np.asarray(canvas)[..., 0] > 200)[:, ::-1] + 0.5


@given(seed=st.integers(0, 10**6), four=st.booleans())
def test_people_stay_where_a_face_may_be(seed: int, four: bool) -> None:
    photo, random = spotted([[20, 20, 60, 90], [200, 100, 290, 180]]), np.random.default_rng(seed)
    parts = [scenes_of_faces.background(photo, random) for _ in range(4)]
    canvas, places = scenes_of_faces.side_by_side(parts) if four else parts[0]
    for x, y in bright(canvas):
        assert ((places[:, :2] <= [x, y]) & (places[:, 2:] >= [x, y])).all(1).any()
    assert places.size == 0 or 0 <= places.min() <= places.max() <= 256


def test_where_a_scene_may_have_a_face() -> None:
    nobody, unknown = spotted([]), Backdrop("unknown", spotted([]).pixels)
    for seed in range(40):
        scene = scenes_of_faces.make_scene([nobody], [dotted()], np.random.default_rng(seed))
        same = scenes_of_faces.make_scene([unknown], [dotted()], np.random.default_rng(seed))
        assert np.array_equal(scene.pixels, same.pixels)
        assert face_maps.within(torch.tensor([0.0, 0, 256, 256]), torch.from_numpy(same.possible), 256).any()
        boxes = torch.from_numpy(scene.boxes)
        assert face_maps.within(boxes[:, None], torch.from_numpy(scene.possible), 256).any(1).all()
    empty = next(
        s
        for seed in count()
        if not len((s := scenes_of_faces.make_scene([nobody], [dotted()], np.random.default_rng(seed))).possible)
    )
    assert not len(empty.boxes)


# ---- the recipe ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teacher(data: Path) -> dict[str, object]:
    return torch.load(data / "weights/yunet_n.pth", map_location="cpu", weights_only=True)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe of small batches and pools."""
    monkeypatch.setattr(detector, "SETTINGS", replace(detector.SETTINGS, steps=8, batch=4, average=0.5, report_every=1))
    monkeypatch.setattr(detector, "POOL", 16)
    monkeypatch.setattr(detector, "AT_ONCE", 8)
    monkeypatch.setattr(detector, "CALIBRATED", 8)
    monkeypatch.setattr(detector, "MEASURED", 4)


@pytest.fixture
def inputs(tmp_path: Path, teacher: dict[str, object], make_photos: Callable[..., Path]) -> Callable[..., Inputs]:
    kept_out = next(name for i in count() if held_out(name := f"k{i}", PEOPLE_HELD_OUT))
    faces_of = [str(make_photos(tmp_path / name, range(0, 12, 3))) for name in ("faces", kept_out)]
    photos = make_photos(tmp_path / "photos", range(1, 9))

    def make(**changes: object) -> Inputs:
        given = {"images": faces_of, "out": tmp_path / "out", "scenes": [str(photos)]}
        return Inputs(**{**given, "weights": {"yunet-n": teacher}, **changes})  # type: ignore[arg-type]

    return make


@pytest.mark.usefixtures("small")
def test_it_trains_and_what_it_keeps_is_the_trained_network(inputs: Callable[..., Inputs], tmp_path: Path) -> None:
    recipe = detector.build(inputs())
    reports: list[loop.Report] = []
    file = loop.train(recipe, tmp_path / "out", torch.device("cpu"), reports.append)
    assert file.name == "detector.safetensors"
    assert [report.step for report in reports] == list(range(1, 9))
    losses = [report.values["loss"] for report in reports]
    assert sum(losses[4:]) < sum(losses[:4])
    torch.manual_seed(1)
    network = recipe.network().eval()
    kept = face_detector.from_state(recipe.weights(network)).eval()
    images = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        for trained, mine in zip(network(images), kept(images), strict=True):
            torch.testing.assert_close(trained[:, 2:], mine[:, 2:], atol=1e-4, rtol=1e-4)
            shift = mine[:, :2] - trained[:, :2]
            assert float(shift.max() - shift.min()) < 1e-3


@pytest.mark.usefixtures("small")
def test_batches_depend_on_the_step_alone(inputs: Callable[..., Inputs]) -> None:
    recipe, again = detector.build(inputs()), detector.build(inputs())
    batches = {step: recipe.batch(step, 0, 1) for step in (0, 4, 16)}
    for step in (16, 0, 4):
        other = again.batch(step, 0, 1)
        assert torch.equal(batches[step]["images"], other["images"])
        assert torch.equal(batches[step]["boxes"], other["boxes"])
    halves = [recipe.batch(4, rank, 2)["images"] for rank in (0, 1)]
    whole = batches[4]["images"]
    assert torch.equal(torch.stack(halves, 1).flatten(0, 1), whole)
    assert not torch.equal(batches[0]["images"], batches[16]["images"])


@pytest.mark.usefixtures("small")
def test_the_teacher_measured_against_itself_is_perfect(inputs: Callable[..., Inputs]) -> None:
    recipe = detector.build(inputs())
    _, found = recipe._kept_out  # type: ignore[attr-defined]
    assert sum(len(each.scores) for each in found) > 0
    assert detector.compared(found, found) == {"recall": 1.0, "precision": 1.0, "landmark_error": 0.0}


def test_nothing_is_measured_where_nobody_is_kept_out(inputs: Callable[..., Inputs], tmp_path: Path) -> None:
    recipe = detector.build(inputs(images=[str(tmp_path / "faces")]))
    assert recipe.card()["held_out"]["faces"] == 0
    assert recipe.measure(recipe.network()) == {}


def test_comparison_counts_misses_and_false_finds() -> None:
    box, landmarks = face_at(30, 30, 20)
    nothing = Detections(torch.empty(0, 4), torch.empty(0), torch.empty(0, 5, 2))
    one = Detections(box[None], torch.tensor([0.9]), landmarks[None])
    shifted = Detections(box[None] + 2, torch.tensor([0.9]), landmarks[None] + torch.tensor([2.0, 0]))
    result = detector.compared([one, one, nothing], [shifted, nothing, one])
    assert result == {"recall": 0.5, "precision": 0.5, "landmark_error": pytest.approx(0.25)}  # eyes are 8 apart


def test_the_least_score_keeps_false_finds_few() -> None:
    box, landmarks = face_at(30, 30, 20)
    truth = Detections(box[None], torch.tensor([0.9]), landmarks[None])

    def find(score: float, shift: float) -> Detections:
        return Detections(box[None] + shift, torch.tensor([score]), landmarks[None])

    mine = [find(0.9, 0), find(0.8, 1), find(0.7, 50), find(0.5, 0), find(0.4, 50)]
    assert detector.least_score([truth] * 5, mine, 0.25) == pytest.approx(0.5)  # 1 of 4 is false down to 0.5
    assert detector.least_score([truth] * 5, mine, 0.2) == pytest.approx(0.8)
    assert detector.least_score([truth], [find(0.9, 50)], 0.2) is None


def test_no_scenes(inputs: Callable[..., Inputs]) -> None:
    with pytest.raises(InputError, match="`scenes`"):
        detector.build(inputs(scenes=()))


def coco(path: Path, category: str, boxes: dict[str, list[list[float]]]) -> str:
    """A COCO file of these photos; a box [x, y, width, height] that begins at x = 0 is of a crowd."""
    images = [{"id": i, "file_name": name} for i, name in enumerate(boxes)]
    annotations = [
        {"image_id": i, "category_id": 3, "bbox": box, "iscrowd": int(box[0] == 0)}
        for i, name in enumerate(boxes)
        for box in boxes[name]
    ]
    content = {"images": images, "categories": [{"id": 3, "name": category}], "annotations": annotations}
    path.write_text(json.dumps(content))
    return str(path)


def test_people_of_scenes(inputs: Callable[..., Inputs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "PHOTO_SIDE", 200)  # photos of 400×300 are halved
    boxes = {"0001.jpg": [[20.0, 40, 100, 60], [0, 0, 10, 20]], "0002.jpg": [], "of-elsewhere.jpg": [[5.0, 5, 5, 5]]}
    training, measured = detector.read_scenes(inputs(labels=[coco(tmp_path / "people.json", "person", boxes)]))
    found = {photo.name: photo.people for photo in (*training, *measured)}
    assert found.pop("0001.jpg").tolist() == [[10, 20, 60, 50], [0, 0, 5, 10]]
    assert set(found.values()) == {None}  # 0002.jpg: nothing says that anybody looked at it


@pytest.mark.usefixtures("small")
def test_what_the_teacher_finds_outside_people_is_no_face(
    inputs: Callable[..., Inputs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector, "PHOTOS_HELD_OUT", 0.0)
    photos = {file.name: [[390.0, 290, 1, 1]] for file in (tmp_path / "photos").iterdir()}  # a person in a corner
    boxed = inputs(labels=[coco(tmp_path / "people.json", "person", photos)])
    sums = [[], []]
    for recipe, scores in zip((detector.build(inputs()), detector.build(boxed)), sums, strict=True):
        for scene in (s for i in range(60) if not len((s := recipe.scenes[i]).boxes)):
            pixels = torch.from_numpy(scene.pixels.copy()).flip(2).permute(2, 0, 1)[None]
            scores.append((len(scene.possible), float(recipe._targets(pixels, [scene]).score.max())))
    assert len(sums[0]) == len(sums[1])
    assert any(score > 0.6 for _, score in sums[0])
    assert all(score == 0 for places, score in sums[1] if not places)
    assert any(before > 0.6 and not places for (_, before), (places, _) in zip(*sums, strict=True))


def test_boxes_of_no_people(inputs: Callable[..., Inputs], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dogs\.json: it has no category 'person'"):
        detector.build(inputs(labels=[coco(tmp_path / "dogs.json", "dog", {"0001.jpg": []})]))


def test_boxes_of_other_photos(inputs: Callable[..., Inputs], tmp_path: Path) -> None:
    labels = coco(tmp_path / "others.json", "person", {"other.jpg": [[5.0, 5, 5, 5]], "0001.jpg": []})
    with pytest.raises(InputError, match=r"others\.json: no photo in .*photos has a box there, by its name"):
        detector.build(inputs(labels=[labels]))


def test_scenes_that_cannot_be_used(inputs: Callable[..., Inputs], tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "cut.jpg").write_bytes((tmp_path / "photos/0001.jpg").read_bytes()[:2000])
    Image.new("RGB", (20, 20)).save(folder / "tiny.png")
    skipped: list[str] = []
    with pytest.raises(InputError, match=f"none of the photos in {folder}"):
        detector.build(inputs(scenes=[str(folder)], on_skipped=skipped.append))
    assert any(text.startswith("cut.jpg: ") for text in skipped)
    assert any(text.startswith("tiny.png: ") for text in skipped)


def test_images_without_faces(inputs: Callable[..., Inputs], tmp_path: Path, teacher: dict[str, object]) -> None:
    from muster.tasks.models import yunet

    skipped: list[str] = []
    with pytest.raises(InputError, match=r"no face to cut out was found in 2 images"):
        read_cutouts(
            inputs(images=[str(tmp_path / f"photos/000{number}.jpg") for number in (1, 2)], on_skipped=skipped.append),
            yunet.from_published(teacher),
        )
    assert len(skipped) == 2
