"""Photos photographed again: as prints, as screens, and as the faces themselves would be, by one and the same camera.

Simulated, for want of real ones; `presentation_attacks.py` says how far that leads. Light adds up, so that all but what
an attacker shows is linear: 0 is black, 1 what the camera sees as white. Scenes are three times as fine as the frame
that the camera makes of them, so that fine patterns of a display beat with its pixels (moiré).

Scenes are (N, 3, S, S) float32, S = 3 × `side`. Coordinates of a display are -1..1 from one edge of the photo to the
other. Lengths of patterns are per photo, and the photo is about as wide as the frame.
"""

import math
from collections.abc import Callable

import numpy as np
import simplejpeg
import torch
import torch.nn.functional as F  # noqa: N812

from muster.arrays import Pixels

FINE = 3  # samples of the scene per pixel of the frame, in each direction
GAMMA = 2.2
Tensor = torch.Tensor


class Chance:
    """Numbers by chance, one for each photo."""

    def __init__(self, seed: int, count: int) -> None:
        self.generator, self.count = torch.Generator().manual_seed(seed), count

    def __call__(self, low: float, high: float, channels: int = 1) -> Tensor:
        """(N, channels, 1, 1), evenly between the two."""
        return low + (high - low) * torch.rand(self.count, channels, 1, 1, generator=self.generator)

    def log(self, low: float, high: float) -> Tensor:
        return self(math.log(low), math.log(high)).exp()

    def yes(self, share: float) -> Tensor:
        return (self(0, 1) < share).float()

    def noise(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, generator=self.generator)


# ---- geometry ----------------------------------------------------------------------------------------------


def frame_grid(side: int) -> tuple[Tensor, Tensor]:
    """x and y of the samples of a frame, -1..1: (1, 1, 1, S) and (1, 1, S, 1)."""
    line = (torch.arange(side * FINE) + 0.5) * (2 / (side * FINE)) - 1
    return line.view(1, 1, 1, -1), line.view(1, 1, -1, 1)


def surface(side: int, chance: Chance, edges: Tensor | float = 0.0, curl: float = 0.0) -> tuple[Tensor, Tensor]:
    """Which point of a tilted, turned, perhaps curled display each sample sees: u and v, (N, 1, S, S) each.

    `edges`: 1 where the frame may be wider than the photo. `curl`: in parts of half a photo.
    """
    x, y = frame_grid(side)
    turn, scale = chance(-0.15, 0.15), 0.75 + (0.22 + 0.18 * edges) * chance(0, 1)
    depth = 1 + chance(-0.12, 0.12) * x + chance(-0.12, 0.12) * y
    u = (x * turn.cos() - y * turn.sin()) * scale / depth + chance(-0.08, 0.08)
    v = (x * turn.sin() + y * turn.cos()) * scale / depth + chance(-0.08, 0.08)
    bend = chance(-curl, curl)
    return u + bend * v.square(), v + bend * (2.5 * u + chance(-2, 2)).sin()


def sampled(pictures: Tensor, u: Tensor, v: Tensor, mode: str = "bilinear") -> Tensor:
    grid = torch.cat([u, v], 1).permute(0, 2, 3, 1)
    return F.grid_sample(pictures, grid, mode, padding_mode="reflection", align_corners=False)


def half_width(edges: Tensor, chance: Chance) -> Tensor:
    """Of what the display shows of the photo: less than all where its edges may be seen, else beyond the frame."""
    return 2 - edges * chance(0.95, 1.18)


def inside(u: Tensor, v: Tensor, half: Tensor) -> Tensor:
    """1 within the square of this half width, 0 outside."""
    return (torch.maximum(u.abs(), v.abs()) < half).float()


def light(side: int, chance: Chance, most: float) -> Tensor:
    """More light from one side than from the other: a factor."""
    x, y = frame_grid(side)
    return 1 + chance(-most, most) * x + chance(-most, most) * y


def saturated(colours: Tensor, factor: Tensor) -> Tensor:
    grey = colours.mean(1, keepdim=True)
    return (grey + factor * (colours - grey)).clamp(0, 1)


# ---- instruments -------------------------------------------------------------------------------------------
# Each: photos (N, 3, h, w) as they are shown, 0..1 in sRGB; what is behind them (N, 3, h, w), linear; `side`; `chance`.


def live(photos: Tensor, behind: Tensor, side: int, chance: Chance) -> Tensor:
    """The photo stands for the face itself: the camera sees it as it is."""
    u, v = surface(side, chance)
    return sampled(photos, u, v).pow(GAMMA) * light(side, chance, 0.25)


def _on_paper(
    ink: Tensor, u: Tensor, v: Tensor, behind: Tensor, chance: Chance, black: Tensor, edges: Tensor
) -> Tensor:
    """Inked paper with a white margin, in front of something. `ink`: what is left of the light, 0..1."""
    side = u.shape[-1] // FINE
    texture = F.interpolate(chance.noise(1, 96, 96), scale_factor=2, mode="bilinear")
    grain = 1 + chance(0.005, 0.04) * sampled(texture, u, v)
    paper = chance(0.78, 0.95) * (1 + chance(-0.05, 0.05, 3))
    picture = half_width(edges, chance)
    margin = picture + chance(0, 0.2)
    edge = inside(u, v, picture)
    sheet = paper * (black + (1 - black) * (edge * ink + 1 - edge)) * grain * light(side, chance, 0.3)
    return torch.where(inside(u, v, margin) > 0, sheet, sampled(behind, u * 0.6, v * 0.6))


def _visible(per_photo: Tensor, side: int, most: float, least: Tensor) -> Tensor:
    """How much contrast of a pattern of so many periods passes the lens: a Gaussian of the periods per pixel."""
    return torch.maximum(most * torch.exp(-(per_photo / side / 0.6).square()), least)


def print_laser(photos: Tensor, behind: Tensor, side: int, chance: Chance) -> Tensor:
    """Round dots on screens at 15, 75 and 45 degrees, dull colours, plain paper."""
    edges = chance.yes(0.3)
    u, v = surface(side, chance, edges, curl=0.06)
    values = saturated(sampled(photos, u, v), chance(0.6, 0.95)).pow(GAMMA * chance(0.85, 1.15))
    dots = chance.log(60, 400)
    tone = []
    for channel, angle in enumerate((15, 75, 45)):
        a = math.radians(angle)
        along, across = u * math.cos(a) + v * math.sin(a), v * math.cos(a) - u * math.sin(a)
        screen = 0.5 + 0.25 * ((math.pi * dots * along).cos() + (math.pi * dots * across).cos())
        tone.append(torch.sigmoid(12 * (values[:, channel : channel + 1] - screen)))
    visible = _visible(dots, side, 0.7, chance(0, 0.06))
    ink = values + visible * (torch.cat(tone, 1) - values)
    return _on_paper(ink, u, v, behind, chance, chance(0.04, 0.12), edges)


def print_photo(photos: Tensor, behind: Tensor, side: int, chance: Chance) -> Tensor:
    """An inkjet's scattered dots on glossy paper that curls: strong colours, and a lamp that is mirrored."""
    edges = chance.yes(0.3)
    u, v = surface(side, chance, edges, curl=0.15)
    values = saturated(sampled(photos, u, v), chance(0.85, 1.15)).pow(GAMMA * chance(0.9, 1.1))
    dots = chance.log(150, 600)
    threshold = torch.rand(chance.count, 3, 256, 256, generator=chance.generator)
    around = dots / 256  # the table of thresholds is laid side by side
    where = [2 * ((each * around / 2).remainder(1.0)) - 1 for each in (u, v)]
    scattered = (values > sampled(threshold, *where, mode="nearest")).float()
    ink = values + _visible(dots, side, 0.3, chance(0, 0.08)) * (scattered - values)
    sheet = _on_paper(ink, u, v, behind, chance, chance(0.01, 0.05), edges)
    spot = torch.exp(
        -((u - chance(-1, 1)).square() / chance(0.02, 0.5) + (v - chance(-1, 1)).square() / chance(0.02, 0.5))
    )
    return sheet + chance(0.0, 0.7) * spot + chance(0, 0.06)


def _on_screen(
    shown: Tensor, u: Tensor, v: Tensor, behind: Tensor, chance: Chance, edges: Tensor, sharp: int, reflects: float
) -> Tensor:
    """A screen that shines, has a dark rim, and mirrors the room with so `sharp` many details, up to so much of it."""
    room = F.interpolate(F.interpolate(behind.flip(3), size=sharp, mode="area"), size=shown.shape[-1], mode="bilinear")
    bright = chance(0.7, 1.5) * (1 + chance(0, 1) * torch.tensor([-0.1, 0.0, 0.15]).view(1, 3, 1, 1))
    picture = half_width(edges, chance)
    rim = picture + chance(0.03, 0.3)
    edge = inside(u, v, picture)
    front = edge * shown * bright + chance(0.0, reflects) * room + 0.01
    return torch.where(inside(u, v, rim) > 0, front, sampled(behind, u * 0.6, v * 0.6) * chance(0.4, 1.0))


def screen_lcd(photos: Tensor, behind: Tensor, side: int, chance: Chance) -> Tensor:
    """Stripes of red, green and blue, grey blacks, a blurred mirror image, and slow bands of refresh."""
    edges = chance.yes(0.3)
    u, v = surface(side, chance, edges)
    values = sampled(photos, u, v).pow(GAMMA * chance(0.9, 1.1))
    pixels = chance.log(150, 700)
    visible = _visible(pixels, side, 0.8, chance(0.02, 0.35))
    stripes = torch.cat([(math.pi * pixels * u - 2 * math.pi * channel / 3).cos() for channel in range(3)], 1)
    rows = (math.pi * pixels * v).cos()
    shown = (values + chance(0.005, 0.04)) * (1 + visible * stripes) * (1 + 0.5 * visible * rows)
    _, y = frame_grid(side)
    lit = 1 + chance(0, 0.08) * (math.pi * chance(1, 6) * y + chance(0, 6.3)).cos()
    return _on_screen(shown * lit, u, v, behind, chance, edges, 12, 0.12)


def screen_oled(photos: Tensor, behind: Tensor, side: int, chance: Chance) -> Tensor:
    """A phone: green points, red and blue ones on the diagonals at half as many, deep black, dark bands, a mirror."""
    edges = chance.yes(0.3)
    u, v = surface(side, chance, edges)
    values = saturated(sampled(photos, u, v), chance(1.05, 1.4)).pow(GAMMA * chance(0.95, 1.15))
    pixels = chance.log(250, 1100)
    visible = _visible(pixels, side, 0.7, chance(0.0, 0.25))
    green = (math.pi * pixels * u).cos() * (math.pi * pixels * v).cos()
    red, blue = ((math.pi / 2 * pixels * (u + way * v)).cos() for way in (1, -1))
    shown = values * (1 + visible * torch.cat([red, green, blue], 1))
    _, y = frame_grid(side)
    wave = (math.pi * chance(2, 10) * y + chance(0, 6.3)).cos()
    lit = 1 - chance(0, 0.3) * torch.sigmoid(8 * (wave - 0.4))
    return _on_screen(shown * lit, u, v, behind, chance, edges, 40, 0.15)


def washed_print(photos: Tensor, behind: Tensor, side: int, chance: Chance) -> Tensor:
    """Another author's print, as in scripts that augment: no paper and no dots, but weak colours, blur and grain."""
    x, y = frame_grid(side)
    size = photos.shape[-1]
    soft = F.interpolate(F.interpolate(photos, size=size // 2, mode="area"), size=size, mode="bilinear")
    values = saturated(soft * chance(0.6, 0.85) + chance(0.08, 0.2), chance(0.4, 0.9)) * (1 + chance(-0.08, 0.08, 3))
    grain = F.interpolate(chance.noise(1, side, side), size=side * FINE, mode="nearest")
    values = sampled(values, x.expand(len(photos), 1, side * FINE, -1), y.expand(len(photos), 1, -1, side * FINE))
    vignette = 1 - chance(0, 0.3) * (x.square() + y.square())
    return ((values + chance(0.005, 0.03) * grain) * vignette).clamp(0, 1).pow(GAMMA)


def moire_overlay(photos: Tensor, behind: Tensor, side: int, chance: Chance) -> Tensor:
    """Another author's screen: waves that are laid over the photo, a bluish cast and lines."""
    x, y = frame_grid(side)
    values = sampled(photos, x.expand(len(photos), 1, side * FINE, -1), y.expand(len(photos), 1, -1, side * FINE))
    waves = torch.zeros(1)
    for _ in range(3):
        phase = chance(4, 90) * x + chance(-90, 90) * y + chance(0, 3) * (chance(1, 4) * (x + y)).sin()
        waves = waves + (math.pi * phase + chance(0, 2, 3)).sin()
    lines = (math.pi * side / chance(2, 5) * y).sin()
    values = values.pow(chance(0.75, 1.0)) * (1 + chance(0, 1) * torch.tensor([-0.1, 0.0, 0.1]).view(1, 3, 1, 1))
    return (values * (1 + chance(0.01, 0.06) * waves + chance(0, 0.05) * lines)).clamp(0, 1).pow(GAMMA)


Simulator = Callable[[Tensor, Tensor, int, Chance], Tensor]
INSTRUMENTS: dict[str, Simulator] = {
    each.__name__: each for each in (print_laser, print_photo, screen_lcd, screen_oled, washed_print, moire_overlay)
}


# ---- the camera --------------------------------------------------------------------------------------------


def camera(scenes: Tensor, chance: Chance) -> list[Pixels]:
    """Frames (side, side, 3) uint8 RGB of scenes: lens, sensor, white balance, noise, sharpening, tone, JPEG.

    Whatever is before it, it draws the same numbers: nothing that it does says what it has seen.
    """
    side = scenes.shape[-1] // FINE
    seen = F.avg_pool2d(_blurred(scenes, FINE * chance(0.2, 0.9)), FINE)
    seen = (seen * chance(0.7, 1.25) * (1 + chance(-0.08, 0.08, 3))).clamp_min(0)
    noise = chance.noise(3, side, side) * (chance(0, 0.006).square() + chance(0, 0.025).square() * seen).sqrt()
    coarse = F.interpolate(chance.noise(3, side // 2 + 1, side // 2 + 1), size=side, mode="bilinear")
    values = (seen + noise + chance(0, 0.006) * coarse * seen.sqrt()).clamp(0, 1).pow(1 / GAMMA)
    values = values + chance(-0.2, 1.0).clamp_min(0) * (values - _blurred(values, chance(0.5, 1.2)))
    values = (0.5 + chance(0.85, 1.15) * (values - 0.5)).clamp(0, 1)
    pixels = (255 * values).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    quality = chance(25, 96).flatten().int().tolist()
    return [_as_jpeg(each, q) for each, q in zip(pixels, quality, strict=True)]


def _as_jpeg(pixels: Pixels, quality: int) -> Pixels:
    found = simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(pixels, quality=quality, colorsubsampling="420"))
    return np.asarray(found)


def _blurred(pictures: Tensor, sigma: Tensor) -> Tensor:
    """By a Gaussian of its own for each: `sigma` (N, 1, 1, 1) pixels, at most 3."""
    count, channels, height, width = pictures.shape
    reach = 5
    kernel = torch.exp(-((torch.arange(-reach, reach + 1) / sigma.view(-1, 1)).square()) / 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    flat = F.pad(pictures.reshape(1, -1, height, width), (reach,) * 4, mode="replicate")
    rows = F.conv2d(flat, kernel[:, :, None], groups=count * channels)
    return F.conv2d(rows, kernel[:, :, :, None], groups=count * channels).view(pictures.shape)
