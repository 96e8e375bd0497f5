"""Make web/templates/live/coast.svg anew: land and borders, of the npm package world-atlas (Natural Earth 4.1.0).

npm pack world-atlas && tar xzf world-atlas-2.0.2.tgz
python benchmarks/make_coast.py package/land-50m.json package/countries-50m.json web/templates/live/coast.svg
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from muster.web.live.projection import SIDE, projected

TOLERANCE = 3.0  # units: .06 degrees, 7 km at the equator
LEAST = 60.0  # square units: smaller islands are left out
Points = np.ndarray[Any, np.dtype[np.float64]]


def main(land: str, countries: str, out: str) -> None:
    rings = [simplified(part) for ring in rings_of(json.loads(Path(land).read_text())) for part in unrolled(ring)]
    shore = "".join(path(ring, closed=True) for ring in rings if area(ring) >= LEAST)
    borders = "".join(path(simplified(line)) for line in borders_of(json.loads(Path(countries).read_text())))
    note = "<!-- Land and borders: Natural Earth 4.1.0, public domain (naturalearthdata.com), by world-atlas 2.0.2. -->"
    shapes = f'{note}<path class="land" d="{shore}"/><path class="borders" d="{borders}"/>\n'
    Path(out).write_text(shapes)
    print(json.dumps({"bytes": len(shapes), "rings": len(rings), "land": len(shore), "borders": len(borders)}))


def arcs_of(world: dict[str, Any]) -> list[Points]:
    """Each in units of the map."""
    scale, shift = (np.array(world["transform"][name]) for name in ("scale", "translate"))
    every = (np.cumsum(np.array(arc), 0) * scale + shift for arc in world["arcs"])
    return [np.stack(projected(arc[:, 1], arc[:, 0]), 1) for arc in every]


def polygons(geometries: Iterable[dict[str, Any]]) -> Iterator[list[list[int]]]:
    for each in geometries:
        yield from each["arcs"] if each["type"] == "MultiPolygon" else [each["arcs"]]


def rings_of(world: dict[str, Any]) -> Iterator[Points]:
    arcs = arcs_of(world)
    for polygon in polygons(world["objects"]["land"]["geometries"]):
        for ring in polygon:
            yield np.concatenate([(arcs[i] if i >= 0 else arcs[~i][::-1])[n > 0 :] for n, i in enumerate(ring)])


def unrolled(ring: Points) -> Iterator[Points]:
    """A ring that crosses 180 degrees is cut there; the one around the pole goes along the lower edge."""
    jumps = np.round(np.diff(ring[:, 0]) / SIDE)
    x = ring[:, 0] - np.concatenate([[0], np.cumsum(jumps)]) * SIDE
    whole = np.stack([x, ring[:, 1]], 1)
    if abs(x[-1] - x[0]) > SIDE / 2:
        yield np.concatenate([whole, [[x[-1], SIDE], [x[0], SIDE], whole[0]]])
        return
    for edge in (0, SIDE, 2 * SIDE):  # what lies left of each, up to the one before
        part = left_of(whole, edge) * (-1, 1) + (SIDE, 0)
        part = left_of(part, 2 * SIDE - edge) * (-1, 1) + (2 * SIDE - edge, 0)
        if len(part) > 3:
            yield part


def left_of(ring: Points, edge: float) -> Points:
    """The part of a ring with x up to this (Sutherland and Hodgman 1974)."""
    kept: list[Points] = []
    for one, other in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if one[0] <= edge:
            kept.append(one)
        if (one[0] <= edge) != (other[0] <= edge):
            kept.append(one + (other - one) * (edge - one[0]) / (other[0] - one[0]))
    return np.array([*kept, kept[0]]) if kept else np.empty((0, 2))


def borders_of(world: dict[str, Any]) -> Iterator[Points]:
    """Lines that two countries share."""
    arcs = arcs_of(world)
    found = polygons(world["objects"]["countries"]["geometries"])
    used = Counter(i if i >= 0 else ~i for polygon in found for ring in polygon for i in ring)
    yield from (arcs[i] for i, times in used.items() if times > 1)


def simplified(line: Points) -> Points:
    """Douglas and Peucker (1973): points nearer than TOLERANCE to the line without them are left out."""
    keep = np.zeros(len(line), bool)
    keep[[0, -1]] = True
    spans = [(0, len(line) - 1)]
    if np.allclose(line[0], line[-1]):  # a ring: from its first point to the one that is farthest from it
        far = int(np.argmax(np.hypot(*(line - line[0]).T)))
        keep[far] = True
        spans = [(0, far), (far, len(line) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        way = line[last] - line[first]
        off = line[first + 1 : last] - line[first]
        length = np.hypot(*way)
        distance = np.abs(off[:, 0] * way[1] - off[:, 1] * way[0]) / length if length else np.hypot(*off.T)
        at = int(np.argmax(distance))
        if distance[at] > TOLERANCE:
            keep[first + 1 + at] = True
            spans += [(first, first + 1 + at), (first + 1 + at, last)]
    return line[keep]


def area(ring: Points) -> float:
    return abs(float(np.sum(ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1]))) / 2


def path(line: Points, closed: bool = False) -> str:
    """In whole units, each point from the one before it."""
    whole = np.round(line).astype(int)
    steps = [step for step in np.diff(whole, axis=0).tolist() if any(step)]
    if not steps:
        return ""
    text = "l" + " ".join(f"{x}{' ' * (y >= 0)}{y}" for x, y in steps)
    return f"M{whole[0][0]} {whole[0][1]}{text.replace(' -', '-')}{'z' if closed else ''}"


if __name__ == "__main__":
    main(*sys.argv[1:])
