"""One request to a server: redirects followed by hand, every hop checked; what went wrong, as an ImageError or Passing.

Which errors are final, and which may pass, is said here alone: 404 and 410 are `gone`, what a server or its robots
directives do not let us have is `refused`, and what lies where it may not be asked for `private`; a server that is
busy, drops or does not answer may do so later.
"""

import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import (
    HTTPError,
    InvalidHeader,
    LocationParseError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import (
    TimeoutError as Urllib3TimeoutError,
)
from urllib3.util import Retry, Url, parse_url

from muster import distribution
from muster.errors import ImageError
from muster.storage.http.addresses import addresses, is_private, names_private, private_allowed
from muster.storage.http.connections import CONNECT, IDLE, clock_now, patience, pool_to
from muster.storage.http.hosts import LOOKED_UP, Host, host_of

REDIRECTS = 5
ADDRESSES_TRIED = 2  # of a host that has several: one may be of IPv6, where no such network is
TOO_MANY = 1.0  # seconds that a host is left alone after 429, where it does not say how long
ROBOTS = ("noai", "noimageai", "noindex", "noimageindex")  # directives of X-Robots-Tag that img2dataset keeps to
TOKEN = "muster"  # by which X-Robots-Tag may name us
PRIVATE = "{} is an address of this machine, a private network or a cloud's own service, and `allow_private` is not set"
_PORTS = {"http": 80, "https": 443}
_MOVED = (301, 302, 303, 307, 308)
_GONE = (404, 410)
_BUSY = (408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524)  # from 520: Cloudflare's, of the server behind it
_HEADERS = {"Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity"}


class Passing(Exception):  # noqa: N818  an outcome, which another attempt may not meet
    """`kind`: of the ImageError that it becomes where no attempt is left. `again`: whether one is worth while now.
    `asked`: whether the server has said when, so that attempts are bounded by time alone."""

    def __init__(self, reason: str, kind: str = "unreadable", again: bool = True, asked: bool = False) -> None:
        super().__init__(reason)
        self.kind, self.again, self.asked = kind, again, asked


@dataclass(frozen=True)
class Place:
    """Where a URL leads. `target`: path and query, as they are asked for."""

    scheme: str
    name: str
    port: int
    target: str

    @property
    def host(self) -> Host:
        return host_of(self.scheme, self.name, self.port)

    @property
    def authority(self) -> str:
        """As the header Host has it."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}"


def place(url: str) -> Place:
    """Raises ImageError where a URL cannot be asked for, or may not be."""
    try:
        parsed: Url = parse_url(url.strip())
    except LocationParseError:
        raise ImageError("unsupported", f"{public(url)}: not a URL") from None
    if parsed.scheme not in _PORTS or not parsed.host:
        raise ImageError("unsupported", f"{public(url)}: not a URL of http or https")
    if parsed.auth:
        raise ImageError("unsupported", f"{public(url)}: a URL with a user name in it is not read")
    name = parsed.host.strip("[]").rstrip(".").lower()
    if not private_allowed() and names_private(name):
        raise ImageError("private", PRIVATE.format(name))
    return Place(parsed.scheme, name, parsed.port or _PORTS[parsed.scheme], parsed.request_uri)


def public(url: str) -> str:
    """Without user and password, and no longer than is read: for messages."""
    return re.sub(r"://[^/?#]*@", "://", url)[:120]


@cache
def user_agent() -> str:
    """The project's name and version, and where there is more about it, as etiquette has it."""
    name, home = distribution.named()
    return f"{name} (+{home})" if home else name


@contextmanager
def answer(url: str, headers: Mapping[str, str]) -> Iterator[tuple[Place, BaseHTTPResponse]]:
    """What a server sends for a URL, or for what it leads to: status 200, 206 or 416; the body is still to be read.

    Raises ImageError, or Passing; so may reading the body within.
    """
    here = place(url)
    for _ in range(REDIRECTS + 1):
        with _asked(here, headers) as response:
            if response.status not in _MOVED:
                _check(here.host, response)
                yield here, response
                return
            here = _next(here, response.headers.get("Location", ""))
    raise ImageError("refused", f"more than {REDIRECTS} redirects")


def _next(here: Place, location: str) -> Place:
    if not location:
        raise ImageError("refused", "a redirect that leads nowhere")
    there = place(urljoin(f"{here.scheme}://{here.authority}{here.target}", location))
    if (here.scheme, there.scheme) == ("https", "http"):
        raise ImageError("refused", "a redirect from https to http, by which anybody on the way may read and change it")
    return there


def _check(host: Host, response: BaseHTTPResponse) -> None:
    """Raise what an answer means, other than that the file is there."""
    status = response.status
    if status in _BUSY:
        clock_now.get().failed(host)
        pause = _retry_after(response) or (TOO_MANY if status == 429 else 0.0)
        host.leave_alone(pause)
        raise Passing(f"its server is busy ({status})", asked=pause > 0)
    if status in _GONE:
        raise ImageError("gone", f"its server has no such file ({status})")
    if status not in (200, 206, 416):
        raise ImageError("refused", f"its server does not give it ({status})")
    if directive := _disallowed(response.headers.getlist("X-Robots-Tag")):
        raise ImageError("refused", f"its server's robots directives disallow it (X-Robots-Tag: {directive})")


def _retry_after(response: BaseHTTPResponse) -> float:
    """Seconds: of a number or a date; 0 where it says nothing that can be read."""
    try:
        return float(Retry().parse_retry_after(response.headers.get("Retry-After", "0")))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0


def _disallowed(values: list[str]) -> str | None:
    """The first directive that keeps us off. Source: is_disallowed() of img2dataset's downloader.py."""
    for value in values:
        agent, colon, rest = value.partition(":")
        if not colon or agent.strip().lower() == TOKEN:
            named = [each.strip().lower() for each in (rest if colon else value).split(",")]
            if found := next((each for each in named if each in ROBOTS), None):
                return found
    return None


# ---- one hop ---------------------------------------------------------------------------------------------------------


@contextmanager
def _asked(here: Place, headers: Mapping[str, str]) -> Iterator[BaseHTTPResponse]:
    """One request. Its connection is kept for the next one if all of the body was read, and closed else."""
    clock, host = clock_now.get(), here.host
    with clock.in_turn(host):
        if host.is_away:
            raise Passing("its server has not answered several times, and is left alone for now", again=False)
        _wait(host)
        there = False
        try:
            response = _send(here, headers)
            there = True
            try:
                yield response
            finally:
                response.close()
        except ImageError:
            host.answered()
            raise
        except (HTTPError, OSError) as error:
            passing = _passing(error)
            if not passing.again:
                clock.failed(host)
            elif there:
                host.answered()
            raise passing from error
        host.answered()


def _wait(host: Host) -> None:
    """As long as the host asked to be left alone, if the item has that much time."""
    if (pause := host.pause) > 0:
        if pause > clock_now.get().left:
            raise Passing(f"its server asked to be left alone for {pause:.0f} s more", again=False)
        time.sleep(pause)


def _send(here: Place, headers: Mapping[str, str]) -> BaseHTTPResponse:
    wanted = {**_HEADERS, "User-Agent": user_agent(), "Host": here.authority, **headers}
    some = _checked(here)[:ADDRESSES_TRIED]
    for number, address in enumerate(some, 1):
        try:
            return pool_to(here.scheme, address, here.port, here.name).urlopen(
                "GET",
                here.target,
                headers=wanted,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=True,
                timeout=Timeout(connect=patience(CONNECT), read=patience(IDLE)),
            )
        except (NewConnectionError, Urllib3TimeoutError) as error:
            if isinstance(error, ReadTimeoutError) or number == len(some):
                raise
    raise AssertionError("the last address answers or raises")


def _checked(here: Place) -> list[str]:
    """The addresses of a host that may be connected to."""
    until, known = here.host.addresses
    if time.monotonic() > until:
        known = addresses(here.name, here.port, patience(CONNECT))
        here.host.addresses = time.monotonic() + LOOKED_UP, known
    allowed = known if private_allowed() else [each for each in known if not is_private(each)]
    if not allowed:
        raise ImageError("private", PRIVATE.format(here.name))
    return allowed


def _passing(error: Exception) -> Passing:
    """What went wrong with a connection, in words that hold nothing that a server could have chosen."""
    if isinstance(error, socket.gaierror):
        return Passing("its server's name is not known", again=False)
    if isinstance(error, NewConnectionError):
        return Passing("its server cannot be connected to", again=False)
    if isinstance(error, Urllib3TimeoutError | TimeoutError):
        return Passing("its server did not send it in time", "timeout", again=False)
    if isinstance(error, SSLError | ssl.SSLError):
        return Passing("its server's certificate is not valid, or it speaks no TLS", again=False)
    return Passing("its server broke off")
