"""Events for a web server of the user's: by POST, in a thread, so that nobody waits for it; the newest are kept."""

import hashlib
import hmac
import ipaddress
import os
import threading
import time
from collections import deque
from collections.abc import Callable

from urllib3 import PoolManager, Timeout
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import parse_url

from muster.errors import InputError
from muster.storage.http.requests import user_agent

SECRET = "MUSTER_WEBHOOK_SECRET"  # that bodies are signed with, as GitHub signs its own
SIGNATURE = "X-Muster-Signature-256"
WAITING = 100  # events that are kept for a server that does not take them
PAUSES = (0.5, 2.0)  # seconds between the attempts at one
LAST = 10.0  # seconds that are given to what is still to be sent at the end
_TIMEOUT = Timeout(connect=5, read=10)


class Webhook:
    """`on_failure`: told what could not be delivered, in words that do not quote the URL: its path may be a secret.

    Raises InputError where the URL is not https, nor http to this very machine, nor `allow_http`.
    """

    def __init__(
        self, url: str, on_failure: Callable[[str], None], allow_http: bool = False, pauses: tuple[float, ...] = PAUSES
    ) -> None:
        self._host = _checked(url, allow_http)
        self._url, self._said, self._pauses = url, on_failure, pauses
        self._secret = os.environ.get(SECRET, "").encode()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._news, self._over = threading.Condition(), False
        self._server = PoolManager(timeout=_TIMEOUT, retries=False)
        self._thread = threading.Thread(target=self._run, daemon=True, name="webhook")
        self._thread.start()

    def send(self, what: str, body: bytes) -> None:
        """`what`: in words, for who is told that it was not taken. `body`: JSON."""
        with self._news:
            self._waiting.append((what, body))
            dropped = self._waiting.popleft()[0] if len(self._waiting) > WAITING else None
            self._news.notify_all()
        if dropped:
            self._said(f"{dropped} was not sent to {self._host}: {WAITING} newer events wait for it")

    def close(self, seconds: float = LAST) -> None:
        """What is waiting is sent, as far as so many seconds allow."""
        with self._news:
            self._over = True
            self._news.notify_all()
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._said(f"the last events ({1 + len(self._waiting)}) were not sent to {self._host}: it took too long")
            self._waiting.clear()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._over)
                if not self._waiting:
                    return
                what, body = self._waiting.popleft()
            if problem := self._delivered(body):
                self._said(f"{what} was not taken by {self._host}: {problem}")

    def _delivered(self, body: bytes) -> str:
        """What went wrong the last time; "" where nothing did."""
        headers = {"Content-Type": "application/json", "User-Agent": user_agent()}
        if self._secret:
            headers[SIGNATURE] = "sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        problem = ""
        for pause in (*self._pauses, None):
            try:
                response = self._server.request(
                    "POST", self._url, body=body, headers=headers, redirect=False, preload_content=False
                )
                response.close()  # nobody reads what it says
                status = response.status
                if status < 300:
                    return ""
                problem = f"status {status}"
                if status < 500 and status not in (408, 425, 429):  # it will say so again
                    return problem
            except HTTPError as error:
                problem = type(error).__name__  # its text has the URL
            if pause is not None:
                time.sleep(pause)
        return problem


def _checked(url: str, allow_http: bool) -> str:
    """The host."""
    try:
        parsed = parse_url(url)
    except LocationParseError:
        raise InputError("`webhook`: not a URL") from None
    host = (parsed.host or "").strip("[]")
    if parsed.scheme not in ("http", "https") or not host:
        raise InputError("`webhook`: give a URL that begins with https://")
    if parsed.auth:
        raise InputError(
            f"`webhook`: a URL with a user name in it is not asked: {SECRET} signs what is sent, so that {host} knows"
            " whom it is from"
        )
    if parsed.scheme == "http" and not _is_here(host) and not allow_http:
        raise InputError(
            f"`webhook` http://{host}: names of people would cross the network for all to read; give https://, or say"
            " `allow_http`"
        )
    return host


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
