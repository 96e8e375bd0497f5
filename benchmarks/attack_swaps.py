"""What should be noticed: files changed, older, or of another library. For `benchmarks/attack.py`."""

import hashlib
import io
import json
import random
import shutil
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.attack_world import World, matching, to_parquet

Change = Callable[[bytes, random.Random], bytes]
How = Callable[[World], None]


def replaced(source: str, *names: str) -> How:
    """Files of another library, or of an earlier state of this one; a name that ends in / is a folder."""

    def do(world: World) -> None:
        there = world.base / f"{source}{'-key' * world.encrypted}" / "library"
        for name in names:
            if name.endswith("/"):
                shutil.rmtree(world.library / name, ignore_errors=True)
                shutil.copytree(there / name, world.library / name)
            else:
                shutil.copy(matching(there, name), world.library / str(matching(there, name).relative_to(there)))

    return do


def removed(name: str) -> How:
    return lambda world: shutil.rmtree(world.library / name)


def changed(pattern: str, change: Change) -> How:
    def do(world: World) -> None:
        path = matching(world.library, pattern)
        data = change(path.read_bytes(), world.choose)
        assert data != path.read_bytes(), pattern
        path.write_bytes(data)

    return do


def swapped(pattern: str) -> How:
    """Two shards of a table, each in the other's place."""

    def do(world: World) -> None:
        a, b = sorted(world.library.glob(pattern))[:2]
        first, second = a.read_bytes(), b.read_bytes()
        a.write_bytes(second)
        b.write_bytes(first)

    return do


def one_embedding(data: bytes, choose: random.Random) -> bytes:
    """All faces have the first one's."""
    table = pq.read_table(io.BytesIO(data), use_threads=False)
    place = table.schema.get_field_index("embedding")
    values = pa.array([table["embedding"][0].as_py()] * table.num_rows, table.schema.field(place).type)
    return to_parquet(table.set_column(place, table.schema.field(place), values))


def level(data: bytes, choose: random.Random) -> bytes:
    """A threshold that everybody passes."""
    table = pq.read_table(io.BytesIO(data), use_threads=False)
    facts = json.loads(table.schema.metadata[b"muster.gallery"])
    facts["calibration"]["identify"]["threshold"] = facts["calibration"]["verify"]["threshold"] = -1.5
    return to_parquet(table.replace_schema_metadata({**table.schema.metadata, b"muster.gallery": json.dumps(facts)}))


def cell(column: str, value: str) -> Change:
    def change(data: bytes, choose: random.Random) -> bytes:
        table = pq.read_table(io.BytesIO(data), use_threads=False)
        place = table.schema.get_field_index(column)
        values = pa.array([value] * table.num_rows, pa.string())
        return to_parquet(table.set_column(place, table.schema.field(place), values))

    return change


def without_last(data: bytes, choose: random.Random) -> bytes:
    return b"".join(data.splitlines(keepends=True)[:-1])


def only_first(world: World) -> None:
    """The log's first line alone, and a head that fits it."""
    path = matching(world.library, "audit/*.jsonl")
    line = path.read_bytes().splitlines()[0]
    path.write_bytes(line + b"\n")
    head = {"lines": 1, "sha256": hashlib.sha256(line).hexdigest()}
    (world.library / "audit/head.json").write_text(json.dumps(head))


def edited(data: bytes, choose: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    at = choose.randrange(len(lines) - 1)
    lines[at] = lines[at].replace(b'"by": "', b'"by": "x')
    return b"".join(lines)


def plain_twin(world: World) -> None:
    """A file as it would be without a key, in place of the encrypted one."""
    twins = set(world.names(world.base / world.state / "library"))
    name = world.choose.choice([name for name in world.names() if name in twins and name not in OPEN])
    (world.library / name).write_bytes(world.twin(name))


def any_file(change: Change) -> How:
    def do(world: World) -> None:
        name = world.choose.choice([name for name in world.names() if name not in OPEN])
        (world.library / name).write_bytes(change((world.library / name).read_bytes(), world.choose))

    return do


def cut(data: bytes, choose: random.Random) -> bytes:
    return data[: choose.randrange(len(data))] if data else data


def flip(data: bytes, choose: random.Random) -> bytes:
    at = choose.randrange(len(data))
    return data[:at] + bytes([data[at] ^ choose.randint(1, 255)]) + data[at + 1 :]


OPEN = ("library.json", "gallery/calibration.html")  # which are never encrypted
GALLERY, FACES, LOG = "gallery/gallery.parquet", "faces/*/*.parquet", "audit/*.jsonl"
ASKING = ("identify", "verify", "calibrate", "enroll", "audit verify")
OF_FACES = ("cluster", "kmeans", "people", "export csv", "export labelme")
HEAD = ("audit verify -l {library} --head {head}",)
SWAPS: Sequence[tuple[str, str, How, Sequence[str]]] = (  # what, where (key: with one only), how, commands
    ("gallery of before a deletion", "school", replaced("earlier", GALLERY), ASKING),
    ("gallery of another library", "school", replaced("other", GALLERY), ASKING),
    ("log of before a deletion", "school", replaced("earlier", "audit/"), ASKING),
    ("log of another library", "school", replaced("other", "audit/"), ASKING),
    ("log and gallery of another library", "school", replaced("other", "audit/", GALLERY), HEAD),
    ("all of before a deletion", "school", replaced("earlier", "audit/", "gallery/"), HEAD),
    ("no log", "school", removed("audit"), (*ASKING, "audit show", "forget person")),
    ("log without its last line", "school plain", changed(LOG, without_last),
     ("identify", "audit verify", "audit show")),
    ("log of one line", "school plain", only_first, (*ASKING, *HEAD)),
    ("a line of the log edited", "school plain", changed(LOG, edited), ("audit verify", "audit show")),
    ("log cut", "school key", changed(LOG, cut), ("identify", "audit verify", "audit show", "decrypt")),
    ("faces of the gallery made one", "school plain", changed(GALLERY, one_embedding), ASKING),
    ("names of the gallery changed", "school plain", changed(GALLERY, cell("name", "Mallory")), ASKING),
    ("threshold lowered", "school plain", changed(GALLERY, level), (*ASKING, "verify stranger")),
    ("gallery cut", "school", changed(GALLERY, cut), ASKING),
    ("gallery flipped", "school key", changed(GALLERY, flip), ASKING),
    ("faces made one", "album plain", changed(FACES, one_embedding), OF_FACES),
    ("labels changed", "album plain", changed("objects/*/*.parquet", cell("label", "dog")),
     ("export csv", "export coco")),
    ("digests changed", "album plain", changed("images/*/*.parquet", cell("sha256", "0" * 64)), ("cluster", "overlay")),
    ("faces of another shard", "album", swapped(FACES), OF_FACES),
    ("objects of another shard", "album", swapped("objects/*/*.parquet"), ("export csv", "export coco", "overlay")),
    ("commits of another shard", "album key", swapped("_commits/*/*.json"), ("status",)),  # the others read some
    ("manifest of another shard", "album key", swapped("manifest/*.parquet"),
     ("export csv", "people", "scan")),  # clustering reads no manifest
    ("faces flipped", "album", changed(FACES, flip), OF_FACES),
    ("a shard of another library", "album key", replaced("other", "manifest/*.parquet"),
     ("export csv", "people", "scan")),
    ("clusters of another library", "album key", replaced("other", "clusters/*/*.parquet"),
     ("people", "cluster", "decrypt")),
    ("marker of another library", "album key", replaced("other", "library.json"),
     ("status", "scan", "export csv", "decrypt")),
    ("plain file", "album key", plain_twin, ("decrypt",)),
    ("plain file", "school key", plain_twin, ("decrypt",)),
    ("any file cut", "school key", any_file(cut), ("decrypt",)),
    ("any file flipped", "album key", any_file(flip), ("decrypt",)),
)  # fmt: skip


def swap(world: World) -> tuple[str, list[str]]:
    mine = [each for each in SWAPS if fits(each[1], world)]
    words, _, how, commands = world.choose.choice(mine)
    how(world)
    return words, world.argv(world.choose.choice([c for c in commands if world.encrypted or c != "decrypt"]))


def fits(where: str, world: World) -> bool:
    state, _, only = where.partition(" ")
    return state == world.state and only in ("", "key" if world.encrypted else "plain")
