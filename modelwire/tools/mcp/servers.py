"""The names of a server: the argument of `MCPTools`, and a text without secrets for errors and traces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from modelwire.aliases import JSON, StrPath

Server: TypeAlias = "str | Sequence[StrPath] | Any"

# A word of a command that is an option or `NAME=VALUE` may be followed by a secret or contain one. These options of
# launchers are harmless.
_OPTION = re.compile("-|[^/]*=")
_HARMLESS = ("-m", "-u", "-y")
# Errors of pydantic quote the value that is not valid, such as a whole answer with its tokens.
_INPUT_VALUE = re.compile(r"input_value=.*?(?=, input_type)", re.DOTALL)


def shown(server: Server) -> str:
    """Return a server as errors show it: a URL without query and password, or a command without its options."""
    if isinstance(server, str):
        return f"`{plain_url(server)}`"
    if not isinstance(server, list | tuple):
        return f"`{type(server).__name__}`"
    words = [str(word) for word in server]
    plain = list(takewhile(lambda word: word in _HARMLESS or not _OPTION.match(word), words))
    return f"`{' '.join([*plain, '...'] if len(plain) < len(words) else plain)}`"


def run_metadata(server: Server) -> JSON:
    """Return the facts about a server that traces show, by OpenTelemetry's names.

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
    """Return the text of an error without passwords; of an exception group, that of the first error in it."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    text = re.sub(r"//[^/\s]*@", "//", str(error))
    text = _INPUT_VALUE.sub("input_value=...", text)
    # The package raises this class for every error that the server sends, so its name is left out.
    if type(error).__name__ == "MCPError":
        return text.rstrip(". ")
    if text:
        return f"{type(error).__name__}: {text}".rstrip(". ")
    return type(error).__name__
