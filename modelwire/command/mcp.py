"""`modelwire mcp`: lists what an MCP server offers, calls a tool of it, logs in to it and out again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.command import mcp_servers
else:
    mcp_servers = lazy.module("modelwire.command.mcp_servers")

SERVER = "a URL, or the command that starts the server, quoted as one argument"
_TIMEOUT_S = 60.0


def register(commands: Any) -> None:
    """Declare the commands, their options and the functions that run them."""
    mcp = commands.add_parser(
        "mcp",
        help="MCP servers: list what one offers, call a tool, log in and out",
        description="Look at an MCP server and call its tools. Needs the extra `mcp`: pip install 'modelwire[mcp]'.",
    )
    below = mcp.add_subparsers(required=True, metavar="COMMAND")
    listed = below.add_parser(
        "list",
        help="list the tools, resources and prompts of a server",
        epilog="example: modelwire mcp list 'python weather_server.py'",
    )
    listed.set_defaults(run=_list)
    called = below.add_parser(
        "call",
        help="call a tool of a server and print its answer",
        description="Call a tool of a server and print its answer. What the server asks you is a question on the "
        "terminal; without a terminal it is declined.",
        epilog="""example: modelwire mcp call 'python weather_server.py' weather '{"city": "Bern"}'""",
    )
    called.set_defaults(run=_call)
    for one in (listed, called):
        one.add_argument("server", metavar="SERVER", help=SERVER)
    called.add_argument("tool", metavar="TOOL", help="the name of the tool, as `list` shows it")
    called.add_argument(
        "arguments",
        metavar="JSON",
        nargs="?",
        default="{}",
        help="its arguments, a JSON object (default: none)",
    )
    for one in (listed, called):
        add = one.add_argument
        add(
            "--header",
            metavar="NAME:VALUE",
            action="append",
            default=[],
            help="a header for each request to a URL; may be given more than once",
        )
        add(
            "--timeout",
            metavar="SECONDS",
            type=float,
            default=_TIMEOUT_S,
            help="the longest time of one call (default: %(default)g)",
        )
        add("--json", action="store_true", help="print JSON with everything the server has sent")
    _add_logins(below)
    for one in below.choices.values():
        one.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _add_logins(below: Any) -> None:
    login = below.add_parser(
        "login",
        help="log in to a server with a URL; the tokens are stored for you alone",
        description="Log in to a server with a URL in the browser. The tokens are stored in a file that only you can "
        "read, and `mcp list`, `mcp call` and programs use and refresh them.",
        epilog="example: modelwire mcp login https://example.org/mcp",
    )
    login.set_defaults(run=_login)
    logout = below.add_parser("logout", help="delete the tokens of a server")
    logout.set_defaults(run=_logout)
    for one in (login, logout):
        one.add_argument("url", metavar="URL", help="the server's URL")
    add = login.add_argument
    add(
        "--client-id",
        metavar="ID",
        help="the client that is registered for you (default: one is registered)",
    )
    add(
        "--client-secret-env",
        metavar="VARIABLE",
        help="the environment variable with the client's secret (default: it has none)",
    )
    add(
        "--port",
        type=int,
        default=0,
        metavar="N",
        help="the port of this machine to which the browser returns (default: any free one)",
    )


def _list(options: argparse.Namespace) -> None:
    mcp_servers.list_server(options)


def _call(options: argparse.Namespace) -> None:
    mcp_servers.call_tool(options)


def _login(options: argparse.Namespace) -> None:
    mcp_servers.log_in(options)


def _logout(options: argparse.Namespace) -> None:
    mcp_servers.log_out(options)
