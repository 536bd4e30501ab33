"""Blocks calls that would leave this machine: while a test runs, they may connect to loopback only.

`modelwire.testing` closes the network. The check is made where a connection is opened or written to, below all mocks,
cassettes and transports of the user, so these still answer. It applies only to the calls of this package, and to the
requests for their credentials: a context variable distinguishes them from other traffic of the same libraries.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from modelwire.errors import NetworkBlocked
from modelwire.transport.connections.address import is_loopback
from modelwire.transport.connections.httpcore_internals import network_classes

__all__ = [
    "Block",
    "calling",
    "fetching_credentials",
    "is_watched",
    "mocks_seeing",
    "network_blocks",
    "refuse_to_leave",
]

# The active blocks, the innermost one last.
network_blocks: list[Block] = []
# The host of the present call, and the sentence about what to do instead.
_call: ContextVar[tuple[str | None, str] | None] = ContextVar("modelwire_call", default=None)
_guarded: set[type] = set()

_WAYS = (
    "Answer it with a mock (`httpx2_mock` of pytest-httpx2), or point the model at the fixture `provider_server`, or "
    "record it once with the fixture `cassette` and `pytest --modelwire-record=once`, or "
    'mark the test `@pytest.mark.live` if it is meant to call (the ini option `modelwire_network = "allow"` lets '
    "every test do so)."
)


class Block:
    """Blocks calls that would leave this machine, from its creation until `lift` or the end of a `with` block."""

    def __init__(self) -> None:
        self.refused: list[str] = []  # The hosts of the blocked calls.
        network_blocks.append(self)

    def lift(self) -> None:
        """Lift this block; outer blocks stay active."""
        if self in network_blocks:
            network_blocks.remove(self)

    def __enter__(self) -> Block:
        return self

    def __exit__(self, *exc: object) -> None:
        self.lift()


def is_watched() -> bool:
    """Return whether calls are checked for leaving this machine: the network is closed, or respx has routes."""
    return bool(network_blocks) or ("respx" in sys.modules and bool(_active_mockers()))


@contextmanager
def calling(host: str, library: str = "httpx2") -> Iterator[None]:
    """Mark connections that are opened or written to inside the block as a call to `host` with `library`."""
    ways = _what_to_do_instead(library)
    if ways is None:
        yield
        return
    _guard()
    token = _call.set((host, ways))
    try:
        yield
    finally:
        _call.reset(token)


@contextmanager
def fetching_credentials(host: str | None = None) -> Iterator[None]:
    """Mark the code that fetches the credentials of a call over the network, from `host` or by botocore.

    In a test that has closed the network, its requests to other machines raise `NetworkBlocked`. Otherwise the block
    does nothing.
    """
    if not network_blocks:
        yield
        return
    _guard()
    if find_spec("botocore"):
        session = import_module("botocore.httpsession").URLLib3Session
        if session not in _guarded:
            _guarded.add(session)
            session.send = _asking(session.send, lambda request: urlsplit(request.url).hostname)
    token = _call.set((host, _WAYS))
    try:
        yield
    finally:
        _call.reset(token)


def refuse_to_leave(host: str | None = None) -> None:
    """Raise `NetworkBlocked` if a call of this package, or its connection to `host`, would leave this machine."""
    call = _call.get()
    if call is None:
        return
    target, ways = call
    stray = next(
        (name for name in (target, host) if name is not None and not is_loopback(name)), None
    )
    if stray is not None:
        if network_blocks:
            network_blocks[-1].refused.append(stray)
        raise NetworkBlocked(
            f"A call would have gone to {stray}: no test may leave this machine. {ways}"
        )


def mocks_seeing(library: str) -> bool:
    """Return whether respx has active routes that see calls made with `library`; it never sees those of aiohttp."""
    active = _active_mockers()
    return bool(active) and not set(active).isdisjoint(_SEEN_BY.get(library, ()))


_SEEN_BY = {"httpx2": ("httpcore2",), "httpx": ("httpx", "httpcore")}


def _active_mockers() -> list[str]:
    respx = sys.modules.get("respx")
    if respx:
        return [name for name, mocker in respx.mocks.Mocker.registry.items() if mocker.routers]
    return []


def _what_to_do_instead(library: str) -> str | None:
    if not mocks_seeing(library) and (active := _active_mockers()):
        return f"`respx.mock()` is active, but for {' and '.join(active)}, and this goes over {library}. {_WAYS}"
    return _WAYS if network_blocks else None


# The methods of httpcore2's classes that open a connection and write to it, and the host among their arguments.
_HOST_OF: dict[str, Any] = {
    "connect_tcp": lambda host, *args, **kwargs: host,
    "write": lambda *args, **kwargs: None,
}


def _guard() -> None:
    """Make the HTTP libraries call `refuse_to_leave` before they connect or write.

    This is done once for each class, and changes nothing outside of our calls.
    """
    for kind in network_classes():
        if kind not in _guarded:
            _guarded.add(kind)
            for name, host_of in _HOST_OF.items():
                if name in vars(kind):
                    setattr(kind, name, _asking(vars(kind)[name], host_of))


def _asking(method: Callable[..., Any], host_of: Callable[..., str | None]) -> Callable[..., Any]:
    """Return `method` with a call of `refuse_to_leave` before it; `host_of` finds the host among its arguments."""

    @wraps(method)
    def asking(self: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_to_leave(host_of(*args, **kwargs))
        return method(self, *args, **kwargs)

    return asking
