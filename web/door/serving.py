"""The service at an address: connections that send nothing are closed, a certificate that is renewed is taken up."""

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from muster.errors import MusterError
from muster.storage.certificates import Served
from muster.web.live.serving import config_of

REQUEST = 30.0  # seconds in which a connection has to send a request, from its start or the last answer
LOOK = 60.0  # seconds between looks at the certificate
FILES = 8192  # that may be open, as far as the system lets this process have them
OWN_FILES = 256  # of those for others than connections: an answer is a line in the log


class Impatient(H11Protocol):
    """Closes a connection whose request does not come."""

    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()  # its body has a limit of its own

    def on_response_complete(self) -> None:
        self._stop()
        self._wait()
        super().on_response_complete()  # here may begin what was sent ahead

    def _wait(self) -> None:
        self._closing = self.loop.call_later(REQUEST, self._end)

    def _stop(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    def _end(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class Listening(socket.socket):
    """Takes no connection that leaves too few files for others, also where TLS is not agreed on yet."""

    def accept(self) -> tuple[socket.socket, Any]:
        taken, address = super().accept()
        if taken.fileno() >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OWN_FILES:  # numbers are given from 0 on
            taken.close()
            raise ConnectionAbortedError  # which asyncio ignores
        return taken, address


def answer(
    app: Any,
    bound: socket.socket,
    on_ready: Callable[[], None],
    served: Served | None,
    on_remark: Callable[[str], None],
) -> None:
    """Answer until KeyboardInterrupt. `served`: the certificate; None: without one. `on_remark`: is told what becomes
    of it."""
    _raise_limit()
    config = config_of(app, 10, loop="asyncio", http=Impatient)  # so long that what is in the log is answered
    config.load()
    if served is not None:
        config.ssl = served.context
    server = _Server(config)
    server.on_ready, server.served, server.on_remark = on_ready, served, on_remark
    try:
        server.run(sockets=[Listening(fileno=bound.detach())])
    except OSError as error:
        raise MusterError(f"cannot serve any more: {error.strerror or error}") from error


def _raise_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server(uvicorn.Server):
    on_ready: Callable[[], None]
    on_remark: Callable[[str], None]
    served: Served | None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.served is not None:
            self.looking = asyncio.create_task(self._look(self.served))
        self.on_ready()

    async def _look(self, served: Served) -> None:
        said = ""
        while True:
            with contextlib.suppress(ssl.SSLError, OSError):  # it is being written: looked at again
                text = served.look(datetime.now(UTC))
                if text and text != said:
                    self.on_remark(text)
                said = text
            await asyncio.sleep(LOOK)
