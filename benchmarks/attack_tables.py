"""What `benchmarks/attack.py` tries: hostile texts, commands, and the places in a library where they meet. Data alone.

In braces stand places and names of a world (`attack_world.World.facts`), and `{payload}`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

# ---- payloads --------------------------------------------------------------------------------------------------------
# fmt: off

FORGED = ("2030-01-01T00:00:00+00:00 root@host forget S2", "muster: all people forgotten")  # lines nobody wrote
PATHS = (
    *(f"{'../' * depth}home/docs/thesis.txt" for depth in range(1, 6)),
    *("{home}/docs/thesis.txt", "/{home}/docs/thesis.txt", "{home}/docs", "{home}/.ssh/id", "{home}/pipe", "../home"),
    *("faces/../../home/docs/thesis.txt", "people/../../home/docs/thesis.txt", "./../home/./docs//thesis.txt"),
    *("file://{home}/.ssh/id", "file://{home}/docs/%74hesis.txt", "file:///../..{home}/docs/thesis.txt"),
    *("..%2fhome%2fdocs%2fthesis.txt", "%2e%2e/home/docs/thesis.txt", "..\\home\\docs\\thesis.txt"),
    *("~/docs/thesis.txt", "{home}/docs/thesis.txt\0.parquet", "{home}/docs\0", "\0", "", ".", "..", "/", " ", "-"),
    *("door/thesis.txt", "people/door/thesis.txt", "door", "{home}/docs/rows.parquet#row=0", "/dev/zero"),
    *("a" * 300, "a" * 5000, "a/" * 2500, "*", "[", "http://[::1", "://", "s3://", "muster://x", "CON", "#row=0"),
)
TEXTS = (
    *("\x1b]0;owned\x07", "\x1b[2J\x1b[H", "a\x07b", "\x9b31mred", "\x7f", "\x08\x08\x08x", "\x00x", "x\x0bv\x0cf"),
    *("\u202egpj.exe", "\u2066x\u2069", "\u200fx", "\u061cx", "x\u2028y", "x\u2029y", "x\u0085y", "\tx", "x\ty"),
    *(f"x{end}{line}" for end in ("\n", "\r", "\r\n") for line in FORGED),
    *("=1+1|cmd", '=HYPERLINK("http://x/?"&A1,"x")', "+1+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@SUM(1+1)"),
    *("\t=1+1", "\r=1+1", "Ze\u0301", "Z\u00e9", "<script>alert(1)</script>", "%s{0}{x}%n", "UNKNOWN"),
)
URLS = (
    *(
        f"{scheme}b/{file}?endpoint_override={host}:{{port}}&scheme=http&region=eu-central-1{row}"
        for scheme in ("s3://", "s3://key:secret@")
        for host in ("127.0.0.1", "localhost", "[::1]", "127.1", "2130706433", "0x7f000001", "0.0.0.0")
        for file, row in (("x.jpg", ""), ("x.parquet", "#row=0"))
    ),
    "s3://b/x.jpg?scheme=http&endpoint_override=http%3A%2F%2F127.0.0.1%3A{port}",
    "gs://anonymous@b/x.jpg?endpoint_override=127.0.0.1:{port}&scheme=http&retry_limit_seconds=1",
    *("hdfs://127.0.0.1:{port}/x.jpg", "http://127.0.0.1:{port}/x.jpg", "https://[::1]:{port}/x.jpg"),
)
WRONG: Sequence[Any] = (None, [], {}, "", "x", -1, 1.5, 1 << 70, 1e308, True, [[]], {"x": None})  # values in JSON
BROKEN = (  # whole files
    *(b"", b"null", b"[]", b"{}", b"0", b'"x"', b"NaN", b"[" * 100_000, b"9" * 5000, b"\xff\xfe\0", b"PAR1"),
    b"\0" * 64,
)
BROKEN_CSV = (b"person_id,image\n" + b"x" * (1 << 18) + b",y\n", b'person_id,image\n"x\0,\n')

# ---- commands --------------------------------------------------------------------------------------------------------

ALBUM = {  # on a library of photos; one of them is gone, one is not yet processed
    "scan": "scan {photos} -l {library}",
    "scan inbox": "scan {inbox}/photos -l {library}",
    "scan rows": "scan {inbox}/rows.parquet -l {library}",
    "run": "run -l {library}",
    "retry": "run --retry-errors -l {library}",
    "cluster": "cluster -l {library}",
    "kmeans": "cluster --method kmeans --k 2 -l {library}",
    "people": "people -l {library} --out {out}/pages",
    "pages": "people -l {library}",
    "photos": "photos {inbox}/photos -l {library} --out {out}/pages",
    "photos rows": "photos {inbox}/rows.parquet -l {library} --out {out}/pages",
    "forget image": "forget {image} -l {library}",
    "export coco": "export --format coco --tasks objects,masks,faces --out {out}/coco.json -l {library}",
    "export csv": "export --format csv --tasks objects,masks,faces --out {out}/found.csv -l {library}",
    "export yolo": "export --format yolo --tasks masks --out {out}/yolo -l {library}",
    "export labelme": "export --format labelme --tasks objects,faces --out {out}/labelme -l {library}",
    "overlay": "overlay --sample 2 --out {out}/look -l {library}",
    "status": "status -l {library}",
    "status json": "status --json -l {library}",
}
SCHOOL = {  # on a library with a gallery
    "enroll": "enroll {inbox}/roster.csv -l {library} --consent-given",
    "enroll folder": "enroll {inbox}/roster -l {library} --consent-given",
    "enroll rows": "enroll {inbox}/roster.parquet -l {library} --consent-given",
    "calibrate": "calibrate -l {library}",
    "verify": "verify {probe} --person {person} -l {library} --json",
    "verify stranger": "verify {stranger} --person {person} -l {library} --json",
    "identify": "identify {probe} {stranger} -l {library} --json",
    "identify inbox": "identify {inbox}/photos -l {library} --out {out}/answers.csv",
    "identify rows": "identify {inbox}/rows.parquet -l {library} --out {out}/answers.parquet",
    "forget person": "forget {person} -l {library}",
    "forget expired": "forget --expired -l {library}",
    "audit verify": "audit verify -l {library}",
    "audit show": "audit show -l {library}",
    "scan inbox": "scan {inbox}/photos -l {library}",
    "status": "status -l {library}",
}
LOCKED = {"decrypt": "decrypt {out}/plain -l {library}"}  # with a key
ALONE = {
    "evaluate verify": "evaluate verify --images {inbox}/labelled.parquet --pairs {inbox}/pairs.txt",
    "evaluate cluster": "evaluate cluster --images {inbox}/labelled.parquet --label person",
    "evaluate identify": "evaluate identify --images {inbox}/labelled.parquet --label person",
    "evaluate objects": "evaluate objects --images {inbox}/photos --annotations {inbox}/coco.json",
    "evaluate masks": "evaluate masks --images {inbox}/photos --labels {inbox}/labels",
    "models list": "models list",
    "models verify": "models verify",
}
REFUSED = {  # which end early, whatever else they are given
    "train": "train daynight --images {inbox}/labelled.parquet --label person --out {out}/model",
    "train labels": "train streets --images {inbox}/photos --labels {inbox}/coco.json --out {out}/model --workers 0",
    "submit": "submit --address http://127.0.0.1:9 -- run -l {library}",
    "jobs": "jobs list --address http://127.0.0.1:9",
}
COMMANDS = {**SCHOOL, **ALBUM, **LOCKED, **ALONE, **REFUSED}
OPTIONS = (  # with a text that somebody else chose
    *("scan {payload} -l {library}", "status -l {payload}", "forget {payload} -l {library}", "{payload}"),
    *("run -l {library} --tasks {payload}", "run -l {library} --model {payload}"),
    *("run -l {library} --model faces={payload}", "run -l {library} --weights objects={payload}", "scan --{payload}"),
    *("run -l {library} --tasks objects --classes {payload}", "people --out {library}/library.json/{payload}"),
    *("cluster --method {payload} -l {library}", "cluster --k {payload} -l {library}", "submit {payload}"),
    *("export --format {payload} --out {out}/x -l {library}", "overlay --sample {payload} --out {out}/x -l {library}"),
    *("export --format csv --tasks {payload} --out {out}/x -l {library}", "identify {payload} -l {library}"),
    *("verify {payload} --person x -l {library}", "verify {probe} --person {payload} -l {library}"),
    *("identify {probe} --out {out}/{payload} -l {library}", "enroll {payload} -l {library}", "jobs status {payload}"),
    *("enroll {inbox}/roster.csv --accept {payload} -l {library}", "decrypt {payload}/x -l {library}"),
    *("train {payload} --out {out}/x", "train embedder --images {payload} --out {out}/x", "audit {payload}"),
    *("evaluate verify --images {inbox}/labelled.parquet --pairs {payload}", "models export {payload}"),
    *("evaluate cluster --images {inbox}/labelled.parquet --label {payload}", "models pull {payload}"),
    *("evaluate objects --images {inbox}/photos --annotations {payload}", "calibrate --fpir {payload} -l {library}"),
    *("submit -- run --tasks {payload} -l {library}", "run -l {library} --device {payload}"),
)

# ---- places ----------------------------------------------------------------------------------------------------------

READERS: Mapping[str, Sequence[str]] = {  # the first part of a name in the library → commands that look there
    "_commits": ("run", "retry", "status", "cluster", "forget image", "export csv", "export coco", "overlay", "scan"),
    "_tasks": ("status", "status json", "run", "cluster", "export csv", "overlay", "forget image", "forget person"),
    "_parts": ("scan", "run", "forget image", "forget person"),
    "manifest": ("scan", "run", "forget image", "export csv", "export yolo", "overlay", "people", "forget person"),
    "images": ("cluster", "retry", "export csv", "overlay", "people", "forget image", "scan"),
    "faces": ("cluster", "kmeans", "people", "export csv", "export labelme", "forget image", "forget person"),
    "objects": ("export csv", "export coco", "export labelme", "overlay", "people", "forget image"),
    "masks": ("export csv", "export coco", "export yolo", "overlay", "forget image"),
    "scenes": ("overlay", "people", "forget image"),
    "previews": ("people", "pages", "photos", "forget image"),
    "clusters": ("people", "cluster", "pages", "forget image", "photos"),
    "index": ("cluster", "forget image", "photos"),
    "people": ("pages", "forget image", "scan"),
    "gallery": ("identify", "verify", "enroll", "calibrate", "forget person", "forget expired", "audit show"),
    "audit": ("identify", "verify", "audit verify", "audit show", "forget person", "calibrate", "enroll"),
    "receipts": ("forget person", "audit show", "status"),
    ".lock": ("scan", "run", "forget image", "cluster", "calibrate", "enroll", "identify", "forget person"),
}
NOTES: Mapping[str, Mapping[str, Any]] = {  # what commands that were cut off leave, and the next one believes
    "manifest/_scanning": {"gone": ["{image}"], "changed": ["0" * 32]},
    "gallery/_forgetting.json": {
        "receipt": "0" * 32, "reason": "asked for", "people": ["{other}"], "pseudonyms": ["0" * 16],
        "images": ["{image}"], "originals": ["{photos}/x.jpg"], "embeddings": ["0" * 64],
    },
    "people/muster-pages.json": {"note": "Made by muster people", "stamp": {"faces": "x"}, "files": ["a.html"]},
    "_parts/0123456789abcdef/shard-0-1/0-of-1/done.json": {"tables": ["faces"]},
}
MADE = (  # names that commands make in a library, or take to be their own
    *(".lock", "_parts", "_parts/0123456789abcdef", "manifest/_scanning", "gallery", "gallery/_forgetting.json"),
    *("gallery/roster.parquet", "gallery/calibration.html", "gallery/gallery.parquet", "audit", "audit/head.json"),
    *("receipts", "index", "clusters", "people", "people/index.html", "people/muster-pages.json", "people/photos"),
    *("people/.muster-pages.0.tmp", "errors", "extra", "faces/extra", "images", "_commits", "_tasks", "manifest"),
    "library.json",
)
OUTS: Mapping[str, Sequence[str]] = {  # what --out names → the commands
    "answers.csv": ("identify inbox",), "answers.parquet": ("identify rows",), "coco.json": ("export coco",),
    "found.csv": ("export csv",), "yolo": ("export yolo",), "labelme": ("export labelme",), "look": ("overlay",),
    "pages": ("people", "photos"), "pages/index.html": ("people",), "pages/muster-pages.json": ("people",),
    "plain": ("decrypt",), "plain/library.json": ("decrypt",), "model": ("train",), "model/.lock": ("train",),
}
INBOX: Mapping[str, Sequence[str]] = {  # what a user gives to commands
    "roster.csv": ("enroll",), "roster.parquet": ("enroll rows",), "roster/N2/a.jpg": ("enroll folder",),
    "rows.parquet": ("photos rows", "identify rows", "scan rows"), "photos": ("photos", "identify inbox"),
    "photos/a.jpg": ("photos", "identify inbox", "scan inbox", "evaluate objects", "evaluate masks"),
    "labels/a.png": ("evaluate masks",), "coco.json": ("evaluate objects", "train labels"),
    "pairs.txt": ("evaluate verify",),
    "labelled.parquet": ("evaluate verify", "evaluate cluster", "evaluate identify", "train"),
}
ROSTER = {
    "person_id": "N1", "name": "New", "group": "4b", "consent": "yes", "valid_until": "2999-01-01",
    "image": "photos/a.jpg",
}
RENAMED = (  # in the inbox, for a command
    ("roster/N2", "enroll folder"), ("roster/N2/a.jpg", "enroll folder"), ("photos/a.jpg", "identify inbox"),
    ("photos/a.jpg", "photos"), ("photos/more", "photos"), ("photos/a.jpg", "evaluate masks"),
)
ROWS = (  # Parquet files of the inbox, columns that may be new, and commands
    ("rows.parquet", ("uri",), ("photos rows", "identify rows", "scan rows")),
    ("rows.parquet", ("file", "column", "person_id", "source"), ("photos rows", "scan rows")),
    ("roster.parquet", ("uri", "person", "name", "group", "consent", "valid_until", "column"), ("enroll rows",)),
    ("labelled.parquet", ("file", "person"), ("evaluate verify", "evaluate cluster", "evaluate identify", "train")),
)
PHOTO_LINKS = {  # in a folder of the inbox → what they lead to
    "photos/x.jpg": ("pictures/private.jpg", ".ssh/id", "docs/thesis.txt", "pipe"),
    "photos/x": ("pictures", "docs", ""),
    "photos/more/x.jpg": ("pictures/private.jpg", ".ssh/id"), "roster/N2/x.jpg": ("pictures/private.jpg", ".ssh/id"),
    "roster/x": ("pictures", "docs"),
}
AIMS = {"a file": "docs/thesis.txt", "a folder": "docs", "nothing": "docs/new", "a key": ".ssh/id"}  # of links, at home
AIMED = (  # fields that commands put into paths, or show: file, field, commands; these are tried more often than others
    ("_commits/", ".files[].name", ("retry", "forget image", "scan", "export csv", "cluster", "forget person")),
    ("_commits/", ".files[].table", ("retry", "forget image", "scan", "forget person")),
    ("people/muster-pages.json", ".files[]", ("pages", "forget image", "photos", "scan")),
    ("_parts/", ".tables[]", ("run", "scan", "forget person")),
    ("_tasks/", ".model", ("status", "status json", "cluster", "export csv", "overlay", "forget person")),
    ("audit/2", ".by", ("audit show", "audit verify")),
    ("audit/2", ".action", ("audit show", "audit verify")),
    ("audit/2", ".people[]", ("audit show",)),
    ("objects/", "label", ("export csv", "export coco", "export yolo", "export labelme", "overlay", "people")),
    ("manifest/shard", "uri", ("export csv", "export yolo", "export labelme", "overlay", "people", "forget image")),
    ("gallery/gallery.parquet", "person_id", ("audit show", "identify", "verify", "enroll")),
    ("gallery/_forgetting.json", ".receipt", ("forget person", "forget expired", "enroll", "calibrate")),
)
BOMBS = (  # of the inbox
    *("rows.parquet", "roster.parquet", "labelled.parquet", "photos/a.jpg", "labels/a.png", "coco.json", "roster.csv"),
)
# fmt: on
