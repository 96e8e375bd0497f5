"""Sources and libraries in a bucket, over the S3 protocol: a server on loopback, and faults on the way to it."""

import base64
import http.client
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

import boto3
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from helpers.findings import commit, face, scanned
from helpers.fixtures import Outcome, School
from helpers.people import face_ref
from muster.errors import ImageError, MusterError, UnreachableError
from muster.pipeline.findings.export import export_annotations
from muster.pipeline.gallery import enroll
from muster.pipeline.people.copies import copy_photos
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.dispatch import Order
from muster.pipeline.work.worker import ShardWorker
from muster.storage import clusters, manifest, retry, tables, uris
from muster.storage.encryption import MAGIC
from muster.storage.gallery import gallery
from muster.storage.layout import MARKER
from muster.storage.library import LibraryFiles, open_library
from muster.storage.people import facts
from muster.storage.people.ledger import ContradictionError, Ledger
from muster.storage.photos import decode
from muster.storage.photos.reader import Reader, check_access
from muster.storage.uris import exists, inside_uri

Muster = Callable[..., Outcome]
Fault = Literal["throttle", "deny", "drop", "stall"]
REFUSALS = {
    "throttle": (503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"),
    "deny": (403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"),
}


# ---- a way to the server on which things go wrong --------------------------------------------------------------------


class Way(ThreadingHTTPServer):
    """Passes requests on to the server. `fault`: method and path of a request → what goes wrong with it, if anything.

    `seen`: methods and paths of all requests, in order.
    """

    daemon_threads = True

    def __init__(self, server: int) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.server = server
        self.released = threading.Event()
        self.reset()

    def reset(self) -> None:
        self.fault: Callable[[str, str], Fault | None] = lambda method, path: None
        self.seen: list[tuple[str, str]] = []

    def first(self, number: int, fault: Fault, method: str = "") -> None:
        """The first requests (of a method, if one is named) meet this fault."""
        left = iter(range(number))
        self.fault = lambda m, path: fault if m.startswith(method) and next(left, None) is not None else None


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Way

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # the client has had enough
            self.close_connection = True

    def do_any(self) -> None:
        body = self._body()
        self.server.seen.append((self.command, self.path))
        fault = self.server.fault(self.command, self.path)
        if fault in REFUSALS:
            status, data = REFUSALS[fault]
            self._answer(status, {"Content-Type": "application/xml", "Content-Length": str(len(data))}, data)
        elif fault == "stall":
            self.server.released.wait()
            self.close_connection = True
        else:
            status, headers, data = self._forward(body)
            self._answer(status, headers, data[: len(data) // 2] if fault == "drop" else data)
            self.close_connection = fault == "drop"

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_any  # noqa: N815  their names are http.server's

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        kept = {k: v for k, v in self.headers.items() if k.lower() not in ("expect", "transfer-encoding")}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server)
        connection.request(self.command, self.path, body, {**kept, "Content-Length": str(len(body))})
        response = connection.getresponse()
        data = response.read()
        headers = {k: v for k, v in response.getheaders() if k.lower() not in ("connection", "transfer-encoding")}
        connection.close()
        return response.status, {"Content-Length": str(len(data)), **headers}, data

    def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """The port of an S3 server. Credentials are in URIs alone; none are looked for outside this machine."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
            patch.setenv(name, "/none")
        moto.start()
        yield moto.get_host_and_port()[1]
        moto.stop()


@pytest.fixture(scope="module")
def _way(server: int) -> Iterator[Way]:
    way = Way(server)
    thread = threading.Thread(target=way.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield way
    way.shutdown()
    thread.join()
    way.server_close()


@pytest.fixture
def way(_way: Way) -> Iterator[Way]:
    _way.released.clear()
    yield _way
    _way.released.set()
    _way.reset()


@pytest.fixture
def bucket(way: Way, request: pytest.FixtureRequest) -> Callable[..., str]:
    """bucket(path): a URI in a bucket of this test alone, over `way`. `key`: "access:secret"."""
    name = (
        "".join(c if c.isalnum() else "-" for c in request.node.name.lower())
        .strip("-")[:50]
        .removeprefix("test-")
        .rstrip("-")
    )
    options = {"scheme": "http", "endpoint_override": f"127.0.0.1:{way.server_port}", "region": "us-east-1"}

    def uri(path: str, key: str = "test:test") -> str:
        access, _, secret = key.partition(":")
        login = f"{quote(access, safe='')}:{quote(secret, safe='')}@" if key else ""
        return f"s3://{login}{name}/{path}?{urlencode(options)}"

    s3 = pafs.S3FileSystem(access_key="test", secret_key="test", allow_bucket_creation=True, **options)
    s3.create_dir(name)
    return uri


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three attempts of one request each, at once; clients are shared, but each test has its own bucket."""
    monkeypatch.setattr(retry, "ATTEMPTS", 3)
    monkeypatch.setattr(retry, "FIRST", 0.01)
    monkeypatch.setattr(uris, "REQUEST_ATTEMPTS", 1)


def put(uri: str, data: bytes) -> str:
    fs, path = uris.filesystem_of(uri)
    with fs.open_output_stream(path) as stream:
        stream.write(data)
    return uri


def pooled() -> int:
    """The number of threads in thread pools."""
    return sum(thread.name.startswith("ThreadPoolExecutor") for thread in threading.enumerate())


def upload(folder: Path, bucket: Callable[..., str], prefix: str) -> str:
    for file in sorted(folder.iterdir()):
        put(bucket(f"{prefix}/{file.name}"), file.read_bytes())
    return bucket(prefix)


# ---- the whole path --------------------------------------------------------------------------------------------------


def named(library: LibraryFiles) -> dict[str, pa.Table]:
    """All committed rows by table, known by the names of files: ids stand for where an image lies."""
    rows = manifest.read_manifest(library)
    files = [uri.partition("?")[0].rpartition("/")[2] for uri in rows["uri"].to_pylist()]
    name = dict(zip(rows["image_id"].to_pylist(), files, strict=True))
    found = {}
    for fingerprint, description in tables.descriptions(library).items():
        table = tables.require(library, description["task"], fingerprint)
        names = pa.array([name[i] for i in table["image_id"].to_pylist()])
        table = table.drop_columns([c for c in ("image_id", "face_id", "error") if c in table.column_names])
        found[description["task"]] = table.append_column("name", names).sort_by("name").combine_chunks()
    return found


@pytest.mark.usefixtures("ray_cluster")
def test_a_collection_in_a_bucket_becomes_the_same_tables(
    muster: Muster,
    way: Way,
    bucket: Callable[..., str],
    make_photos: Callable[..., Path],
    work: Callable[..., object],
    weights: Path,
    tmp_path: Path,
) -> None:
    photos = make_photos(tmp_path / "photos", range(9))
    (photos / "cut.jpg").write_bytes((photos / "0000.jpg").read_bytes()[:3000])
    assert muster("scan", photos, "-l", tmp_path / "L").code == 0
    work(tmp_path / "L", weights, ("faces", "scenes"))

    library = bucket("libraries/one")
    run = ("run", "-l", library, "--tasks", "faces,scenes", "--workers", 1, "--device", "cpu", "--json")
    assert muster("scan", upload(photos, bucket, "my photos"), "-l", library, "--json").facts["new"] == 10
    done = muster(*run)
    assert (done.code, done.facts["ok"], done.facts["errors"], done.facts["rows"]["faces"]) == (0, 9, 1, 3), done.err
    remote = named(open_library(library))
    assert set(remote) == {"images", "faces", "scenes"}
    assert remote == named(open_library(tmp_path / "L"))
    assert muster("cluster", "-l", library, "--json").code == 0

    way.seen.clear()
    again = muster(*run)
    assert (again.code, again.facts["processed"], again.facts["rows"]["faces"]) == (0, 0, 3)
    assert {method for method, _ in way.seen} == {"GET", "HEAD"}
    assert muster("status", "-l", library, "--json").facts["images"] == 10

    fs, path = uris.filesystem_of(library)
    with duckdb.connect() as database:
        database.register("faces", ds.dataset(f"{path}/faces", filesystem=fs, format="parquet"))
        assert database.sql("SELECT count(*), min(score) > 0 FROM faces").fetchall() == [(3, True)]


def test_a_gallery_in_a_bucket_encrypted(
    muster: Muster,
    way: Way,
    bucket: Callable[..., str],
    school: School,
    work: Callable[..., object],
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Photos and library. The workers' part is done in this process."""
    monkeypatch.setenv("MUSTER_KEY", base64.b64encode(bytes(range(32))).decode())
    monkeypatch.setattr(enroll, "process", lambda library, *_: work(library.uri, weights, ("faces",)))
    [ann, bo, *_] = school.enrolled
    for person in (ann, bo):
        for path in school.enrolled[person]:
            put(bucket(f"photos/{person}/{path.name}"), path.read_bytes())
    lines = [f'{p},"{bucket(f"photos/{p}/{school.enrolled[p][0].name}")}",{p}/{p} 1.jpg,yes' for p in (ann, bo)]
    text = "\n".join(["person_id,image,image2,consent", *lines])
    at = ("-l", bucket("library"), "--json")
    enrolled = muster("enroll", put(bucket("photos/roster.csv"), text.encode()), *at)
    assert enrolled.code == 0, enrolled.err
    assert enrolled.facts.items() >= {"enrolled": 2, "photos": 4, "refused": []}.items()
    assert not manifest.read_manifest(open_library(at[1]))["modified"].null_count  # another photo of this name is seen

    options = (put(bucket("probe.jpg"), school.probes[ann].read_bytes()), "--device", "cpu", "--threshold", 0.3, *at)
    assert muster("identify", *options).facts["answers"][0]["person_id"] == ann
    assert muster("verify", "--person", ann, *options).facts["match"]
    gone = muster("forget", ann, *at)
    assert gone.facts.items() >= {"people": [ann], "found_afterwards": []}.items()
    assert muster("identify", *options).facts["answers"][0]["person_id"] == "UNKNOWN"
    assert muster("audit", "verify", *at).facts["problem"] is None
    library = open_library(at[1])
    assert gallery.require(library).people == [bo]
    for name in library.files():
        with library.fs.open_input_stream(library.at(name)) as stream:
            assert name == MARKER or stream.read().startswith(MAGIC)


def test_the_photos_of_a_person_are_fetched_and_exports_name_them(bucket: Callable[..., str], tmp_path: Path) -> None:
    for name, length in (("ann 1.jpg", 40), ("b/ann 1.jpg", 41)):
        file = io.BytesIO()
        Image.new("RGB", (length, 30)).save(file, "JPEG")
        put(bucket(f"photos/{quote(name)}"), file.getvalue())
    library = scanned(tmp_path / "library", bucket("photos/"))
    images = manifest.read_manifest(library)
    commit(library, TaskChoice(name="faces").description, lambda i: [{**face(i), "quality": 0.9}])
    rows = [{"face_id": f"{i}-0", "image_id": i, "cluster_id": "abcd"} for i in images["image_id"].to_pylist()]
    clusters.write(library, TaskChoice(name="faces").fingerprint, pa.Table.from_pylist(rows), "graph")

    facts = copy_photos(library, "abcd", tmp_path / "out", True, None)
    assert (facts["photos"], facts["linked"]) == (2, 0)
    written = {path.name: decode.decode(path.read_bytes()).size[0] for path in (tmp_path / "out").iterdir()}
    assert written.keys() == {"ann 1.jpg", "ann 1-2.jpg"}
    assert set(written.values()) == {40, 41}
    seen = {int(path.stat().st_mtime) for path in (tmp_path / "out").iterdir()}
    assert seen == {int(each.timestamp()) for each in images["modified"].to_pylist()}

    export_annotations(library.uri, "coco", tmp_path / "coco.json", ("faces",), {}, 0)
    described = json.loads((tmp_path / "coco.json").read_text())["images"]
    assert {image["file_name"] for image in described} == {"ann 1.jpg", "b/ann 1.jpg"}
    assert not any("test:test" in image["uri"] for image in described)
    export_annotations(library.uri, "labelme", tmp_path / "labelme", ("faces",), {}, 0)
    shown = {path: json.loads(path.read_text())["imagePath"] for path in (tmp_path / "labelme").rglob("*.json")}
    assert shown == dict.fromkeys((tmp_path / "labelme/ann 1.json", tmp_path / "labelme/b/ann 1.json"), "ann 1.jpg")


def test_large_files_go_up_in_parts(way: Way, bucket: Callable[..., str]) -> None:
    library = open_library(bucket("L"), create=True)
    noise = np.random.default_rng(0)
    rows = pa.table({"image_id": [f"{i:032x}" for i in range(12)], "blob": [noise.bytes(1 << 20) for _ in range(12)]})
    name = tables.describe(library, {"task": "blobs"})
    way.seen.clear()
    assert tables.write_shard(library, name, "0-12", {"blobs": rows})
    assert sum("partNumber=" in path for _, path in way.seen) >= 2
    assert tables.require(library, "blobs", name).equals(rows)
    assert not tables.write_shard(library, name, "0-12", {"blobs": rows.slice(0, 1)})


def test_images_inside_a_parquet_file(way: Way, bucket: Callable[..., str], no_waiting: None) -> None:
    """Each of its many reads has its own attempts."""
    noise = np.random.default_rng(0)
    photos = [noise.bytes(200_000) for _ in range(30)]
    fs, path = uris.filesystem_of(bucket("x.parquet"))
    pq.write_table(pa.table({"image": photos}), path, filesystem=fs, row_group_size=10)
    read = 0

    def every_third(method: str, path: str) -> Fault | None:
        nonlocal read
        read += method == "GET"
        return "drop" if method == "GET" and read % 3 == 0 else None

    way.fault = every_third
    reader = Reader()
    source = bucket("x.parquet")
    assert [reader.read(inside_uri(source, "row", row), source) for row in range(30)] == photos
    assert read >= 6


# ---- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["throttle", "drop"])
def test_a_bucket_that_has_a_bad_moment(way: Way, bucket: Callable[..., str], fault: Fault, no_waiting: None) -> None:
    library = open_library(bucket("L"), create=True)
    data = b"photo" * 10_000
    steps: list[tuple[Callable[[], Any], Any]] = [
        (lambda: library.write("x/y.bin", data), None),
        (lambda: library.read("x/y.bin"), data),
        (lambda: library.names("x"), ["y.bin"]),
        (lambda: library.has("x/y.bin"), True),
        (lambda: decode.read(bucket("L/x/y.bin")), data),
        (lambda: exists(bucket("L/x/y.bin")), True),
        (lambda: library.remove("x/y.bin"), None),
        (lambda: library.has("x/y.bin"), False),
    ]
    for step, expected in steps:
        way.seen.clear()
        way.first(2, fault)
        assert step() == expected
        assert len(way.seen) >= 3 or fault == "drop"  # half of an empty body is all of it


def test_requests_are_repeated_with_growing_waits(way: Way, bucket: Callable[..., str]) -> None:
    """By the client of pyarrow alone, as it is set up: not thirty times, five times a second."""
    put(bucket("a.jpg"), b"photo")
    fs, path = uris.filesystem_of(bucket("a.jpg"))
    way.first(2, "throttle")
    with fs.open_input_file(path) as file:
        assert file.read() == b"photo"
    way.seen.clear()
    way.first(100, "throttle")
    with pytest.raises(OSError, match="503"):
        fs.open_input_file(path)
    assert len(way.seen) == uris.REQUEST_ATTEMPTS


def test_a_stalled_connection_is_given_up(way: Way, bucket: Callable[..., str], no_waiting: None) -> None:
    put(bucket("a.jpg"), b"photo")
    way.first(1, "stall", "GET")
    assert decode.read(bucket("a.jpg")) == b"photo"


def test_a_bucket_that_stays_away_fails_the_shard_not_its_images(
    way: Way, bucket: Callable[..., str], make_photos: Callable[..., Path], tmp_path: Path, no_waiting: None
) -> None:
    source = upload(make_photos(tmp_path / "photos", range(3)), bucket, "photos")
    library = open_library(tmp_path / "L", create=True)
    manifest.scan(library, [source])
    ((shard, number),) = manifest.shards(library)
    worker, order = ShardWorker(library.uri, [], "cpu", None), Order(shard, (), number)
    way.fault = lambda method, path: "throttle" if "0001.jpg" in path else None
    before = pooled()
    with pytest.raises(UnreachableError, match=r"cannot read s3://a-bucket-.*0001\.jpg.*503.*3 attempts"):
        worker.process(order)
    assert pooled() <= before + 1  # the decoder, which stays
    assert not library.names("images")
    way.reset()
    assert worker.process(order)["errors"] == 0


def test_a_library_that_stays_away(way: Way, bucket: Callable[..., str], muster: Muster, no_waiting: None) -> None:
    open_library(bucket("L"), create=True)
    way.fault = lambda method, path: "throttle"
    outcome = muster("status", "-l", bucket("L"))
    assert outcome.code == 1
    assert "cannot read" in outcome.error
    assert "3 attempts" in outcome.error


def test_an_address_where_nobody_answers(muster: Muster, tmp_path: Path, no_waiting: None) -> None:
    nowhere = "s3://a:b@bucket/photos?scheme=http&region=us-east-1&endpoint_override=127.0.0.1:1"
    outcome = muster("scan", nowhere, "-l", tmp_path / "L")
    assert outcome.code == 1
    assert "Could not connect" in outcome.error


# ---- credentials -----------------------------------------------------------------------------------------------------


@pytest.fixture
def signed(server: int, bucket: Callable[..., str]) -> Iterator[str]:
    """The server checks signatures and rights. "access:secret" of a user who may read all but secret.jpg."""
    options = {"endpoint_url": f"http://127.0.0.1:{server}", "region_name": "us-east-1"}
    iam: Any = boto3.client("iam", aws_access_key_id="test", aws_secret_access_key="test", **options)
    for name in ("a.jpg", "b.jpg", "secret.jpg"):
        put(bucket(name), b"photo")
    rules = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
    rules += [{"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::*/secret.jpg"}]
    iam.create_user(UserName="ann")
    policy = json.dumps({"Version": "2012-10-17", "Statement": rules})
    iam.put_user_policy(UserName="ann", PolicyName="most", PolicyDocument=policy)
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    _check_signatures(server, after=0)
    yield f"{key['AccessKeyId']}:{key['SecretAccessKey']}"
    _check_signatures(server, after=float("inf"))
    for part in ("access_key", "user_policy", "user"):
        arguments = {"access_key": {"AccessKeyId": key["AccessKeyId"]}, "user_policy": {"PolicyName": "most"}}
        getattr(iam, f"delete_{part}")(UserName="ann", **arguments.get(part, {}))
    iam.close()


def _check_signatures(server: int, after: float) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server)
    connection.request("POST", "/moto-api/reset-auth", str(after), {"Content-Type": "text/plain"})
    assert connection.getresponse().status == 200
    connection.close()


def test_one_image_that_may_not_be_read(signed: str, bucket: Callable[..., str]) -> None:
    assert decode.read(bucket("a.jpg", signed)) == b"photo"
    for name, kind in (("secret.jpg", "permission"), ("none.jpg", "not_found")):
        with pytest.raises(ImageError) as caught:
            decode.read(bucket(name, signed))
        assert caught.value.kind == kind
    check_access((uri, uri) for uri in (bucket("secret.jpg", signed), bucket("a.jpg", signed)))


@pytest.mark.parametrize("key", ["", "AKIAUNKNOWN:x", "wrong secret"])
def test_credentials_that_are_missing_or_wrong(
    signed: str, bucket: Callable[..., str], muster: Muster, way: Way, tmp_path: Path, key: str
) -> None:
    key = f"{signed.partition(':')[0]}:x" if key == "wrong secret" else key
    way.seen.clear()
    if not key:  # moto breaks down on a request that nobody signed
        way.fault = lambda method, path: "deny"
    commands = [["scan", bucket(source, key), "-l", tmp_path / "L"] for source in ("a.jpg", "")]
    for command in [*commands, ["scan", tmp_path, "-l", bucket("L", key)]]:
        outcome = muster(*command)
        assert (outcome.code, "AWS_ACCESS_KEY_ID" in outcome.error) == (1, True), outcome
    assert len(way.seen) == len(commands) + 1  # nothing is asked twice
    with pytest.raises(MusterError, match=r"cannot read from s3://.*AWS_ACCESS_KEY_ID"):
        check_access((bucket(name, key), bucket("", key)) for name in ("a.jpg", "b.jpg"))


def test_a_bucket_that_is_not_there(bucket: Callable[..., str], muster: Muster, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    none = bucket("x").replace("@a-bucket", "@no-bucket")
    for source, library, code, text in ((none, tmp_path / "L", 2, "nothing is there"), (tmp_path, none, 1, "BUCKET")):
        outcome = muster("scan", source, "-l", library)
        assert (outcome.code, text in outcome.error) == (code, True), outcome


# ---- what users say --------------------------------------------------------------------------------------------------


def test_what_users_say_is_kept_in_a_bucket(bucket: Callable[..., str], way: Way, no_waiting: None) -> None:
    library = open_library(bucket("L"), create=True)
    own, other = Ledger(library), Ledger(library)
    first = own.record([facts.Named("a" * 12, "Anna"), facts.Is("a" * 12, (face_ref(1),))])
    for number in range(3):
        own.record([facts.Named(f"{number:012x}", "Bob")])
    assert other.refresh()
    assert other.edits == own.edits == Ledger(library).edits
    with pytest.raises(ContradictionError, match=first.edit_id):
        other.record([facts.IsNot("a" * 12, (face_ref(1),))])
    assert len(library.names("facts")) == 4
    way.fault = lambda method, path: "deny" if first.edit_id in path else None
    with pytest.raises(MusterError):  # not taken for nothing said
        Ledger(library)
