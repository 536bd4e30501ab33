"""How a server is named: in an argument of `MCPTools`, and in errors, which show no secret of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from modelwire.aliases import JSON, StrPath

Server: TypeAlias = "str | Sequence[StrPath] | Any"

# What follows an option of a command may be a secret, and so may `NAME=VALUE`; these options of launchers are not.
_OPTION = re.compile("-|[^/]*=")
_HARMLESS = ("-m", "-u", "-y")
# Errors of pydantic quote the value that is not valid, such as a whole answer with its tokens.
_INPUT_VALUE = re.compile(r"input_value=.*?(?=, input_type)", re.DOTALL)


def shown(server: Server) -> str:
    """Return how errors name the server: without its query and password, or without the options of its command."""
    if isinstance(server, str):
        return f"`{plain_url(server)}`"
    if not isinstance(server, list | tuple):
        return f"`{type(server).__name__}`"
    words = [str(word) for word in server]
    plain = list(takewhile(lambda word: word in _HARMLESS or not _OPTION.match(word), words))
    return f"`{' '.join([*plain, '...'] if len(plain) < len(words) else plain)}`"


def run_metadata(server: Server) -> JSON:
    """Return what traces show of a server, by OpenTelemetry's names.

    Source: https://github.com/open-telemetry/semantic-conventions-genai, model/mcp/common.yaml at
    0e5e6a8d, read 2026-11.
    """
    facts: JSON = {"mcp.method.name": "tools/call"}
    if isinstance(server, str):
        address = urlsplit(server)
        facts |= {"network.transport": "tcp", "network.protocol.name": "http"}
        facts["server.address"] = address.hostname or ""
        facts["server.port"] = address.port or {"http": 80}.get(address.scheme, 443)
    elif isinstance(server, list | tuple):
        facts["network.transport"] = "pipe"
    return facts


def plain_url(url: str) -> str:
    """Return a URL without its user, password, query and fragment."""
    scheme, slashes, rest = re.split("[?#]", url)[0].partition("//")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


def reason(error: BaseException) -> str:
    """Return the innermost reason, without a password: task groups wrap what went wrong."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    text = re.sub(r"//[^/\s]*@", "//", str(error))
    text = _INPUT_VALUE.sub("input_value=...", text)
    if (
        type(error).__name__ == "MCPError"
    ):  # the package's word for any error that comes over the wire
        return text.rstrip(". ")
    if text:
        return f"{type(error).__name__}: {text}".rstrip(". ")
    return type(error).__name__
