"""Cameras that are played by a small RTSP server, and files that are played as cameras."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from helpers.clips import HEIGHT, WIDTH, even, number_of, shown, write_clip
from helpers.rtsp import Rtsp, encoded
from muster.errors import ImageError, InputError
from muster.storage.photos import camera
from muster.storage.photos.camera import Back, Camera, Frame, Lost, name_of

pytest.importorskip("av")

LONG = 20.0  # seconds, after which a test has failed


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream is looked at for a tenth of a second before its frames are given."""
    monkeypatch.setitem(camera._STREAM, "analyzeduration", "100000")


@pytest.fixture(scope="module")
def units() -> list[bytes]:
    """A second and a half."""
    return encoded([np.kron(shown(number), np.ones((2, 2, 1), np.uint8)) for number in range(38)], keyframes=5)


def forever(units: list[bytes]) -> Iterator[bytes]:
    return itertools.chain.from_iterable(itertools.repeat(units))


def first(kind: type, opened: Camera):
    """The first thing of this kind that comes."""
    end = time.monotonic() + LONG
    for what in opened.newest(0.2):
        if isinstance(what, kind):
            return what
        assert time.monotonic() < end, f"no {kind.__name__} came"
    raise AssertionError(f"it ended before a {kind.__name__}")


def test_a_camera_shows_its_frames(units):
    with Rtsp(lambda _: forever(units)) as server, closing(Camera(server.url)) as opened:
        frame = first(Frame, opened)
        assert frame.pixels().shape == (2 * HEIGHT, 2 * WIDTH, 3)
        assert frame.position is None
        numbers = [number_of(first(Frame, opened).pixels()[::2, ::2]) for _ in range(30)]
        assert len(set(numbers)) > 15, "it moves"
        assert max(numbers) <= len(units)


def test_a_slow_reader_gets_the_newest_frame_and_the_camera_does_not_wait(units):
    with Rtsp(lambda _: forever(units), fps=100) as server, closing(Camera(server.url)) as opened:
        before, seen = first(Frame, opened), opened.seen
        time.sleep(0.5)
        after = first(Frame, opened)
        assert opened.seen - seen > 20
        assert after.clock - before.clock > 0.4
        assert time.monotonic() - after.clock < 0.3


def test_a_camera_that_stalls_is_opened_again_and_says_so(units):
    def script(connection):
        return forever(units) if connection else [*units, *units, 3600.0]

    with Rtsp(script) as server, closing(Camera(server.url, stall=0.5, pauses=(0.1,))) as opened:
        assert first(Lost, opened).reason == "no answer in time"
        assert first(Back, opened)
        assert first(Frame, opened)
        assert server.asked == 2


def test_a_camera_that_hangs_up_is_opened_again_after_longer_and_longer(units):
    gate = threading.Event()

    def script(connection):
        if connection == 0:
            return [*units, *units]
        return forever(units) if gate.is_set() else []

    with Rtsp(script) as server, closing(Camera(server.url, pauses=(0.01, 0.02, 0.03))) as opened:
        assert first(Lost, opened).reason
        while server.asked < 4:
            assert not isinstance(next(opened.newest(0.05)), Lost | Back), "it is said once"
        gate.set()
        assert first(Back, opened)


def test_a_camera_that_changes_its_size_goes_on(units):
    larger = encoded([np.kron(shown(number), np.ones((4, 4, 1), np.uint8)) for number in range(38)], keyframes=5)
    with Rtsp(lambda _: itertools.chain(units, units, forever(larger))) as server:
        with closing(Camera(server.url)) as opened:
            sizes = set()
            end = time.monotonic() + LONG
            while len(sizes) < 2 and time.monotonic() < end:
                sizes.add(first(Frame, opened).pixels().shape[:2])
        assert sizes == {(2 * HEIGHT, 2 * WIDTH), (4 * HEIGHT, 4 * WIDTH)}
        assert server.asked == 1


def test_a_camera_takes_a_password_and_never_says_it(units):
    with Rtsp(lambda _: forever(units), password="Pa55word") as server:
        with closing(Camera(server.url)) as opened:
            assert first(Frame, opened)
        with pytest.raises(InputError, match="does not take this user name and password") as refused:
            Camera(server.url.replace("Pa55word", "Wr0ng"))
        assert "Wr0ng" not in str(refused.value)
        assert refused.value.__cause__ is None


def test_an_address_that_nobody_answers_at_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"`source` 127.0.0.1:9: Connection refused"):
        Camera("rtsp://user:secret@127.0.0.1:9/video?password=secret")
    with pytest.raises(InputError, match="No such file"):
        Camera("/dev/video-none")
    with pytest.raises(InputError, match="`source` null: Inappropriate ioctl"):
        Camera("/dev/null")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match="no video that can be read"):
        Camera(str(tmp_path / "text.mp4"))
    for address in ("http://user:secret@127.0.0.1/video", "rtsp:/user:secret@127.0.0.1/video"):
        with pytest.raises(InputError, match="give rtsp://, a video device or a video file") as refused:
            Camera(address)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("rtsp://127.0.0.1/a/b", "127.0.0.1"),
        ("rtsp://me:secret@door.local:8554/secret?password=secret#secret", "door.local:8554"),
        ("RTSPS://me:s%40cret@[::1]:322/", "::1:322"),
        ("/dev/video0", "video0"),
        ("clips/door.mp4", "door.mp4"),
    ],
)
def test_what_a_source_is_called_has_no_password(source, name):
    assert name_of(source) == name


@pytest.mark.parametrize("source", ["rtsp://me:sec/ret@door", "rtsp://me:sec?ret@door", "rtsp://", "rtsp://door:x/"])
def test_an_address_whose_password_could_be_taken_for_its_host_is_refused(source):
    with pytest.raises(InputError, match="%40 for @") as refused:
        name_of(source)
    assert "sec" not in str(refused.value)


def test_a_file_is_played_at_its_own_pace_and_ends(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", even(20, fps=20))
    begun = time.monotonic()
    with closing(Camera(str(clip))) as opened:
        frames = [what for what in opened.newest(1) if what is not None]
    assert all(isinstance(frame, Frame) for frame in frames)
    assert frames[-1].position == pytest.approx(0.95)
    assert time.monotonic() - begun >= 0.95
    assert [number_of(frame.pixels()) for frame in frames] == [round(20 * frame.position) for frame in frames]
    assert opened.seen == 20


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_a_file_that_is_turned_is_shown_upright(tmp_path, turned):
    from helpers.clips import MARK

    plain, other = (write_clip(tmp_path / f"{t}.mp4", even(2), turned=t) for t in (0, turned))
    with closing(Camera(str(plain))) as a, closing(Camera(str(other))) as b:
        upright, shown_ = first(Frame, a).pixels(), first(Frame, b).pixels()
    assert upright[MARK].mean(axis=(0, 1))[0] > 150
    assert np.abs(np.rot90(upright, turned // 90).astype(int) - shown_).mean() < 3


def test_a_file_without_a_frame_is_refused(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.mp4", even(3))
    monkeypatch.setattr(camera.Camera, "_frames", lambda self, opened: iter(()))
    with closing(Camera(str(clip))) as opened, pytest.raises(InputError, match="no frame of it can be decoded"):
        list(opened.newest(1))


def test_a_fault_of_the_thread_is_raised_to_who_reads(units, monkeypatch):
    def broken(self, opened):
        raise IndexError("of this code")
        yield

    monkeypatch.setattr(camera.Camera, "_frames", broken)
    with (
        Rtsp(lambda _: forever(units)) as server,
        closing(Camera(server.url)) as opened,
        pytest.raises(IndexError, match="of this code"),
    ):
        list(opened.newest(0.1))


def test_a_frame_of_colours_that_are_not_known_is_an_error_of_the_image(tmp_path):
    with closing(Camera(str(write_clip(tmp_path / "clip.mp4", even(2))))) as opened:
        frame = first(Frame, opened)
    frame.picture.colorspace = 14  # ICtCp, which libswscale does not know
    with pytest.raises(ImageError, match="its colours cannot be shown"):
        frame.pixels()


def test_a_camera_that_is_closed_ends_whoever_waits_for_it(units):
    with Rtsp(lambda _: forever(units)) as server:
        opened = Camera(server.url)
        first(Frame, opened)
        opened.close()
        assert not opened._thread.is_alive()
        rest = list(itertools.islice(opened.newest(0.1), 5))
        assert len(rest) <= 1


def test_a_file_that_is_closed_early_ends(tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", [0.0, 100.0])
    opened = Camera(str(clip))
    first(Frame, opened)
    opened.close()
    assert not opened._thread.is_alive()
