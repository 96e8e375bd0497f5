"""Whether a cluster answers, and whether its nodes see what lies on this machine."""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from muster.errors import InputError, MusterError

ANSWER_SECONDS = (
    5.0  # a head or dashboard that has not answered by then is taken for missing; Ray waits for two minutes
)


def require_answer(address: str) -> None:
    """Raises MusterError where nobody listens at a cluster's `host:port` or `ray://host:port`, InputError for what is
    none of these. `auto` is left to Ray."""
    if address == "auto":
        return
    scheme, separator, rest = address.rpartition("://")
    host, _, port = rest.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535 or (separator and scheme != "ray"):
        raise InputError(
            f"`address` {address}: give the head's HOST:PORT, such as 10.0.0.1:6379, or auto; for the dashboard's"
            " http://HOST:8265, use `submit`"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one
        cause = getattr(error, "strerror", None) or error
        raise MusterError(
            f"no Ray cluster answers at {address} ({cause}): check `address` (RAY_ADDRESS), that the head runs, and"
            " that it can be reached from here"
        ) from None


def token_source() -> str | None:
    """Where Ray will find a token: the name of a variable of the environment, or a file.

    Raises InputError where others could read the file, or put another in its place: whoever has the token may run what
    he likes on the cluster.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    file = os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"
    path = Path(file).expanduser()
    if not path.is_file():
        return None
    info = path.stat()
    if info.st_uid not in (os.geteuid(), 0):
        raise InputError(f"the token in {file} is a file of another user (uid {info.st_uid}): copy it to one of yours")
    if info.st_mode & 0o077:
        raise InputError(
            f"the token in {file} can be read by other users (mode {info.st_mode & 0o777:o}): chmod 600 {file},"
            " and make a new one where others may have read it; or give the token itself in RAY_AUTH_TOKEN"
        )
    return file


def about_token() -> str:
    """A hint about tokens: where a head refuses or misses one, Ray says only that it failed to connect."""
    mode, source = os.environ.get("RAY_AUTH_MODE"), token_source()
    if mode == "token" and source:
        return f". Something listens there: is the token in {source} the one that its head was started with?"
    if source:
        return f". Something listens there; if it wants a token, unset RAY_AUTH_MODE={mode}"
    return ". Something listens there; if it wants a token, set RAY_AUTH_TOKEN to the one its head was started with"


def refuse_local(paths: Mapping[str, str], nodes: Sequence[str]) -> None:
    """Raises InputError where `paths` (what it is → local path) would be looked for by nodes that are elsewhere.

    `nodes`: their addresses.
    """
    elsewhere = [node for node in nodes if not is_here(node)]
    for what, path in paths.items():
        if elsewhere:
            raise InputError(
                f"{what} {path} is on this machine, and nodes of the cluster are not ({', '.join(elsewhere[:3])}):"
                " use a bucket such as s3://bucket/library, or a folder that all nodes share, with `shared`"
            )


def is_here(address: str) -> bool:
    """Whether this is an address of this machine: no other can be bound to."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables, for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
