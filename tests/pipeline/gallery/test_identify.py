"""Probes against a gallery of real people."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.fixtures import Killed, School
from helpers.runs import config_of
from muster.errors import InputError
from muster.pipeline import forget
from muster.pipeline.gallery.answers import ANSWERS, limits_of
from muster.pipeline.gallery.identify import identify, verify
from muster.pipeline.work.config import RunConfig
from muster.storage import layout
from muster.storage.gallery import audit, gallery
from muster.storage.gallery.roster import UNKNOWN, UNSURE
from muster.storage.index import vectors
from muster.storage.library import open_library
from muster.storage.photos.sources import find_images
from muster.tasks.people.search import SCORE

IDENTIFY = {"threshold": 0.3, "target": 0.05}


def config(library: Path) -> RunConfig:
    return config_of(library, "faces")


def calibrated(folder: Path, threshold: float = 0.3, unsure_from: float = 0.3) -> Path:
    library = open_library(folder)
    known = gallery.require(library)
    facts = {"score": SCORE, "people": len(known.people), "identify": IDENTIFY | {"threshold": threshold}}
    facts |= {
        "unsure": {"threshold": unsure_from},
        "verify": {"threshold": threshold - 0.05, "unsure_from": unsure_from - 0.05},
    }
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


def test_what_was_left_out_is_said(gallery_library: Path, school: School, tmp_path: Path) -> None:
    (tmp_path / "door" / "@eaDir").mkdir(parents=True)
    for name in ("a.jpg", "@eaDir/a.jpg", "b.psb"):
        shutil.copy(next(iter(school.probes.values())), tmp_path / "door" / name)
    answers, remark = identify([str(tmp_path / "door")], config(calibrated(gallery_library)), None, lambda _: None)
    assert answers["image"].to_pylist() == [str(tmp_path / "door" / "a.jpg")]
    assert remark == "left out: 1 folder of thumbnails, 1 .psb"


def test_a_large_gallery_is_searched_by_an_index(
    gallery_library: Path, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = calibrated(gallery_library)
    (ann, *_), sources = school.probes, [str(path) for path in (*school.probes.values(), *school.strangers)][:12]
    before, _ = identify(sources, config(library), None, lambda _: None)
    verified = verify(ann, str(school.probes[ann]), config(library), None)
    assert not (library / "index").exists()
    monkeypatch.setattr(vectors, "EXACT_UP_TO", 20)
    monkeypatch.setattr("muster.pipeline.gallery.desk.THOROUGH", (1,))  # of so few, all the ten next are needed
    for _ in range(2):  # the index is made, and used again
        after, _ = identify(sources, config(library), None, lambda _: None)
        assert after["person_id"].equals(before["person_id"])
        np.testing.assert_allclose(after["score"].to_numpy(), before["score"].to_numpy(), atol=1e-5)
    again = verify(ann, str(school.probes[ann]), config(library), None)
    assert again["score"] == pytest.approx(verified["score"], abs=2e-4)
    assert (library / "index" / gallery.require(open_library(library)).fingerprint / "templates").is_file()
    with forget.locked(open_library(library)):
        forget.forget_people(open_library(library), [ann], "test")
    assert not (library / "index").exists()
    after, _ = identify([str(school.probes[ann])], config(library), None, lambda _: None)
    assert after["person_id"].to_pylist() != [ann]


def test_many_images_are_listed_once(
    gallery_library: Path,
    school: School,
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[..., Any],
    weights: Path,
    tmp_path: Path,
) -> None:
    """And answered as few are, by workers, here in this process."""
    library, folder = calibrated(gallery_library), tmp_path / "probes"
    folder.mkdir()
    for photo in [*school.probes.values()][:2]:
        shutil.copy(photo, folder)
    few, _ = identify([str(folder)], config(library), None, lambda _: None)
    listed: list[str] = []

    def listing(source: str, *rest: Any) -> Any:
        listed.append(source)
        return find_images(source, *rest)

    for module in ("muster.pipeline.gallery.identify", "muster.storage.manifest"):
        monkeypatch.setattr(f"{module}.find_images", listing)
    monkeypatch.setattr("muster.pipeline.gallery.identify.IN_PROCESS", 1)
    monkeypatch.setattr(
        "muster.pipeline.gallery.identify.process", lambda library, *_: work(library.uri, weights, ("faces",))
    )
    many, _ = identify([str(folder)], config(library), None, lambda _: None)
    assert listed == [str(folder)]
    assert many["person_id"].to_pylist() == few["person_id"].to_pylist() == list(school.probes)[:2]


def test_is_it_this_person(gallery_library: Path, school: School) -> None:
    library = calibrated(gallery_library)
    (ann, bo, *_) = school.probes
    right = verify(ann, str(school.probes[ann]), config(library), None)
    assert (right["match"], right["answer"], right["name"], right["threshold"]) == (True, "match", ann, 0.25)
    wrong = verify(ann, str(school.probes[bo]), config(library), None)
    assert (wrong["match"], wrong["answer"], wrong["reason"]) == (False, "no match", "")
    assert wrong["score"] < 0.25
    assert [e["match"] for e in audit.entries(open_library(library)) if e["action"] == "verify"] == [True, False]
    with pytest.raises(InputError, match=r"holds \d+ images: name one, or use `identify`"):
        verify(ann, str(school.probes[ann].parent), config(library), None)
    with pytest.raises(InputError, match="nobody with person_id zoe is enrolled"):
        verify("zoe", str(school.probes[bo]), config(library), None)
    with pytest.raises(InputError, match=f"nobody with person_id {ann.lower()} is enrolled; {ann} is: case counts"):
        verify(ann.lower(), str(school.probes[ann]), config(library), None)


def test_a_probe_without_a_face(gallery_library: Path, tmp_path: Path, school: School) -> None:
    Image.new("RGB", (90, 90)).save(tmp_path / "black.jpg")
    [ann, *_] = school.probes
    with pytest.raises(InputError, match=r"black.jpg: no face"):
        verify(ann, str(tmp_path / "black.jpg"), config(calibrated(gallery_library)), None)


def test_odd_images_among_others(gallery_library: Path, school: School, tmp_path: Path) -> None:
    """Each is one row; what is missing is said in words of this command, and what holds no photo too."""
    import pillow_heif

    library, [ann, bo, *_] = calibrated(gallery_library), school.probes
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "cut.jpg").write_bytes(school.probes[bo].read_bytes()[:2000])
    Image.new("RGB", (200, 200)).save(tmp_path / "black.png")
    pillow_heif.from_pillow(Image.open(school.probes[ann])).save(tmp_path / "ann.heic", quality=90)
    answers, _ = identify([str(tmp_path)], config(library), None, lambda _: None)
    found = {Path(row["image"]).name: row["person_id"] or row["reason"] for row in answers.to_pylist()}
    assert found.pop("cut.jpg").startswith("the file is cut short")
    assert found == {"empty.jpg": "the file is empty", "black.png": "no face", "ann.heic": ann}

    (tmp_path / "nothing").mkdir()
    for name, text in (("none.jpg", "No such file or directory$"), ("nothing", "no images in "), ("no*", "no images")):
        for ask in (
            lambda p: identify([p], config(library), None, lambda _: None),
            lambda p: verify(ann, p, config(library), None),
        ):
            with pytest.raises(InputError, match=text) as caught:
                ask(str(tmp_path / "nothing" / name if "*" in name else tmp_path / name))
            assert "drop" not in str(caught.value)
    with pytest.raises(InputError, match=r"empty.jpg: the file is empty"):
        verify(ann, str(tmp_path / "empty.jpg"), config(library), None)


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
    with pytest.raises(InputError, match="no measured threshold: run `calibrate`"):
        limits_of(known, "identify", None)
    limits = limits_of(known, "verify", 0.4)
    assert (limits.threshold, limits.unsure_from) == (0.4, 0.4)
    assert "nothing is known about its errors" in limits.remark
    with pytest.raises(InputError, match="`threshold` 3: choose one between -2 and 2"):
        limits_of(known, "verify", 3)


@pytest.mark.parametrize("score", [None, SCORE - 1, SCORE + 1])
def test_a_threshold_for_another_kind_of_score_is_refused(gallery_library: Path, score: int | None) -> None:
    known = gallery.require(open_library(calibrated(gallery_library)))
    facts = {name: value for name, value in known.calibration.items() if name != "score"}
    other = replace(known, calibration=facts if score is None else facts | {"score": score})
    for what in ("identify", "verify"):
        assert limits_of(known, what, None).threshold > 0
        with pytest.raises(InputError, match=r"scores differ, .* run `calibrate` again, or give `threshold`"):
            limits_of(other, what, None)
        assert limits_of(other, what, 0.4).threshold == 0.4


def test_between_the_thresholds_a_human_is_shown_who_it_may_be(gallery_library: Path, school: School) -> None:
    library = calibrated(gallery_library, 0.9, 0.05)
    [ann, *_] = school.probes
    answers, _ = identify([str(school.probes[ann]), str(school.strangers[0])], config(library), None, lambda _: None)
    assert answers.schema.equals(ANSWERS)
    for row in answers.to_pylist():
        scores = [each["score"] for each in row["candidates"]]
        assert (row["person_id"], row["name"], row["reason"]) == (UNSURE, None, "alike, and not enough to be sure")
        assert 1 <= len(scores) <= 3
        assert scores == sorted(scores, reverse=True)
        assert scores[0] == row["score"] < row["threshold"]
        assert scores[-1] >= row["unsure_from"] == pytest.approx(0.05)
    [mine] = [row for row in answers.to_pylist() if Path(row["image"]).stem == school.probes[ann].stem]
    assert mine["candidates"][0].items() >= {"person_id": ann, "name": ann}.items()
    shown = {each["person_id"] for row in answers.to_pylist() for each in row["candidates"]}
    known = gallery.require(open_library(library))
    entry = audit.entries(open_library(library))[-1]
    assert (entry["people"], entry["candidates"]) == ([], sorted(map(known.pseudonym_of, shown)))
    facts = verify(ann, str(school.probes[ann]), config(library), None)
    assert (facts["answer"], facts["match"], facts["reason"]) == ("unsure", False, "alike, and not enough to be sure")
    assert audit.entries(open_library(library))[-1]["answer"] == "unsure"


def test_who_is_named_or_unknown_is_shown_with_nobody_else(gallery_library: Path, school: School) -> None:
    library = calibrated(gallery_library, 0.3, 0.29)
    [ann, *_] = school.probes
    answers, _ = identify([str(school.probes[ann]), str(school.strangers[0])], config(library), None, lambda _: None)
    assert [row["candidates"] for row in answers.to_pylist()] == [[], []]
    assert set(answers["person_id"].to_pylist()) == {ann, UNKNOWN}


def test_a_poor_face_is_never_named(gallery_library: Path, school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster.pipeline.gallery.answers.MIN_QUALITY", 1.1)  # every face is poor
    [ann, *_] = school.probes
    photo = str(school.probes[ann])
    for threshold, expected in ((0.3, UNSURE), (1.9, UNKNOWN)):
        answers, _ = identify([photo], config(gallery_library), threshold, lambda _: None)
        [row] = answers.to_pylist()
        assert (row["person_id"], row["name"]) == (expected, None)
        assert [each["person_id"] for each in row["candidates"]] == ([ann] if expected == UNSURE else [])
        assert "too small, blurred or turned away" in row["reason"]
        facts = verify(ann, photo, config(gallery_library), threshold)
        assert (facts["match"], facts["answer"]) == (False, "unsure" if expected == UNSURE else "no match")
        assert "too small, blurred or turned away" in facts["reason"]


def test_whose_consent_has_ended_or_who_is_forgotten_is_no_candidate(gallery_library: Path, school: School) -> None:
    library = open_library(calibrated(gallery_library, 0.9, -1))
    ann, bo, *_ = school.probes
    known = gallery.require(library)
    rows = [row | {"valid_until": date(2020, 1, 1)} for row in known.faces.to_pylist() if row["person_id"] == ann]
    gallery.write(library, known.with_faces(rows), "test", {})
    forget.forget(library, [bo], "asked for")
    answers, _ = identify(
        [str(school.probes[each]) for each in (ann, bo)], config(gallery_library), None, lambda _: None
    )
    shown = [each["person_id"] for row in answers.to_pylist() for each in row["candidates"]]
    assert len(shown) == 6
    assert not {ann, bo} & set(shown)


def test_who_is_being_forgotten_is_not_recognised(
    gallery_library: Path, school: School, kills: Callable[[int], None]
) -> None:
    library = open_library(calibrated(gallery_library))
    [ann, *_] = school.probes
    kills(1)
    with pytest.raises(Killed):
        forget.forget(library, [ann], "asked for")
    kills(-1)
    assert library.has(layout.FORGETTING)
    answers, _ = identify([str(school.probes[ann])], config(gallery_library), None, lambda _: None)
    assert answers["person_id"].to_pylist() == [UNKNOWN]


def test_a_gallery_of_an_older_model(gallery_library: Path, school: School) -> None:
    library = open_library(calibrated(gallery_library))
    gallery.write(library, replace(gallery.require(library), fingerprint="0" * 16), "test", {})
    told = r"made by an older faces=own, .*: enrol everybody anew in another library, and run `calibrate` there"
    for threshold in (None, 0.3):
        with pytest.raises(InputError, match=told):
            identify([str(school.strangers[0])], config(gallery_library), threshold, lambda _: None)
        with pytest.raises(InputError, match=told):
            verify(next(iter(school.probes)), str(school.strangers[0]), config(gallery_library), threshold)


def changed(folder: Path, **facts: Any) -> None:
    """The calibration of the library, with these facts too."""
    library = open_library(folder)
    known = gallery.require(library)
    gallery.write(library, replace(known, calibration={**known.calibration, **facts}), "test", {})


def grouped(folder: Path, person: str, group: str) -> None:
    library = open_library(folder)
    known = gallery.require(library)
    rows = [row | {"group": group} for row in known.faces.to_pylist() if row["person_id"] == person]
    gallery.write(library, known.with_faces(rows), "test", {})


def test_who_is_named_must_reach_the_threshold_of_their_group(gallery_library: Path, school: School) -> None:
    library, (ann, bo, *_) = calibrated(gallery_library), school.probes
    photo = str(school.probes[ann])
    grouped(library, ann, "strict")
    each = {"by": "group", "identify": {"no group": 0.3, "strict": 1.9}, "verify": {"no group": 0.3, "strict": 1.8}}
    changed(library, each_group=each)
    [row] = identify([photo], config(library), None, lambda _: None)[0].to_pylist()
    assert (row["person_id"], row["threshold"]) == (UNSURE, pytest.approx(1.9))
    assert row["candidates"][0]["person_id"] == ann
    [other] = identify([str(school.probes[bo])], config(library), None, lambda _: None)[0].to_pylist()
    assert (other["person_id"], other["threshold"]) == (bo, pytest.approx(0.3))
    asked = verify(ann, photo, config(library), None)
    assert (asked["answer"], asked["threshold"]) == ("unsure", 1.8)
    grouped(library, bo, "enrolled since")  # was not measured: the strictest
    [other] = identify([str(school.probes[bo])], config(library), None, lambda _: None)[0].to_pylist()
    assert (other["person_id"], other["threshold"]) == (UNSURE, pytest.approx(1.9))
    assert identify([photo], config(library), 0.3, lambda _: None)[0]["person_id"].to_pylist() == [ann]  # by hand


def test_of_two_who_look_alike_one_is_named_only_where_they_are_far_ahead(
    gallery_library: Path, school: School
) -> None:
    library, (ann, bo, *_) = calibrated(gallery_library), school.probes
    known, photo = gallery.require(open_library(library)), str(school.probes[ann])
    declared = [sorted([known.pseudonym_of(ann), known.pseudonym_of(bo)])]
    for spread, answer, match in (
        ({"cosine": 0.5, "fallen": 0.0}, ann, "match"),
        ({"cosine": 0.5, "fallen": 2.0}, UNSURE, "unsure"),
        (None, UNSURE, "unsure"),  # nothing was measured
    ):
        changed(library, alike={"declared": declared, "spread": spread})
        [row] = identify([photo], config(library), None, lambda _: None)[0].to_pylist()
        assert row["person_id"] == answer
        asked = verify(ann, photo, config(library), None)
        assert (asked["answer"], asked["match"]) == (match, match == "match")
        if answer == UNSURE:
            assert "like another enrolled person" in row["reason"]
            assert row["candidates"][0]["person_id"] == ann
            assert row["reason"] == asked["reason"]
    changed(library, alike={"declared": [], "spread": None})
    assert identify([photo], config(library), None, lambda _: None)[0]["person_id"].to_pylist() == [ann]
    changed(library, alike={"declared": [[declared[0][0], "of somebody forgotten"]], "spread": None})
    assert identify([photo], config(library), None, lambda _: None)[0]["person_id"].to_pylist() == [ann]
