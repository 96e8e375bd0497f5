"""Where everything lies in a library: each path once, in the order of docs/data-model.md, to which a test holds it."""

MARKER = "library.json"
LOCK = ".lock"  # held by one command that writes
LOG_LOCK = ".audit-lock"  # held while a line of the audit log, or a gallery, is written

MANIFEST = "manifest"
SCANNING = f"{MANIFEST}/_scanning"  # there while a scan changes the library, and after one that died

COMMITS = "_commits"
PARTS = "_parts"
TASKS = "_tasks"
MODELS = "_models.json"  # task → the model that it was last run with by name
CLUSTERS = "clusters"
TAGS = "tags/tags.parquet"
TAGS_READ = "tags/read.parquet"  # which photos and sidecars the rows of the former were made of
DUPLICATES = "duplicates/duplicates.parquet"
INDEX = "index"
FACTS = "facts"
PAGES = "people"

GALLERY = "gallery/gallery.parquet"
NEXT_GALLERY = "gallery/_next.parquet"  # the gallery, until it is in its place
ROSTER = "gallery/roster.parquet"  # the images of everybody who was enrolled, as a source to scan
FORGETTING = "gallery/_forgetting.json"  # there while somebody is being forgotten, and after a kill
KEYS = "gallery/keys.json"  # of the service: who may ask, enrol or administer; hashes alone
REPORT = "gallery/calibration.html"  # what `muster calibrate` measured: curves and counts, nobody's data

AUDIT = "audit"
AUDIT_HEAD = f"{AUDIT}/head.json"
RECEIPTS = "receipts"


def manifest_shard(shard: str) -> str:
    return f"{MANIFEST}/shard-{shard}.parquet"


def rows(table: str, fingerprint: str, shard: str) -> str:
    return f"{table}/{fingerprint}/shard-{shard}.parquet"


def commit(fingerprint: str, shard: str) -> str:
    return f"{COMMITS}/{fingerprint}/shard-{shard}.json"


def parts(fingerprint: str, shard: str) -> str:
    """The folder of a shard that several workers share."""
    return f"{PARTS}/{fingerprint}/shard-{shard}"


def description(fingerprint: str) -> str:
    return f"{TASKS}/{fingerprint}.json"


def clusters(fingerprint: str) -> str:
    return f"{CLUSTERS}/{fingerprint}/clusters.parquet"


def fact(edit: str) -> str:
    """Of an edit that was written anew, because something in it was forgotten: `<edit>.1`, and so on."""
    return f"{FACTS}/{edit}.json"


def index(fingerprint: str, what: str) -> str:
    """`what` can be found by it: "faces" or "templates"."""
    return f"{INDEX}/{fingerprint}/{what}"


def audit_log(month: str) -> str:
    """`month`: such as 2026-11."""
    return f"{AUDIT}/{month}.jsonl"


def audit_part(month: str, part: str) -> str:
    """What follows the first file of a month: "000002" and so on. Sorted by name they are in order."""
    return f"{AUDIT}/{month}.part{part}.jsonl"


def receipt(name: str) -> str:
    return f"{RECEIPTS}/{name}.json"
