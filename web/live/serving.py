"""The live page at an address: a socket, and a server that answers until it is told to stop."""

import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from muster.errors import InputError, MusterError
from muster.web.live.guard import Guard


def listening(host: str, port: int | None) -> socket.socket:
    """A bound socket. `port`: None: any that is free. InputError where it is taken, or the address is not ours."""
    # The protocol, or asyncio leaves Nagle's algorithm on, and answers that are two writes take 40 ms more
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port or 0))
        return made
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"`port` {port} is in use, perhaps by another `serve`: stop that, or leave `port` out, and a free one"
                " is taken"
            ) from None
        if error.errno == errno.EACCES:
            raise InputError(f"`port` {port}: only root may use it: give one from 1024 on") from None
        raise InputError(f"`host` {host}: {error.strerror or error}: give an address of this machine") from None


def addresses(port: int) -> list[str]:
    """How others in the network may reach this machine: by the address it sends from, and by its name."""
    found = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent; an address that is nobody's (RFC 5737)
        found.append(probe.getsockname()[0])
    return [f"http://{name}:{port}/" for name in (*found, socket.gethostname())]


def config_of(app: Any, patience: int, **more: Any) -> uvicorn.Config:
    """How a server of ours is run. `patience`: seconds that it answers on after it was told to end."""
    return uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,  # who asks is counted and noted by their own address
        ws="none",
        timeout_graceful_shutdown=patience,
        **more,
    )


def answer(app: Guard, bound: socket.socket, on_ready: Callable[[], None]) -> None:
    """Answer until KeyboardInterrupt. `on_ready`: called once requests are taken."""
    server = _Server(config_of(app, 1, http="h11"))
    server.on_ready = on_ready
    try:
        server.run(sockets=[bound])
    except OSError as error:
        raise MusterError(f"cannot serve any more: {error.strerror or error}") from error


class _Server(uvicorn.Server):
    on_ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_ready()
