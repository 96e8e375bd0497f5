"""What each detector of the history finds in the same few scenes, as a picture.

    python benchmarks/detection_sheet.py FILE.jpg [--trained DIR]

The scenes are of digits of Pillow's own typeface, which no training saw, over photographs of scikit-image, so that the
picture can go with the docs. A row is a scene, a column a detector, in the order of the history; finds of a score of
LEAST are shown.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).parents[1]))

from detection_history import TRAINED, trained

from muster.training.data.digit_scenes import SIDE, Drawer, texture
from muster.training.detectors.backbone import Found
from muster.training.recipes import scenes

CLASSES = 10
COUNTS = (2, 4, 6, 8)  # digits of each scene
SCALE = 2  # of the picture
LEAST = 0.5
COLOURS = ("#ff5c5c", "#ffd23f", "#4dd599", "#5cb8ff", "#d68cff")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--trained", type=Path, default=TRAINED)
    given = parser.parse_args()
    photos = [skimage.data.coffee(), skimage.data.rocket(), skimage.data.chelsea()]
    textures = torch.from_numpy(np.stack([texture(photo) for photo in photos]))
    drawer = Drawer(torch.stack([typed(i) for i in range(CLASSES)]), torch.arange(CLASSES), textures)
    drawn = drawer.scenes(COUNTS, torch.Generator().manual_seed(3))
    columns = []
    for name in scenes.KINDS:
        network = trained(given.trained, name, CLASSES)
        with torch.inference_mode():
            found = [network([image * 2 - 1])[0] for image in drawn.images]
        columns.append(np.concatenate([shown(*each) for each in zip(drawn.images, found, strict=True)]))
    Image.fromarray(np.concatenate(columns, 1)).save(given.file, quality=85)
    print(f"{given.file}: {', '.join(scenes.KINDS)}")


def typed(digit: int) -> torch.Tensor:
    """(28, 28), 0..1: as handwritten ones lie in their squares, 20 pixels high."""
    picture = Image.new("L", (28, 28))
    ImageDraw.Draw(picture).text((14, 14), str(digit), fill=255, font=ImageFont.load_default(26), anchor="mm")
    return torch.from_numpy(np.asarray(picture, np.float32) / 255)


def shown(image: torch.Tensor, found: Found) -> np.ndarray:
    side = SIDE * SCALE
    picture = Image.fromarray((image.permute(1, 2, 0) * 255).byte().numpy()).resize((side, side))
    draw = ImageDraw.Draw(picture)
    for box, score, label in zip(found["boxes"], found["scores"], found["labels"].tolist(), strict=True):
        if score >= LEAST:
            x0, y0, x1, y1 = (box * SCALE).tolist()
            colour = COLOURS[label % len(COLOURS)]
            draw.rectangle((x0, y0, x1, y1), outline=colour, width=2)
            draw.text((x0, y0 - 17), str(label - 1), fill=colour, font=ImageFont.load_default(16))
    draw.rectangle((0, 0, side - 1, side - 1), outline="white")
    return np.asarray(picture)


if __name__ == "__main__":
    main()
