import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from muster.pipeline.work.spans import Spans


def test_a_span_says_what_when_how_long_and_where() -> None:
    spans, before = Spans(), time.time()
    with spans("decode", 8):
        time.sleep(0.02)
    [span] = spans.all
    assert (span.name, span.images, span.thread) == ("decode", 8, threading.current_thread().name)
    assert before <= span.begun <= time.time() - span.seconds
    assert span.seconds >= 0.02


def test_what_fails_took_its_time_as_well() -> None:
    spans = Spans()
    with pytest.raises(ZeroDivisionError), spans("faces"):
        _ = 1 // 0
    assert [span.name for span in spans.all] == ["faces"]


def test_seconds_are_of_the_names_asked_for() -> None:
    spans = Spans()
    for name in ("read", "read", "decode", "commit"):
        with spans(name):
            pass
    by_name = {name: sum(s.seconds for s in spans.all if s.name == name) for name in ("read", "decode")}
    assert spans.seconds("read", "decode") == pytest.approx(sum(by_name.values()))
    assert spans.seconds() == spans.seconds("hash") == 0


def test_threads_may_share_one() -> None:
    spans = Spans()

    def note(number: int) -> None:
        with spans("read", number):
            pass

    with ThreadPoolExecutor(8, "reader") as pool:
        list(pool.map(note, range(400)))
    assert sorted(span.images for span in spans.all) == list(range(400))
    assert all(span.thread.startswith("reader") for span in spans.all)
