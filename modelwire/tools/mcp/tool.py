"""One tool of an MCP server, and the names under which models see the tools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from modelwire.aliases import JSON
from modelwire.runnables.config import ensure_config
from modelwire.runnables.deadline import check
from modelwire.tools.base import BaseTool
from modelwire.tools.mcp.connection import Connection
from modelwire.tools.mcp.content import outcome
from modelwire.tools.mcp.progress import aresult_of, listeners, result_of
from modelwire.tools.mcp.requests import areport_request, report_request

if TYPE_CHECKING:
    from concurrent.futures import Future

_NAME_CHARS = 64  # Providers accept names of tools up to this length.


class MCPTool(BaseTool):
    """One tool of an MCP server. The model gets texts, and images as blocks; `artifact` is the whole result."""

    response_format: Any = "content_and_artifact"
    server: Any = None
    server_name: str = ""  # The name by which the server knows the tool.

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

    def _begin(self, arguments: JSON, facts: dict[str, str], report: Any) -> Future[Any]:
        future: Future[Any] = self.server.submit(
            lambda client: self.server.call_tool(client, self.server_name, arguments, report, facts)
        )
        return future

    def _run(self, /, **kwargs: Any) -> Any:
        config = ensure_config()
        deadline = config.get("deadline")
        listening = listeners(config, self.callbacks)
        facts: dict[str, str] = {}
        try:
            with self.server.errors():
                return outcome(result_of(partial(self._begin, kwargs, facts), listening, deadline))
        except Exception:
            check(deadline, self)
            raise
        finally:
            report_request(listeners(config, self.callbacks, "on_tool_request"), facts)

    async def _arun(self, /, **kwargs: Any) -> Any:
        config = ensure_config()
        listening = listeners(config, self.callbacks)
        facts: dict[str, str] = {}
        try:
            with self.server.errors():
                return outcome(await aresult_of(partial(self._begin, kwargs, facts), listening))
        finally:
            await areport_request(listeners(config, self.callbacks, "on_tool_request"), facts)


def model_names(names: Sequence[str]) -> list[str]:
    """Return unique names that every provider accepts: letters, digits, `_` and `-`, at most 64 characters.

    A server may list names such as `files.read`, and the same name twice.
    Source: https://platform.openai.com/docs/api-reference/chat/create, read 2026-11.
    """
    made: list[str] = []
    for name in names:
        plain = re.sub("[^a-zA-Z0-9_-]", "_", name)[:_NAME_CHARS] or "tool"
        number, unique = 1, plain
        while unique in made:
            number += 1
            end = f"_{number}"
            unique = f"{plain[: _NAME_CHARS - len(end)]}{end}"
        made.append(unique)
    return made
