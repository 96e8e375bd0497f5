"""Makes old.tar.gz: a library of commit f7a7ea1, its photos, and what that commit answered about them.

    git worktree add --detach /tmp/f7a7ea1 f7a7ea1
    .venv/bin/python tests/data/f7a7ea1/make.py /tmp/f7a7ea1

Manifests hold absolute paths, so all of it lies in HOME, where the test lays it out again. The pictures are those of
`muster demo` (public domain and CC0), made smaller.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from PIL import Image

HOME = Path("/tmp/muster-f7a7ea1")
ALBUM = {  # demo picture → longer side in pixels
    "IMG_20140503_101244.jpg": 280,
    "IMG_20140503_101302.jpg": 240,
    "IMG_20140503_101531.jpg": 280,
    "IMG_20141224_195500.jpg": 240,
    "IMG_20150211_140227.jpg": 280,
    "IMG_20150211_140259.jpg": 240,
    "IMG_20150211_140510.jpg": 240,
    "IMG_20150211_142000.jpg": 400,
    "IMG_20140719_184009.jpg": 160,
    "IMG_20160630_124537.jpg": 160,
}
LATER = {  # scanned, and not processed any more: what a resume has to do
    "IMG_20160309_083015.jpg": 240,
    "IMG_20160630_120000.jpg": 240,
    "IMG_20190518_201533.heic": 400,
    "IMG_20170821_134018.jpg": 160,
}
ROSTER = {
    "collins": ("IMG_20170412_111111.jpg", "IMG_20181014_150620.heic"),
    "hopper": ("IMG_20160917_162108.jpg", "IMG_20181209_100030.heic"),
}
PROBES = ("IMG_20190901_075000.jpg", "IMG_20190901_080000.jpg", "IMG_20210605_123456.jpg", "IMG_20190519_090214.jpg")
BROKEN, FORGOTTEN = "broken.jpg", "IMG_20141224_195500.jpg"
TASKS = "faces,previews,scenes,masks"  # objects need weights that are not shipped
THRESHOLD = "0.3"  # two people are too few to calibrate


def main(old: Path) -> None:
    shutil.rmtree(HOME, ignore_errors=True)
    for folder in ("album", "people", "probes"):
        (HOME / folder).mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(old), _distribution(Path(scratch))])
        _muster("demo", f"{scratch}/demo")
        answers = _make(Path(scratch) / "demo")
    (HOME / "answers.json").write_text(json.dumps(answers, indent=1))
    (HOME / "library" / ".lock").unlink(missing_ok=True)
    with tarfile.open(Path(__file__).with_name("old.tar.gz"), "w:gz") as tar:
        for path in sorted(HOME.iterdir()):
            tar.add(path, path.name, filter=_nobody)


def _make(demo: Path) -> dict[str, object]:
    """The library in HOME, and what the old commands say of it."""
    photos = {"album": ALBUM, "people": {name: 320 for both in ROSTER.values() for name in both}}
    for folder, sides in {**photos, "probes": dict.fromkeys(PROBES, 240)}.items():
        for name, side in sides.items():
            _smaller(demo / name, HOME / folder, side)
    whole = (HOME / "album/IMG_20150211_140227.jpg").read_bytes()
    (HOME / "album" / BROKEN).write_bytes(whole[: len(whole) // 2])
    (HOME / "album" / "copy.jpg").write_bytes((HOME / "album/IMG_20140503_101302.jpg").read_bytes())
    lines = [f"{who},{who.title()},people/{_jpg(a)},people/{_jpg(b)},yes" for who, (a, b) in ROSTER.items()]
    (HOME / "roster.csv").write_text("\n".join(["person_id,name,image,image2,consent", *lines, ""]))
    library = ("-l", str(HOME / "library"))
    _muster("photos", str(HOME / "album"), *library, "--tasks", TASKS, "--out", str(demo.parent / "pages"))
    enrolled = _muster("enroll", str(HOME / "roster.csv"), *library)
    identified = _muster("identify", str(HOME / "probes"), *library, "--threshold", THRESHOLD)
    forgotten = _muster("forget", str(HOME / "album" / FORGOTTEN), *library)
    (HOME / "album" / FORGOTTEN).unlink()
    clustered = _muster("cluster", *library)
    for name, side in LATER.items():
        _smaller(demo / name, HOME / "album", side)
    scanned = _muster("scan", str(HOME / "album"), *library)
    status = _muster("status", *library)
    return {
        "enroll": enrolled,
        "identify": identified,
        "forget": forgotten,
        "cluster": clustered,
        "scan": scanned,
        "status": status,
        "audit": _muster("audit", "verify", *library),
    }


def _muster(*arguments: str) -> object:
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    json_too = [] if arguments[0] == "demo" else ["--json"]
    done = subprocess.run([*command, *json_too], capture_output=True, text=True, cwd=HOME)  # not in a newer checkout
    sys.stderr.write(f"{done.stderr[-2000:]}{done.stdout}")
    done.check_returncode()
    return json.loads(done.stdout.splitlines()[-1]) if json_too else None


def _smaller(picture: Path, folder: Path, side: int) -> None:
    """As JPEG, with what the camera wrote."""
    from pillow_heif import register_heif_opener

    register_heif_opener()
    with Image.open(picture) as image:
        image.thumbnail((side, side))
        image.convert("RGB").save(folder / _jpg(picture.name), quality=70, exif=image.getexif())


def _jpg(name: str) -> str:
    return f"{Path(name).stem}.jpg"


def _distribution(folder: Path) -> str:
    """Where the old code finds what version it is."""
    info = folder / "muster-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: muster\nVersion: 0.1.0\n")
    return str(folder)


def _nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main(Path(sys.argv[1]))
