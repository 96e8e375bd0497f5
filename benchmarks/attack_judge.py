"""Who has won: what `benchmarks/attack.py` compares before and after a command."""

import csv
import io
import itertools
import json
import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.attack_plans import NOBODY
from benchmarks.attack_run import Outcome, key_of
from benchmarks.attack_tables import FORGED
from benchmarks.attack_world import SECRET, State, World, look
from muster.storage.library import open_library

BIDI = ("LRE", "LRO", "RLE", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


@dataclass(frozen=True)
class Before:
    """How it looked before the command: what must not change, and the library's files."""

    outside: State
    beside: list[str]
    library: dict[str, tuple[int, int, int]]


def before(world: World) -> Before:
    return Before(look(world.home, world.inbox, world.base / "photos"), beside(world), stamps(world))


def beside(world: World) -> list[str]:
    return sorted(set(os.listdir(world.root)) - {"library"})


def stamps(world: World) -> dict[str, tuple[int, int, int]]:
    """Of every regular file in what commands write."""
    found = {}
    for path in itertools.chain(world.library.rglob("*"), world.out.rglob("*")):
        info = path.lstat()
        if stat.S_ISREG(info.st_mode):
            found[str(path)] = (info.st_ino, info.st_size, info.st_mtime_ns)
    return found


def judge(world: World, kind: str, then: Before, outcome: Outcome, usual: Outcome | None, words: str) -> list[str]:
    """Why the attacker has won; nothing where they have not."""
    fresh = [Path(name) for name, stamp in stamps(world).items() if then.library.get(name) != stamp]
    return [
        *outside(world, then),
        *leaked(world, fresh, outcome),
        *shown(outcome),
        *(formulas(path) for path in fresh if path.suffix == ".csv" and formulas(path)),
        *broken(outcome),
        *named(world, outcome),
        *twins(world, fresh),
        *(believed(outcome, usual) if kind == "swaps" else ()),
        *(readable(world, words, outcome) if kind == "others" else ()),
    ]


def outside(world: World, then: Before) -> Iterator[str]:
    now = look(world.home, world.inbox, world.base / "photos")
    for name in sorted(now.keys() | then.outside.keys()):
        if now.get(name) != then.outside.get(name):
            yield f"changed outside: {name}"
    if beside(world) != then.beside:
        yield f"changed beside the library: {set(beside(world)) ^ set(then.beside)}"


def leaked(world: World, fresh: Sequence[Path], outcome: Outcome) -> Iterator[str]:
    private = [SECRET, world.facts["private"]]
    if SECRET in outcome.out + outcome.err:
        yield "private bytes were shown"
    for path in fresh:
        text = content(world, path)
        if any(each.encode() in text for each in private):
            yield f"private bytes in {path}"


def content(world: World, path: Path) -> bytes:
    """A file's bytes, decrypted, and the texts of a Parquet file in clear."""
    data = path.read_bytes()
    if world.encrypted and path.is_relative_to(world.library):
        os.environ |= key_of(world)
        try:
            data = open_library(world.library).read(str(path.relative_to(world.library)))
        except Exception:  # no library any more, or a file that is none of it
            return data
        finally:
            os.environ.pop("MUSTER_KEY")
    if data.startswith(b"PAR1"):
        try:
            table = pq.read_table(io.BytesIO(data), use_threads=False)
        except (pa.ArrowException, OSError):
            return data
        kept = [c.name for c in table.schema if pa.types.is_string(c.type) or pa.types.is_binary(c.type)]
        return repr(table.select(kept).to_pylist()).encode(errors="backslashreplace")
    return data


def shown(outcome: Outcome) -> Iterator[str]:
    for name, text in (("stdout", outcome.out), ("stderr", outcome.err)):
        if bad := sorted({c for c in text if c != "\n" and hidden(c)}):
            yield f"{', '.join(f'U+{ord(c):04X}' for c in bad)} in {name}"
        if any(line.startswith(FORGED) for line in text.splitlines()):
            yield f"a forged line in {name}"


def hidden(character: str) -> bool:
    """Control characters, marks that turn the reading direction, other line ends, and bytes that are not UTF-8."""
    kind = unicodedata.category(character)
    return (
        kind in ("Cc", "Zl", "Zp", "Cs")
        or unicodedata.bidirectional(character) in BIDI
        or character in "\u200e\u200f\u061c"
    )


def formulas(path: Path) -> str:
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        for cells in csv.reader(file):
            for each in cells:
                if each.startswith(("=", "+", "-", "@", "\t", "\r")) and not number(each):
                    return f"a formula in {path.name}: {each[:40]!r}"
    return ""


def number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def broken(outcome: Outcome) -> Iterator[str]:
    if outcome.ended:
        yield {"hung": "it hung", "connected": "a connection was made"}[outcome.ended]
    elif outcome.code not in (0, 1, 2) or "Traceback (most recent call last)" in outcome.err:
        yield f"it crashed, exit code {outcome.code}: {(outcome.err.splitlines() or [''])[-1][:100]}"


def named(world: World, outcome: Outcome) -> Iterator[str]:
    """Answers about strangers, and about people of whom the photo is not."""
    try:
        facts = json.loads(outcome.out.splitlines()[-1])
    except (ValueError, IndexError):
        return
    if not isinstance(facts, dict) or outcome.code:
        return
    for answer in facts.get("answers", []):
        right = world.facts["person"] if answer["image"] == world.facts["probe"] else None
        if answer["person_id"] not in (None, "UNKNOWN", "UNSURE", right) or answer["name"] not in (None, right):
            yield f"somebody was named {answer['person_id']!r}, {answer['name']!r}"
    if facts.get("match") and facts["face"]["image"] != world.facts["probe"]:
        yield "a stranger was taken for somebody"


def twins(world: World, fresh: Sequence[Path]) -> Iterator[str]:
    """Two people in a gallery whose ids look alike."""
    path = world.library / "gallery/gallery.parquet"
    if path in fresh and not world.encrypted:
        ids = set(pq.read_table(path, columns=["person_id"], use_threads=False)["person_id"].to_pylist())
        if len({unicodedata.normalize("NFC", each) for each in ids}) < len(ids):
            yield "two people of one name"


def believed(outcome: Outcome, usual: Outcome | None) -> Iterator[str]:
    if outcome.code == 0 and outcome.said <= (usual.said if usual else set()):
        yield "it was believed without a word"


def readable(world: World, words: str, outcome: Outcome) -> Iterator[str]:
    if words != "read":
        if outcome.code == 0:
            yield f"a library {words} was used without a word"
        return
    pid = os.fork()
    if not pid:
        os._exit(as_nobody([world.library, world.out]))
    if count := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        yield f"{count} files and folders can be opened by others"


def as_nobody(folders: Sequence[Path]) -> int:
    """In a fork: the number of things that another user can open."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    count = 0
    for path in itertools.chain(*(folder.rglob("*") for folder in folders)):
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            count += 1
        except OSError:
            continue
    return min(count, 250)
