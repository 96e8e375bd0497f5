import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data as pictures

from muster.errors import InputError
from muster.pipeline.work.weights import load_weights
from muster.tasks.faces import Detections, Faces, Found, Vectors
from muster.tasks.models import zoo
from muster.tasks.models.face_embedder import DIMENSIONS as EMBEDDING
from muster.tasks.models.face_quality import SIGNS
from muster.tasks.people.search import normalised
from muster.training.data import found_faces
from muster.training.data.examples import PEOPLE_HELD_OUT, find_examples, held_out
from muster.training.data.found_faces import EAGER, LEAST_PEOPLE, Finds, central, judged, read_known, read_scenes, spoil
from muster.training.data.people_in_photos import PHOTOS_HELD_OUT
from muster.training.inputs import Inputs

pytestmark = pytest.mark.precision

SIDES = st.integers(1, 60)


@pytest.fixture(scope="module")
def task() -> Faces:
    """With the networks that are shipped, and no quality yet."""
    task = Faces("own")
    names = (task.models[role] for role in ("detector", "embedder"))
    task.load_networks(torch.device("cpu"), {name: load_weights(zoo.ENTRIES[name], None) for name in names})
    return task


# ---- worse photos ----------------------------------------------------------------------------------------------------


@given(SIDES, SIDES, st.booleans(), st.integers(0, 10_000))
def test_a_spoilt_photo_is_a_photo(height: int, width: int, grey: bool, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 1 if grey else 3), np.uint8)
    pixels = np.broadcast_to(pixels, (height, width, 3))
    spoilt = spoil(pixels, np.random.default_rng(seed))
    assert (spoilt.dtype, spoilt.shape[2]) == (np.uint8, 3)
    assert max(spoilt.shape[:2]) <= max(16, height, width)
    assert np.array_equal(spoilt, spoil(pixels, np.random.default_rng(seed)))


def test_each_photo_is_spoilt_in_another_way() -> None:
    photo = pictures.astronaut()[:160, 140:300]
    spoilt = [spoil(photo, np.random.default_rng(seed)) for seed in range(30)]
    assert len({each.tobytes() for each in spoilt}) == 30
    assert len({each.shape for each in spoilt}) > 15
    assert len({round(float(each.mean())) for each in spoilt}) > 10


@given(SIDES, SIDES)
def test_photos_without_faces_are_looked_at_from_all_sides(height: int, width: int) -> None:
    pixels = np.random.default_rng(height * 60 + width).integers(0, 256, (height, width, 3), np.uint8)
    views = found_faces._views(pixels)
    assert np.array_equal(views[0], pixels), "the first is the photo as it is"
    assert len(views) == 16
    sizes = {view.shape[:2] for view in views}
    half = (max(1, height // 2), max(1, width // 2))
    assert sizes == {(height, width), (width, height), half, half[::-1]}
    seen = {view.tobytes() for view in views}
    assert all(np.ascontiguousarray(view[:, ::-1]).tobytes() in seen for view in views)
    assert all(np.ascontiguousarray(np.rot90(view)).tobytes() in seen for view in views)


# ---- who is recognised -----------------------------------------------------------------------------------------------

PHOTOS = 3
STRANGERS = LEAST_PEOPLE + 20


def school(people: int = LEAST_PEOPLE, strangers: int = STRANGERS) -> tuple[np.ndarray, list[str]]:
    """Faces of people with three photos each, and then of strangers with one; two of one person have a cosine of .9."""
    random = np.random.default_rng(0)
    who = [f"p{i}" for i in range(people) for _ in range(PHOTOS)] + [f"s{i}" for i in range(strangers)]
    centres = normalised(random.normal(size=(people + strangers, EMBEDDING)))
    centre = centres[[*np.repeat(np.arange(people), PHOTOS), *range(people, people + strangers)]]
    return normalised(centre + 0.33 * normalised(random.normal(size=centre.shape))), who


def finds(faces: np.ndarray, photos: list[int] | None = None) -> Finds:
    number = np.arange(len(faces)) if photos is None else np.array(photos, np.int64)
    return Finds(torch.from_numpy(faces[number]), torch.zeros(len(number), SIGNS), number)


def test_who_is_recognised() -> None:
    plain, people = school()
    spoilt, n = plain.copy(), len(plain)
    plain[0] = plain[6]  # a photo of p0 that shows p2: it is taken for p2
    spoilt[3:5] = normalised(np.random.default_rng(1).normal(size=(2, EMBEDDING)))  # of p1, like nobody any more
    spoilt[9] = normalised(0.8 * plain[9:10] + plain[15:16])[0]  # of p3: like it, and more like p5
    rows, recognised = judged(finds(plain), finds(spoilt), people)
    known = LEAST_PEOPLE * PHOTOS
    assert rows.tolist() == [*range(known), *range(n, n + known)]
    assert set(rows[~recognised]) == {0, n + 3, n + 4, n + 9}


def test_a_face_is_not_recognised_by_its_own_photo() -> None:
    """Of p0 one photo is unlike the other two, of p1 each is unlike the others; the spoilt ones are like the plain."""
    faces, people = school()
    faces[0], faces[3:6] = (
        normalised(np.random.default_rng(i).normal(size=(k, EMBEDDING))) for i, k in ((1, 1), (2, 3))
    )
    rows, recognised = judged(finds(faces), finds(faces), people)
    n = len(faces)
    assert set(rows[~recognised]) == {row + shift for row in (0, 3, 4, 5) for shift in (0, n)}


def test_recognised_is_who_is_above_what_one_stranger_in_a_hundred_reaches() -> None:
    faces, people = school()
    weak = np.random.default_rng(5).normal(size=(4, EMBEDDING))
    faces[:3] = normalised(1.15 * normalised(weak[:1]) + normalised(weak[1:]))  # of p0: cosines of about .6
    _, recognised = judged(finds(faces), finds(faces, []), people)
    assert recognised.all()
    others = normalised(np.random.default_rng(7).normal(size=(2, EMBEDDING)))
    faces[-2:] = normalised(0.75 * faces[30] + 0.66 * others)  # two of 120 strangers look like p10
    rows, recognised = judged(finds(faces), finds(faces, []), people)
    assert rows[~recognised].tolist() == [0, 1, 2]
    faces[-1] = others[1]  # one of 120 is fewer than one in 100
    assert judged(finds(faces), finds(faces, []), people)[1].all()


def test_a_person_of_whom_one_photo_shows_a_face_has_one_photo() -> None:
    faces, people = school(LEAST_PEOPLE + 1)
    found = [i for i in range(len(faces)) if i not in (1, 2)]
    rows, recognised = judged(finds(faces, found), finds(faces, [0, 1, 4]), people)
    known = LEAST_PEOPLE * PHOTOS
    assert rows.tolist() == [*range(1, known + 1), len(found) + 2]  # neither p0, whose face is a stranger's now
    assert recognised.all()


@pytest.mark.parametrize(
    ("people", "strangers"), [(LEAST_PEOPLE - 1, STRANGERS), (LEAST_PEOPLE, LEAST_PEOPLE - 1), (0, 0)]
)
def test_too_few_people(people: int, strangers: int) -> None:
    faces, names = school(people, strangers) if people else (np.empty((0, EMBEDDING), np.float32), [])
    text = f"{people} people with several photos and {strangers} with one are too few .*`label`"
    with pytest.raises(InputError, match=text):
        judged(finds(faces), finds(faces), names)


def test_people_are_read_with_their_photos_as_they_are_and_spoilt(
    data: Path, tmp_path: Path, task: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found_faces, "LEAST_PEOPLE", 5)
    images = [str(data / "lfw/lfw.parquet")]
    person = {example.name: str(example.label) for example in find_examples(images, "person", 60)}
    known, people = read_known(Inputs(images=images, out=tmp_path, label="person", limit=60), task)
    out = [held_out(person[name], PEOPLE_HELD_OUT) for name in known.names]
    assert known.kept_out.tolist() == out
    assert any(out)
    assert not all(out)
    several = {name for name in person if list(person.values()).count(person[name]) > 1}
    plain = [name for name, flag in zip(known.names, known.plain, strict=True) if flag]
    assert sorted(plain) == sorted(several)  # LFW shows a face in each of its photos, and once
    assert 0.5 * len(plain) < np.count_nonzero(~known.plain) <= len(plain)
    assert known.recognised[known.plain].mean() > known.recognised[~known.plain].mean()
    assert len(people) == len({who for who in person.values() if not held_out(who, PEOPLE_HELD_OUT)})


def test_photos_that_cannot_be_read(tmp_path: Path, task: Faces) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    skipped: list[str] = []
    with pytest.raises(InputError, match="0 people with several photos"):
        read_known(Inputs(images=[str(tmp_path)], out=tmp_path, on_skipped=skipped.append), task)
    assert len(skipped) == 1


def test_the_face_nearest_the_middle(task: Faces) -> None:
    head = Image.fromarray(pictures.astronaut()).crop((140, 20, 310, 220))
    photo = Image.new("RGB", (700, 300), (120, 130, 140))
    photo.paste(head.resize((255, 300)), (0, 0))
    photo.paste(head, (270, 50))
    blank = np.full((40, 40, 3), 128, np.uint8)
    alone = np.array(photo)[:, 256:500]
    found = central(task, [np.array(photo), *[blank] * 70, alone])
    assert found.photo.tolist() == [0, 71]
    assert float(found.embeddings[0] @ found.embeddings[1]) > 0.9
    assert float(found.signs[0, 3] - found.signs[1, 3]) == pytest.approx(0, abs=0.1)  # the larger face has .4 more
    assert len(central(task, [])) == len(central(task, [blank])) == 0


# ---- where nobody is -------------------------------------------------------------------------------------------------


def test_finds_outside_every_person(task: Faces) -> None:
    boxes = torch.tensor([[10.0, 10, 30, 30], [50, 50, 70, 70], [95, 40, 125, 60], [28, 10, 40, 30]])
    found = Found(
        [found_faces._image(np.zeros((80, 100, 3), np.uint8))] * 4,
        Detections(boxes, torch.ones(4), torch.zeros(4, 5, 2)),
        Vectors(torch.zeros(4, EMBEDDING), torch.ones(4), torch.ones(4)),
        torch.zeros(4, SIGNS),
    )
    people = np.array([[0, 0, 30, 80], [90, 30, 100, 70]], np.float32)
    assert found_faces._outside(found, people).tolist() == [1, 3]  # the third's middle is beyond the photo's edge
    assert found_faces._outside(found, people[:0]).tolist() == [0, 1, 2, 3]
    with torch.inference_mode():
        nothing = task.find([found_faces._image(np.zeros((8, 8, 3), np.uint8))])
    assert found_faces._outside(nothing, people).tolist() == []


Scenes = Callable[..., Inputs]


@pytest.fixture
def scenes(tmp_path: Path) -> Scenes:
    """scenes(name → (picture, box of a person or None)): inputs with a COCO file that says where people are; each photo
    has also a box of something else."""

    def make(photos: dict[str, tuple[np.ndarray, list[int] | None]]) -> Inputs:
        folder, annotations = tmp_path / "scenes", []
        folder.mkdir()
        for number, (name, (picture, person)) in enumerate(photos.items()):
            Image.fromarray(picture).save(folder / name)
            for category, box in ((1, person), (2, [0, 0, 5, 5])):
                if box:
                    annotations.append({"image_id": number, "category_id": category, "bbox": box})
        content = {
            "images": [{"id": number, "file_name": name} for number, name in enumerate(photos)],
            "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "cat"}],
            "annotations": annotations,
        }
        (tmp_path / "coco.json").write_text(json.dumps(content))
        return Inputs(images=[], out=tmp_path, scenes=[str(folder)], labels=[str(tmp_path / "coco.json")])

    return make


def named(out: bool) -> str:
    return next(name for name in (f"{i}.png" for i in range(1000)) if held_out(name, PHOTOS_HELD_OUT) == out)


def test_what_is_learnt_from_photos_of_others_and_of_nobody(
    tmp_path: Path, task: Faces, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found_faces, "USUAL", 0.4)  # the finds in the photo of a cat are of .30 to .43
    learnt, out = named(False), named(True)
    given = scenes(
        {
            learnt: (pictures.chelsea(), None),
            out: (pictures.chelsea(), None),
            "person.png": (pictures.astronaut(), [0, 0, 512, 512]),
        }
    )
    (tmp_path / "others").mkdir()
    Image.fromarray(pictures.astronaut()).save(tmp_path / "others" / "somebody.png")
    inputs = Inputs(images=[], out=tmp_path, scenes=[*given.scenes, str(tmp_path / "others")], labels=given.labels)
    found, strangers = read_scenes(inputs, task)
    assert set(found.names) == {learnt, out}
    assert found.kept_out.tolist() == [name == out for name in found.names]
    assert len(strangers) == 1
    with torch.inference_mode():
        cat = task.find([found_faces._image(pictures.chelsea())], EAGER).faces.scores
        [her] = task.find([found_faces._image(pictures.astronaut())]).vectors.embeddings
    assert torch.allclose(strangers[0], her, atol=1e-3)
    assert found.usual[~found.kept_out].sum() == (cat > 0.4).sum() > 0
    assert 6 < len(found.names) // 2 <= 16 * found_faces.A_PHOTO, "of the photo as it is, and turned and mirrored"


def test_who_is_where_nobody_said_that_people_are_is_a_find_too(task: Faces, scenes: Scenes) -> None:
    found, strangers = read_scenes(scenes({named(False): (pictures.astronaut(), [400, 400, 50, 50])}), task)
    assert found.usual.tolist().count(True) == 1
    assert len(strangers) == 0


@pytest.mark.parametrize("what", ["no scenes", "kept out", "nothing found", "not looked at"])
def test_nothing_to_learn_from(task: Faces, scenes: Scenes, tmp_path: Path, what: str) -> None:
    picture = pictures.chelsea() if what == "kept out" else np.full((60, 60, 3), 90, np.uint8)
    inputs = scenes({named(what == "kept out"): (picture, None)})
    if what == "no scenes":
        inputs = Inputs(images=[], out=tmp_path)
    if what == "not looked at":
        inputs = Inputs(images=[], out=tmp_path, scenes=inputs.scenes)
    with pytest.raises(InputError, match=r"what is taken for a face and is none: .*`scenes`, .*`labels`"):
        read_scenes(inputs, task)
