"""A real MCP server, written with the official package: over stdio, or over HTTP on the port that is named."""

from __future__ import annotations

import base64
import os
import sys
import time

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult

server = MCPServer("weather")

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@server.tool()
def weather(city: str, days: int = 1) -> str:
    """Tell the weather of a city."""
    return f"Rain in {city} for {days} days"


@server.tool()
def totals(numbers: list[int]) -> dict[str, int]:
    """Add up numbers."""
    return {"sum": sum(numbers)}


@server.tool()
def photo() -> Image:
    """Show the sky."""
    return Image(data=PIXEL, format="png")


@server.tool()
def fail() -> str:
    """Fail."""
    raise ToolError("the station is closed")


@server.tool()
def place() -> str:
    """Tell where the server runs, and what it is told."""
    return f"{os.getcwd()} {os.environ.get('STATION')} {os.environ.get('OPENAI_API_KEY')}"


@server.tool()
def slow() -> str:
    """Take long."""
    time.sleep(30)
    return "late"


@server.tool()
def leave() -> str:
    """End the server."""
    os._exit(3)


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@server.tool()
async def ask_city(ctx: Context) -> str | InputRequiredResult:
    """Ask the user for a city, as the protocol of 2026-07-28 does: in the answer to the call."""
    if not ctx.input_responses:
        params = ElicitRequestFormParams(message="Which city?", requested_schema=CITY)
        return InputRequiredResult(input_requests={"city": ElicitRequest(params=params)})
    answer = ctx.input_responses["city"]
    return f"{answer.action} {answer.content['city']}"


@server.tool()
async def grow(ctx: Context) -> str:
    """Add a tool, and tell the clients so."""

    def grown_tool() -> str:
        """Be new."""
        return "new"

    server.add_tool(grown_tool)
    await ctx.notify_tools_changed()
    return "grown"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run("stdio")
