"""MCP servers, over stdio or HTTP: their tools for `bind_tools` and `run_tools`, their resources and prompts."""

from __future__ import annotations

from modelwire.tools.mcp.elicitation import Elicitation, ElicitationAnswer, ElicitationHandler
from modelwire.tools.mcp.login import login, logout
from modelwire.tools.mcp.oauth import OAuthLogin
from modelwire.tools.mcp.offers import MCPPrompt, MCPResource, MCPResourceTemplate
from modelwire.tools.mcp.tool import MCPTool
from modelwire.tools.mcp.tools import MCPTools

__all__ = [
    "Elicitation",
    "ElicitationAnswer",
    "ElicitationHandler",
    "MCPPrompt",
    "MCPResource",
    "MCPResourceTemplate",
    "MCPTool",
    "MCPTools",
    "OAuthLogin",
    "login",
    "logout",
]
