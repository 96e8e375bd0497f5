"""Which addresses of a host may be connected to, and what its name stands for.

A row of a list, or a redirect, must not have this machine ask what listens in its own network. So a name is looked up
once, what it stands for is checked, and the connection is made to the very address that was: a name that stands for
something else a moment later (DNS rebinding) gets nowhere.
"""

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from contextvars import ContextVar

LOOK_UPS = 128  # of names, at once, as many as two shards have threads; the system may take half a minute for one
_AZURE = ipaddress.ip_address("168.63.129.16")  # Azure's host, by which a machine is told its configuration
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_allowed: ContextVar[bool] = ContextVar("private_addresses", default=False)
_looking_up = threading.BoundedSemaphore(LOOK_UPS)


@contextmanager
def private_addresses(allowed: bool) -> Iterator[None]:
    """What this thread asks for within may lie at private addresses, or may not, whatever was so before."""
    token = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(token)


def private_allowed() -> bool:
    return _allowed.get()


def is_private(address: str) -> bool:
    """Whether it is not an address of the public Internet: of this machine, of a private network, of a cloud's own
    services; also where it is an IPv4 address written as IPv6. Raises ValueError where it is no address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_private(str(inner))
    return not ip.is_global or ip.is_multicast or ip == _AZURE


def names_private(host: str) -> bool:
    """Whether a host is private by how it is written, without a look-up."""
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return is_private(host)
    except ValueError:
        return False


def addresses(host: str, port: int, seconds: float) -> list[str]:
    """What a host stands for, in the system's order. Raises OSError; TimeoutError after so many seconds."""
    ends = time.monotonic() + seconds
    if not _looking_up.acquire(timeout=seconds):
        raise TimeoutError("too many names whose servers do not answer")
    found: Future[list[str]] = Future()
    threading.Thread(target=_look_up, args=(host, port, found), name="look-up", daemon=True).start()
    try:
        return found.result(max(0.0, ends - time.monotonic()))
    except FutureTimeoutError:
        raise TimeoutError("nobody said in time what the name stands for") from None


def _look_up(host: str, port: int, found: Future[list[str]]) -> None:
    """In a thread of its own: getaddrinfo() knows no time limit."""
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found.set_result(list(dict.fromkeys(str(info[4][0]) for info in infos)))
    except (OSError, UnicodeError) as error:
        found.set_exception(error if isinstance(error, OSError) else OSError(str(error)))
    finally:
        _looking_up.release()
