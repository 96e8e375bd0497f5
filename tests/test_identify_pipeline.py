"""Probes against a gallery of real people."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from conftest import Killed, School
from PIL import Image

from pipeline import forget
from pipeline.config import RunConfig
from pipeline.identify import identify, threshold_of, verify
from storage import audit, gallery
from storage.errors import InputError
from storage.library import open_library
from storage.roster import UNKNOWN

IDENTIFY = {"threshold": 0.3, "target": 0.05}


def config(library: Path) -> RunConfig:
    return RunConfig(str(library), ("faces",), device="cpu")


def calibrated(folder: Path) -> Path:
    library = open_library(folder)
    known = gallery.require(library)
    facts = {"people": len(known.people), "identify": IDENTIFY, "verify": {"threshold": 0.25}}
    gallery.write(library, replace(known, calibration=facts), "test", {})
    return folder


def test_known_people_and_strangers(gallery_library: Path, school: School, tmp_path: Path) -> None:
    library = calibrated(gallery_library)
    (ann, bo, *_) = school.probes
    two = Image.new("RGB", (500, 250))
    for i, half in enumerate((school.probes[ann], school.strangers[1])):
        two.paste(Image.open(half).resize((250, 250)), (250 * i, 0))
    two.save(tmp_path / "two.jpg")
    (tmp_path / "cut.jpg").write_bytes(school.probes[ann].read_bytes()[:800])
    Image.effect_noise((90, 90), 40).convert("RGB").save(tmp_path / "nobody.jpg")
    sources = [school.probes[bo], school.strangers[0], *(tmp_path / f"{n}.jpg" for n in ("two", "cut", "nobody"))]
    answers, remark = identify(list(map(str, sources)), config(library), None, lambda _: None)
    assert remark == ""
    rows = {(Path(row["image"]).stem, row["face"]): row for row in answers.to_pylist()}
    assert rows[school.probes[bo].stem, 0].items() >= {"person_id": bo, "name": bo, "reason": None}.items()
    assert rows[school.strangers[0].stem, 0]["person_id"] == UNKNOWN
    in_two = sorted((row["box_xyxy"][0], row["person_id"]) for key, row in rows.items() if key[0] == "two")
    assert [who for _, who in in_two] == [ann, UNKNOWN]
    assert rows["nobody", None]["reason"] == "no face"
    assert "cut short" in rows["cut", None]["reason"]
    best = rows[school.probes[bo].stem, 0]
    assert best["score"] >= best["threshold"] == pytest.approx(0.3)
    assert best["margin"] > 0.1
    entry = audit.entries(open_library(library))[-1]
    known = gallery.require(open_library(library))
    assert entry.items() >= {"action": "identify", "images": 5}.items()
    assert entry["people"] == sorted([known.pseudonym_of(ann), known.pseudonym_of(bo)])


def test_is_it_this_person(gallery_library: Path, school: School) -> None:
    library = calibrated(gallery_library)
    (ann, bo, *_) = school.probes
    right = verify(ann, str(school.probes[ann]), config(library), None)
    assert (right["match"], right["name"], right["threshold"]) == (True, ann, 0.25)
    wrong = verify(ann, str(school.probes[bo]), config(library), None)
    assert not wrong["match"]
    assert wrong["score"] < 0.25
    assert [e["match"] for e in audit.entries(open_library(library)) if e["action"] == "verify"] == [True, False]
    with pytest.raises(InputError, match=r"holds \d+ images: name one, or use `muster identify`"):
        verify(ann, str(school.probes[ann].parent), config(library), None)
    with pytest.raises(InputError, match="nobody with person_id zoe is enrolled"):
        verify("zoe", str(school.probes[bo]), config(library), None)


def test_a_probe_without_a_face(gallery_library: Path, tmp_path: Path, school: School) -> None:
    Image.new("RGB", (90, 90)).save(tmp_path / "black.jpg")
    [ann, *_] = school.probes
    with pytest.raises(InputError, match=r"black.jpg: no face"):
        verify(ann, str(tmp_path / "black.jpg"), config(calibrated(gallery_library)), None)


def test_whose_consent_has_ended_is_unknown(gallery_library: Path, school: School) -> None:
    library = open_library(calibrated(gallery_library))
    known = gallery.require(library)
    [ann, *_] = school.probes
    rows = [row | {"valid_until": date(2020, 1, 1)} for row in known.faces.to_pylist() if row["person_id"] == ann]
    gallery.write(library, known.with_faces(rows), "test", {})
    answers, remark = identify([str(school.probes[ann])], config(gallery_library), None, lambda _: None)
    assert answers["person_id"].to_pylist() == [UNKNOWN]
    assert "32 people, 31 are enrolled now: up to 0.048 of strangers" in remark
    with pytest.raises(InputError, match="nobody with person_id"):
        verify(ann, str(school.probes[ann]), config(gallery_library), None)
    gallery.write(library, known.without(known.people[28:]), "test", {})
    with pytest.raises(InputError, match="calibrated with 32 people, and 28 are left: its threshold does not hold"):
        identify([str(school.probes[ann])], config(gallery_library), None, lambda _: None)
    with pytest.raises(InputError, match="calibrated with 32 people, and 28 are left"):
        verify(ann, str(school.probes[ann]), config(gallery_library), None)
    gallery.write(library, replace(known, faces=known.faces.slice(0, 0)).with_faces(rows), "test", {})
    with pytest.raises(InputError, match=r"the consent of everybody enrolled .* has ended"):
        identify([str(school.probes[ann])], config(gallery_library), 0.3, lambda _: None)


def test_a_threshold_is_measured_or_answered_for(gallery_library: Path) -> None:
    known = gallery.require(open_library(gallery_library))
    with pytest.raises(InputError, match="no measured threshold: run `muster calibrate`"):
        threshold_of(known, "identify", None)
    value, remark = threshold_of(known, "verify", 0.4)
    assert value == 0.4
    assert "nothing is known about its errors" in remark
    with pytest.raises(InputError, match="--threshold 3: scores are between -2 and 2"):
        threshold_of(known, "verify", 3)


def test_who_is_being_forgotten_is_not_recognised(
    gallery_library: Path, school: School, kills: Callable[[int], None]
) -> None:
    library = open_library(calibrated(gallery_library))
    [ann, *_] = school.probes
    kills(1)
    with pytest.raises(Killed):
        forget.forget(library, [ann], "asked for")
    kills(-1)
    assert library.has(forget.PENDING)
    answers, _ = identify([str(school.probes[ann])], config(gallery_library), None, lambda _: None)
    assert answers["person_id"].to_pylist() == [UNKNOWN]


def test_a_gallery_of_an_older_model(gallery_library: Path, school: School) -> None:
    library = open_library(calibrated(gallery_library))
    gallery.write(library, replace(gallery.require(library), fingerprint="0" * 16), "test", {})
    with pytest.raises(InputError, match="made by an older faces=own"):
        identify([str(school.strangers[0])], config(gallery_library), None, lambda _: None)
