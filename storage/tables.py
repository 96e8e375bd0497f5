"""Tables of a library: Parquet shards made visible by commits.

`LIBRARY/<table>/<fingerprint>/shard-<id>.parquet` holds the rows of one shard of the manifest as one version of one
task made them; `LIBRARY/_commits/<fingerprint>/shard-<id>.json`, written last, makes them count. Readers here trust
commits only, so a worker that dies leaves nothing visible, and running a shard twice is harmless. A commit can name no
other files than these, and a file that is not the one it was written for is refused.
"""

import hashlib
import io
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from muster.errors import DecryptionError, InputError, MusterError, NotYetError
from muster.storage import commit_facts, layout
from muster.storage.commit_facts import NO_FACTS, Facts
from muster.storage.library import LibraryFiles, dump_json

TABLE = re.compile("[a-z][a-z0-9_]*")  # a legal table name: it becomes one folder of the library
CHOSEN = b"muster.chosen"  # in the metadata of a table: its rows were chosen among all images of the shard
ROW_GROUP_ROWS = 8192  # a face row is at most about 6 KB with its thumbnail: row groups stay under 64 MiB


def fingerprint(description: Mapping[str, Any]) -> str:
    """16 hex digits that stand for a task, its version, parameters and weights' digests."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]


def describe(library: LibraryFiles, description: Mapping[str, Any]) -> str:
    """Record what a fingerprint stands for, in `_tasks/<fingerprint>.json`; returns the fingerprint."""
    name = fingerprint(description)
    library.create(layout.description(name), dump_json(description))
    return name


def descriptions(library: LibraryFiles) -> dict[str, dict[str, Any]]:
    """Everything that `describe` recorded: fingerprint → description. Raises MusterError for a damaged file."""
    names = [name.removesuffix(".json") for name in library.names(layout.TASKS)]
    found = {name: read_json(library, layout.description(name)) for name in names}
    for name, what in found.items():
        if name != fingerprint(what) or not isinstance(what.get("task"), str):
            file = library.at(layout.description(name))
            raise MusterError(f"{file} is not as Muster wrote it: restore it, or delete it")
    return found


def read_json(library: LibraryFiles, name: str, **kinds: type) -> dict[str, Any]:
    """One JSON object of the library, with fields of these types; lists are of texts.

    Raises MusterError where it is missing or damaged.
    """
    try:
        value = json.loads(library.read(name))
        if isinstance(value, dict) and all(_is_of(value.get(field), kind) for field, kind in kinds.items()):
            return value
        error: Exception = ValueError("not what Muster wrote")
    except (FileNotFoundError, ValueError, RecursionError, DecryptionError) as cause:
        error = cause
    raise MusterError(f"{library.at(name)} is missing or damaged ({error}): delete it, and run again") from None


def _is_of(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and all(isinstance(each, str) for each in (value if isinstance(value, list) else ()))


def to_parquet(rows: pa.Table) -> bytes:
    """The bytes of a Parquet file: zstd, statistics and page checksums on, small row groups.

    The same rows give the same bytes.
    """
    sink = io.BytesIO()
    pq.write_table(rows, sink, compression="zstd", row_group_size=ROW_GROUP_ROWS, write_page_checksum=True)
    return sink.getvalue()


def parquet_file(data: bytes) -> pq.ParquetFile:
    """A Parquet file in memory, read without Arrow's own threads.

    They may still hold the bytes, which are Python's, when the process ends, and abort it (2 of 15 exports on a busy
    machine).
    """
    return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True, pre_buffer=False)


def from_parquet(data: bytes) -> pa.Table:
    """Its rows. Raises pa.ArrowException or OSError, the latter also for a bad footer or page."""
    return parquet_file(data).read(use_threads=False)


def write_shard(
    library: LibraryFiles, fingerprint: str, shard: str, rows: Mapping[str, pa.Table], facts: Facts = NO_FACTS
) -> bool:
    """Write one shard's rows of one task, table by table, then commit them.

    `rows`: table name → rows, each beginning with `image_id`. `facts`: see muster.storage.commit_facts.
    Returns False where the shard was already committed; what was written then stays as it is.
    """
    if is_committed(library, fingerprint, shard):
        return False
    files = [_write_file(library, table, fingerprint, shard, part) for table, part in rows.items()]
    commit = {"shard": shard, "fingerprint": fingerprint, "files": files, "failed": _failed(rows)}
    commit["facts"] = dict(facts)  # Muster before 0.2 takes a commit without it for damaged
    if library.create(layout.commit(fingerprint, shard), dump_json(commit)):
        return True
    theirs = _read_commit(library, fingerprint, shard)["files"]
    # Two workers may have done this shard at once, and on different processors the last digits of rows differ: so the
    # commit is made from the files that are in place now.
    if theirs != files and not all(library.has(f["name"]) and _is_as_written(library, f) for f in theirs):
        for table, part in rows.items():
            _write_file(library, table, fingerprint, shard, part)
        library.write(layout.commit(fingerprint, shard), dump_json(commit))
    return False


def _is_as_written(library: LibraryFiles, file: Mapping[str, Any]) -> bool:
    return digest(library.read(file["name"])) == file["sha256"]


def _write_file(library: LibraryFiles, table: str, fingerprint: str, shard: str, rows: pa.Table) -> dict[str, Any]:
    metadata = {
        **(rows.schema.metadata or {}),
        b"muster.table": table.encode(),
        b"muster.fingerprint": fingerprint.encode(),
    }
    data = to_parquet(rows.replace_schema_metadata(metadata))
    name = layout.rows(table, fingerprint, shard)
    library.write(name, data)
    return {"name": name, "table": table, "rows": rows.num_rows, "sha256": digest(data)}


def digest(data: bytes) -> str:
    """SHA-256, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def is_committed(library: LibraryFiles, fingerprint: str, shard: str) -> bool:
    return library.has(layout.commit(fingerprint, shard))


def committed(library: LibraryFiles, fingerprint: str) -> list[str]:
    """The ids of the shards that are done under this fingerprint. One listing, no file is opened."""
    names = library.names(f"{layout.COMMITS}/{fingerprint}")
    return [name.removeprefix("shard-").removesuffix(".json") for name in names if name.startswith("shard-")]


def commits(library: LibraryFiles, fingerprint: str, shards: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """The commits of these shards (of all, by default), in order of their ids.

    Raises MusterError naming the file when one is missing or damaged.
    """
    ids = sorted(committed(library, fingerprint) if shards is None else shards)
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda shard: _read_commit(library, fingerprint, shard), ids))


def _read_commit(library: LibraryFiles, fingerprint: str, shard: str) -> dict[str, Any]:
    name = layout.commit(fingerprint, shard)
    commit = read_json(library, name)
    if not _is_sound(commit, fingerprint, shard):
        raise MusterError(f"{library.at(name)} is not as Muster wrote it: delete it, and run again")
    return commit


def _is_sound(commit: Any, fingerprint: str, shard: str) -> bool:
    """Whether it is the commit of this shard, and names this shard's files and no others."""
    try:
        failed = commit.get("failed") or {}
        return (
            (commit["fingerprint"], commit["shard"]) == (fingerprint, shard)
            and all(isinstance(text, str) for pair in failed.items() for text in pair)
            and all(_is_file(file, fingerprint, shard) for file in commit["files"])
        )
    except (AttributeError, KeyError, TypeError):
        return False


def _is_file(file: Mapping[str, Any], fingerprint: str, shard: str) -> bool:
    table = file["table"]
    named = TABLE.fullmatch(table) is not None and file["name"] == layout.rows(table, fingerprint, shard)
    return named and isinstance(file["rows"], int) and isinstance(file["sha256"], str)


def read(
    library: LibraryFiles,
    table: str,
    fingerprint: str,
    columns: Sequence[str] | None = None,
    shards: Iterable[str] | None = None,
) -> pa.Table | None:
    """All committed rows of a table, in order of shard id; None where no shard is committed.

    Raises MusterError naming the file when a committed one is missing or damaged.
    """
    files = [f for c in commits(library, fingerprint, shards) for f in c["files"] if f["table"] == table]
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda file: _read_file(library, file, columns), files))
    return pa.concat_tables(parts, promote_options="default") if parts else None


def require(
    library: LibraryFiles,
    table: str,
    fingerprint: str,
    columns: Sequence[str] | None = None,
    shards: Iterable[str] | None = None,
) -> pa.Table:
    """`read`, where there must be rows: NotYetError where no shard is committed."""
    rows = read(library, table, fingerprint, columns, shards)
    if rows is None:
        raise NotYetError(f"library {library.uri} has no committed {table}", "run", library.uri)
    return rows


def count(library: LibraryFiles, table: str, fingerprint: str, shards: Iterable[str] | None = None) -> int:
    """The number of committed rows, from the commits alone."""
    return rows_in(commits(library, fingerprint, shards), table)


def rows_in(commits: Iterable[Mapping[str, Any]], table: str) -> int:
    """The number of a table's rows under these commits."""
    return sum(file["rows"] for commit in commits for file in commit["files"] if file["table"] == table)


def failures(library: LibraryFiles, commits: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """image_id → error kind of every image that these commits have an error of, from the commits alone.

    Commits of older versions do not list errors; for those the tables are read.
    """
    found: dict[str, str] = {}
    for commit in commits:
        failed = commit.get("failed")
        if failed is None:
            files = {f["table"]: f for f in commit["files"] if f["table"] in ("images", "errors")}
            failed = _failed({table: _read_file(library, file) for table, file in files.items()})
        found |= failed
    return found


def _failed(rows: Mapping[str, pa.Table]) -> dict[str, str]:
    """image_id → error kind, of the rows of `images` that are errors, and those of `errors`."""
    found: dict[str, str] = {}
    for name, table in rows.items():
        if name == "images" and "status" in table.column_names:
            table = table.filter(pc.equal(table["status"], "error"))
        elif name != "errors":
            continue
        if "error_kind" in table.column_names:
            found |= zip(table["image_id"].to_pylist(), table["error_kind"].to_pylist(), strict=True)
    return found


def _read_file(library: LibraryFiles, file: Mapping[str, Any], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a file that a commit names."""
    name = file["name"]
    try:
        data = library.read(name)
        if digest(data) != file["sha256"]:
            raise OSError("it was changed since it was written")
        parquet = parquet_file(data)  # not read_table: it takes 1.5 ms more for each file
        if absent := set(columns or ()) - set(parquet.schema_arrow.names):  # read() would leave them out
            raise pa.ArrowInvalid(f"no column {', '.join(sorted(absent))}")
        return parquet.read(columns=columns, use_threads=False)
    except (OSError, pa.ArrowException, DecryptionError) as error:  # OSError: also Parquet's, for a bad footer or page
        raise MusterError(
            f"{library.at(name)} is missing or damaged ({error}): delete its commit in {layout.COMMITS}/, and run again"
        ) from None


def replace_shard(library: LibraryFiles, old: str, new: str, keep: Sequence[str]) -> None:
    """Give the rows of shard `old` whose image is in `keep` to shard `new`, under every fingerprint; then drop `old`.

    Nothing is computed again, but for rows that were chosen among all images of the shard (`CHOSEN`): where one of
    those goes, `new` has no commit. May be interrupted and repeated: the new rows are committed before the old ones go,
    and a file of `old` goes whether or not a commit still names it: it may show a face that its owner took away.
    """
    kept = pa.array(keep, pa.string())
    folders = [name for name in library.names("") if TABLE.fullmatch(name)]
    for name in sorted({*library.names(layout.COMMITS), *descriptions(library)}):
        if keep and library.has(layout.commit(name, old)):
            commit = _read_commit(library, name, old)
            rows = {f["table"]: _read_file(library, f) for f in commit["files"]}
            left = {t: r.filter(pc.is_in(r["image_id"], value_set=kept)) for t, r in rows.items()}
            if all(CHOSEN not in (r.schema.metadata or {}) or r.num_rows == left[t].num_rows for t, r in rows.items()):
                write_shard(library, name, new, left, commit_facts.without_others(commit_facts.of(commit), set(keep)))
        library.remove(layout.commit(name, old))
        for table in folders:
            library.remove(layout.rows(table, name, old))


def rows_of_others(
    library: LibraryFiles, fingerprint: str, shard: str, images: Collection[str]
) -> tuple[dict[str, pa.Table], Facts]:
    """Table → the rows of a committed shard, of all but these images; and what its commit says of them."""
    commit, without = _read_commit(library, fingerprint, shard), pa.array(images, pa.string())
    rows = {file["table"]: _read_file(library, file) for file in commit["files"]}
    left = {t: r.filter(pc.invert(pc.is_in(r["image_id"], value_set=without))) for t, r in rows.items()}
    kept = {image for each in left.values() for image in each["image_id"].to_pylist()}
    return left, commit_facts.without_others(commit_facts.of(commit), kept)


def rewrite_shard(
    library: LibraryFiles, fingerprint: str, shard: str, rows: Mapping[str, pa.Table], facts: Facts = NO_FACTS
) -> None:
    """`write_shard`, in place of what is committed. Cut off in between, the shard is pending."""
    if is_committed(library, fingerprint, shard):
        forget_shard(library, fingerprint, shard)
    write_shard(library, fingerprint, shard, rows, facts)


def forget_shard(library: LibraryFiles, fingerprint: str, shard: str) -> None:
    """Make a committed shard pending again: its commit goes, then the files that it names."""
    files = _read_commit(library, fingerprint, shard)["files"]
    library.remove(layout.commit(fingerprint, shard))
    for file in files:
        library.remove(file["name"])


def resolve(library: LibraryFiles, table: str, wanted: str) -> str:
    """`wanted` if this library has that table under it; else an InputError that says what there is instead."""
    if committed(library, wanted):
        return wanted
    others = [d for f, d in descriptions(library).items() if d.get("task") == table and committed(library, f)]
    if others:
        known = ", ".join(sorted({f"{d.get('model')} of version {d.get('version')}" for d in others}))
        raise InputError(
            f"library {library.uri} has {table} by another model or version ({known}), not by the one asked for:"
            f" choose it with `model` {table}=NAME, or run `run` again"
        )
    raise NotYetError(f"library {library.uri} has no {table} yet", "run", library.uri)
