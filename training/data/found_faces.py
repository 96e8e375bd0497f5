"""Which finds can be recognised, to learn it from: faces in photos as they are and spoilt, and what is no face."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

from muster.arrays import F32, I64, Pixels
from muster.errors import InputError
from muster.tasks.base import Image as Photo
from muster.tasks.faces import Faces, Found
from muster.tasks.models.face_quality import SIGNS
from muster.tasks.people import calibrate, search
from muster.training.data.examples import find_examples, held_out, person_held_out, read_photos
from muster.training.data.people_in_photos import PHOTOS_HELD_OUT, read_people
from muster.training.face_maps import within
from muster.training.inputs import Inputs

Random = np.random.Generator
FPIR = 0.01
LEAST_PEOPLE = 100  # of each kind (several photos, one photo): fewer cannot show that 1 stranger in 100 is accepted
SMALLEST = 0.12  # of a photo's sides, that a spoilt one is scaled down to
USUAL, EAGER = 0.6, 0.3  # least scores: of the task; and in photos without faces, so that there are more finds
NEEDED = (
    "quality learns from what is taken for a face and is none: name photos with `scenes`, and COCO files that say where"
    " people are in them with `labels`"
)
A_PHOTO = 6  # at most so many finds from each view of a photo without faces
_BILINEAR, _BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


@dataclass(frozen=True)
class Finds:
    """`embeddings` (N, D), `signs` (N, 8): see muster.tasks.faces. `photo` (N,): the number of the photo each is
    in."""

    embeddings: torch.Tensor
    signs: torch.Tensor
    photo: I64

    def rows(self, chosen: Any) -> "Finds":
        return Finds(self.embeddings[chosen], self.signs[chosen], self.photo[chosen])

    def __len__(self) -> int:
        return len(self.photo)


@dataclass(frozen=True)
class Known:
    """Faces of people who have several photos. `recognised` (N,) bool; `plain` (N,) bool: the photo was not spoilt."""

    finds: Finds
    recognised: Any
    plain: Any
    kept_out: Any
    names: Sequence[str]


@dataclass(frozen=True)
class NoFaces:
    """Finds outside every person. `usual` (N,) bool: in the photo as it is, of the score that the task asks for."""

    finds: Finds
    usual: Any
    kept_out: Any
    names: Sequence[str]


def read_known(inputs: Inputs, task: Faces) -> tuple[Known, torch.Tensor]:
    """The labelled faces, and a face each (M, D) of the people who are learnt from.

    InputError where there are too few people to say who is recognised among strangers.
    """
    examples = find_examples(inputs.images, inputs.label, inputs.limit)
    read = list(read_photos(examples, task.max_side, inputs.on_skipped))
    people = [example.label or example.name for example, _ in read]
    plain = central(task, [photo.pixels for _, photo in read])
    spoilt = central(task, [spoil(photo.pixels, np.random.default_rng(i)) for i, (_, photo) in enumerate(read)])
    rows, recognised = judged(plain, spoilt, people)
    finds = _together([plain, spoilt]).rows(rows)
    out = np.array([person_held_out(example) for example, _ in read], bool)
    learnt = np.flatnonzero(~out[plain.photo])
    _, first = np.unique([people[i] for i in plain.photo[learnt]], return_index=True)
    names = [read[i][0].name for i in finds.photo]
    return (
        Known(finds=finds, recognised=recognised, plain=rows < len(plain), kept_out=out[finds.photo], names=names),
        plain.embeddings[learnt[first]],
    )


def judged(plain: Finds, spoilt: Finds, people: Sequence[str]) -> tuple[I64, Any]:
    """Whose faces can be judged, as rows of plain and spoilt ones together, and which of them are recognised (M,).

    Each is searched for among everybody with several photos, by their plain photos, its own left out; recognised is
    who comes first, above the score that one stranger in a hundred reaches: the people with a single photo.
    """
    code = np.unique(people, return_inverse=True)[1]
    several = np.bincount(code[plain.photo], minlength=len(people))[code] > 1  # photos
    enrolled = np.flatnonzero(several[plain.photo])
    strangers = plain.embeddings[np.flatnonzero(~several[plain.photo])].numpy()
    ids, owner = np.unique(code[plain.photo[enrolled]], return_inverse=True)
    if min(len(ids), len(strangers)) < LEAST_PEOPLE:
        raise InputError(
            f"{len(ids)} people with several photos and {len(strangers)} with one are too few to learn who is"
            f" recognised among strangers: {LEAST_PEOPLE} of each are needed. A person is named by the column `label`,"
            " or by the folder"
        )
    templates = plain.embeddings[enrolled].numpy()
    gallery, total = search.templates(templates, owner, len(ids), None), search.sums(templates, owner, len(ids))
    scores = search.search(strangers, gallery).score
    threshold = calibrate.threshold_at(scores, np.ones(len(scores)), FPIR)
    both = _together([plain, spoilt])
    rows = np.flatnonzero(several[both.photo])
    faces, own = both.embeddings[rows].numpy(), np.searchsorted(ids, code[both.photo[rows]])
    left_out = np.zeros((len(people), faces.shape[1]), np.float32)
    left_out[plain.photo] = plain.embeddings.numpy()
    without = search.normalised(total[own] - left_out[both.photo[rows]])
    for_lookalikes = (faces * gallery.vectors[own]).sum(1) - search.score_of(faces, gallery, own)
    score = (faces * without).sum(1) - for_lookalikes
    return rows, (score >= threshold) & (score > search.search(faces, gallery, own=own).score)


def read_scenes(inputs: Inputs, task: Faces) -> tuple[NoFaces, torch.Tensor]:
    """What is found where nobody is, and the faces (M, D) in scenes of which nobody said where people are.

    Photos without anybody are looked at turned and mirrored, in two sizes. InputError where nothing is found.
    """
    people = read_people(inputs)
    finds: list[Finds] = []
    usual: list[Any] = []
    strangers: list[torch.Tensor] = []
    names: list[str] = []
    examples = find_examples(inputs.scenes, None) if inputs.scenes else []
    sources = {example.source for example in examples if example.name in people}
    for example, photo in read_photos(examples, task.max_side, inputs.on_skipped):
        boxes = people.get(example.name)
        if boxes is None:
            if example.source not in sources:
                strangers.append(task.find([_image(photo.pixels)]).vectors.embeddings)
            continue
        views = [photo.pixels] if len(boxes) else _views(photo.pixels)
        for number, pixels in enumerate(views):
            found = task.find([_image(pixels)], EAGER)
            outside = _outside(found, boxes * photo.scale)[:A_PHOTO]
            finds.append(
                Finds(found.vectors.embeddings, found.signs, np.full(len(found.owners), len(names))).rows(outside)
            )
            usual.append((found.faces.scores[outside].numpy() > USUAL) & (number == 0))
        names.append(example.name)
    together = _together(finds)
    out = np.array([held_out(name, PHOTOS_HELD_OUT) for name in names], bool)[together.photo]
    if out.all():
        raise InputError(NEEDED)
    kept = NoFaces(together, np.concatenate(usual), out, [names[i] for i in together.photo])
    return kept, torch.cat([together.embeddings[:0], *strangers])


def _outside(found: Found, people: F32) -> I64:
    """The finds whose middle is in nobody's box (M, 4; xyxy)."""
    side = max(found.owners[0].pixels.shape[:2]) if found.owners else 0
    inside = within(found.faces.boxes[:, None], torch.from_numpy(people), side).any(1)
    return np.flatnonzero(~inside.numpy())


def _views(pixels: Pixels) -> list[Pixels]:
    whole = Image.fromarray(pixels)
    half = whole.resize((max(1, whole.width // 2), max(1, whole.height // 2)), _BILINEAR, reducing_gap=2)
    turned = [np.rot90(np.asarray(image), turns) for turns in range(4) for image in (whole, half)]
    return [np.ascontiguousarray(each) for view in turned for each in (view, view[:, ::-1])]


def central(task: Faces, photos: Sequence[Pixels]) -> Finds:
    """The find nearest the middle of each photo that has one."""
    parts = []
    for start in range(0, len(photos), 64):
        batch = photos[start : start + 64]
        found = task.find([_image(pixels, str(number)) for number, pixels in enumerate(batch, start)])
        photo = np.array([int(owner.image_id) for owner in found.owners], np.int64)
        middles = torch.tensor([owner.size for owner in found.owners]).reshape(-1, 2) / 2
        boxes = found.faces.boxes
        distance = ((boxes[:, :2] + boxes[:, 2:]) / 2 - middles).norm(dim=1).numpy()
        order = np.lexsort((distance, photo))
        first = order[np.diff(photo[order], prepend=-1) != 0]
        parts.append(Finds(found.vectors.embeddings, found.signs, photo).rows(first))
    return _together(parts)


def _image(pixels: Pixels, name: str = "") -> Photo:
    return Photo(name, pixels, 1.0, (pixels.shape[1], pixels.shape[0]))


def _together(parts: Iterable[Finds]) -> Finds:
    some = list(parts) or [Finds(torch.empty(0, 0), torch.empty(0, SIGNS), np.empty(0, np.int64))]
    embeddings, signs, photo = zip(*((p.embeddings, p.signs, p.photo) for p in some), strict=True)
    return Finds(torch.cat(embeddings), torch.cat(signs), np.concatenate(photo))


def spoil(pixels: Pixels, random: Random) -> Pixels:
    """The photo made worse at random: turned, small, out of focus, badly lit, noisy, partly covered, enlarged again, or
    as a strongly compressed JPEG."""
    image, chance = Image.fromarray(pixels), random.random(7)
    if chance[0] < 0.3:
        image = image.rotate(random.uniform(-30, 30), _BICUBIC)
    scale = np.exp(random.uniform(np.log(SMALLEST), 0))
    size = (max(16, round(image.width * scale)), max(16, round(image.height * scale)))
    image = image.resize(size, _BILINEAR, reducing_gap=2)
    if chance[1] < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 2.5)))
    if chance[2] < 0.25:
        side = round(image.width * random.uniform(0.12, 0.3))
        x, y = (round(n * random.uniform(0.2, 0.8) - side / 2) for n in image.size)
        image.paste(tuple(random.integers(0, 256, 3).tolist()), (x, y, x + side, y + side))
    values: F32 = np.asarray(image, np.float32)
    if chance[3] < 0.4:
        values = (values - 128) * random.uniform(0.3, 1) + random.uniform(20, 200)
    if chance[4] < 0.3:
        values = values + random.normal(0, random.uniform(3, 20), (*values.shape[:2], 1)).astype(np.float32)
    spoilt = np.clip(values, 0, 255).astype(np.uint8)
    if chance[6] < 0.4:  # so that the network does not learn size in pixels as a sign
        whole = (pixels.shape[1], pixels.shape[0])
        spoilt = np.asarray(Image.fromarray(spoilt).resize(whole, _BILINEAR if chance[6] < 0.2 else _BICUBIC))
    if chance[5] < 0.6:
        file = io.BytesIO()
        Image.fromarray(spoilt).save(file, "JPEG", quality=int(random.integers(20, 85)))
        spoilt = np.asarray(Image.open(file).convert("RGB"))
    return spoilt
