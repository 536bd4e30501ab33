"""The connection hook: code that records, answers or refuses what calls send, without touching a connection's class.

A `ConnectionHook` in `CONNECTION_HOOKS` receives every connection that is created and returns the object that the call
uses instead: usually a `ConnectionWrapper`, which passes each step on to the connection inside. Without a hook, a call
pays one test of an empty list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from modelwire.transport.connections.closed_network import calling, is_watched

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from modelwire.transport.connections.pooled import PooledConnection
    from modelwire.transport.steps import Send, Wait

__all__ = ["CONNECTION_HOOKS", "ConnectionHook", "ConnectionWrapper", "hooked", "innermost"]


class ConnectionHook(Protocol):
    """Receives every connection of a call that is created while the hook is in `CONNECTION_HOOKS`."""

    answers: bool
    """True if the hook answers calls itself, so that no connection has to be opened for them."""

    def wrap(self, connection: Any) -> Any:
        """Return the connection that the call uses: a `ConnectionWrapper`, or `connection` itself."""


CONNECTION_HOOKS: list[ConnectionHook] = []
"""The hooks of this process. The last one is the outermost: it sees a step first."""


class ConnectionWrapper:
    """Passes the steps of one call on to the connection `inner`; a subclass overrides those that it changes.

    `inner.is_async` says whether `send`, `read`, `close`, `sleep` and `wait` return awaitables.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.exchange = inner.exchange
        self.is_async: bool = inner.is_async

    def send(self, step: Send) -> Any:
        """Send the request. Return the `Reply`: whole, or with an empty body if `step.stream`."""
        return self.inner.send(step)

    def read(self) -> Any:
        """Return the next bytes of the open answer; None at its end."""
        return self.inner.read()

    def close(self) -> Any:
        """Release the open answer and its connection. Called after each attempt, and at the end of the call."""
        return self.inner.close()

    def sleep(self, seconds: float) -> Any:
        """Wait before the next attempt."""
        return self.inner.sleep(seconds)

    def wait(self, step: Wait) -> Any:
        """Wait for the rate limiter."""
        return self.inner.wait(step)

    def failure(self, exc: Exception) -> Exception:
        """Return the error of the call for an exception that a step raised."""
        error: Exception = self.inner.failure(exc)
        return error


class _WatchedConnection(ConnectionWrapper):
    """Blocks requests that would leave this machine while tests close the network: see `closed_network`."""

    def __init__(self, inner: PooledConnection) -> None:
        super().__init__(inner)
        self._goes_to = inner._host(), inner._library()

    def send(self, step: Send) -> Any:
        with calling(*self._goes_to):
            answer = self.inner.send(step)
        if self.is_async:
            return self._awaited(answer)
        return answer

    async def _awaited(self, work: Awaitable[Any]) -> Any:
        with calling(*self._goes_to):
            return await work


def hooked(connection: Any) -> Any:
    """Return a connection inside the wrappers of all hooks; the connection itself if there is no hook."""
    if is_watched():
        connection = _WatchedConnection(connection)
    for hook in CONNECTION_HOOKS:
        connection = hook.wrap(connection)
    return connection


def innermost(connection: Any) -> Any:
    """Return the connection inside all wrappers."""
    while isinstance(connection, ConnectionWrapper):
        connection = connection.inner
    return connection
