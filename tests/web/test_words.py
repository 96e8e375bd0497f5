from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from muster.web.album import DOUBTFUL
from muster.web.words import SURENESS, clock, file_name, folder, in_order, original, sureness

WORDS = [word for _, word in SURENESS]


def test_how_sure_a_page_is() -> None:
    said = [sureness(value) for value in (1.0, 0.98, 0.979, 0.9, 0.899, 0.0)]
    assert said == ["sure", "sure", "fairly sure", "fairly sure", "not sure", "not sure"]
    assert sureness(None) == ""


@given(st.floats(0, 1), st.floats(0, 1))
def test_what_is_more_certain_is_said_with_no_less_sureness(a: float, b: float) -> None:
    assert WORDS.index(sureness(min(a, b))) >= WORDS.index(sureness(max(a, b)))


def test_a_person_of_doubtful_faces_alone_is_not_sure() -> None:
    assert sureness(DOUBTFUL - 1e-9) == WORDS[-1]


def test_what_is_inside_another_file_is_named_by_that_and_by_where_it_is() -> None:
    assert file_name("/clips/a b.mp4#t=12.4") == "a b.mp4 0:12"
    assert file_name("s3://bucket/a.mp4#t=3723") == "a.mp4 1:02:03"
    assert file_name("/p.parquet#row=3") == "p.parquet, row 3"
    assert file_name("/p.tar#member=d/e%20f.jpg&at=512+3") == "e f.jpg"
    assert folder("/p.tar#member=d/e%20f.jpg&at=512+3") == "/p.tar/d"
    assert folder("/clips/a b.mp4#t=12.4") == "/clips"


def test_times_are_said_as_players_say_them() -> None:
    assert [clock(seconds) for seconds in (0, 9.999, 60, 3599, 3600)] == ["0:00", "0:09", "1:00", "59:59", "1:00:00"]


def test_a_link_to_a_moment_begins_to_play_there(tmp_path: Path) -> None:
    clip = tmp_path / "a b.mp4"
    assert original(f"{clip}#t=12.4") is None
    clip.write_bytes(b"")
    assert original(f"{clip}#t=12.4") == f"{clip.as_uri()}#t=12.4"


def test_moments_follow_each_other_as_they_are_shown() -> None:
    uris = ["/a.mp4#t=10", "/a.mp4#t=9.5", "/a.jpg", "/b.jpg", "/a.mp4#t=100"]
    assert sorted(uris, key=in_order) == ["/a.jpg", "/a.mp4#t=9.5", "/a.mp4#t=10", "/a.mp4#t=100", "/b.jpg"]
