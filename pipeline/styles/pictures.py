"""What is written of styled photos beside their table: the pictures, a sheet of them, and a curve of the costs."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from muster.storage import manifest, tables
from muster.storage.exchange.photo import name_of
from muster.storage.library import LibraryFiles
from muster.storage.new_files import new_file, new_text

NAME = 40  # letters of a photo's name that its picture has
TILE, LABEL = 256, 22  # pixels of the longest side on a sheet; and of the line above each column
ON_SHEET = 12  # photos at most
CURVES = 50  # at most
WIDTH, HEIGHT = 640, 360  # of the curve
GROUND = (32, 32, 32)


def plain(text: str) -> str:
    """A text as a part of a file's name, whatever stands in it."""
    kept = "".join(letter if letter.isprintable() and letter not in '/\\:*?"<>|' else "_" for letter in text[:NAME])
    return kept.encode("utf-8", "replace").decode().strip(" .") or "_"


class Pictures:
    """The JPEGs of one style in a folder: each is written once, as soon as its row is committed."""

    def __init__(self, library: LibraryFiles, fingerprint: str, folder: Path) -> None:
        self.library, self.fingerprint, self.folder = library, fingerprint, folder
        self._written: set[str] = set()

    def write(self) -> None:
        """Those that are not there yet."""
        for shard in manifest.committed(self.library, self.fingerprint):
            if shard in self._written:
                continue
            for name, jpeg in self._of(shard):
                self.folder.mkdir(exist_ok=True)
                if not (self.folder / name).is_file():
                    with new_file(self.folder / name) as file:
                        file.write(jpeg)
            self._written.add(shard)

    def _of(self, shard: str) -> list[tuple[str, bytes]]:
        uris = manifest.read_shard(self.library, shard).select(["image_id", "uri"]).to_pylist()
        names = {row["image_id"]: f"{plain(_stem(row['uri']))}-{row['image_id'][:8]}.jpg" for row in uris}
        rows = tables.require(self.library, "style", self.fingerprint, ["image_id", "jpeg"], [shard]).to_pylist()
        return [(names[row["image_id"]], row["jpeg"]) for row in rows]


def _stem(uri: str) -> str:
    parts = name_of(uri)
    return PurePosixPath(parts[-1]).stem if parts else "photo"


def write_sheet(columns: Mapping[str, pa.Table], out: Path) -> None:
    """A picture with a row for each of the first photos, and a column for each of these tables, with its title."""
    first = next(iter(columns.values()))
    names = first["image_id"].to_pylist()[:ON_SHEET]
    page = Image.new("RGB", (len(columns) * TILE, LABEL + len(names) * TILE), GROUND)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for across, (title, rows) in enumerate(columns.items()):
        draw.text((across * TILE + 6, 3), title, fill=(255, 255, 255), font=font)
        there = dict(zip(rows["image_id"].to_pylist(), rows["jpeg"].to_pylist(), strict=True))
        for down, name in enumerate(names):
            if name in there:
                _paste(page, there[name], across * TILE, LABEL + down * TILE)
    with new_file(out) as file:
        page.save(file, "JPEG", quality=90)


def _paste(page: Image.Image, jpeg: bytes, x: int, y: int) -> None:
    picture = Image.open(io.BytesIO(jpeg), formats=("JPEG",))
    picture.thumbnail((TILE, TILE), Image.Resampling.BICUBIC)
    page.paste(picture, (x + (TILE - picture.width) // 2, y + (TILE - picture.height) // 2))


def write_curve(costs: Sequence[Sequence[float]], out: Path) -> None:
    """An SVG of the costs J of each photo, evaluation by evaluation; logarithmic, between powers of ten."""
    shown = [curve for curve in costs if len(curve) > 1][:CURVES]
    logs = [[math.log10(max(cost, 1e-9)) for cost in curve] for curve in shown if all(map(math.isfinite, curve))]
    if not logs:
        return
    low, high = math.floor(min(map(min, logs))), math.ceil(max(map(max, logs)))
    longest, high = max(map(len, logs)), max(high, low + 1)

    def at(step: int, log: float) -> str:
        return f"{60 + (WIDTH - 80) * step / (longest - 1):.1f},{20 + (HEIGHT - 60) * (high - log) / (high - low):.1f}"

    lines = [f'<polyline points="{" ".join(at(*point) for point in enumerate(log))}"/>' for log in logs]
    marks = [(power, at(0, power).partition(",")[2]) for power in range(low, high + 1)]
    grid = [f'<path d="M60 {y}H{WIDTH - 20}"/>' for _, y in marks]
    words = [f'<text x="8" y="{y}">10^{power}</text>' for power, y in marks]
    words.append(f'<text x="60" y="{HEIGHT - 12}">J at each of {longest} evaluations, coarse to fine</text>')
    with new_text(out) as file:
        file.write(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
            f' font-size="13"><rect width="100%" height="100%" fill="#fff"/><g stroke="#ddd">{"".join(grid)}</g>'
            f'<g fill="none" stroke="#2563eb" stroke-opacity=".5">{"".join(lines)}</g>{"".join(words)}</svg>\n'
        )
