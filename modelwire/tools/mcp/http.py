"""The HTTP client of a server with a URL.

A failure of one request, such as a lost connection or a failed login, is passed to the package as a JSON-RPC error, so
that only this call fails. An exception would end the whole connection, and with it all other calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from modelwire.aliases import JSON, HeaderFields
from modelwire.tools.mcp.oauth import Pause, http_auth
from modelwire.tools.mcp.package import package
from modelwire.tools.mcp.requests import noting
from modelwire.tools.mcp.servers import plain_url, reason

# The timeouts for a new connection and for silence within a stream. `Connection` sets the timeout of a call.
_CONNECT_TIMEOUT_S = 30.0
_READ_TIMEOUT_S = 300.0
# Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports, read 2026-11.
_SESSION_HEADER = "mcp-session-id"


@asynccontextmanager
async def http_transport(
    url: str, headers: HeaderFields, auth: Any, pause: Pause
) -> AsyncIterator[Any]:
    """Open the HTTP client of a server with a URL, and yield the package's transport over it."""
    http = package("mcp.client.streamable_http")
    timeout = package("httpx2").Timeout(_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S)
    async with (
        http_auth(url, headers, auth, pause) as signer,
        _client_class()(headers=dict(headers), timeout=timeout, auth=signer) as client,
    ):
        transport = http.streamable_http_client(url, http_client=client)
        yield noting(transport, lambda: client.session_id)


@cache
def _client_class() -> Any:
    httpx2 = package("httpx2")

    class Client(httpx2.AsyncClient):  # type: ignore[misc, name-defined]
        session_id: str | None = None

        async def send(self, request: Any, **options: Any) -> Any:
            """Send a request. If a message to the server fails, return a response with a JSON-RPC error."""
            if request.method != "POST":
                return await super().send(request, **options)
            try:
                response = await super().send(request, **options)
            except Exception as exc:  # noqa: BLE001 - it becomes the error of the call
                return httpx2.Response(502, json=_error(reason(exc)), request=request)
            self.session_id = response.headers.get(_SESSION_HEADER) or self.session_id
            text = _trouble_of(response)
            if text is None:
                return response
            await response.aclose()
            return httpx2.Response(response.status_code, json=_error(text), request=request)

    return Client


def _trouble_of(response: Any) -> str | None:
    """Return the text of a response's error, or None if the package reads the response itself."""
    status = response.status_code
    if status == 401:
        url = plain_url(str(response.request.url))
        return f"the server answered 401: it requires a login. Run `modelwire mcp login {url}`, or pass `headers`"
    is_json = response.headers.get("content-type", "").lower().startswith("application/json")
    is_known = status < 400 or status == 404 or is_json
    if is_known:
        return None
    return f"the server answered {status} {response.reason_phrase}".rstrip()


def _error(text: str) -> JSON:
    """Return a JSON-RPC error without an id, which belongs to the request whose response has it."""
    return {"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": text}}
