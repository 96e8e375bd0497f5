"""Connections to addresses that were checked, kept open for the next request; none outlasts the time of its item."""

import http.client
import io
import socket
from contextvars import ContextVar
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from muster.storage.http.hosts import AT_ONCE, Clock

CONNECT = 5.0  # seconds until a connection is there
IDLE = 8.0  # seconds without a byte
POOLS = 64  # hosts whose connections are kept open

clock_now: ContextVar[Clock] = ContextVar("clock_now")  # of the item that this thread reads


def patience(most: float) -> float:
    """Seconds that may be waited now, up to `most`. Raises TimeoutError where the item's time is over."""
    left = clock_now.get().left
    if left <= 0:
        raise TimeoutError("its time is over")
    return min(left, most)


class _Timed(io.RawIOBase):
    """The bytes that come from a socket. Each wait ends with the item's time: a server that sends a byte of its headers
    or of its body every other second would else never be done with, as a socket's own limit begins anew each time."""

    def __init__(self, sock: socket.socket, below: io.RawIOBase) -> None:
        self._sock, self._below = sock, below

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(patience(IDLE))
        return self._below.readinto(buffer)

    def close(self) -> None:
        self._below.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **named: Any) -> None:
        super().__init__(sock, *args, **named)
        self.fp: io.BufferedReader = io.BufferedReader(_Timed(sock, self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _Response


class _TLSConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


_manager = PoolManager(num_pools=POOLS, maxsize=AT_ONCE)
_manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}


def pool_to(scheme: str, address: str, port: int, name: str) -> HTTPConnectionPool:
    """To one address of a host. Its certificate is that of its name."""
    named = {"server_hostname": name, "assert_hostname": name} if scheme == "https" else {}
    return _manager.connection_from_host(address, port, scheme, named)
