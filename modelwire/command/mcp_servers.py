"""Runs the commands of `modelwire mcp`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import webbrowser
from collections.abc import Iterable
from typing import Any

from modelwire.aliases import JSON
from modelwire.callbacks import BaseCallbackHandler
from modelwire.command.mcp_questions import answer_question
from modelwire.command.standard_streams import warn
from modelwire.errors import InvalidArgument, MissingKey, did_you_mean
from modelwire.terminal_text import echo
from modelwire.tools import mcp


def list_server(options: argparse.Namespace) -> None:
    """Print the tools, resources and prompts of a server."""
    with _connect(options) as server:
        resources = server.resources()
        templates = server.resource_templates()
        prompts = server.prompts()
        if options.json:
            everything = {
                "tools": [_tool_row(tool) for tool in server],
                "resources": [_row(one) for one in resources],
                "resource_templates": [_row(one) for one in templates],
                "prompts": [_row(one) for one in prompts],
            }
            echo(json.dumps(everything, indent=1, ensure_ascii=False))
            return
        _print_group("Tools", [(_signature(tool), tool.description) for tool in server])
        fixed = [(one.uri, _about(one)) for one in resources]
        open_ones = [(one.uri_template, _about(one)) for one in templates]
        _print_group("Resources", [*fixed, *open_ones])
        _print_group("Prompts", [(_prompt_signature(one), one.description) for one in prompts])


def call_tool(options: argparse.Namespace) -> None:
    """Call a tool and print its answer. Raises `ToolException` if the tool fails."""
    arguments = _json_object(options.arguments)
    with _connect(options) as server:
        tool = _named_tool(server, options.tool)
        call = {"type": "tool_call", "name": tool.name, "args": arguments, "id": "1"}
        answer = tool.invoke(call, config={"callbacks": [_ShownProgress()]})
    if options.json:
        echo(json.dumps(answer.artifact, indent=1, ensure_ascii=False))
        return
    if isinstance(answer.content, str):
        echo(answer.content)
        return
    for block in answer.content:
        echo(block.get("text") or f"({block['mime_type']}; `--json` prints its data)")


def log_in(options: argparse.Namespace) -> None:
    """Log in to a server and store the tokens."""
    secret = None
    if options.client_secret_env is not None:
        secret = os.environ.get(options.client_secret_env)
        if not secret:
            raise MissingKey(f"`{options.client_secret_env}` is not set.")
    auth = mcp.OAuthLogin(
        open_url=_open_page,
        client_id=options.client_id,
        client_secret=secret,
        port=options.port,
        is_fresh=True,
    )
    if mcp.login(_url(options.url), auth=auth):
        warn("You are logged in. The tokens are in a file that only you can read.")
    else:
        warn("The server needs no login.")


def log_out(options: argparse.Namespace) -> None:
    """Delete the tokens of a server."""
    if mcp.logout(_url(options.url)):
        warn("The tokens are deleted. The server may accept them until they expire.")
    else:
        warn("No tokens are stored for this URL.")


class _ShownProgress(BaseCallbackHandler):
    """Writes the progress of a call to standard error."""

    def on_tool_progress(self, progress: float, **kwargs: Any) -> None:
        total = kwargs["total"]
        message = kwargs["message"]
        if total is None:
            count = f"{progress:g}"
        else:
            count = f"{progress:g} of {total:g}"
        warn(f"{count}: {message}" if message else count)


def _open_page(url: str) -> None:
    warn(f"Log in on this page:\n  {url}")
    webbrowser.open(url)


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise InvalidArgument(f"`{text}` is not a URL.")
    return text


def _connect(options: argparse.Namespace) -> mcp.MCPTools:
    """Connect to the server that the user has typed: a URL or a command."""
    headers = dict(_header(text) for text in options.header)
    if options.server.startswith(("http://", "https://")):
        target: Any = options.server
    else:
        try:
            target = shlex.split(options.server)
        except ValueError as exc:
            raise InvalidArgument(f"The command of the server cannot be read: {exc}.") from None
    return mcp.MCPTools(
        target, headers=headers or None, timeout_s=options.timeout, elicit=answer_question
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise InvalidArgument("`--header` must be `NAME:VALUE`.")
    return name.strip(), value.strip()


def _json_object(text: str) -> JSON:
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise InvalidArgument(f"The arguments are not valid JSON: {exc}.") from None
    if not isinstance(value, dict):
        raise InvalidArgument(
            """The arguments must be a JSON object, such as '{"city": "Bern"}'."""
        )
    return value


def _named_tool(server: mcp.MCPTools, name: str) -> Any:
    """Return the tool by its name on the server, or by the name that a model uses."""
    tools: list[Any] = list(server)
    for tool in tools:
        if name in (tool.server_name, tool.name):
            return tool
    known = [tool.server_name for tool in tools]
    raise InvalidArgument(f"The server has no tool `{name}`. {did_you_mean(name, known)}")


def _tool_row(tool: Any) -> JSON:
    return {
        "name": tool.server_name,
        "description": tool.description,
        "schema": tool.args_schema,
    }


def _about(resource: Any) -> str:
    return str(resource.description or resource.title or resource.name)


def _row(one: Any) -> JSON:
    return {name: value for name, value in vars(one).items() if name != "server"}


def _signature(tool: Any) -> str:
    required = tool.args_schema.get("required") or ()
    names = [name if name in required else f"{name}?" for name in tool.args]
    return f"{tool.server_name}({', '.join(names)})"


def _prompt_signature(prompt: mcp.MCPPrompt) -> str:
    names = [one["name"] if one["required"] else f"{one['name']}?" for one in prompt.arguments]
    return f"{prompt.name}({', '.join(names)})"


def _print_group(title: str, rows: Iterable[tuple[str, str | None]]) -> None:
    """Print a title, and a line for each (name, description); nothing if there are no rows."""
    for number, (name, text) in enumerate(rows):
        if number == 0:
            echo(title)
        first_line = (text or "").strip().partition("\n")[0]
        echo(f"  {name}  {first_line}".rstrip())
