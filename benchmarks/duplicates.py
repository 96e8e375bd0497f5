"""Are copies of a picture found, and nothing else taken for one? Is a moment one moment? How long do a million take?

    python benchmarks/duplicates.py [--data DIR] [--show FILE]

One library, made by `muster scan` and `muster run --tasks previews`, and `muster duplicates` over it, of

- different: photos of different things (LFW, COCO, CIFAR-10, portraits, groups, signatures, …). `SAME` names those that
  are one picture in these collections, by looking at all that was found;
- copies: CHANGES of 100 of these photos;
- near_duplicates: 22 photos, of which some are copies, and some were taken seconds apart;
- frames: CamVid's, of four drives, a second apart, and those of webcams, which look at one place for two days. They
  come without times, and many cannot be told from copies by looking at them either;
- moments: CamVid's frames once more, with times and a camera in EXIF; and COCO's photos, 5 seconds apart.

The last line is one JSON object:

- recall: of copies that were resized, recompressed or converted, the share that is in a group with its original;
  `changes`: the same for each change; `near_duplicates`: [found, of] by relation.
- false_pairs: pairs of photos of different things, or of copies of them, that are in one group;
  false_pairs_per_million of the `pairs` of different photos. `frames`: pairs of frames in one group, of how many.
- moments: of frames 1 and 2 seconds apart, the share that is in one moment; and of COCO's photos next to each other.
- seconds_per_million: what grouping a million hashes takes. They are put together from halves of the hashes of the
  different photos, because random ones are spread better; every tenth is another with up to 8 bits changed.
  `cpu_seconds_per_million`: of both cores together, as far as others leave them. `seconds_per_million_random`: both, of
  random ones. `seconds`: of `muster duplicates`, of `photos`.

--show draws the pairs of different photos that were found, to look at.
"""

import argparse
import io
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import ExifTags, Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

import muster
from muster.pipeline.duplicates import BITS
from muster.tasks.photos import groups, hashes

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
PHOTOS = 100
# Looked at, a line each; numbers: rows of CIFAR-10. Kim_Jong-Il_0002 and 0003 are found too, two shots of one moment.
_SAME = """
000375_03227651.jpg 000376_02340068.jpg
000378_02340151.jpg 000378_03227610.jpg
000189_02159361.jpg 000192_02159531.jpg
000300_00470148.jpg 000304_00470122.jpg
Julie_Gerberding_0004.jpg Julie_Gerberding_0006.jpg
Renee_Zellweger_0010.jpg Renee_Zellweger_0013.jpg
Julianne_Moore_0001.jpg Julianne_Moore_0008.jpg
Bart_Hendricks_0001.jpg Ricky_Ray_0001.jpg
Prince_Willem-Alexander_0002.jpg Prince_Willem-Alexander_0003.jpg
Serena_Williams_0029.jpg Serena_Williams_0031.jpg
Mariana_Pollack_0001.jpg Mariana_Pollack_0002.jpg
Ari_Fleischer_0006.jpg Ari_Fleischer_0011.jpg
Leslie_Ann_Woodward_0001.jpg Leslie_Ann_Woodward_0002.jpg
Carlos_Beltran_0001.jpg Raul_Ibanez_0001.jpg
169 4580
4706 7904
467 8081
2011 5030 5695 8726
7493 7909
3208 3844
146 5226
5275 7540
4027 6123
4594 6940
257 8489
767 6053
6078 7889
2383 4477
"""
SAME = [
    frozenset(f"cifar10.parquet#row={name}" if name.isdigit() else name for name in line.split())
    for line in _SAME.strip().split("\n")
]
Change = Callable[[Image.Image], bytes]


def encoded(image: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **({"quality": 90} | options if format != "PNG" else options))
    return file.getvalue()


def fitted(image: Image.Image, side: int) -> Image.Image:
    scale = min(1.0, side / max(image.size))
    return image.resize([max(1, round(n * scale)) for n in image.size], Image.Resampling.LANCZOS)


def cropped(image: Image.Image) -> Image.Image:
    """Without 2.5 % on each side, so 5 % of the width and of the height."""
    width, height = image.size
    return image.crop((round(width * 0.025), round(height * 0.025), round(width * 0.975), round(height * 0.975)))


def captioned(image: Image.Image) -> Image.Image:
    image, height = image.copy(), image.height
    font = ImageFont.load_default(size=max(10, height * 0.07))
    style: dict[str, Any] = {"fill": "white", "stroke_width": max(1, height // 300), "stroke_fill": "black"}
    ImageDraw.Draw(image).text((image.width * 0.05, height * 0.88), "Summer 2019, Lisbon", font=font, **style)
    return image


CONVERTED: dict[str, Change] = {  # whose recall is `recall`
    "half": lambda image: encoded(fitted(image, max(image.size) // 2)),
    "small": lambda image: encoded(fitted(image, 160)),
    "recompressed": lambda image: encoded(image, quality=30),
    "webp": lambda image: encoded(image, "WEBP", quality=60),
    "png": lambda image: encoded(image, "PNG"),
    "heic": lambda image: encoded(image, "HEIF", quality=50),
}
CHANGES: dict[str, Change] = CONVERTED | {
    "grey": lambda image: encoded(image.convert("L")),
    "colour": lambda image: encoded(ImageEnhance.Color(image).enhance(1.6)),
    "brightness": lambda image: encoded(ImageEnhance.Brightness(image).enhance(1.3)),
    "caption": lambda image: encoded(captioned(image)),
    "mirror": lambda image: encoded(ImageOps.mirror(image)),
    "rotate": lambda image: encoded(image.transpose(Image.Transpose.ROTATE_90)),
    "crop": lambda image: encoded(cropped(image)),
    "border": lambda image: encoded(ImageOps.expand(image, round(max(image.size) * 0.04), "white")),
}
SUFFIXES = {"webp": ".webp", "png": ".png", "heic": ".heic"}


# ---- what there is ---------------------------------------------------------------------------------------------------


def different(data: Path) -> tuple[list[Path], list[Path]]:
    """Folders, and Parquet files with a photo in each row."""
    johns = sorted(each for each in (data / "photos/johns").iterdir() if each.is_dir())
    folders = [data / "coco128/images", data / "person_masks/images", data / "photos/groups", data / "photos/phone"]
    tables = [data / name for name in ("lfw/lfw.parquet", "coco_photos/photos.parquet", "lectures/cifar10.parquet")]
    return [*folders, *johns], [*tables, data / "lectures/signatures.parquet"]


def originals(data: Path) -> Iterator[tuple[str, bytes]]:
    """`PHOTOS` photos of every folder and of COCO, and how the library will name them."""
    folders, tables = different(data)
    found = [
        (str(path), path.read_bytes()) for folder in folders for path in sorted(folder.iterdir()) if is_photo(path)
    ]
    coco = pq.read_table(tables[1], columns=["image"])["image"].to_pylist()
    found += [(f"{tables[1]}#row={row}", image) for row, image in enumerate(coco)]
    random.Random(0).shuffle(found)
    yield from found[:PHOTOS]


def is_photo(path: Path) -> bool:
    return path.suffix.lower() in (".jpg", ".jpeg", ".png")


def make_copies(folder: Path, data: Path) -> dict[str, tuple[str, str]]:
    """Where each copy lies → its original, and what was changed."""
    made = {}
    for number, (uri, image) in enumerate(originals(data)):
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(image))).convert("RGB")
        for change, make in CHANGES.items():
            path = folder / change / f"{number:03d}{SUFFIXES.get(change, '.jpg')}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make(picture))
            made[str(path)] = (uri, change)
    return made


def drive(path: Path) -> tuple[str, int]:
    """CamVid's drive, and the number of the frame, of 30 a second."""
    name, _, frame = path.stem.partition("_")
    return name, int("".join(filter(str.isdigit, frame)))


def make_moments(folder: Path, data: Path) -> dict[str, tuple[str, datetime]]:
    """Where each photo of a moment lies → of which scene it is, and when it was taken."""
    folder.mkdir()
    frames = sorted([*(data / "camvid/train").iterdir(), *(data / "camvid/val").iterdir()], key=drive)
    drives = sorted({drive(path)[0] for path in frames})
    taken = {}
    for path in frames:
        name, frame = drive(path)
        when = datetime(2019, 5, 4 + drives.index(name), 8) + timedelta(seconds=frame // 30)
        taken[save(Image.open(path), folder / f"{path.stem}.jpg", when)] = (name, when)
    for number, path in enumerate(sorted((data / "coco128/images").iterdir())):
        when = datetime(2020, 5, 4, 8) + timedelta(seconds=5 * number)
        taken[save(cropped(Image.open(path).convert("RGB")), folder / f"coco-{path.stem}.jpg", when)] = (
            path.stem,
            when,
        )
    return taken


def save(image: Image.Image, path: Path, when: datetime) -> str:
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "one camera"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f"{when:%Y:%m:%d %H:%M:%S}"
    image.save(path, "JPEG", quality=90, exif=exif)
    return str(path)


# ---- what was found --------------------------------------------------------------------------------------------------


class Found:
    """uri → its group, of each kind."""

    def __init__(self, table: pa.Table) -> None:
        self.group: dict[tuple[str, str], int] = {}
        self.members: dict[tuple[str, int], list[str]] = defaultdict(list)
        for row in table.to_pylist():
            self.group[row["kind"], row["uri"]] = row["group"]
            self.members[row["kind"], row["group"]].append(row["uri"])

    def together(self, kind: str, one: str, other: str) -> bool:
        group = self.group.get((kind, one))
        return group is not None and group == self.group.get((kind, other))

    def one_moment(self, one: str, other: str) -> bool:
        """Whether they are, or the copies that stand for them in a moment."""
        first, second = (self._standing(uri) for uri in (one, other))
        return first == second or self.together("moment", first, second)

    def _standing(self, uri: str) -> str:
        """The best of its copies."""
        group = self.group.get(("picture", uri))
        return uri if group is None else self.members["picture", group][0]


def named(data: Path) -> dict[str, str]:
    """uri → what `SAME` calls it, of rows of Parquet files."""
    names = {}
    for path, column in zip(different(data)[1], ("file", "file_name", None, None), strict=True):
        if column is not None:
            for row, name in enumerate(pq.read_table(path, columns=[column])[column].to_pylist()):
                names[f"{path}#row={row}"] = str(name)
    return names


def false_pairs(found: Found, origin: dict[str, str], names: dict[str, str]) -> list[tuple[str, str]]:
    """Pairs of photos in one group that come from different photos, not of `SAME`. `origin`: uri → its original."""
    wrong = []
    for (kind, _), members in found.members.items():
        theirs = sorted({origin[uri] for uri in members if uri in origin}) if kind == "picture" else []
        wrong += [pair for pair in combinations(theirs, 2) if not is_same({names.get(u, Path(u).name) for u in pair})]
    return wrong


def is_same(names: set[str]) -> bool:
    return any(same >= names for same in SAME)


def of_near_duplicates(found: Found, file: Path) -> dict[str, tuple[int, int]]:
    """Relation → how many are in a group with what they are a copy of, or a second shot; and of how many."""
    rows = pq.read_table(file, columns=["file_name", "group", "relation"]).to_pylist()
    uris = {row["file_name"]: f"{file}#row={n}" for n, row in enumerate(rows)}
    first = {row["group"]: row["file_name"] for row in rows if row["relation"] == "original"}
    result: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        name, original = row["file_name"], row["file_name"].removeprefix("high_")
        if name != original:  # a copy of a photo of this name
            result["higher JPEG quality"].append(found.together("picture", uris[name], uris[original]))
        elif row["relation"].startswith("second shot"):
            result[row["relation"]].append(found.one_moment(uris[name], uris[first[row["group"]]]))
        elif row["relation"] != "original":
            result[row["relation"]].append(found.together("picture", uris[name], uris[first[row["group"]]]))
    return {relation: (sum(hits), len(hits)) for relation, hits in result.items()}


def of_frames(found: Found, data: Path) -> dict[str, tuple[int, int]]:
    """Pairs of different frames of one drive, and of the webcams, in one group; and of how many."""
    drives = [[str(p) for p in (data / "camvid" / part).iterdir()] for part in ("train", "val")]
    webcams = [str(path) for part in ("day", "night") for path in (data / "day_night" / part).iterdir()]
    result = {}
    for name, uris in {"camvid": drives[0] + drives[1], "webcams": webcams}.items():
        sizes = Counter(group for uri in uris if (group := found.group.get(("picture", uri))) is not None)
        pairs = sum(n * (n - 1) // 2 for n in sizes.values())
        result[name] = (pairs, len(uris) * (len(uris) - 1) // 2)
    return result


def of_moments(found: Found, taken: dict[str, tuple[str, datetime]]) -> dict[str, float]:
    rows = sorted(taken.items(), key=lambda item: item[1][1])
    hits: dict[str, list[bool]] = defaultdict(list)
    for number, (one, (scene, when)) in enumerate(rows):
        for other, (also, later) in rows[number + 1 : number + 3]:
            apart = (later - when).total_seconds()
            same = scene == also
            if (same and apart <= 2) or (not same and apart == 5):
                hits[f"{apart:.0f} s apart" if same else "others"].append(found.one_moment(one, other))
    return {name: round(float(np.mean(some)), 4) for name, some in sorted(hits.items())}


# ---- how long it takes -----------------------------------------------------------------------------------------------


def seconds_for(some: hashes.U64) -> tuple[float, float]:
    """To find near hashes and to make groups of them: by the clock, and of all processors together."""
    begin, used = time.perf_counter(), time.process_time()
    pairs = hashes.near(some, BITS)
    groups.stars(pairs.first, pairs.second, len(some))
    return round(time.perf_counter() - begin, 1), round(time.process_time() - used, 1)


def million(known: hashes.U64) -> hashes.U64:
    rng, upper = np.random.default_rng(0), np.uint64(0xFFFFFFFF00000000)
    some = (rng.choice(known, 1_000_000) & upper) | (rng.choice(known, 1_000_000) & ~upper)
    flips = np.zeros(100_000, np.uint64)
    for _ in range(8):
        flips |= np.uint64(1) << rng.integers(0, 64, 100_000).astype(np.uint64)
    some[::10] = some[1::10] ^ flips
    return some


def show(pairs: list[tuple[str, str]], file: Path) -> None:
    from muster.storage.photos.reader import Reader

    side, reader = 160, Reader()
    sheet = Image.new("RGB", (6 * (2 * side + 10), max(1, -(-len(pairs) // 6)) * (side + 24)), "white")
    for number, pair in enumerate(pairs):
        x, y = number % 6 * (2 * side + 10), number // 6 * (side + 24)
        for place, uri in enumerate(pair):
            picture = fitted(Image.open(io.BytesIO(reader.read(uri, uri))).convert("RGB"), side)
            sheet.paste(picture, (x + place * side, y))
        ImageDraw.Draw(sheet).text((x, y + side), " | ".join(uri[-24:] for uri in pair), fill="black")
    sheet.save(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--show", type=Path)
    args = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    data = args.data.resolve()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        copies, taken = make_copies(place / "copies", data), make_moments(place / "moments", data)
        folders, tables = different(data)
        near = data / "near_duplicates/photos.parquet"
        frames = [data / "camvid/train", data / "camvid/val", data / "day_night"]
        muster.scan(*folders, *tables, *frames, near, place / "copies", place / "moments", library=place / "library")
        library = muster.open(place / "library")
        library.run(["previews"])
        begin = time.perf_counter()
        duplicates = library.duplicates()
        seconds = time.perf_counter() - begin
        images = library.table("images", columns=["image_id", "status", "phash"])
        uris = dict(zip(*(library.table("manifest")[c].to_pylist() for c in ("image_id", "uri")), strict=True))
    found = Found(duplicates.table)
    own = [str(path) for path in (*folders, *tables)]
    ok = [row for row in images.to_pylist() if row["status"] == "ok"]
    pool = {uris[row["image_id"]]: row["phash"] for row in ok if uris[row["image_id"]].startswith(tuple(own))}
    wrong = false_pairs(
        found, {uri: uri for uri in pool} | {uri: made for uri, (made, _) in copies.items()}, named(data)
    )
    for pair in wrong:
        print("false:", *pair, file=sys.stderr)
    if args.show:
        show(wrong, args.show)
    changes: dict[str, list[bool]] = defaultdict(list)
    for uri, (original, change) in copies.items():
        changes[change].append(found.together("picture", uri, original))
    pairs = len(pool) * (len(pool) - 1) // 2
    known = np.array(list(pool.values()), np.int64).view(np.uint64)
    by_clock, used = seconds_for(million(known))
    random_ones = np.random.default_rng(0).integers(0, 2**64, 1_000_000, np.uint64)
    result = {
        "recall": round(float(np.mean([hit for change in CONVERTED for hit in changes[change]])), 4),
        "false_pairs_per_million": round(1e6 * len(wrong) / pairs, 4),
        "seconds_per_million": by_clock,
        "cpu_seconds_per_million": used,
        "false_pairs": len(wrong),
        "pairs": pairs,
        "different_photos": len(pool),
        "changes": {change: round(float(np.mean(hits)), 4) for change, hits in changes.items()},
        "near_duplicates": of_near_duplicates(found, near),
        "frames": of_frames(found, data),
        "moments": of_moments(found, taken),
        "seconds_per_million_random": seconds_for(random_ones),
        "photos": duplicates.photos,
        "seconds": round(seconds, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
