import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from helpers.live import ANNA, Visitor, visitor
from muster.web.live import password as password_module
from muster.web.live.columns import LiveSource
from muster.web.live.guard import HEADER, HEADERS, Doors
from muster.web.live.password import LEAST, TRIES, Password


@pytest.fixture
def stranger(source: LiveSource) -> Visitor:
    return visitor(source)


PATHS = [
    "/",
    "/index.html",
    f"/people/{ANNA}.html",
    "/static/people.css",
    "/api/version",
    "/api/names",
    "/no",
    "/login",
]


@pytest.mark.parametrize("path", PATHS)
def test_nobody_sees_anything_without_the_token(path: str, stranger: Visitor) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 403
    assert "muster serve" in answer.text
    assert "Person" not in answer.text


def test_a_token_becomes_a_cookie_and_leaves_the_address(stranger: Visitor) -> None:
    answer = stranger.get(f"/?token={stranger.doors.token}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert stranger.doors.token not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert stranger.get("/").status_code == 200


@pytest.mark.parametrize("token", ["x", "", "ünï", "%00", "a" * 10_000])
def test_a_stale_token_says_what_to_do(token: str, stranger: Visitor) -> None:
    answer = stranger.get(f"/?token={token}")
    assert answer.status_code == 403
    assert "start <code>muster serve</code> again" in answer.text


@pytest.mark.parametrize(
    "cookie", ["muster_8000=x", "muster_8000=", "x=y", "muster_8000", "\x01=;;", "muster_8000=\xfc"]
)
def test_a_stale_cookie_says_what_to_do(cookie: str, stranger: Visitor) -> None:
    answer = stranger.client.get("/", headers=[(b"cookie", cookie.encode("latin-1"))])
    assert answer.status_code == 403
    assert "start <code>muster serve</code> again" in answer.text


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "192.168.1.7:8000", "[::1", "a:b:c"],
)
def test_a_name_that_is_not_ours_is_refused(host: str, visit: Visitor) -> None:
    assert visit.get("/", host=host).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:9999", "[::1]:8000", "127.0.0.2"])
def test_this_machine_may_be_called_so(host: str, visit: Visitor) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in visit.client.cookies.items())
    assert visit.get("/", host=host, cookie=cookie).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://127.0.0.1:9"},
        {"origin": "https://evil.example/127.0.0.1:8000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_what_another_site_asks_for_is_refused(headers: dict[str, str], visit: Visitor) -> None:
    for path in ("/", "/static/people.css", "/api/version"):
        assert visit.get(path, **headers).status_code == 403
    sent = visit.client.post("/api/undo", json={}, headers={HEADER: "edit", **headers})
    assert sent.status_code == 403


@pytest.mark.parametrize("headers", [{"origin": "http://127.0.0.1:8000"}, {"sec-fetch-site": "same-origin"}, {}])
def test_our_own_pages_may_ask(headers: dict[str, str], visit: Visitor) -> None:
    assert visit.get("/api/version", **headers).status_code == 200


def test_edits_are_json_with_a_header_and_a_length(visit: Visitor) -> None:
    client = visit.client
    assert client.post("/api/undo", json={}).status_code == 403
    assert client.post("/api/undo", data={"a": "b"}, headers={HEADER: "edit"}).status_code == 415
    assert client.post("/api/undo", content=b"{}", headers={HEADER: "edit"}).status_code == 415
    large = {"name": "x" * (3 << 20)}
    assert client.post("/api/name", json=large, headers={HEADER: "edit"}).status_code == 413
    parts = iter([b"{", b"}"])  # no length
    kind = {"content-type": "application/json", HEADER: "edit"}
    assert client.post("/api/undo", content=parts, headers=kind).status_code == 413
    for content in (b"[]", b"{", b"\xff", b"[" * 100_000):
        assert client.post("/api/undo", content=content, headers=kind).status_code == 400
    assert client.get("/api/undo").status_code == 405
    assert client.put("/api/undo", json={}, headers={HEADER: "edit"}).status_code == 405


@pytest.mark.parametrize("path", ["/", f"/people/{ANNA}.html", "/static/people.css", "/no", "/api/version"])
def test_every_answer_has_the_headers(path: str, visit: Visitor, stranger: Visitor) -> None:
    for who in (visit, stranger):
        headers = who.get(path).headers
        for name, value in HEADERS.items():
            if name != "content-security-policy":
                assert headers[name] == value
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_the_door_with_a_password(source: LiveSource) -> None:
    doors = Doors(8000, password=Password.of("open sesame"))
    phone = visitor(source, doors)
    phone.client.base_url = "http://192.168.1.7:8000"
    answer = phone.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert phone.get("/api/version").status_code == 403
    assert "Person" not in phone.get("/login").text
    assert phone.get("/static/people.css").status_code == 200
    assert phone.get("/static/people.js").status_code == 303
    assert phone.client.post("/login", data={"password": "wrong"}).status_code == 403
    site = {"sec-fetch-site": "cross-site"}
    assert phone.client.post("/login", data={"password": "open sesame"}, headers=site).status_code == 403
    assert phone.client.post("/login", data={"password": "open sesame"}).status_code == 200
    assert phone.get("/").status_code == 200
    assert phone.get("/", host="evil.example").status_code == 403


def test_who_guesses_has_to_wait(source: LiveSource) -> None:
    phone = visitor(source, Doors(8000, password=Password.of("open sesame")))
    for _ in range(TRIES):
        assert phone.client.post("/login", data={"password": "wrong"}).status_code == 403
    answer = phone.client.post("/login", data={"password": "open sesame"})
    assert answer.status_code == 429
    assert "Try again in" in answer.text


def test_a_browser_says_where_the_password_comes_from(source: LiveSource) -> None:
    """Under no-referrer it sends a form with `Origin: null`, which is refused: Fetch standard, "append a request
    `Origin` header"."""
    phone = visitor(source, Doors(8000, password=Password.of("open sesame")))
    assert phone.get("/login").headers["referrer-policy"] == "same-origin"
    wrong = phone.client.post("/login", data={"password": "wrong"}, headers={"origin": "http://127.0.0.1:8000"})
    assert (wrong.status_code, wrong.headers["referrer-policy"]) == (403, "same-origin")
    assert phone.client.post("/login", data={"password": "open sesame"}, headers={"origin": "null"}).status_code == 403


def test_who_guesses_many_at_once_has_no_more_tries() -> None:
    password = Password.of("open sesame")
    guesses = [*["wrong"] * (3 * TRIES), "open sesame"]
    assert not password.wait("10.0.0.9")
    with ThreadPoolExecutor(len(guesses)) as pool, pytest.MonkeyPatch.context() as patch:
        waiting = threading.Barrier(TRIES)  # as long as a digest takes: none is known to be wrong before all are asked
        digest = password_module._digest
        patch.setattr(password_module, "_digest", lambda *text: (waiting.wait(10), digest(*text))[1])
        fits = list(pool.map(lambda text: password.fits(text, "10.0.0.9"), guesses))
    assert not any(fits[TRIES:])
    assert len(password.all_asked) <= TRIES
    assert password.wait("10.0.0.9") > 0
    assert not password.wait("10.0.0.8")


def test_the_right_password_is_no_try() -> None:
    password = Password.of("open sesame")
    for _ in range(3 * TRIES):
        assert not password.wait("10.0.0.9")
        assert password.fits("open sesame", "10.0.0.9")
    assert not password.all_asked


def test_what_is_sent_before_the_password_is_short(source: LiveSource) -> None:
    phone = visitor(source, Doors(8000, password=Password.of("open sesame")))
    assert phone.client.post("/login", data={"password": "x" * (3 << 20)}).status_code == 413
    assert phone.client.post("/login", content=iter([b"password=", b"x"])).status_code == 413


def test_nobody_logs_in_where_nothing_is_shared(visit: Visitor, stranger: Visitor) -> None:
    assert stranger.client.post("/login", data={"password": ""}).status_code in (403, 415)
    assert visit.get("/login").headers["location"] == "/"


def test_a_password_is_long_enough() -> None:
    with pytest.raises(ValueError, match=str(LEAST)):
        Password.of("x" * (LEAST - 1))
