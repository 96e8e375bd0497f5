"""How `benchmarks/attack.py` plants what its tables list: each kind makes a world hostile, and names the command."""

import csv
import hashlib
import io
import json
import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks import attack_tables as tried
from benchmarks.attack_swaps import cut, flip, swap
from benchmarks.attack_world import World, to_parquet

NOBODY = 65534


Plan = tuple[str, list[str]]  # what was planted, and the command


# ---- in files of a library -------------------------------------------------------------------------------------------


def in_library(payloads: Sequence[str], world: World) -> Plan:
    """A payload in any text of any file."""
    payload = world.fill(world.choose.choice(payloads))
    name, wanted, command = aimed(world) if world.choose.random() < 0.4 else anywhere(world)
    if "door" in payload:
        for place in (world.library, world.library / "people"):
            place.mkdir(exist_ok=True)
            (place / "door").symlink_to(world.home / "docs")
    if name.endswith(".parquet"):
        where, data = plant_parquet(world.twin(name), payload, world.choose, wanted)
        put(world, name, data)
    elif name.endswith(".jsonl"):
        where, data, digest = plant_lines(world.twin(name), payload, world.choose, wanted)
        put(world, name, data)
        put(world, "audit/head.json", json.dumps({"lines": len(data.splitlines()), "sha256": digest}).encode())
    else:
        document = json.loads(world.fill(json.dumps(tried.NOTES[name])) if name in tried.NOTES else world.twin(name))
        where = plant_json(document, payload, world.choose, wanted)
        put(world, name, json.dumps(sealed(document), sort_keys=True, indent=1).encode())
    return f"{name}: {where} is {payload[:80]!r}", world.argv(command)


def anywhere(world: World) -> tuple[str, str, str]:
    """A file, no field in particular, and a command."""
    name = pick(world, ".json", ".jsonl", ".parquet", "_scanning")
    return name, "", world.reader(name)


def aimed(world: World) -> tuple[str, str, str]:
    """A file, a field of it that ends in this, and a command, of those that matter most."""
    there = sorted({*world.names(world.base / world.state / "library"), *tried.NOTES})
    fitting = [
        (start, wanted, command)
        for start, wanted, commands in tried.AIMED
        for command in commands
        if command in world.commands and any(name.startswith(start) for name in there)
    ]
    start, wanted, command = world.choose.choice(fitting)
    return world.choose.choice([name for name in there if name.startswith(start)]), wanted, command


def pick(world: World, *suffixes: str) -> str:
    """A file of the library; each folder as often as any other. Notes that a command would leave count as there."""
    files = [
        name for name in {*world.names(world.base / world.state / "library"), *tried.NOTES} if name.endswith(suffixes)
    ]
    folder = world.choose.choice(sorted({name.split("/")[0] for name in files}))
    return world.choose.choice(sorted(name for name in files if name.split("/")[0] == folder))


def put(world: World, name: str, data: bytes) -> None:
    """A file in place of another in the library, with its digest in commits where the attacker can write that too."""
    path = world.library / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if not world.encrypted and name.endswith(".parquet"):
        for commit in (world.library / "_commits").rglob("*.json"):
            renew(commit, name, data)


def renew(commit: Path, name: str, data: bytes) -> None:
    content = json.loads(commit.read_bytes())
    for file in content["files"]:
        if file["name"] == name:
            file["sha256"] = hashlib.sha256(data).hexdigest()
            commit.write_text(json.dumps(content, sort_keys=True, indent=1))


def slots(value: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every place of a text in a JSON document, keys too: its field, and where it is."""
    for key, each in list(value.items() if isinstance(value, dict) else enumerate(value)):
        here = f"{name}.{key}" if isinstance(value, dict) else f"{name}[]"
        if isinstance(value, dict):
            yield f"{name}{{}}", value, key
        if isinstance(each, str | int | float | None):
            yield here, value, key
        elif each:
            yield from slots(each, here)


def plant_json(document: Any, payload: Any, choose: random.Random, wanted: str = "") -> str:
    """Put a payload in place of a value or a key, where there is one in a field that ends in `wanted`; which."""
    groups: dict[str, list[tuple[Any, Any]]] = {}
    for name, container, key in slots(document):
        groups.setdefault(name, []).append((container, key))
    if not groups:
        return "nothing"
    name = choose.choice([name for name in sorted(groups) if name.endswith(wanted)] or sorted(groups))
    container, key = choose.choice(groups[name])
    if name.endswith("{}"):
        container[str(payload)] = container.pop(key)
    else:
        container[key] = payload
    return name


def sealed(document: Any) -> Any:
    """With the digest that an index carries of itself made anew: it needs no key."""
    if isinstance(document, dict) and "check" in document and "parts" in document:
        body = json.dumps({k: v for k, v in document.items() if k != "check"}, sort_keys=True, indent=1)
        document["check"] = hashlib.sha256(body.encode()).hexdigest()
    return document


def plant_lines(data: bytes, payload: Any, choose: random.Random, wanted: str = "") -> tuple[str, bytes, str]:
    """A payload in a line of the audit log, and the chain made anew from there; the field, the log, its last digest."""
    lines, digest = [json.loads(line) for line in data.splitlines()], "0" * 64
    where, made = plant_json(choose.choice(lines), payload, choose, wanted), []
    for line in lines:
        line["before"] = digest if line.get("before") != payload else payload
        made.append(json.dumps(line, sort_keys=True, ensure_ascii=False).encode())
        digest = hashlib.sha256(made[-1]).hexdigest()
    return where, b"\n".join(made) + b"\n", digest


def plant_parquet(data: bytes, payload: str, choose: random.Random, wanted: str = "") -> tuple[str, bytes]:
    """A payload in a cell of text, or in the metadata that Muster keeps in JSON."""
    table = pq.read_table(io.BytesIO(data), use_threads=False)
    texts = [column.name for column in table.schema if column.type == pa.string() and table.num_rows]
    metadata = dict(table.schema.metadata or {})
    places = texts + [key for key in metadata if key.startswith(b"muster.")]
    if not places:
        return "nothing", data
    place = wanted if wanted in texts else choose.choice(places)
    if isinstance(place, bytes):
        document = json.loads(metadata[place]) if metadata[place].startswith(b"{") else [metadata[place].decode()]
        field_name = plant_json(document, payload, choose)
        value = json.dumps(document) if isinstance(document, dict) else document[0]
        return f"{place.decode()} {field_name}", to_parquet(table.replace_schema_metadata({**metadata, place: value}))
    values = table[place].to_pylist()
    values[choose.randrange(len(values))] = payload
    return place, to_parquet(
        table.set_column(table.schema.get_field_index(place), table.schema.field(place), pa.array(values, pa.string()))
    )


# ---- in what is given to commands ------------------------------------------------------------------------------------


def as_name(payload: str) -> str:
    """As the name of a file or folder: nothing that a disk would not take."""
    name = payload.replace("/", "\u2215").replace("\0", "")[:60]
    return f"{name}x" if name in ("", ".", "..") else name


def rosters(column: str, world: World, payload: str) -> str:
    """A roster with this cell; `name of group`: with a column of that name."""
    cells = {**tried.ROSTER, column: payload} if column in tried.ROSTER else {**tried.ROSTER, payload: "x"}
    with open(world.inbox / "roster.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([list(cells), list(cells.values())])
    return "enroll"


def renamed(name: str, command: str, world: World, payload: str) -> str:
    path = world.inbox / name
    path.rename(path.with_name(as_name(payload) + path.suffix))
    return command


def row(command: str, name: str, column: str, world: World, payload: str) -> str:
    """A row more, or with a column more, in a Parquet file of the user's."""
    path = world.inbox / name
    rows = pq.read_table(path, use_threads=False).to_pylist()
    more = {payload if column == "column" else column: payload}
    pq.write_table(
        pa.Table.from_pylist([*rows, {**rows[0], **more}] if column == "uri" else [{**r, **more} for r in rows]), path
    )
    return command


def tags(world: World, payload: str) -> str:
    """In everything that a camera may write of itself."""
    path = world.inbox / "photos/a.jpg"
    with Image.open(path) as image:
        exif = image.getexif()
        for tag in (270, 271, 272, 305, 306, 315, 33432, 36867):
            exif[tag] = payload.encode()
        image.save(path, exif=exif, comment=payload.encode(), xmp=f"<x:xmpmeta>{payload}</x:xmpmeta>".encode()[:60000])
    return world.choose.choice(["photos", "identify inbox"])


def coco(world: World, payload: str) -> str:
    path = world.inbox / "coco.json"
    document = json.loads(path.read_text())
    plant_json(document, payload, world.choose)
    path.write_text(json.dumps(document))
    return world.choose.choice(["evaluate objects", "train labels"])


def pairs(world: World, payload: str) -> str:
    (world.inbox / "pairs.txt").write_text(f"2 1\nA 1 2\n{payload} 1 B 1\nA 1 2\nA 2 C 1\n", encoding="utf-8")
    return "evaluate verify"


def option(world: World, payload: str) -> str:
    return world.choose.choice(tried.OPTIONS)


Giver = Callable[[World, str], str]  # of a payload; returns the command
GIVEN: Mapping[str, Giver] = {
    **{f"roster, {column}": partial(rosters, column) for column in (*tried.ROSTER, "name of a column")},
    **{f"name of {name}, {command}": partial(renamed, name, command) for name, command in tried.RENAMED},
    **{
        f"{name}, {column}, {command}": partial(row, command, name, column)
        for name, columns, commands in tried.ROWS
        for column in columns
        for command in commands
    },
    "tags of a photo": tags,
    "COCO file": coco,
    "pairs": pairs,
    "option": option,
}


def in_input(payloads: Sequence[str], world: World) -> Plan:
    """A payload in what the user gives to a command. Options are texts that somebody else chose, and no paths."""
    places = [place for place in GIVEN if payloads is not tried.PATHS or place != "option"]
    place, payload = world.choose.choice(places), world.fill(world.choose.choice(payloads))
    payload = payload.replace("\0", "\x01") if place == "option" else payload
    command = GIVEN[place](world, payload)
    return f"{place}: {payload[:80]!r}", world.argv(command, payload)


def calling(world: World) -> Plan:
    """Rows that would have the command connect to where the attacker likes."""
    if world.choose.random() < 0.3:
        return in_library(tried.URLS, world)
    uri = world.fill(world.choose.choice(tried.URLS))
    if world.choose.random() < 0.3 and not world.encrypted and world.state == "album":
        return f"an image more in the manifest: {uri}", planted_image(world, uri)
    places = [place for place in GIVEN if ", uri, " in place or place == "roster, image"]
    place = world.choose.choice(places)
    return f"{place}: {uri}", world.argv(GIVEN[place](world, uri))


def planted_image(world: World, uri: str) -> list[str]:
    """A shard of the manifest that no scan wrote, with this image."""
    name = next(name for name in world.names() if name.startswith("manifest/shard-"))
    table = pq.read_table(world.library / name, use_threads=False)
    row = {**table.to_pylist()[0], "uri": uri, "image_id": hashlib.md5(uri.encode()).hexdigest()}
    put(world, "manifest/shard-0123456789abcdef-1.parquet", to_parquet(pa.Table.from_pylist([row], table.schema)))
    return world.argv(world.choose.choice(["run", "photos", "scan", "overlay", "export csv", "people"]))


# ---- links, pipes, and files that are not what they should be --------------------------------------------------------


def linked(world: World) -> Plan:
    """A link in place of a file or folder that a command opens, writes, lists or clears."""
    if world.choose.random() < 0.25:
        return linked_out(world)
    if world.choose.random() < 0.15:
        return linked_photo(world)
    name = world.choose.choice([*tried.MADE, *parents(world), pick(world, "")])
    path, aim = world.library / name, world.choose.choice([*tried.AIMS, "its copy", "itself", "library.json"])
    outside = world.home / "docs" / Path(name).name
    if aim == "its copy" and (path.is_dir() or path.is_file()):
        shutil.move(path, outside)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
    inside = {"itself": path, "library.json": world.library / "library.json", "its copy": outside}
    path.symlink_to(inside.get(aim) or world.home / tried.AIMS[aim])
    return f"{name} is a link to {aim}", world.argv(world.reader(name))


def parents(world: World) -> list[str]:
    return sorted({str(Path(name).parent) for name in world.names()} - {"."})


def linked_out(world: World) -> Plan:
    """Where the user has a command write."""
    name = world.choose.choice([name for name in tried.OUTS if world.encrypted or not name.startswith("plain")])
    aims = ["docs/thesis.txt", "docs/new", ".ssh/id", *(["docs", "empty"] if "." in name else [])]
    aim, path = world.choose.choice(aims), world.out / name  # a folder that a user names may be a link to another
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(world.home / aim)
    return f"--out's {name} is a link to {aim}", world.argv(world.choose.choice(tried.OUTS[name]))


def linked_photo(world: World) -> Plan:
    """In a folder of photos, which says nothing of files elsewhere."""
    name = world.choose.choice(list(tried.PHOTO_LINKS))
    aim = world.choose.choice(tried.PHOTO_LINKS[name])
    (world.inbox / name).symlink_to(world.home / aim)
    commands = ["enroll folder"] if name.startswith("roster") else ["photos", "identify inbox", "evaluate masks"]
    return f"{name} is a link to {aim}", world.argv(world.choose.choice(commands))


def hole(path: Path, choose: random.Random) -> str:
    """In place of a file: something that waits, or never ends."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = choose.choice(["pipe", "pipe", "/dev/zero", "/dev/full", "folder", "socket"])
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        path.symlink_to(kind)
    return kind


def piped(world: World) -> Plan:
    if world.choose.random() < 0.25:
        name = world.choose.choice(list(tried.INBOX))
        return f"{name} is a {hole(world.inbox / name, world.choose)}", world.argv(
            world.choose.choice(tried.INBOX[name])
        )
    name = world.choose.choice([*tried.MADE, pick(world, ""), pick(world, "")])
    return f"library's {name} is a {hole(world.library / name, world.choose)}", world.argv(world.reader(name))


def shaped(world: World) -> Plan:
    """Files that are no JSON, no Parquet or no image, or not of the form that the code has in mind; and bombs."""
    if world.choose.random() < 0.25:
        return bomb(world)
    name = pick(world, ".json", ".jsonl", ".parquet", "_scanning")
    there = name not in tried.NOTES and (world.library / name).is_file()
    data = (world.library / name).read_bytes() if there else json.dumps(tried.NOTES.get(name, {})).encode()
    way = world.choose.choice(["cut", "flip", "broken", "wrong", "wrong", "wrong"])
    if way == "wrong" and name.endswith(".json") and not world.encrypted:
        document = json.loads(world.fill(data.decode()))
        wrong = world.choose.choice(tried.WRONG)
        words = f"{plant_json(document, wrong, world.choose)} is {wrong!r:.40}"
        data = json.dumps(sealed(document)).encode()
    else:
        data = {"cut": cut, "flip": flip}.get(way, lambda *_: world.choose.choice(tried.BROKEN))(data, world.choose)
        words = f"{way}, {len(data)} bytes, {data[:8]!r}"
    put(world, name, data)
    return f"{name}: {words}", world.argv(world.reader(name))


def bomb(world: World) -> Plan:
    name = world.choose.choice(tried.BOMBS)
    path = world.inbox / name
    if path.suffix == ".parquet":
        words, data = "one text of 40 MB in 400 rows", parquet_bomb(path.read_bytes())
    elif path.suffix in (".jpg", ".png"):
        words, data = "a TIFF whose one tile is 32768 by 16384", (world.base / "bomb.tif").read_bytes()
    else:
        data = world.choose.choice([*tried.BROKEN, *tried.BROKEN_CSV])
        words = f"{len(data)} bytes, {data[:16]!r}"
    path.write_bytes(data)
    return f"{name}: {words}", world.argv(world.choose.choice(tried.INBOX[name]))


def parquet_bomb(data: bytes) -> bytes:
    table = pq.read_table(io.BytesIO(data), use_threads=False)
    table = pa.concat_tables([table.slice(0, 1)] * 400)
    note = pa.DictionaryArray.from_arrays(pa.array([0] * 400, pa.int32()), pa.array(["x" * 40_000_000]))
    return to_parquet(table.append_column("note", note))


# ---- other users, and real Ray ---------------------------------------------------------------------------------------


def others(world: World) -> Plan:
    """What another user of the machine may read, hold or lend."""
    way = world.choose.choice(["read", "open to all", "owned by them"])
    if way == "open to all":
        world.library.chmod(0o777)
    elif way == "owned by them":
        os.chown(world.library, NOBODY, NOBODY)
    commands = ["identify inbox", "enroll", "decrypt", "forget person"] if way == "read" else world.commands
    commands = [name for name in commands if name in world.commands]
    return f"{way}", world.argv(world.choose.choice(commands or world.commands))


def with_ray(world: World) -> Plan:
    words, _ = in_library(tried.PATHS, world)
    return words, world.argv("run")


KINDS: Mapping[str, tuple[int, Callable[[World], Plan]]] = {  # how many of a thousand, and what makes one
    "paths": (190, partial(in_library, tried.PATHS)),
    "path_inputs": (110, partial(in_input, tried.PATHS)),
    "texts": (130, partial(in_library, tried.TEXTS)),
    "text_inputs": (160, partial(in_input, tried.TEXTS)),
    "rows": (70, calling),
    "links": (130, linked),
    "pipes": (60, piped),
    "shapes": (60, shaped),
    "swaps": (70, swap),
    "others": (18, others),
    "ray": (2, with_ray),
}
