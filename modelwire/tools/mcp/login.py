"""Logs the user in to a server with a URL, before a program uses the server, and out again."""

from __future__ import annotations

from modelwire.tools.mcp.oauth import OAuthLogin
from modelwire.tools.mcp.token_store import TokenStore
from modelwire.tools.mcp.tools import MCPTools


def login(url: str, *, auth: OAuthLogin | None = None) -> bool:
    """Log in to the MCP server at `url` and store the tokens, which `MCPTools(url)` then uses and refreshes.

    Return False if the server requires no login. `auth` has the options of the login; by default the browser opens.

    Raises: `ConnectFailed` if the login fails, or the server does not answer.
    """
    with MCPTools(url, auth=auth or OAuthLogin(is_fresh=True)):
        return TokenStore(url).has_tokens()


def logout(url: str) -> bool:
    """Delete the tokens for `url`. Return False if there are none. The server does not revoke them."""
    return TokenStore(url).forget()
