"""What users' files may ask of us: findings 16 to 19, 26 and 27 of the attack of November 2026."""

import io
import json
import os
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from helpers.fixtures import Outcome
from muster.errors import ImageError, InputError, MusterError, UnreachableError
from muster.pipeline.work.dispatch import Order
from muster.pipeline.work.worker import ShardWorker
from muster.storage import manifest, retry, tables
from muster.storage.gallery.roster import read_roster
from muster.storage.layout import ROSTER
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.photos.decode import decode
from muster.storage.photos.reader import Reader, check_access
from muster.storage.photos.sources import Found
from muster.storage.photos.wishes import Wishes
from muster.storage.uris import refusal

Muster = Callable[..., Outcome]
DEAD = "s3://a:b@bucket/x.jpg?scheme=http&region=us-east-1&endpoint_override=127.0.0.1:1"  # where nobody listens


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return open_library(tmp_path / "L", create=True)


def process(library: LibraryFiles, source: Path | str) -> dict[str, dict[str, Any]]:
    """The rows of `images` by uri, after a scan and the work of a worker in this process."""
    manifest.scan(library, [str(source)])
    worker = ShardWorker(library.uri, [], "cpu", None)
    for shard, number in manifest.shards(library):
        worker.process(Order(shard, (), number))
    facts = tables.require(library, "images", IMAGES_FINGERPRINT).to_pylist()
    uri = {row["image_id"]: row["uri"] for row in manifest.read_manifest(library).to_pylist()}
    return {uri[row["image_id"]]: row for row in facts}


def in_a_process(code: str, *arguments: object, seconds: float = 120) -> dict[str, Any]:
    """What the code prints as JSON, and `mib`: memory that it took at most, beyond that of its imports."""
    lines = [
        "import json, sys",
        "from muster.errors import *",
        "from muster.storage import uris",
        "from muster.storage.photos import decode, parquet_rows, reader, sources",
    ]
    peak = "(int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) >> 10)"
    whole = "\n".join([*lines, f"before = {peak}", "facts = {}", code, f"facts['mib'] = {peak} - before"])
    command = [sys.executable, "-c", whole + "\nprint(json.dumps(facts))", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


# ---- 16: URIs in rows ------------------------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody who listens on this machine, and to whom no connection may be made."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.fixture
def asking(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URI that would send the user's signature there."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAVICTIM")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return f"s3://bucket/x.jpg?endpoint_override=127.0.0.1:{listener.getsockname()[1]}&scheme=http&region=us-east-1"


def test_16_options_in_a_row_of_a_manifest_are_not_followed(
    asking: str, make_photos: Callable[..., Path], library: LibraryFiles, tmp_path: Path
) -> None:
    photo = str(make_photos(tmp_path / "photos", [0]) / "0000.jpg")
    inline = asking.replace("x.jpg", "x.parquet") + "#row=0"
    pq.write_table(pa.table({"uri": [photo, asking, inline]}), tmp_path / "m.parquet")
    rows = process(library, tmp_path / "m.parquet")
    assert rows.pop(photo)["status"] == "ok"
    assert set(rows) == {asking, inline}
    for row in rows.values():
        assert row["error_kind"] == "unreadable"
        assert "options of its source" in row["error"]
        assert "endpoint" not in row["error"]


def test_16_nor_in_one_that_a_later_scan_of_its_folder_misses(asking: str) -> None:
    """Whether its file is gone is asked of nobody."""
    when = pa.array([0], pa.timestamp("us", "UTC"))
    stored = pa.table({"uri": [asking], "modified": when, "source": ["/m.parquet"]})
    gone, _ = manifest._lost(stored, np.array([True]), [Found("s3://bucket", folder="s3://bucket")], "roster.parquet")
    assert not gone.any()


def test_16_nor_by_check_access_and_enroll_and_identify(asking: str, library: LibraryFiles, tmp_path: Path) -> None:
    check_access([(asking, str(tmp_path / "m.parquet"))])
    with pytest.raises(ImageError, match="options of its source"):
        Reader().read(asking, str(tmp_path))
    (tmp_path / "roster.csv").write_text(f"person_id,image\nann,{asking}\n")
    pq.write_table(pa.table({"uri": [asking], "person_id": ["ann"]}), tmp_path / "roster.parquet")
    for name in ("roster.csv", "roster.parquet"):
        with pytest.raises(InputError, match="ann: s3://bucket: a URI in a row has the options of its source"):
            read_roster(str(tmp_path / name), library)


@pytest.mark.parametrize(
    ("uri", "source", "allowed"),
    [
        ("/a.jpg", "/m.parquet", True),
        ("s3://b/a.jpg", "/m.parquet", True),
        ("s3://b/a.jpg", "s3://c/m.parquet?region=eu", True),
        ("s3://b/a.jpg?region=eu", "s3://c/m.parquet?region=eu", True),
        ("s3://b/l.parquet?region=eu#row=3", "s3://c/*.parquet?region=eu", True),
        ("s3://b/a.jpg?region=eu", "s3://c/m.parquet?region=us", False),
        ("s3://b/a.jpg?region=eu", "/photos?region=eu", False),  # a folder of that name
        ("gs://b/a.jpg?scheme=http", "s3://c/m.parquet?scheme=http", False),
        ("s3://b/a.jpg#x?scheme=http", "/m.parquet", False),
        ("hdfs://203.0.113.5:8020/a.jpg", "/m.parquet", True),
        ("abfs://photos@account.dfs.core.windows.net/a.jpg", "/m.parquet", True),
        ("abfs://evil.example/c/a.jpg", "/m.parquet", False),  # would be sent the user's token
        ("abfs://127.0.0.1:10000/c/a.jpg", "abfs://127.0.0.1:10000/c/", True),
        ("http://203.0.113.5/a.jpg?x=1", "/m.parquet", True),  # tests/storage/http/ has where it may lie
        ("fsspec+http://203.0.113.5/a.jpg", "/m.parquet", False),
        ("fsspec+file:///a.jpg", "/m.parquet", False),
        ("local:///a.jpg", "/m.parquet", False),
        ("hdfs://127.0.0.1:8020/a.jpg", "hdfs://127.0.0.1:8020/photos", True),
        ("hdfs://127.0.0.1:22/a.jpg", "hdfs://127.0.0.1:8020/photos", False),
    ],
)
def test_16_what_a_row_may_name(uri: str, source: str, allowed: bool) -> None:
    assert (refusal(uri, source) is None) == allowed


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.9.9.9:80", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "0", "localhost"),
        *("LOCALHOST.", "169.254.169.254", "[::1]", "[::1]:80", "[::]", "[::ffff:127.0.0.1]", "[fe80::1]"),
        *("[fd00:ec2::254]", "100.100.100.200", "user@127.0.0.1", "%31%32%37.0.0.1", "a@b@127.0.0.1", "x\\@127.0.0.1"),
    ],
)
def test_16_no_row_leads_to_this_machine_or_a_metadata_service(host: str) -> None:
    for scheme in ("hdfs", "viewfs", "abfs", "abfss"):
        if not (scheme.startswith("abfs") and host in ("0", "localhost", "2130706433", "0x7f000001")):  # a container
            assert refusal(f"{scheme}://{host}/a.jpg", "/m.parquet")


def test_16_one_dead_bucket_among_good_photos_is_an_error_of_its_images(
    make_photos: Callable[..., Path], library: LibraryFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "ATTEMPTS", 1)
    photos = [str(path) for path in sorted(make_photos(tmp_path / "photos", range(3)).iterdir())]
    dead = [DEAD, DEAD.replace("x.jpg", "y.jpg")]
    check_access([(uri, uri) for uri in [*dead, *photos]])
    library.write(ROSTER, tables.to_parquet(pa.table({"uri": [*dead, *photos]})))
    rows = process(library, library.uri_of(ROSTER))
    assert [rows[uri]["status"] for uri in photos] == ["ok"] * 3
    assert [rows[uri]["error_kind"] for uri in dead] == ["unreadable"] * 2  # --retry-errors tries these again
    with pytest.raises(MusterError, match="cannot read from s3://bucket"):
        check_access((uri, uri) for uri in dead)


def test_16_a_bucket_that_stays_away_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "ATTEMPTS", 1)
    reader = Reader([DEAD, "/a.jpg"])
    for _ in range(2):
        with pytest.raises(ImageError, match="Could not connect"):
            reader.read(DEAD, DEAD)
        monkeypatch.setattr(retry, "ATTEMPTS", 0)  # another attempt would end in an AssertionError
    monkeypatch.setattr(retry, "ATTEMPTS", 1)
    with pytest.raises(UnreachableError):
        Reader([DEAD]).read(DEAD, DEAD)  # all of the shard is there: the shard is done another time


# ---- 17: memory of decoders ------------------------------------------------------------------------------------------

DECODE = """
try: decode.decode(open(sys.argv[1], "rb").read(), 512)
except ImageError as error: facts["kind"] = error.kind
"""


def tiff(tags: dict[int, tuple[int, int, int]], data: bytes) -> bytes:
    """`tags`: number → type, count, value; a value of -1: where `data` begins."""
    at = 8 + 2 + 12 * len(tags) + 4
    entries = [struct.pack("<HHII", tag, *rest, at if value < 0 else value) for tag, (*rest, value) in tags.items()]
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(entries) + bytes(4) + data


def zeros(number: int) -> bytes:
    """So many, deflated: the second MiB, over and over. The checksum is wrong, and comes after all of them."""
    packer = zlib.compressobj(9)
    first, other = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + other * ((number >> 20) - 1) + packer.flush()


def test_17_a_tile_of_a_tiff_counts(tmp_path: Path) -> None:
    width, height = 32768, 16384
    data = zeros(3 * width * height)
    numbers = {256: 100, 257: 100, 258: 8, 259: 8, 262: 2, 277: 3, 284: 1, 322: width, 323: height, 324: -1}
    tags = {tag: (4, 1, value) for tag, value in {**numbers, 325: len(data)}.items()}
    (tmp_path / "a.tif").write_bytes(tiff(tags, data))
    facts = in_a_process(DECODE, tmp_path / "a.tif")
    assert facts["kind"] == "too_large"
    assert facts["mib"] < 200


def test_17_numbers_of_tags_count(tmp_path: Path) -> None:
    """20 million numbers, 40 MB, became objects of 1 GB."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    exif = tiff({0x200: (3, 20_000_000, -1)}, bytes(range(256)) * 156_250)
    chunk = b"eXIf" + exif
    packed = struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(file.getvalue()[:33] + packed + file.getvalue()[33:])
    tags = {256: (4, 1, 10), 257: (4, 1, 10), 258: (3, 1, 8), 262: (3, 1, 1), 273: (3, 20_000_000, -1)}
    (tmp_path / "a.tif").write_bytes(tiff({**tags, 279: (4, 1, 100)}, bytes(range(256)) * 156_250))
    assert in_a_process(DECODE, tmp_path / "a.png")["mib"] < 300
    facts = in_a_process(DECODE, tmp_path / "a.tif")
    assert facts["kind"] == "too_large"
    assert facts["mib"] < 300


# ---- 18: memory of Parquet -------------------------------------------------------------------------------------------


def shared(number: int, value: Any) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * number, pa.int32()), pa.array([value]))


def small(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, compression="zstd", dictionary_pagesize_limit=1 << 30)
    assert path.stat().st_size < 1 << 17
    return path


FIND = """
import resource, tempfile
from muster.storage.library import open_library
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
parquet_rows.MAX_TABLE, parquet_rows.AT_ONCE = 256 << 20, 64 << 20
with tempfile.TemporaryDirectory() as folder:
    try: sources.find_images(sys.argv[1], open_library(folder + "/L", create=True))
    except InputError as error: facts["error"] = str(error)
"""


@pytest.mark.parametrize("kind", ["text", "lists", "dotted", "paths", "rows"])
def test_18_a_small_parquet_file_does_not_take_all_memory(tmp_path: Path, kind: str) -> None:
    """Rows that share one text of 4 MB; a few rows that do so in lists, also in a column that is called as a part of
    another would be; paths beside the bytes of images; and very many short ones."""
    texts = shared(4000, "q" * 4_000_000)
    lists = pa.ListArray.from_arrays([0, 1000, 2000, 3000, 4000], texts)
    columns = {
        "text": {"uri": ["a.jpg"] * 4000, "note": texts},
        "lists": {"uri": ["a.jpg"] * 4, "note": lists},
        "dotted": {"uri": ["a.jpg"] * 4, "note.x": lists},
        "paths": {"image": pa.StructArray.from_arrays([pa.array([b"1"] * 4000), texts], ["bytes", "path"])},
        "rows": {"uri": shared(10_000_000, "a.jpg")},
    }
    facts = in_a_process(FIND, small(tmp_path / "x.parquet", **columns[kind]))
    assert "x.parquet" in facts["error"]
    named = {"rows": "10000000 rows", "dotted": "column 'note.x'", "paths": "column 'image_path'"}
    assert named.get(kind, "column 'note'") in facts["error"]
    assert "scan it in parts" in facts["error"]
    assert facts["mib"] < 700


@pytest.mark.parametrize("nested", [False, True])
def test_18_images_that_rows_share_come_a_few_at_a_time(tmp_path: Path, nested: bool) -> None:
    image = shared(600, b"q" * 16_000_000)
    if nested:  # as Hugging Face has them
        image = pa.StructArray.from_arrays([image, pa.array(["a.jpg"] * 600)], ["bytes", "path"])
    path = small(tmp_path / "x.parquet", image=image)
    code = """
reading = reader.Reader()
facts["bytes"] = {len(reading.read(f"{sys.argv[1]}#row={row}")) for row in range(0, 600, 100)}.pop()
"""
    facts = in_a_process(code, path)
    assert facts["bytes"] == 16_000_000
    assert facts["mib"] < 1700  # four batches of 256 MB are held; it was 4 of 4 GB


def test_18_a_scan_that_looks_for_missing_bytes_reads_a_few_at_a_time(tmp_path: Path) -> None:
    """Where no statistics tell which rows have none."""
    image = pa.StructArray.from_arrays([shared(600, b"q" * 16_000_000), pa.array(["a.jpg"] * 600)], ["bytes", "path"])
    pq.write_table(pa.table({"image": image}), tmp_path / "x.parquet", compression="zstd", write_statistics=False)
    code = """
facts["rows"] = sources.find_images(sys.argv[1], None).rows.num_rows
"""
    facts = in_a_process(code, tmp_path / "x.parquet")
    assert facts["rows"] == 600
    assert facts["mib"] < 1000


# ---- 19: pipes and devices -------------------------------------------------------------------------------------------

OPEN = """
from pathlib import Path
from muster.storage import downloads, encryption, files
from muster.storage.exchange import coco, label_images
from muster.storage.gallery import roster_csv
from muster.storage.photos import listing
from muster.storage.library import open_library
pipe, folder = sys.argv[1], Path(sys.argv[2])
library = open_library(folder / "L", create=True)
def marker():
    listing._is_marker("library.json", pipe)
for name, attempt in {
    "image": lambda: reader.Reader().read(pipe),
    "inline image": lambda: reader.Reader().read(pipe + "#row=0"),
    "device": lambda: reader.Reader().read("/dev/zero"),
    "source": lambda: sources.find_images(pipe, library),
    "Parquet": lambda: uris.open_parquet(pipe),
    "roster": lambda: roster_csv._text(pipe),
    "COCO": lambda: coco.read_coco(Path(pipe), {}),
    "labels": lambda: label_images.read_label_image(Path(pipe)),
    "key": lambda: encryption.key_of({"MUSTER_KEY_FILE": pipe}),
    "weights": lambda: downloads.read(Path(pipe)),
    "marker": marker,
}.items():
    try: facts[name] = repr(attempt())
    except (MusterError, OSError, ImageError) as error: facts[name] = "refused: " + str(error)
"""


def test_19_pipes_and_devices_are_opened_nowhere(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.parquet")
    facts = in_a_process(OPEN, tmp_path / "x.parquet", tmp_path, seconds=60)
    del facts["mib"]
    assert {name for name, text in facts.items() if not text.startswith("refused: ")} == set()
    assert len(facts) == 11


def test_19_a_file_of_the_system_that_never_ends_is_empty() -> None:
    """/proc/self/pagemap says so, and gives 256 GB."""
    assert Reader().read("/proc/self/pagemap") == b""


# ---- 26: texts of errors ---------------------------------------------------------------------------------------------

SECRET = "hunter2"


@pytest.mark.parametrize(
    "content",
    [
        f"{SECRET}:$6$salt:20228\n".encode(),
        b"\x89PNG\r\n\x1a\n" + SECRET.encode() * 30,
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + SECRET.encode() * 30,
        b"\0\0\0\x18ftyp" + SECRET.encode() * 9,
        b"\0\0\0\x18ftypheic" + SECRET.encode() * 90,
        b"GIF89a" + SECRET.encode() * 30,
        b"RIFF\x10\0\0\0WEBP" + SECRET.encode() * 30,
        b"\xff\xd8\xff\xe1" + SECRET.encode() * 30,
    ],
)
def test_26_errors_quote_no_bytes(content: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        decode(content)
    parts = {SECRET[i : i + 3] for i in range(len(SECRET) - 2)}
    assert not [part for part in parts if part in str(caught.value)]


def test_26_nor_names_of_a_table(tmp_path: Path) -> None:
    for name, columns in {"a": {SECRET: ["x"]}, "b": {"image": [SECRET]}}.items():
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        with pytest.raises(ImageError) as caught:
            Reader().read(f"{tmp_path}/{name}.parquet#row=0")
        assert caught.value.kind == "unreadable"
        assert SECRET not in str(caught.value)


def test_26_by_a_worker(library: LibraryFiles, tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text(f"{SECRET}:$6$salt:20228\n")
    pq.write_table(pa.table({"uri": [str(tmp_path / "shadow"), "/proc/self/environ"]}), tmp_path / "m.parquet")
    rows = process(library, tmp_path / "m.parquet")
    errors = {Path(uri).name: (row["error_kind"], row["error"]) for uri, row in rows.items()}
    assert errors == {
        "shadow": ("not_an_image", "not an image: it begins like no format known here"),
        "environ": ("empty", "the file is empty"),
    }


# ---- 27: links -------------------------------------------------------------------------------------------------------


def test_27_links_lead_out_of_a_folder_only_where_asked(
    make_photos: Callable[..., Path], muster: Muster, tmp_path: Path
) -> None:
    make_photos(tmp_path / "private", range(3))
    upload = make_photos(tmp_path / "upload", [3])
    (upload / "sub").mkdir()
    (upload / "sub" / "private").symlink_to(tmp_path / "private")
    (upload / "one.jpg").symlink_to("../private/0000.jpg")
    (upload / "again.jpg").symlink_to("0000.jpg")
    outcome = muster("scan", upload, "-l", tmp_path / "L", "--json")
    assert (outcome.facts["found"], outcome.facts["links_out"]) == (2, {str(upload): 2})
    assert f"left out of {upload}: 2 links that lead out of it; --follow-links takes them in" in outcome.err
    followed = muster("scan", upload, "-l", tmp_path / "M", "--follow-links", "--json").facts
    assert (followed["found"], followed["duplicates"]) == (5, 1)  # one.jpg is 0000.jpg of the folder that is linked


def test_27_what_links_led_to_before_stays_known(tmp_path: Path, make_photos: Callable[..., Path]) -> None:
    """Of an older Muster, or where the option is forgotten once: what was computed is not thrown away."""
    photos, others = make_photos(tmp_path / "photos", range(2)), make_photos(tmp_path / "others", range(2, 5))
    (photos / "folder").symlink_to(others)
    (photos / "0009.jpg").symlink_to(make_photos(tmp_path / "more", range(5, 6)) / "0005.jpg")
    library = open_library(tmp_path / "library", create=True)
    assert manifest.scan(library, [str(photos)], Wishes(follow_links=True)).found == 6
    again = manifest.scan(library, [str(photos)])
    assert (again.found, again.gone, again.links_out) == (2, 0, {str(photos): 2})
    assert len(manifest.read_manifest(library)) == 6
    assert manifest.scan(library, [str(photos)], Wishes(follow_links=True)).new == 0
