"""Who may look: the one door that every request comes in by.

A page of another site can make a browser send requests to this machine, and by DNS it can pass for a name of it
(rebinding). So the Host must be an address of ours, nothing that another site has started is answered, and whoever has
not opened the printed address (or given the password, with `--share`) sees nothing. Edits are JSON with a header of
their own, which no form of another site can send.
"""

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from muster.web.live.password import Password

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADER = "x-muster"  # that edits have: a form cannot send it
POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
OPEN = ("/login", "/static/people.css", "/static/live/live.css")  # to whoever knows no password yet
MOST_BYTES = 2 << 20  # of an edit: 10,000 faces are 500 KB


@dataclass
class Doors:
    """`token`: of the printed address. `password`: with which others than this machine may ask; None: nobody else may.
    `sessions`: cookies that were given out."""

    port: int = 0
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    password: Password | None = None
    sessions: set[str] = field(default_factory=set)

    @property
    def cookie(self) -> str:
        """Its name: a browser sends cookies of one host to all its ports."""
        return f"muster_{self.port}"

    def opened(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token.encode())

    def session(self) -> str:
        """A new one, as a cookie holds it."""
        value = secrets.token_urlsafe(32)
        self.sessions.add(value)
        return value

    def set_cookie(self) -> str:
        """The header that lets a browser in, until Muster ends."""
        return f"{self.cookie}={self.session()}; HttpOnly; SameSite=Strict; Path=/"

    def knows(self, cookies: str) -> bool:
        try:
            found = SimpleCookie(cookies).get(self.cookie)
        except CookieError:
            return False
        given = found.value.encode() if found else b""
        return any(hmac.compare_digest(given, known.encode()) for known in tuple(self.sessions))


class Guard:
    """ASGI middleware: lets through what may pass, and puts HEADERS on every answer."""

    def __init__(self, app: App, doors: Doors, refused: Callable[[int, str, bool], tuple[bytes, str]]) -> None:
        """`refused(status, text, as_json)`: body and content type of a refusal."""
        self._app, self._doors, self._refused = app, doors, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        send = _with_headers(send)
        if scope["type"] != "http":
            return None  # no web sockets here
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := self._refusal(scope, headers):
            return await self._answer(send, *refusal, _is_api(scope))
        if token := _token(scope):
            return await self._enter(scope, token, send)
        if not self._doors.knows(headers.get("cookie", "")):
            if self._doors.password and scope["path"] in OPEN:
                return await self._app(scope, receive, send)
            if self._doors.password and not _is_api(scope) and scope["method"] == "GET":
                return await _redirect(send, "/login")
            return await self._answer(send, 403, STALE, _is_api(scope))
        return await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: MutableMapping[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return 403, "This address is not one of Muster: open the one that `muster serve` has printed."
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if (origin is not None and origin.partition("://")[2] != host) or site not in ("none", "same-origin"):
            return 403, "Another site has asked for this. Type the address that `muster serve` has printed yourself."
        if scope["method"] not in ("GET", "HEAD"):
            if not headers.get("content-length", "").isdigit() or int(headers["content-length"]) > MOST_BYTES:
                return 413, "That is too much for one edit: do it in several."
            if scope["path"] == "/login" and self._doors.password:
                return None
            if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                return 415, "Edits are JSON."
            if HEADER not in headers:
                return 403, f"Edits have the header {HEADER}."
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a Host is an address and no name, which a stranger may let mean us; or one of this machine's."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if is_loopback(name):
                return True
            return self._doors.password is not None and (_is_address(name) or name in _own_names())
        except ValueError:
            return False

    async def _enter(self, scope: Scope, token: str, send: Send) -> None:
        if not self._doors.opened(token):
            return await self._answer(send, 403, STALE, False)
        return await _redirect(send, "/", self._doors.set_cookie())

    async def _answer(self, send: Send, status: int, text: str, as_json: bool) -> None:
        body, kind = self._refused(status, text, as_json)
        await _send(send, status, body, [("content-type", kind)])


STALE = (
    "Muster was started again, or this address is an old one. Open the address that `muster serve` has printed; where"
    " it is not running any more, start `muster serve` again, and open the address it prints."
)


def _is_api(scope: Scope) -> bool:
    return scope["path"].startswith("/api/")


def _token(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return parse_qs(query).get("token", [""])[0] if scope["method"] == "GET" and "token=" in query else ""


def is_loopback(name: str) -> bool:
    """Whether a host or a client's address is this machine."""
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_names() -> Iterable[str]:
    name = socket.gethostname().lower()
    return name, f"{name.partition('.')[0]}.local"


def _with_headers(send: Send) -> Send:
    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            given = message.get("headers", [])
            names = {name.decode("latin-1").lower() for name, _ in given}
            ours = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name not in names]
            message = {**message, "headers": [*given, *ours]}
        await send(message)

    return sent


async def _redirect(send: Send, to: str, cookie: str | None = None) -> None:
    await _send(send, 303, b"", [("location", to), *([("set-cookie", cookie)] if cookie else [])])


async def _send(send: Send, status: int, body: bytes, headers: Iterable[tuple[str, str]]) -> None:
    length = ("content-length", str(len(body)))
    encoded = [(name.encode(), value.encode()) for name, value in (*headers, length)]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
