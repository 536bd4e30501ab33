"""What identifies the request of a tool call: its JSON-RPC id, and the session of its server. Traces show both.

The package chooses the id while it sends the request, in the task of the call; the writer here reads it there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from modelwire.aliases import Kwargs
from modelwire.callbacks.manager import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun

# The facts of the call that this task makes, by OpenTelemetry's names; None if no handler wants them.
FACTS: ContextVar[dict[str, str] | None] = ContextVar("modelwire_mcp_request", default=None)


class _Writer:
    """Passes messages on to the package's own writer, and notes the id of each tool call."""

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
    """Yield the streams of a transport; what is written notes the ids of tool calls."""
    async with transport as (read, write):
        yield read, _Writer(write, session_id)


def report_request(listening: Kwargs | None, facts: dict[str, str]) -> None:
    """Report the request of a call to the handlers that want it, `listeners(..., "on_tool_request")`."""
    if listening is not None and facts:
        CallbackManagerForToolRun(**listening).on_tool_request(facts)


async def areport_request(listening: Kwargs | None, facts: dict[str, str]) -> None:
    """Do what `report_request` does, async."""
    if listening is not None and facts:
        await AsyncCallbackManagerForToolRun(**listening).on_tool_request(facts)
