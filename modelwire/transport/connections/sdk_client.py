"""Connections over a client of the `openai` or `anthropic` SDK, which knows a cloud's addresses, keys and signatures.

No SDK is imported here. Only the client's `post` is used, as openai 3.52 and anthropic 2.11 have it: with
`cast_to=httpx2.Response` it returns the response unread, with another type a stream that has the response as
`response`. For a status that is not a success it raises an error that has the `response`. The SDK's own retries are
off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidArgument, ModelwireError
from modelwire.transport.connections.client_guards import RefusingCookies, guard_sdk
from modelwire.transport.connections.pooled import PooledConnection
from modelwire.transport.connections.user_client import (
    AsyncClientConnection,
    SyncClientConnection,
    agenerated,
    generated,
    reply_of,
)
from modelwire.transport.redaction import conceal
from modelwire.transport.wire import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from modelwire.transport.steps import AnyExchange, Send

__all__ = ["AsyncSdkConnection", "SyncSdkConnection"]

# The media type of Bedrock's streams. The SDK decodes them, for which it needs `botocore`.
# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html, read 2026-11
_BINARY_EVENTS = "application/vnd.amazon.eventstream"


class _SdkConnection(PooledConnection):
    """The base of the sync and async connections. `path` is the part of the URL after the client's own address."""

    def __init__(self, exchange: AnyExchange, client: Any, path: str) -> None:
        super().__init__(exchange, client)
        self._path = path

    def failure(self, exc: Exception) -> Exception:
        """Return the error of this package for `exc`, or for the error that an SDK's error was raised from.

        It is an `InvalidArgument` if the SDK's client itself could not make the call.
        """
        wrapped = "APIConnectionError" in (cls.__name__ for cls in type(exc).__mro__)
        if wrapped and isinstance(exc.__cause__, Exception):
            cause = exc.__cause__
        else:
            cause = exc
        # `_ClientConnection.failure` is skipped, as a `RuntimeError` here need not mean that a client is closed.
        found = PooledConnection.failure(self, cause)
        if isinstance(found, ModelwireError):
            return found
        error = InvalidArgument(
            f"The `{type(self.client).__name__}` given to the model could not make the call: "
            f"{type(cause).__name__}: {str(cause).partition(chr(10))[0] or 'no reason given'}"
        )
        error.__cause__ = cause
        return conceal(error, self.exchange)

    def _question(self, step: Send) -> dict[str, Any]:
        import httpx2
        from pydantic_core import from_json

        body = {}
        if self.exchange.content:
            body["body"] = from_json(self.exchange.content)
        return {
            "path": self._path,
            "cast_to": object if step.stream else httpx2.Response,
            **body,
            "options": {
                "headers": dict(self.exchange.headers),
                "timeout": httpx2.Timeout(**self.timeout()),
                "max_retries": 0,
                "follow_redirects": False,
            },
            "stream": True,
        }

    def _method(self) -> Any:
        if self.exchange.method == "POST":
            return self.client.post
        return self.client.get

    def _opened(self, answer: Any) -> Any:
        """Store the open answer, and apply the timeout of its body from now on."""
        self._response = response = getattr(answer, "response", answer)
        self._timeout = response.request.extensions.get("timeout", {})
        self._body_begins()
        return response


class SyncSdkConnection(_SdkConnection, SyncClientConnection):
    """A connection over a sync client of an SDK."""

    def send(self, step: Send) -> Reply:
        """Send the request; return the whole answer, or for a stream its head."""
        try:
            with RefusingCookies(guard_sdk(self.client, is_async=False)):
                answer = self._method()(**self._question(step))
        except Exception as exc:  # noqa: BLE001 - an error without an answer is raised again
            response = _response_of(exc)
            self._bytes = generated(response.content)
        else:
            response = self._opened(answer)
            self._bytes = _events(answer) if _is_binary(response) else response.iter_bytes()
        reply = reply_of(response)
        if step.stream:
            return reply
        return self._completed(reply)


class AsyncSdkConnection(_SdkConnection, AsyncClientConnection):
    """A connection over an async client of an SDK."""

    async def _send(self, step: Send) -> Reply:
        try:
            with RefusingCookies(guard_sdk(self.client, is_async=True)):
                answer = await self._method()(**self._question(step))
        except Exception as exc:  # noqa: BLE001 - an error without an answer is raised again
            response = _response_of(exc)
            self._bytes = agenerated(response.content)
        else:
            response = self._opened(answer)
            self._bytes = _aevents(answer) if _is_binary(response) else response.aiter_bytes()
        reply = reply_of(response)
        if not step.stream:
            reply.body = await self._whole()
        return reply


def _response_of(exc: Exception) -> Any:
    """Return the answer that an SDK's error has; raise `exc` again if it has none."""
    if not hasattr(exc, "status_code") or not hasattr(exc, "response"):
        raise exc
    return exc.response


def _is_binary(response: Any) -> bool:
    return str(response.headers.get("content-type", "")).startswith(_BINARY_EVENTS)


def _events(stream: Any) -> Generator[bytes]:
    try:
        for event in stream:
            yield _framed(event)
    except Exception as exc:  # noqa: BLE001 - an error that is not an event is raised again
        yield _framed_error(exc)


async def _aevents(stream: Any) -> AsyncGenerator[bytes]:
    events = aiter(stream)
    try:
        async for event in events:
            yield _framed(event)
    except Exception as exc:  # noqa: BLE001 - an error that is not an event is raised again
        yield _framed_error(exc)
    finally:
        await events.aclose()


def _framed(event: dict[str, Any]) -> bytes:
    """Return an event as bytes of a server-sent event, the form of the provider's own streams."""
    from pydantic_core import to_json

    return b"event: %s\ndata: %s\n\n" % (str(event.get("type")).encode(), to_json(event))


def _framed_error(exc: Exception) -> bytes:
    """Return the error event from which the SDK has made `exc`; raise any other `exc` again."""
    body = getattr(exc, "body", None)
    if not isinstance(body, dict):
        raise exc
    return _framed({"type": "error", **body})
