import random
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.fs as pafs
import pytest

from helpers.clips import HEIGHT, WIDTH, even, number_of, shown, write_clip
from helpers.originals import picture
from muster.errors import ImageError, InputError
from muster.storage.photos import frame, kinds, video
from muster.storage.photos.decode import KINDS, Photo, decode
from muster.storage.photos.frame import pixels
from muster.storage.photos.listing import File
from muster.storage.photos.reader import Reader
from muster.storage.photos.sources import find_images
from muster.storage.photos.video import CONTAINER, Frames, frame_times, open_video
from muster.storage.photos.wishes import Wishes

av = pytest.importorskip("av")

CODECS = {".avi": "mpeg4", ".webm": "libvpx"}


def listed(path: Path, **wishes) -> list[float]:
    rows = CONTAINER.list(File(str(path), path.stat().st_size, None), Wishes(**wishes)).rows
    assert rows["uri"].to_pylist() == [f"{path}#t={moment:g}" for moment in rows["moment"].to_pylist()]
    return rows["moment"].to_pylist()


def photos_at(path: Path, *moments: float) -> list[Photo]:
    with closing(Frames(str(path))) as frames:
        return [decode(frames.read(f"{moment:g}")) for moment in moments]


def photo_at(path: Path, moment: float) -> Photo:
    return photos_at(path, moment)[0]


def frames_of(path: Path, *moments: float) -> list[int]:
    """Which frame each of these moments shows."""
    return [number_of(photo.pixels) for photo in photos_at(path, *moments)]


def refusal(path: Path, moment: float = 0) -> str:
    with pytest.raises(ImageError) as refused:
        frames_of(path, moment)
    assert refused.value.kind in KINDS
    return refused.value.kind


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mts", ".3gp"])
def test_moments_are_listed_and_show_the_frames_of_their_times(tmp_path, suffix):
    clip = write_clip(tmp_path / f"clip{suffix}", even(60), codec=CODECS.get(suffix, "libx264"))
    for fps in (1, 2, 5):
        moments = listed(clip, fps=fps)
        assert moments[0] == 0
        assert frames_of(clip, *moments) == [round(moment * 25) for moment in moments]


def test_an_index_and_the_packets_of_a_file_tell_the_same(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", even(60), preset="medium")  # with frames that are decoded out of order
    with closing(open_video(str(clip))) as opened:
        by_index, by_packets = video._by_index(opened), video._by_packets(opened)
        assert opened.shift > 0
    assert by_index is not None
    for one, other in zip(by_index, by_packets, strict=True):
        assert one == pytest.approx(other)
    assert frames_of(clip, *even(60)) == list(range(60))


def test_of_a_variable_rate_moments_are_by_the_time_that_frames_are_shown(tmp_path):
    times = [0, 0.04, 0.08, 0.5, 1.9, 2, 2.1, 5, 5.04, 9.5]
    clip = write_clip(tmp_path / "clip.mp4", times)
    assert listed(clip) == [0, 0.5, 2, 2.1, 5, 5.04]
    assert frames_of(clip, 0, 0.5, 1, 2.1, 4.9, 5.04, 9) == [0, 3, 3, 6, 6, 8, 8]


def test_a_video_of_ten_hours_costs_no_more_than_was_asked_for(tmp_path):
    clip = write_clip(tmp_path / "clip.mkv", [0, 1, 2, 36000])
    assert listed(clip, frames=2) == [2]
    assert listed(clip) == [0, 1, 2, 36000]


def test_moments_may_be_asked_for_in_any_order(tmp_path):
    clip = write_clip(tmp_path / "clip.mkv", even(60))
    wanted = [1.2, 0, 2.36, 0.04, 0.04, 2.32, 1.96]
    assert frames_of(clip, *wanted) == [30, 0, 59, 1, 1, 58, 49]


@pytest.mark.parametrize("preset", ["ultrafast", "medium"])  # the latter decodes frames in another order
def test_one_pass_decodes_no_frame_twice_and_leaves_out_what_no_moment_needs(tmp_path, monkeypatch, preset):
    clip = write_clip(tmp_path / "clip.mp4", even(60), keyframes=10, preset=preset)
    decoded = []
    original = Frames._decoded

    def counted(self):
        for each in original(self):
            decoded.append(round(each.time * 25))
            yield each

    monkeypatch.setattr(Frames, "_decoded", counted)
    assert frames_of(clip, 0, 0.04, 0.4, 1.28, 1.32) == [0, 1, 10, 32, 33]
    assert decoded == sorted(set(decoded))
    with closing(open_video(str(clip))) as opened:
        keyframes = [round(time * 25) for time in frame_times(opened).keyframes]
    before = [max(key for key in keyframes if key <= wanted) for wanted in (10, 32)]
    assert decoded == [0, 1, *range(before[0], 11), *range(before[1], 34)]


@pytest.mark.parametrize(("turned", "corner"), [(90, (-1, 0)), (180, (-1, -1)), (-90, (0, -1)), (0, (0, 0))])
def test_a_rotation_flag_is_followed(tmp_path, turned, corner):
    clip = write_clip(tmp_path / "clip.mp4", even(2), turned=turned)
    image = photo_at(clip, 0).pixels
    assert image.shape[:2] == ((WIDTH, HEIGHT) if turned in (90, -90) else (HEIGHT, WIDTH))
    red = image[corner[0] * 6 + 3, corner[1] * 6 + 3]  # the corner, a little inside
    assert red[0] > 200 > 100 > red[1]


def test_pixels_that_are_not_square_are_drawn_as_a_player_does(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", even(2), ratio=Fraction(4, 3))
    assert photo_at(clip, 0).size == (85, HEIGHT)


def test_ten_bits_are_read(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", even(30), pixel_format="yuv420p10le")
    assert frames_of(clip, 1) == [25]


def test_when_it_was_filmed_is_known_of_each_moment(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", even(60), metadata={"creation_time": "2023-09-22T16:35:02Z"})
    assert f"{photo_at(clip, 1.44).taken_at}" == "2023-09-22 16:35:03"


# ---- what cannot be read ------------------------------------------------------------------------------------


def test_an_index_that_is_not_there_is_made_up_for_by_the_packets(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", even(60), options={"movflags": "frag_keyframe+empty_moov"})
    with closing(open_video(str(clip))) as opened:
        assert video._by_index(opened) is None
        assert len(frame_times(opened).frames) == 60
    assert frames_of(clip, 0, 0.4, 1.28) == [0, 10, 32]


def test_a_file_whose_index_was_cut_off_is_one_row_that_says_so(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", even(60))
    clip.write_bytes(clip.read_bytes()[:-2000])
    assert listed(clip) == [0]
    assert refusal(clip) == "corrupt"


def test_of_a_file_that_was_cut_what_is_left_is_read(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", even(60), options={"movflags": "faststart"})
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    moments = listed(clip)
    assert moments[0] == 0
    assert frames_of(clip, 0, 0.4) == [0, 10]
    assert refusal(clip, moments[-1]) == "truncated"


def test_a_damaged_frame_is_one_error_and_those_after_the_next_keyframe_are_read(tmp_path):
    noise = [np.random.default_rng(n).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for n in range(30)]
    clip = write_clip(tmp_path / "clip.mp4", even(60), frames=[*noise, *map(shown, range(30))], keyframes=10)
    data = bytearray(clip.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 300] = bytes(300)
    clip.write_bytes(data)
    with closing(Frames(str(clip))) as frames:
        kinds = [refused(frames, moment) for moment in even(30)]
        damaged = [number for number, kind in enumerate(kinds) if kind]
        assert {kinds[number] for number in damaged} == {"corrupt"}
        assert damaged == [*range(damaged[0], (damaged[0] // 10 + 1) * 10)], "up to the next keyframe"
    assert frames_of(clip, 1.6, 2) == [10, 20]


def refused(frames: Frames, moment: float) -> str:
    try:
        frames.read(f"{moment:g}")
    except ImageError as error:
        return error.kind
    return ""


def test_what_is_encrypted_is_not_read(tmp_path):
    secret = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
    }
    assert refusal(write_clip(tmp_path / "clip.mp4", even(5), options=secret)) == "unsupported"


def test_sound_alone_and_the_cover_of_sound_are_no_video(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert listed(path) == [0]
    assert refusal(path) == "unsupported"


def test_a_video_without_frames_and_an_empty_file_say_so(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", even(60), options={"movflags": "empty_moov+frag_keyframe"})
    clip.write_bytes(clip.read_bytes()[: clip.read_bytes().index(b"moof") - 4])
    assert listed(clip) == [0]
    assert refusal(clip) in ("truncated", "unsupported", "corrupt")
    (tmp_path / "empty.mp4").write_bytes(b"")
    assert refusal(tmp_path / "empty.mp4") == "empty"


def test_a_frame_that_is_too_large_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.mp4", even(2))
    monkeypatch.setattr(frame, "MAX_PIXELS", WIDTH * HEIGHT - 1)
    assert listed(clip) == [0]
    assert refusal(clip) == "too_large"


def test_a_frame_that_is_larger_than_its_header_says_is_not_decoded(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.mp4", even(2))
    monkeypatch.setattr(video, "MAX_PIXELS", WIDTH * HEIGHT - 1)  # what the decoder is told
    assert refusal(clip) in ("corrupt", "truncated", "too_large")


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "ffconcat version 1.0\nfile secret.mp4\n"])
def test_a_playlist_opens_nothing(tmp_path, text):
    write_clip(tmp_path / "secret.mp4", even(2))
    (tmp_path / "list.mp4").write_text(text)
    assert listed(tmp_path / "list.mp4") == [0]
    assert refusal(tmp_path / "list.mp4") == "corrupt"


def test_what_is_no_video_at_all_is_one_row(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(random.Random(0).randbytes(5000))
    assert listed(tmp_path / "clip.mp4") == [0]
    assert refusal(tmp_path / "clip.mp4") == "corrupt"


def test_a_file_that_goes_while_it_is_listed_is_an_error_of_the_disk(tmp_path):
    with pytest.raises(FileNotFoundError):
        Frames(str(tmp_path / "gone.mp4"))


# ---- in a scan ----------------------------------------------------------------------------------------------


@pytest.fixture
def without_av(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(video, "installed", lambda: False)
    kinds._by_suffix.cache_clear()
    yield
    kinds._by_suffix.cache_clear()


def test_videos_count_beside_photos_and_what_cannot_be_read_has_a_row(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture())
    write_clip(tmp_path / "clip.mp4", even(60))
    (tmp_path / "broken.mov").write_bytes(b"no video")
    (tmp_path / "text.txt").write_text("")
    found = find_images(str(tmp_path), None, Wishes(fps=1))
    rows = [(row["uri"].rpartition("/")[2], row["video"], row["moment"]) for row in found.rows.to_pylist()]
    assert sorted(rows, key=lambda row: row[0]) == [
        ("a.jpg", None, None),
        ("broken.mov#t=0", "broken.mov", 0),
        ("clip.mp4#t=0", "clip.mp4", 0),
        ("clip.mp4#t=0.96", "clip.mp4", 0.96),
        ("clip.mp4#t=1.92", "clip.mp4", 1.92),
    ]
    assert found.skipped == {".txt": 1}


@pytest.mark.usefixtures("without_av")
def test_without_av_videos_are_no_photos_and_it_is_said_what_to_install(tmp_path):
    write_clip(tmp_path / "clip.mp4", even(2))
    with pytest.raises(InputError, match=r"is a video: videos are read where muster-photos\[video\] is installed"):
        find_images(str(tmp_path / "clip.mp4"), None)
    with pytest.raises(
        InputError, match=r"left out: 1 \.mp4\. Videos are read where muster-photos\[video\] is installed"
    ):
        find_images(str(tmp_path), None)
    (tmp_path / "a.jpg").write_bytes(picture())
    assert find_images(str(tmp_path), None).skipped == {".mp4": 1}
    with pytest.raises(ImageError) as refused:
        Reader().read(f"{tmp_path}/clip.mp4#t=0")
    assert refused.value.kind == "unsupported"


@pytest.mark.parametrize("key", ["soon", "nan", "1e300", "-1"])
def test_a_row_that_names_no_moment_is_an_error(tmp_path, key):
    clip = write_clip(tmp_path / "clip.mp4", even(2))
    with pytest.raises(ImageError) as refused:
        Reader().read(f"{clip}#t={key}")
    assert refused.value.kind == "unreadable"


@pytest.mark.parametrize(
    ("wishes", "text"), [({"fps": 0}, "`fps` 0"), ({"fps": 1e4}, "`fps` 1"), ({"frames": 0}, "`frames` 0")]
)
def test_wishes_that_cannot_be(wishes, text):
    with pytest.raises(InputError, match=text):
        Wishes(**wishes)


def test_a_video_in_a_bucket_is_read_where_it_lies(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", even(60))
    fs = pafs.FileSystem.from_uri("fsspec+memory://videos/")[0]
    fs.create_dir("/videos")
    with fs.open_output_stream("/videos/a b.mp4") as out:
        out.write(clip.read_bytes())
    rows = find_images("fsspec+memory://videos/", None).rows.to_pylist()
    assert [(row["video"], row["moment"]) for row in rows] == [("a b.mp4", 0), ("a b.mp4", 0.96), ("a b.mp4", 1.92)]
    reader = Reader(row["uri"] for row in rows)
    found = [number_of(decode(reader.read(row["uri"], "fsspec+memory://videos/")).pixels) for row in rows]
    assert found == [0, 24, 48]


# ---- real ones ----------------------------------------------------------------------------------------------


def test_moments_of_real_videos_are_the_frames_that_a_whole_decoding_shows(data):
    for name in ("videos/short_hamilton_clip.mp4", "videos/asl_again.mkv", "photos/formats2/mp42-hvc1.mp4"):
        path = data / name
        moments = listed(path, fps=2)
        with closing(open_video(str(path))) as opened:
            opened.container.seek(0)
            whole = {round(opened.seconds(f.pts), 3): pixels(f) for f in opened.container.decode(opened.stream)}
        for moment, photo in zip(moments, photos_at(path, *moments), strict=True):
            assert (photo.pixels == whole[moment]).all()
