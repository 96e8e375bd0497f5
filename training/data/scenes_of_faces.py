"""Scenes to train a face detector on, composed of real faces and real photos; the same random state, the same scene.

One in ten is a part of a face, one in seven a photo as it is, one in seven four photos side by side, where people are
small; the others have faces cut out along a soft ellipse and pasted in (Dwibedi et al., Cut, Paste and Learn, 2017,
arXiv:1708.01642, for the soft border), or whole face photos: those look natural.

Where a photo's people are known, no face is elsewhere in it, whatever a detector says: a scene knows where one may be.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from muster.arrays import F32, Floats, Pixels
from muster.training.data.face_cutouts import Cutout

Random = np.random.Generator
SIDE = 256  # pixels
SIZES = (6, 240)  # width of a pasted face in pixels
PASTED = 5  # faces in a scene, at most
# Cumulative shares of scenes: 10 % close-ups, 15 % of four photos, 15 % unchanged, 30 % with cut-out faces pasted in,
# and 30 % with whole photos of faces pasted in.
CLOSE_UPS, FOUR_PHOTOS, UNCHANGED, CUT_OUT = 0.1, 0.25, 0.4, 0.7
TURN = 30.0  # degrees either way
EVERYWHERE = np.array([[0, 0, SIDE, SIDE]], np.float32)
_BILINEAR = Image.Resampling.BILINEAR


@dataclass(frozen=True)
class Backdrop:
    """`pixels`: a photo, uint8 RGB (H, W, 3). `people`: boxes (M, 4) xyxy of everybody in it, float32, in pixels; None
    where nobody has looked."""

    name: str
    pixels: Pixels
    people: F32 | None = None


@dataclass(frozen=True)
class Scene:
    """`pixels`: uint8 RGB, (SIDE, SIDE, 3). `boxes` (K, 4) xyxy and `landmarks` (K, 5, 2) of the faces that were pasted
    and are not covered; other faces may be in the photo, their middles in `possible` (R, 4; xyxy). Float32, pixels."""

    pixels: Pixels
    boxes: F32
    landmarks: F32
    possible: F32
    name: str


def make_scene(photos: Sequence[Backdrop], faces: Sequence[Cutout], random: Random) -> Scene:
    """One scene, of one or four of the photos, or of a face."""
    kind = random.random()
    drawn = [photos[int(random.integers(len(photos)))] for _ in range(4 if CLOSE_UPS <= kind < FOUR_PHOTOS else 1)]
    if kind < CLOSE_UPS:
        canvas, possible = close_up(faces[int(random.integers(len(faces)))], random), EVERYWHERE
    elif kind < FOUR_PHOTOS:
        canvas, possible = side_by_side([background(photo, random) for photo in drawn])
    else:
        canvas, possible = background(drawn[0], random)
    placed: list[Placed] = []
    for _ in range(random.integers(1, PASTED + 1) if kind > UNCHANGED else 0):
        new = paste(canvas, faces[int(random.integers(len(faces)))], random, whole=kind > CUT_OUT)
        placed = [old for old in placed if _share_covered(old[0], new[2]) < 0.05] + [new]
        possible = np.vstack([possible, new[2]])
    visible = [face for face in placed if not _cover(canvas, face[0], random) and _inside(face[1])]
    boxes = np.array([box for box, _, _ in visible], np.float32).reshape(-1, 4)
    landmarks = np.array([points for _, points, _ in visible], np.float32).reshape(-1, 5, 2)
    return Scene(
        pixels=photographed(canvas, random),
        boxes=boxes,
        landmarks=landmarks,
        possible=possible.astype(np.float32),
        name=drawn[0].name,
    )


Canvas = tuple[Image.Image, Floats]  # and where in it a face may be: (R, 4) xyxy


def side_by_side(four: Sequence[Canvas]) -> Canvas:
    canvas, half = Image.new("RGB", (SIDE, SIDE)), SIDE // 2
    possible = []
    for i, (image, places) in enumerate(four):
        corner = (i % 2 * half, i // 2 * half)
        canvas.paste(image.resize((half, half), _BILINEAR, reducing_gap=2.0), corner)
        possible.append(places / 2 + np.tile(corner, 2))
    return canvas, np.concatenate(possible)


def background(photo: Backdrop, random: Random) -> Canvas:
    """A part of a photo, from a quarter of its shorter side to all of it, as a square of SIDE; half are mirrored."""
    height, width = photo.pixels.shape[:2]
    side = min(height, width) * random.uniform(0.25, 1.0) ** 0.7
    left, top = random.uniform(0, width - side), random.uniform(0, height - side)
    part = (left, top, left + side, top + side)
    canvas = Image.fromarray(photo.pixels).resize((SIDE, SIDE), _BILINEAR, part, reducing_gap=2.0)
    possible = EVERYWHERE
    if photo.people is not None:
        possible = ((photo.people - np.tile([left, top], 2)) * SIDE / side).clip(0, SIDE)
        possible = possible[(possible[:, 2:] > possible[:, :2]).all(1)]
    if random.random() < 0.5:
        mirror = np.array([SIDE, 0, SIDE, 0]) + possible[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1])
        return canvas.transpose(Image.Transpose.FLIP_LEFT_RIGHT), mirror
    return canvas, possible


def close_up(face: Cutout, random: Random) -> Image.Image:
    """A window of a face photo, a quarter to three quarters of the face wide: eyes, hair, a collar, but no face.

    Faces wider than a scene are seen whole at half size only; at full size their parts must not be taken for faces.
    """
    height, width = face.pixels.shape[:2]
    side = min(height, width, (face.box[2] - face.box[0]) * random.uniform(0.25, 0.75))
    left, top = random.uniform(0, width - side), random.uniform(0, height - side)
    window = (left, top, left + side, top + side)
    return Image.fromarray(face.pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC, window)


Placed = tuple[Floats, Floats, Floats]  # box, landmarks, and the outline of all that was pasted (xyxy)


def paste(canvas: Image.Image, face: Cutout, random: Random, whole: bool) -> Placed:
    """Put a face somewhere into the canvas, mirrored, turned, lit and scaled at random; where it is then.

    `whole`: with the photo around it, else cut out along a soft ellipse. A third are narrowed, by up to a half, as a
    head turned away is.
    """
    size = np.exp(random.uniform(*np.log(SIZES)))
    scale = size / (face.box[2] - face.box[0])
    narrow = random.uniform(0.5, 1) if random.random() < 0.33 else 1.0
    height, width = (max(4, round(n * scale * k)) for n, k in zip(face.pixels.shape[:2], (1.0, narrow), strict=True))
    photo = Image.fromarray(face.pixels)
    patch = photo.resize((width, height), _BILINEAR, reducing_gap=2.0)
    factor = np.array([width / photo.width, height / photo.height], np.float32)
    box, landmarks = (face.box.reshape(2, 2) * factor).reshape(-1), face.landmarks * factor
    mask = Image.new("L", patch.size, 255) if whole else ellipse(patch.size, box, random)
    if random.random() < 0.5:
        patch, mask = (image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in (patch, mask))
        box, landmarks = mirrored(box, landmarks, width)
    patch = lit(patch, random, 0.35)
    if random.random() < 0.6:
        angle = random.uniform(-TURN, TURN)
        patch, mask = patch.rotate(angle, Image.Resampling.BICUBIC), mask.rotate(angle, _BILINEAR)
        box, landmarks = turned(box, landmarks, angle, patch.size)
    middle = (box[:2] + box[2:]) / 2
    corner = np.round(random.uniform(0.02, 0.98, 2) * SIDE - middle)
    canvas.paste(patch, (int(corner[0]), int(corner[1])), mask)
    outline = np.array([0, 0, width, height]) if whole else grown(box, 1.2)
    return box + np.tile(corner, 2), landmarks + corner, outline + np.tile(corner, 2)


def ellipse(size: tuple[int, int], box: Floats, random: Random) -> Image.Image:
    """A soft mask of (width, height) around the box: 255 inside, falling to 0 towards its border and the patch's."""
    width, height = size
    centre, radii = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * random.uniform(1.05, 1.4, 2)
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    radius = np.hypot((x[None] - centre[0]) / radii[0], (y[:, None] - centre[1]) / radii[1])
    feather = random.uniform(0.05, 0.3)
    edge = np.minimum(np.minimum(x, width - x)[None], np.minimum(y, height - y)[:, None]) / (0.06 * width)
    return Image.fromarray((255 * np.clip(np.minimum((1 - radius) / feather, edge), 0, 1)).astype(np.uint8))


def mirrored(box: Floats, landmarks: Floats, width: float) -> tuple[Floats, Floats]:
    """Box and landmarks in the mirror image of a picture so wide; left and right eye and mouth corner change places."""
    points = landmarks[[1, 0, 2, 4, 3]] * np.array([-1, 1]) + np.array([width, 0])
    return np.array([width - box[2], box[1], width - box[0], box[3]]), points


def turned(box: Floats, landmarks: Floats, degrees: float, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Box (of the same size, about the turned middle) and landmarks after a turn about the middle of `size`,
    anticlockwise as seen."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn, middle = np.array([[cos, sin], [-sin, cos]]), np.array(size) / 2
    centre = turn @ ((box[:2] + box[2:]) / 2 - middle) + middle
    half = (box[2:] - box[:2]) / 2
    return np.concatenate([centre - half, centre + half]), (landmarks - middle) @ turn.T + middle


def grown(box: Floats, factor: float) -> Floats:
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * factor
    return np.concatenate([centre - half, centre + half])


def _inside(landmarks: Floats) -> bool:
    return bool((landmarks > 0).all() and (landmarks < SIDE).all())


def _share_covered(box: Floats, by: Floats) -> float:
    shared = np.clip(np.minimum(box[2:], by[2:]) - np.maximum(box[:2], by[:2]), 0, None)
    return float(shared.prod() / (box[2:] - box[:2]).prod())


def _cover(canvas: Image.Image, box: Floats, random: Random) -> bool:
    """In one of five cases, cover part of a face with a piece of the scene, as a hand, a mug or another head would."""
    if random.random() > 0.2:
        return False
    side = (box[2:] - box[:2]) * random.uniform(0.25, 0.6, 2)
    size = (max(2, int(side[0])), max(2, int(side[1])))
    source = random.integers(0, max(1, SIDE - max(size)), 2)
    piece = canvas.crop((int(source[0]), int(source[1]), int(source[0]) + size[0], int(source[1]) + size[1]))
    corner = box[:2] + random.uniform(0, 1, 2) * (box[2:] - box[:2] - side)
    canvas.paste(piece, (int(corner[0]), int(corner[1])))
    return True


def lit(image: Image.Image, random: Random, strength: float) -> Image.Image:
    """Gamma, contrast, brightness and a cast of colour by lookup tables."""
    levels = np.linspace(0, 1, 256) ** np.exp(random.uniform(-strength, strength))
    levels = 0.5 + (levels - 0.5) * random.uniform(1 - strength, 1 + strength / 2)
    levels = levels + random.uniform(-strength, strength) / 3
    channels = levels[None] * random.uniform(1 - strength / 3, 1 + strength / 3, (3, 1))
    return image.point((255 * np.clip(channels, 0, 1)).astype(np.uint8).reshape(-1).tolist())


def photographed(canvas: Image.Image, random: Random) -> Pixels:
    """The scene as a camera would give it: light, focus, noise, sometimes without colour, often a JPEG."""
    canvas = lit(canvas, random, 0.3)
    chance = random.random(5)
    if chance[0] < 0.2:
        canvas = canvas.filter(ImageFilter.BoxBlur(random.uniform(0.3, 1.5)))
    if chance[1] < 0.1:
        canvas = canvas.convert("L").convert("RGB")
    if chance[2] < 0.2:
        noise = random.normal(0, random.uniform(2, 12), (SIDE, SIDE, 1)).astype(np.float32)
        canvas = Image.fromarray(np.clip(np.asarray(canvas) + noise, 0, 255).astype(np.uint8))
    if chance[4] < 0.1:  # night
        darker = random.uniform(0.1, 0.5)
        canvas = canvas.point(lambda value: value * darker)
    if chance[3] < 0.4:
        file = io.BytesIO()
        canvas.save(file, "JPEG", quality=int(random.integers(25, 85)))
        canvas = Image.open(file)
    return np.asarray(canvas)
