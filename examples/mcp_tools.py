"""The tools of an MCP server in the tool loop; this file is the server too. Needs the extra `mcp`.

python examples/mcp_tools.py [openai:gpt-4o-mini | anthropic:claude-haiku-4-5 | ...]
"""

from __future__ import annotations

import sys

from stand_in import chosen_model

from modelwire import AIMessage, run_tools
from modelwire.tools.mcp import MCPTools


def serve() -> None:
    """Be an MCP server over stdin and stdout, as any program in any language may."""
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("harbour", log_level="ERROR")

    @server.tool()
    def ships(harbour: str) -> list[str]:
        """List the ships in a harbour."""
        return {"Lisbon": ["Santa Maria", "Sagres"]}.get(harbour, [])

    server.run("stdio")


def ask() -> None:
    call = {"name": "ships", "args": {"harbour": "Lisbon"}, "id": "1"}
    model = chosen_model(
        sys.argv[1:], [AIMessage("", tool_calls=[call]), AIMessage("Two: Santa Maria and Sagres.")]
    )
    # A server that runs elsewhere is its URL: MCPTools("https://example.org/mcp", headers={"authorization": "..."})
    with MCPTools([sys.executable, __file__, "serve"]) as tools:
        print("The server has:", ", ".join(tool.name for tool in tools))
        for message in run_tools(model, "Which ships are in Lisbon?", tools):
            print(f"{message.type:>6}: {message.text or message.tool_calls[0]['name']}")


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else ask()
