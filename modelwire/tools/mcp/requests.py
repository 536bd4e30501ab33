"""The ids of a tool call's request, for traces: its JSON-RPC id, and the session of its server.

The package chooses the JSON-RPC id while it sends the request, in the task of the call; `_Writer` reads it there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from modelwire.aliases import Kwargs
from modelwire.callbacks.manager import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun

# The ids of the call that this task makes, by OpenTelemetry's names; None if no handler wants them.
FACTS: ContextVar[dict[str, str] | None] = ContextVar("modelwire_mcp_request", default=None)


class _Writer:
    """Passes messages on to the package's own writer, and puts the ids of each tool call into `FACTS`."""

    def __init__(self, inner: Any, session_id: Callable[[], str | None]) -> None:
        self.inner = inner
        self.session_id = session_id

    async def send(self, item: Any) -> None:
        """Send a message."""
        facts = FACTS.get()
        if facts is not None and getattr(item.message, "method", None) == "tools/call":
            facts["jsonrpc.request.id"] = str(item.message.id)
            session = self.session_id()
            if session is not None:
                facts["mcp.session.id"] = session
        await self.inner.send(item)

    async def aclose(self) -> None:
        """Close the package's writer."""
        await self.inner.aclose()

    async def __aenter__(self) -> _Writer:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        return await self.inner.__aexit__(*error)


@asynccontextmanager
async def noting(
    transport: Any, session_id: Callable[[], str | None] = lambda: None
) -> AsyncIterator[Any]:
    """Yield the two streams of a transport, with a `_Writer` as the one for writing."""
    async with transport as (read, write):
        yield read, _Writer(write, session_id)


def report_request(listening: Kwargs | None, facts: dict[str, str]) -> None:
    """Report the ids of a call's request to handlers; `listening` is `listeners(..., "on_tool_request")`."""
    if listening is not None and facts:
        CallbackManagerForToolRun(**listening).on_tool_request(facts)


async def areport_request(listening: Kwargs | None, facts: dict[str, str]) -> None:
    """Do what `report_request` does, async."""
    if listening is not None and facts:
        await AsyncCallbackManagerForToolRun(**listening).on_tool_request(facts)
