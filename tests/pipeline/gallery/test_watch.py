"""A camera before a gallery of real people, and what is told, kept and logged of it."""

import errno
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import muster
from helpers.cameras import unhurried
from helpers.clips import even, write_clip
from helpers.fixtures import School
from helpers.hooks import serving_hooks
from helpers.rtsp import Rtsp, encoded
from muster.errors import ImageError, InputError
from muster.pipeline import forget
from muster.pipeline.gallery import watch as watching
from muster.storage.gallery import audit
from muster.storage.gallery.roster import UNKNOWN
from muster.storage.library import open_library
from muster.storage.photos import camera

pytest.importorskip("av")

Watch = Callable[..., list[dict[str, Any]]]
FPS = 10


def scene(*photos: Path | None, seconds: float) -> list[np.ndarray]:
    """Frames that show these photos one after the other for so long each; None: an empty door."""
    shown = [
        np.full((256, 256, 3), 90, np.uint8) if p is None else np.asarray(Image.open(p).resize((256, 256)))
        for p in photos
    ]
    return [frame for frame in shown for _ in range(int(seconds * FPS))]


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    unhurried(monkeypatch)


@pytest.fixture
def watch(gallery_library: Path, weights: Path) -> Watch:
    """watch(source, …): the events of `Library.watch`, by a threshold of .3."""

    def run(source: object, on_event: Any = None, **options: Any) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []

        def told(event: dict[str, Any]) -> None:
            events.append(event)
            if on_event:
                on_event(event)

        machine = muster.Machine(device="cpu", weights_dir=weights)
        opened = muster.open(gallery_library)
        opened.watch(str(source), told, **{"threshold": 0.3, "away": 0.5, "machine": machine, **options})
        return events

    return run


def clip(path: Path, *photos: Path | None, seconds: float = 1.2) -> Path:
    frames = scene(*photos, seconds=seconds)
    return write_clip(path, even(len(frames), FPS), frames=frames)


def test_who_comes_and_leaves_stands_in_the_log_before_it_is_told(
    watch: Watch, gallery_library: Path, school: School, tmp_path: Path
) -> None:
    (ann, *_) = school.probes
    film = clip(tmp_path / "door.mp4", school.probes[ann], None, school.strangers[0], None)
    logged: list[dict[str, Any]] = []
    library = open_library(gallery_library)
    events = watch(film, lambda event: logged.append(audit.entries(library)[-1]))
    assert [(event["event"], event["person_id"]) for event in events] == [
        ("enter", ann),
        ("leave", ann),
        ("enter", UNKNOWN),
        ("leave", UNKNOWN),
    ]
    assert [line["action"] for line in logged] == ["watch", "leave", "watch", "leave"]
    assert [len(line["people"]) for line in logged] == [1, 1, 0, 0]
    assert all(
        line["camera"] == "door.mp4" and line["track"] == e["track"] for line, e in zip(logged, events, strict=True)
    )
    assert 0.2 <= events[0]["position"] <= 1.2
    assert 2.4 <= events[2]["position"] <= 3.6
    assert audit.check(library).problem is None


def test_nothing_is_stored_but_what_is_asked_for(
    watch: Watch, school: School, tmp_path: Path, snapshot: Any, gallery_library: Path
) -> None:
    film = clip(tmp_path / "door.mp4", school.strangers[0], seconds=1)
    before = snapshot(gallery_library)
    (tmp_path / "out").mkdir()
    lines, folder = tmp_path / "out" / "events.jsonl", tmp_path / "out" / "frames"
    lines.write_text("before\n")
    lines.chmod(0o644)
    watch(film)
    assert list((tmp_path / "out").iterdir()) == [lines]
    events = watch(film, out=lines, keep=folder)
    first, *rest = lines.read_text().splitlines()
    assert first == "before"
    assert [json.loads(line) for line in rest] == [
        {**event, "picture": str(path)} if event["event"] == "enter" else event
        for event, path in zip(events, [*folder.iterdir(), None], strict=True)
    ]
    [picture] = folder.iterdir()
    with Image.open(picture) as opened:
        assert opened.size == (256, 256)
    assert [path.stat().st_mode & 0o777 for path in (lines, folder, picture)] == [0o600, 0o700, 0o600]
    changed = {name for name, state in snapshot(gallery_library).items() if before.get(name) != state}
    assert {Path(name).parts[0] for name in changed} <= {"audit", ".audit-lock"}


def test_a_full_disk_stops_no_event(
    watch: Watch, school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("muster.storage.gallery.events.keep", full)
    film, remarks = clip(tmp_path / "door.mp4", school.strangers[0], seconds=1), list[str]()
    events = watch(film, keep=tmp_path / "frames", on_remark=remarks.append)
    assert [event["event"] for event in events] == ["enter", "leave"]
    assert "picture" not in events[0]
    assert "the picture of an event is not kept: No space left on device" in remarks


def test_a_webhook_has_each_event_in_its_order(watch: Watch, school: School, tmp_path: Path) -> None:
    with serving_hooks(200) as server:
        events = watch(clip(tmp_path / "door.mp4", school.strangers[0]), webhook=server.url)
    assert [json.loads(body) for body, _ in server.got] == events
    assert len(events) == 2


def test_who_is_forgotten_before_the_camera_leaves_without_a_name(
    watch: Watch, gallery_library: Path, school: School, tmp_path: Path
) -> None:
    (ann, *_) = school.probes

    def now(event: dict[str, Any]) -> None:
        if event["person_id"] == ann:
            muster.open(gallery_library).forget(ann)

    photo = school.probes[ann]
    events = watch(clip(tmp_path / "door.mp4", photo, None, photo, None), now)
    assert [(event["event"], event["person_id"]) for event in events] == [
        ("enter", ann),
        ("leave", None),
        ("enter", UNKNOWN),
        ("leave", UNKNOWN),
    ]
    assert ann not in json.dumps(events[1:])


def test_interrupted_whoever_is_there_leaves(watch: Watch, school: School, tmp_path: Path) -> None:
    (ann, *_) = school.probes
    told: list[str] = []

    def stop(event: dict[str, Any]) -> None:
        told.append(event["event"])
        if event["event"] == "enter":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(clip(tmp_path / "door.mp4", school.probes[ann], seconds=5), stop)
    assert told == ["enter", "leave"]


def test_a_camera_that_is_lost_is_told_and_goes_on_and_its_password_is_nowhere(
    watch: Watch, gallery_library: Path, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ann, *_) = school.probes
    monkeypatch.setattr(camera.Camera.__init__, "__defaults__", (3.0, (0.1,)))
    units = encoded(scene(school.probes[ann], seconds=3), FPS)
    remarks: list[str] = []

    def script(connection: int) -> Any:
        return units if connection == 0 else itertools.chain.from_iterable(itertools.repeat(units))

    def until_back(event: dict[str, Any]) -> None:
        if event["event"] == "enter" and "back" in told:
            raise KeyboardInterrupt
        told.append(event["event"])

    told: list[str] = []
    with Rtsp(script, FPS, password="Pa55word") as server, pytest.raises(KeyboardInterrupt):
        watch(server.url, until_back, away=0.3, on_remark=remarks.append)
    assert told[:4] == ["enter", "lost", "leave", "back"] or told[:4] == ["enter", "leave", "lost", "back"]
    assert any("127.0.0.1:" in remark and "again until it answers" in remark for remark in remarks)
    log = b"".join(path.read_bytes() for path in (gallery_library / "audit").iterdir())
    assert b"127.0.0.1" in log
    assert "Pa55word" not in str(remarks) + str(told) + log.decode()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"source": "rtsp://me:Pa55word@127.0.0.1:9/"}, "Connection refused"),
        ({"agree": 2}, "more than half"),
        ({"away": -1}, "`away`"),
        ({"name": "a\nb"}, "`name`"),
        ({"threshold": None}, "no measured threshold"),
        ({"webhook": "http://example.org"}, "`webhook`"),
        ({"out": "{library}/events.jsonl"}, "lies in the library"),
        ({"keep": "{library}/frames"}, "lies in the library"),
        ({"keep": "{open}"}, "can be opened by other users"),
        ({"keep": "{open}/none/frames"}, "No such file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_looked_at(
    watch: Watch, gallery_library: Path, tmp_path: Path, options: dict[str, Any], text: str
) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    places = {"library": gallery_library, "open": tmp_path / "open"}
    options = {k: v.format(**places) if isinstance(v, str) and "{" in v else v for k, v in options.items()}
    source = options.pop("source", clip(tmp_path / "door.mp4", None, seconds=0.2))
    with pytest.raises(InputError, match=text) as refused:
        watch(source, **options)
    assert "Pa55word" not in str(refused.value)


def test_a_folder_by_a_link_is_refused(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(InputError, match="is a link"):
        watch(clip(tmp_path / "door.mp4", None, seconds=0.2), keep=tmp_path / "link")


def test_a_deletion_that_was_cut_off_is_finished_first(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[object] = []
    monkeypatch.setattr(forget, "settled", settled.append)
    watch(clip(tmp_path / "door.mp4", None, seconds=0.2))
    assert len(settled) == 1


def test_frames_that_cannot_be_shown_are_passed_over_and_who_was_there_leaves(
    watch: Watch, school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ann, *_) = school.probes
    pixels, remarks = camera.Frame.pixels, list[str]()

    def shown(self: camera.Frame) -> Any:
        if self.position is not None and self.position > 1.2:
            raise ImageError("unsupported", "its colours cannot be shown")
        return pixels(self)

    def told(event: dict[str, Any]) -> None:
        said.append((event["event"], len(remarks)))

    said: list[tuple[str, int]] = []
    monkeypatch.setattr(camera.Frame, "pixels", shown)
    watch(clip(tmp_path / "door.mp4", school.probes[ann], None, None), told, on_remark=remarks.append)
    assert [event for event, _ in said] == ["enter", "leave"]
    assert sum("is passed over: its colours" in remark for remark in remarks) == 1
    assert "frames came" not in "".join(remarks[: said[1][1]]), "it was told when they left, and not at the end"


def test_threads_of_torch_are_as_before(watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before, within = torch.get_num_threads(), list[int]()
    monkeypatch.setattr(watching, "cores", lambda: 2)
    monkeypatch.setattr(watching, "fetch_weights", lambda *_: within.append(torch.get_num_threads()))
    watch(clip(tmp_path / "door.mp4", None, seconds=0.2))
    assert (within, torch.get_num_threads()) == ([1], before)
