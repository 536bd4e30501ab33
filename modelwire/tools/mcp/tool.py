"""One tool of an MCP server, and the names under which models see the tools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from modelwire.lazy import module
from modelwire.runnables.config import ensure_config
from modelwire.runnables.deadline import check
from modelwire.tools.base import BaseTool
from modelwire.tools.mcp.connection import Connection
from modelwire.tools.mcp.content import outcome

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future
else:
    asyncio = module("asyncio")

__all__ = ["MCPTool", "model_names"]

NAME_CHARS = 64  # The longest name of a tool that providers take.


class MCPTool(BaseTool):
    """One tool of an MCP server. Text goes to the model as it is, images as blocks; `artifact` is the whole result."""

    response_format: Any = "content_and_artifact"
    server: Any = None
    server_name: str = ""  # what the server calls it

    @classmethod
    def of(cls, listed: Any, server: Connection, name: str) -> MCPTool:
        """Return a tool made from an entry of the server's list; the model sees it as `name`."""
        return cls(
            name=name,
            description=listed.description or listed.title or "",
            args_schema={"title": listed.name, **listed.input_schema},
            server=server,
            server_name=listed.name,
            metadata=server.run_metadata,
        )

    def _begin(self, arguments: dict[str, Any]) -> Future[Any]:
        future: Future[Any] = self.server.submit(
            lambda client: self.server.call_tool(client, self.server_name, arguments)
        )
        return future

    def _run(self, /, **kwargs: Any) -> Any:
        deadline = ensure_config().get("deadline")
        future = self._begin(kwargs)
        try:
            with self.server.errors():
                left_s = None if deadline is None else deadline - monotonic()
                return outcome(future.result(left_s))
        except Exception:
            check(deadline, self)
            raise
        finally:
            future.cancel()  # a caller who is interrupted waits no longer, and so does the server

    async def _arun(self, /, **kwargs: Any) -> Any:
        future = self._begin(kwargs)
        with self.server.errors():
            return outcome(await asyncio.wrap_future(future))


def model_names(names: Sequence[str]) -> list[str]:
    """Return names that every provider takes, each once: letters, digits, `_` and `-`, 64 at most.

    A server may list `files.read`, and one name twice.
    Source: https://platform.openai.com/docs/api-reference/chat/create, read 2026-11.
    """
    made: list[str] = []
    for name in names:
        plain = re.sub("[^a-zA-Z0-9_-]", "_", name)[:NAME_CHARS] or "tool"
        number, unique = 1, plain
        while unique in made:
            number += 1
            end = f"_{number}"
            unique = f"{plain[: NAME_CHARS - len(end)]}{end}"
        made.append(unique)
    return made
