"""A web server on this machine, and limits short enough for tests."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from benchmarks.url_server import UrlServer, serving
from muster.storage.http import connections, fetch, hosts
from muster.storage.http.addresses import private_addresses


def jpeg(side: int = 64) -> bytes:
    sink = io.BytesIO()
    Image.radial_gradient("L").resize((side, side)).save(sink, "JPEG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def web() -> Iterator[UrlServer]:
    with serving(jpeg()) as server:
        yield server


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Limits of tenths of seconds, and hosts of which nothing is known yet."""
    monkeypatch.setattr(fetch, "ITEM", 1.5)
    monkeypatch.setattr(fetch, "FIRST", 0.02)
    monkeypatch.setattr(connections, "IDLE", 0.4)
    hosts.host_of.cache_clear()
    yield
    hosts.host_of.cache_clear()


@pytest.fixture
def private(quick: None) -> Iterator[None]:
    """This machine may be asked."""
    with private_addresses(True):
        yield
