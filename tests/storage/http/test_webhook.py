"""Events that are sent to a server here."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator

import pytest

from helpers.hooks import Server, serving_hooks
from muster.errors import InputError
from muster.storage.http import webhook
from muster.storage.http.webhook import SECRET, SIGNATURE, Webhook


@pytest.fixture
def serving(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving_hooks(*getattr(request, "param", (200,))) as server:
        yield server


def bodies(server: Server) -> list[str]:
    return [body.decode() for body, _ in server.got]


def test_events_arrive_in_their_order_and_signed(serving, monkeypatch):
    monkeypatch.setenv(SECRET, "shared")
    failed: list[str] = []
    hook = Webhook(serving.url, failed.append)
    for number in range(3):
        hook.send("enter", json.dumps({"number": number}).encode())
    hook.close()
    assert bodies(serving) == ['{"number": 0}', '{"number": 1}', '{"number": 2}']
    for body, headers in serving.got:
        assert headers[SIGNATURE] == "sha256=" + hmac.new(b"shared", body, hashlib.sha256).hexdigest()
        assert headers["Content-Type"] == "application/json"
    assert failed == []


@pytest.mark.parametrize("serving", [(503, 200)], indirect=True)
def test_a_server_that_is_busy_is_asked_again(serving, monkeypatch):
    monkeypatch.delenv(SECRET, raising=False)
    failed: list[str] = []
    hook = Webhook(serving.url, failed.append, pauses=(0.01,))
    hook.send("enter", b"{}")
    hook.close()
    assert bodies(serving) == ["{}", "{}"]
    assert SIGNATURE not in serving.got[0][1]
    assert failed == []


@pytest.mark.parametrize(
    ("serving", "asked"), [((500,), 3), ((404,), 1), ((302,), 1), ((307,), 1)], indirect=["serving"]
)
def test_what_is_not_taken_is_said_without_the_url(serving, asked):
    failed: list[str] = []
    hook = Webhook(serving.url, failed.append, pauses=(0.01, 0.01))
    hook.send("enter of track 3", b"{}")
    hook.close()
    assert len(serving.got) == asked
    assert len(failed) == 1
    assert failed[0].startswith("enter of track 3 was not taken by 127.0.0.1: status ")


def test_of_what_waits_the_newest_are_kept_and_what_is_dropped_is_said(serving, monkeypatch):
    monkeypatch.setattr(webhook, "WAITING", 3)
    failed: list[str] = []
    serving.open.clear()
    hook = Webhook(serving.url, failed.append)
    hook.send("event 0", b"0")
    while not serving.got:  # it is under way, and waits no more
        time.sleep(0.01)
    for number in range(1, 7):
        hook.send(f"event {number}", str(number).encode())
    serving.open.set()
    hook.close()
    assert [said.split(" was")[0] for said in failed] == ["event 1", "event 2", "event 3"]
    assert bodies(serving) == ["0", "4", "5", "6"]


def test_a_server_that_does_not_answer_keeps_nobody(serving):
    failed: list[str] = []
    serving.open.clear()
    hook = Webhook(serving.url, failed.append)
    hook.send("enter", b"{}")
    hook.close(0.2)
    assert failed == ["the last events (1) were not sent to 127.0.0.1: it took too long"]
    serving.open.set()


def test_nobody_is_there():
    failed: list[str] = []
    hook = Webhook("http://127.0.0.1:9/hook/t0ken", failed.append, pauses=(0.01,))
    hook.send("enter", b"{}")
    hook.close()
    assert failed == ["enter was not taken by 127.0.0.1: NewConnectionError"]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://example.org/t0ken", "for all to read"),
        ("http://192.168.1.9/t0ken", "for all to read"),
        ("ftp://example.org/t0ken", "begins with https://"),
        ("example.org/t0ken", "begins with https://"),
        ("https://me:t0ken@example.org", "a user name in it"),
        ("https://[t0ken", "not a URL"),
    ],
)
def test_urls_that_are_refused(url, text):
    with pytest.raises(InputError, match=text) as refused:
        Webhook(url, print)
    assert "t0ken" not in str(refused.value)


def test_http_is_for_this_machine_or_where_it_is_allowed():
    for url, allowed in (("http://localhost/", False), ("http://[::1]:80/", False), ("http://10.0.0.1/", True)):
        Webhook(url, print, allowed).close()
