"""Asks the user the questions of an MCP server (elicitations), on the terminal."""

from __future__ import annotations

import os
import sys
import webbrowser
from typing import Any

from modelwire.aliases import Kwargs
from modelwire.command.standard_streams import has_terminal, warn
from modelwire.errors import InvalidArgument
from modelwire.terminal_text import echo
from modelwire.tools import mcp

# At most this many bytes of a typed line are read.
_LINE_BYTES = 65_536


def answer_question(question: mcp.Elicitation) -> mcp.ElicitationAnswer:
    """Return the user's answer to a question of the server. Without a terminal it is declined."""
    warn(f"The MCP server {question.server} asks: {question.message}")
    if not (has_terminal() and sys.stderr.isatty()):
        warn("The question is declined, because there is no terminal on which you could answer it.")
        return question.decline()
    try:
        if question.url is not None:
            return _visit(question, question.url)
        return _fill_in(question)
    except EOFError:  # Ctrl-D
        return question.cancel()


def _visit(question: mcp.Elicitation, url: str) -> mcp.ElicitationAnswer:
    """Show the whole URL, and open it in a browser if the user agrees."""
    warn(f"It asks you to visit this page:\n  {url}")
    if not _is_yes(_typed("Open it in your browser? [y/N] ")):
        return question.decline()
    if url.startswith(("http://", "https://")):
        webbrowser.open(url)
    else:
        warn("This is not the address of a web page: open it yourself if you trust it.")
    _typed("Press Enter when you are done there. ")
    return question.accept()


def _fill_in(question: mcp.Elicitation) -> mcp.ElicitationAnswer:
    """Ask for each value; nothing is sent before the user has confirmed all answers."""
    if not _is_yes(_typed("Answer it? [y/N] ")):
        return question.decline()
    values: Kwargs = {}
    for name in question.properties:
        value = _value(question, name)
        if value is not None:
            values[name] = value
    if not _is_yes(_typed("Send these answers? [y/N] ")):
        return question.cancel()
    return question.accept(values)


def _value(question: mcp.Elicitation, name: str) -> Any:
    """Ask for one value until it matches its schema. Return None if the user leaves an optional value empty."""
    described = question.properties[name]
    text = described.get("description")
    if text:
        warn(f"  {text}")
    while True:
        typed = _typed(f"{_label(question, name)}: ")
        may_be_empty = "default" in described or name not in question.required
        if not typed and may_be_empty:
            return None
        try:
            return question.parse(name, typed)
        except InvalidArgument as exc:
            warn(str(exc))


def _label(question: mcp.Elicitation, name: str) -> str:
    """Return the line that asks for a value: its title, what may be typed, and the default."""
    described = question.properties[name]
    title = described.get("title") or name
    notes = [question.hint(name)]
    if name not in question.required:
        notes.append("may be empty")
    label = f"{title} ({', '.join(notes)})"
    if "default" in described:
        label += f" [{described['default']}]"
    return label


def _is_yes(text: str) -> bool:
    return text.lower() in ("y", "yes")


def _typed(prompt: str) -> str:
    """Print `prompt` on standard error, and return the line that the user types. Raises `EOFError` at Ctrl-D.

    The line is read from the file descriptor: a thread that waits in `sys.stdin` would hold its lock when the program
    ends.
    """
    echo(prompt, end="", file=sys.stderr, flush=True)
    line = os.read(sys.stdin.fileno(), _LINE_BYTES)
    if not line:
        raise EOFError
    return line.decode("utf-8", "replace").strip()
