"""Does anything hostile get in, or anything private out?

    python benchmarks/attack.py [--attempts 2000] [--seed 0] [--only KIND] [--number N] [--keep]

An attempt is a hostile state and one command of Muster's, in a scratch folder with a library, an inbox, and the home
of a victim beside it. `attack_tables.py` and `attack_swaps.py` list what is tried, `attack_plans.py` plants it,
`attack_run.py` runs the command, and `attack_judge.py` says when the attacker has won:
something outside of the library changed; bytes of a file that is no photo came out; a control character, a forged line
or a formula was shown; a row made a connection; a command crashed, hung or took all memory; or somebody was named, or
a file believed, that should not be. A command that refuses, or does its work, has held.

Commands run in forks of this process, and so do workers; only the kind `ray` starts Ray. Without tampering each command
is run first, to see that it works at all (`controls`). Progress goes to stderr. The last line is one JSON object; exit
code 1 where an attempt succeeded or a control failed. `--number` repeats one attempt, and `--keep` leaves its folder;
names of shards depend on the folder, so that it may meet another shard. Files that the attacker changes in libraries
without a key get their digests in commits renewed, but not where the question is whether a change is noticed (`swaps`).
`others`, as uid 65534, needs root.
"""
# ruff: noqa: E402  threads are forbidden before numpy is imported

import argparse
import itertools
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before numpy: forks want a process without threads
    os.environ[variable] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script

import pyarrow.parquet as pq

from benchmarks.attack_judge import before, judge
from benchmarks.attack_plans import KINDS
from benchmarks.attack_run import Outcome, listen, run
from benchmarks.attack_tables import ALONE, REFUSED
from benchmarks.attack_world import World, build, make_world

ROOT = "ROOT"  # for the scratch folder, in what is told of an attempt


STEPS = {  # state → the commands that make it; after a word and a colon, something happens first
    "album": (
        *("scan {base}/photos -l {library}", "gone: run --tasks faces,previews,objects,masks,scenes -l {library}"),
        *("cluster -l {library}", "people -l {library} --out {pages}"),
        "late: scan {base}/photos/late.jpg -l {library}",
    ),
    "school": (
        *("enroll {base}/school.csv -l {library} --consent-given", "calibrate -l {library}"),
        *("identify {probe} -l {library}", "kept: forget {last} -l {library}"),
        "identify {probe} {stranger} -l {library}",
    ),
    "other": (
        *("enroll {base}/other.csv -l {library} --consent-given", "cluster -l {library}"),
        "verify {probe} --person {member} --threshold 0 -l {library}",
    ),
}  # fmt: skip


def build_states(base: Path, states: Sequence[str]) -> None:
    for state, encrypted in itertools.product(states, (False, True)):
        build_state(base, state, encrypted)


def build_state(base: Path, state: str, encrypted: bool) -> None:
    """One library, by the commands of a user who is not attacked."""
    root = base / f"{state}{'-key' * encrypted}"
    world = World(root, base, state, encrypted)
    for name in ("tmp", "cache", "home", "out"):
        (root / name).mkdir(parents=True)
    roster = (base / f"{state}.csv").read_text().splitlines() if state != "album" else ["", ""]
    facts = json.loads((base / "facts.json").read_text()) | {"base": str(base), "library": str(world.library)}
    facts |= {"last": roster[-1].split(",")[0], "member": roster[1].split(",")[0]}
    facts["pages"] = str(world.out / "pages") if encrypted else f"{world.library}/people"
    for step in STEPS[state]:
        word, _, rest = step.rpartition(": ")
        happen(world, word)
        tried(world, [part.format_map(facts) for part in rest.split()])
    if state == "album":
        (base / "later/0.jpg").rename(base / "photos/0.jpg")  # as it was, for the encrypted one
        (base / "photos/late.jpg").rename(base / "later/late.jpg")
    facts["head"] = json.loads(tried(world, ["audit", "verify", "--json", "-l", str(world.library)]).out)["head"]
    facts["image"] = first_image(base / state / "library")
    (base / f"{root.name}.json").write_text(json.dumps(facts))


def happen(world: World, word: str) -> None:
    base = world.base
    if word == "gone":
        (base / "photos/0.jpg").rename(base / "later/0.jpg")
    elif word == "late":
        (base / "later/late.jpg").rename(base / "photos/late.jpg")
    elif word == "kept":
        shutil.copytree(world.library, base / f"earlier{'-key' * world.encrypted}" / "library")


def tried(world: World, argv: Sequence[str]) -> Outcome:
    outcome = run(world, argv)
    if outcome.code:
        raise SystemExit(f"muster {' '.join(argv)} ended with {outcome.code}: {outcome.out} {outcome.err}")
    return outcome


def first_image(library: Path) -> str:
    shard = max(library.glob("manifest/*.parquet"), key=lambda path: path.stat().st_size)
    return str(pq.read_table(shard, columns=["image_id"], use_threads=False)["image_id"][1].as_py())


# ---- attempts and controls -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """One of them, and why it succeeded; no reasons: it failed. `plan`: what was planted, and the command."""

    number: int
    kind: str
    encrypted: bool
    plan: str
    command: str
    reasons: Sequence[str]
    code: int
    seconds: float


def schedule(seed: int, number: int) -> tuple[str, bool, str, random.Random]:
    """Kind, whether the library is encrypted, its state, and what else is drawn for this number."""
    choose = random.Random(f"{seed} {number}")
    kind = choose.choices(list(KINDS), [share for share, _ in KINDS.values()])[0]
    encrypted = kind != "ray" and choose.random() < (0.5 if kind == "swaps" else 0.25)
    state = "school" if kind == "others" else "album" if kind == "ray" else choose.choice(["album", "school"])
    return kind, encrypted, state, choose


def attempt(base: Path, controls: Mapping[tuple[str, bool], Outcome], seed: int, keep: bool, number: int) -> Attempt:
    kind, encrypted, state, choose = schedule(seed, number)
    root, began = Path(tempfile.mkdtemp(prefix=f"{number}-", dir=base.parent)), time.monotonic()
    root.chmod(0o755)
    world = make_world(root, base, state, encrypted, choose, listen())
    words, argv = KINDS[kind][1](world)
    then = before(world)
    outcome = run(world, argv, ray=kind == "ray")
    reasons = judge(world, kind, then, outcome, controls.get((shape(world, argv), encrypted)), words)
    if not (keep and reasons):
        shutil.rmtree(root, ignore_errors=True)
    line = " ".join(argv)[:300].replace(str(root), ROOT)
    reasons = [reason.replace(str(root), ROOT).replace(str(base), "BASE") for reason in reasons]
    return Attempt(
        number, kind, encrypted, words.replace(str(root), ROOT), line, reasons, outcome.code, time.monotonic() - began
    )


def shape(world: World, argv: Sequence[str]) -> str:
    """The command as it reads in any world."""
    return "\0".join(argv).replace(str(world.root), ROOT)


def control(base: Path, which: tuple[str, str, bool]) -> tuple[tuple[str, bool], Outcome, str]:
    """A command on a library that nobody touched: its shape and outcome, and what is wrong with that."""
    name, state, encrypted = which
    root = Path(tempfile.mkdtemp(prefix="control-", dir=base.parent))
    world = make_world(root, base, state, encrypted, random.Random(0), listen())
    then, argv = before(world), world.argv(name)
    outcome = run(world, argv)
    problems = judge(world, "control", then, outcome, None, "")
    if outcome.code != 0 and name not in REFUSED:
        problems.append(f"exit code {outcome.code}: {outcome.err[-200:]}")
    if name == "identify" and world.facts["person"] not in outcome.out:
        problems.append("nobody was named")
    key = (shape(world, argv), encrypted)
    shutil.rmtree(root)
    text = f"{name}{', encrypted' * encrypted}: {'; '.join(problems)}" if problems else ""
    return key, outcome, text


def all_controls() -> Iterator[tuple[str, str, bool]]:
    for encrypted in (False, True):
        for state in ("album", "school"):
            yield from ((name, state, encrypted) for name in World(Path(), Path(), state, encrypted).commands)
    yield from ((name, "album", False) for name in (*ALONE, *REFUSED))


def lanes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(len(os.sched_getaffinity(0)), multiprocessing.get_context("fork"))


def numbers(arguments: argparse.Namespace) -> list[int]:
    if arguments.number is not None:
        return [arguments.number]
    wanted = (n for n in itertools.count() if arguments.only in (None, schedule(arguments.seed, n)[0]))
    return list(itertools.islice(wanted, arguments.attempts))


def attack(base: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    began = time.monotonic()
    build(base)
    with lanes() as pool:
        list(pool.map(partial(build_states, base), (["album"], ["school", "other"])))
        say(f"{time.monotonic() - began:.0f} s: libraries are built")
        done = list(pool.map(partial(control, base), all_controls()))
    controls = {key: outcome for key, outcome, _ in done}
    failed = [text for _, _, text in done if text]
    say(f"{time.monotonic() - began:.0f} s: {len(done)} controls, {len(failed)} failed")
    attempts = []
    with lanes() as pool:
        call = partial(attempt, base, controls, arguments.seed, arguments.keep)
        for each in pool.map(call, numbers(arguments)):
            attempts.append(each)
            if each.reasons:
                say(f"{each.number} {each.kind}: {each.plan}; muster {each.command}: {each.reasons[0]}")
    return summary(attempts, arguments) | {
        "controls": len(done), "controls_failed": failed, "seconds": round(time.monotonic() - began, 1)
    }  # fmt: skip


def summary(attempts: Sequence[Attempt], arguments: argparse.Namespace) -> dict[str, Any]:
    won = [each for each in attempts if each.reasons]
    kinds = {kind: sum(each.kind == kind for each in attempts) for kind in KINDS}
    first = [each for kind in KINDS for each in [w for w in won if w.kind == kind][:3]]
    return {
        "attempts": len(attempts),
        "succeeded": len(won),
        "seed": arguments.seed,
        "distinct": len({(each.plan, each.command, each.encrypted) for each in attempts}),
        "refused": sum(each.code != 0 for each in attempts),
        "encrypted": sum(each.encrypted for each in attempts),
        "kinds": {kind: {"attempts": n, "succeeded": sum(w.kind == kind for w in won)} for kind, n in kinds.items()},
        "commands": dict(Counter(each.command.split()[0] for each in attempts if each.command).most_common()),
        "first": [
            {"number": each.number, "kind": each.kind, "encrypted": each.encrypted, "planted": each.plan,
             "command": f"muster {each.command}", "why": list(each.reasons)[:3],
             "again": f"python benchmarks/attack.py --seed {arguments.seed} --number {each.number} --keep"}
            for each in first
        ],
    }  # fmt: skip


def say(text: str) -> None:
    print(text.encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)


def load() -> None:
    """Everything that commands import, once, before there are forks."""
    import faiss  # noqa: F401
    import matplotlib.figure  # noqa: F401

    from muster.training import recipes  # noqa: F401


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--number", type=int, help="this attempt alone")
    parser.add_argument("--keep", action="store_true", help="leave the folders of attempts that succeeded")
    arguments = parser.parse_args()
    os.umask(0o022)
    load()
    folder = Path(tempfile.mkdtemp(prefix="attack-"))
    folder.chmod(0o755)
    try:
        facts = attack(folder / "base", arguments)
    finally:
        if arguments.keep:
            say(f"what succeeded is in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(facts))
    return int(bool(facts["succeeded"] or facts["controls_failed"]))


if __name__ == "__main__":
    sys.exit(main())
